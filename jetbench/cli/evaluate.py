"""evaluate: score a trained network on a split of any dataset with its classes."""

import contextlib
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn

from jetbench.cli.app import RESULTS, TORCH_DEVICES, check_folder, console, errors, verb
from jetbench.cli.data import ClassesOption, SetOption, read_dataset
from jetbench.cli.measuring import OnOption, read_option
from jetbench.cli.options import ModelOption, name_model
from jetbench.cli.remote_score import evaluate_on
from jetbench.cli.streaming import show_stream
from jetbench.errors import SpecError
from jetbench.files import digest_of
from jetbench.spec.base import parse_spec
from jetbench.spec.dataset import SPLITS
from jetbench.spec.profiling import FILE_BACKENDS, ProfilingConfig, read_form
from jetbench.spec.values import shorten

if TYPE_CHECKING:
    from jetbench.data.cache import SegmentationData
    from jetbench.deploy.score import FileScore
    from jetbench.models.weights import SavedNetwork
    from jetbench.spec.dataset import DatasetConfig
    from jetbench.spec.profiling import Backend, DType
    from jetbench.training.evaluate import Evaluated

STREAM = "At a camera's rate"


@verb(RESULTS)
def evaluate(
    weights: Annotated[
        Path,
        typer.Argument(
            metavar="WEIGHTS",
            help="A .safetensors file that jetbench saved, a file that `export` wrote (model.onnx), or an ONNX file of "
            "another exporter. With --stream also a report folder: its networks at the latencies of its boards.",
        ),
    ],
    dataset: Annotated[
        str,
        typer.Option(metavar="NAME:PATH", help="The dataset: streets, camvid:PATH, folder:PATH, cityscapes:PATH ..."),
    ],
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    classes: ClassesOption = None,
    settings: SetOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write the confusion matrix and the worst images here.")
    ] = None,
    worst: Annotated[int, typer.Option(min=0, max=1000, help="How many of the worst images to write.")] = 4,
    torch_device: Annotated[str, typer.Option("--torch-device", help="Where torch runs: auto, cpu or cuda.")] = "auto",
    backend: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Score what this runtime runs: onnxruntime or openvino, with a number format behind a colon "
            "(openvino:bf16, onnxruntime:int8). Weights are exported for it. Default: PyTorch; of an ONNX file, "
            "onnxruntime.",
        ),
    ] = None,
    mean: Annotated[
        str | None, typer.Option(metavar="R,G,B", help="Means of an ONNX file without a manifest, from 0 to 255.")
    ] = None,
    std: Annotated[
        str | None, typer.Option(metavar="R,G,B", help="Deviations that such a file is fed with, from 0 to 255.")
    ] = None,
    stream: Annotated[
        float | None,
        typer.Option(
            metavar="FPS",
            help="Score what a camera of this rate gets: each frame with the latest answer that is finished by then. "
            "With streets, whose camera drives, or CamVid's val at 15.",
            rich_help_panel=STREAM,
        ),
    ] = None,
    latency: Annotated[
        str | None,
        typer.Option(
            metavar="TIME,...",
            help="Latencies end to end, such as 20ms,50ms. Default: those of the report folder; of weights, 0 to 4 "
            "frames.",
            rich_help_panel=STREAM,
        ),
    ] = None,
    speed: Annotated[
        float, typer.Option(metavar="M/S", help="Metres a second of the camera in streets.", rich_help_panel=STREAM)
    ] = 10.0,
    show_invalid: Annotated[
        bool, typer.Option("--all", help="Take latencies of invalid profiles, too.", rich_help_panel=STREAM)
    ] = False,
    on: OnOption = None,
    model_source: ModelOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with the confusion matrix.")] = False,
) -> None:
    """Score a trained network: mIoU, IoU of each class, pixel accuracy, boundary F-score, confusion matrix.

    Images are scaled to the size that the network was trained at, and normalised as in its training.
    """
    given = {"--mean": mean, "--std": std, "--classes": classes, "--set": settings}
    if stream is not None:
        name_model(model_source)
        _refuse("--stream", {**given, "--backend": backend, "--on": on})
        show_stream(weights, dataset, stream, latency, speed, show_invalid, out, as_json)
        return
    if on is not None:
        name_model(model_source)
        _refuse("--on", {"--mean": mean, "--std": std, "--out": out, "--latency": latency})
        evaluate_on(on, weights, partial(read_dataset, dataset, classes, settings), split, backend, as_json)
        return
    if latency is not None or show_invalid:
        raise SpecError("--latency and --all: belong to --stream FPS")

    import torch

    from jetbench.data.cache import load_data
    from jetbench.deploy.artefact import make_artefact
    from jetbench.deploy.backends import RUNTIMES, check_backend
    from jetbench.deploy.score import FileScore, how_fed, is_exported, score_file
    from jetbench.models.weights import load_weights
    from jetbench.training.evaluate import check_classes_of, evaluate_network

    if split not in SPLITS:
        raise SpecError(f"--split {split}: expected one of {', '.join(SPLITS)}")
    if torch_device not in TORCH_DEVICES:
        raise SpecError(f"--torch-device {torch_device}: expected {', '.join(TORCH_DEVICES)}")
    name_model(model_source)
    form = read_option("--backend", backend, read_form) if backend is not None else None
    if form is not None and form[0] not in FILE_BACKENDS:
        raise SpecError(
            f"--backend {backend}: PyTorch's forms compute what PyTorch computes; give onnxruntime or openvino"
        )
    is_file = is_exported(weights) or form is not None
    if is_file and torch_device == "cuda":
        raise SpecError(f"--torch-device cuda: {weights.name} is scored on the processor; leave it out")
    model: torch.nn.Module | None = None
    path, fed = weights, None
    if is_exported(weights):
        fed = how_fed(weights, _channels("--mean", mean), _channels("--std", std))
        saved = fed.saved
        _check_form(weights, fed.format, form)
    elif mean is not None or std is not None:
        raise SpecError(f"{weights}: holds its own mean and std; leave out --mean and --std")
    else:
        model, saved = load_weights(weights)
    config = read_dataset(dataset, classes, settings, size=saved.input_size)
    if out is not None:
        check_folder(out, [], option="--out")
    bar = Progress(TextColumn("{task.description}"), BarColumn(bar_width=28), console=errors, transient=True)
    with bar if errors.is_terminal else contextlib.nullcontext():
        task = bar.add_task("decoding images", total=None)
        data = load_data(config, lambda done, total: bar.update(task, completed=done, total=total))
        check_classes_of(saved, data.info.class_names, str(weights))
        if data.info.size != saved.input_size:
            raise SpecError(
                f"--set size: the network was trained at {saved.input_size[0]}x{saved.input_size[1]}; leave size out"
            )
        if torch_device == "auto":
            torch_device = "cuda" if torch.cuda.is_available() else "cpu"
        setting = ProfilingConfig()
        if form is not None:
            setting = parse_spec(ProfilingConfig, {"backend": form[0], "dtype": form[1] or "fp32"}, "--backend")
            is_gpu = torch.cuda.is_available() and RUNTIMES[setting.file_backend].device == "cuda"
            check_backend(setting, "cuda" if is_gpu else "cpu")
            if fed is None:
                bar.reset(task, description="exporting", total=None)
                made = make_artefact(weights.stem, saved, setting, str(weights), digest_of(weights), config)
                path, model = Path(made.path), None
                fed = how_fed(path)
                if fed.request is not None:  # the file may have been made when the weights lay elsewhere
                    request = fed.request.model_copy(update={"weights_file": str(weights.resolve())})
                    fed = replace(fed, request=request)
        bar.reset(task, description="scoring", total=1)
        file_score: FileScore | None = None

        def report(share: float, text: str) -> None:
            bar.update(task, completed=share)

        if model is None:
            runtime = setting.file_backend if setting.runs_file else "onnxruntime"
            file_score, model = score_file(path, data, split, report, fed, runtime, setting.dtype)
            scored = file_score.deployed
        else:
            scored = evaluate_network(model, saved, data, split, torch.device(torch_device), report)
    if as_json:
        described = describe(scored, saved, data, split, weights)
        console.print_json(data={**described, **(_describe_file(file_score) if file_score else {})})
    else:
        _print(scored, saved, data, split)
        if file_score:
            _print_file(file_score, path)
    if out is not None:
        written = _write(out, scored, saved, config, data, split, worst, model)
        if not as_json:
            console.print(f"Written to {out}: {', '.join(written)}.", highlight=False, markup=False, soft_wrap=True)


def describe(
    scored: "Evaluated", saved: "SavedNetwork", data: "SegmentationData", split: str, weights: Path
) -> dict[str, Any]:
    """The scores as plain data; shares are from 0 to 1."""
    return {
        "weights": str(weights),
        "network": saved.architecture.name,
        "dataset": data.info.model_dump(mode="json"),
        "split": split,
        "miou": scored.miou,
        "pixel_accuracy": scored.pixel_accuracy,
        "class_accuracy": scored.class_accuracy,
        "frequency_weighted_iou": scored.frequency_weighted_iou,
        "boundary_f": scored.boundary_f,
        "class_iou": dict(zip(scored.class_names, scored.class_iou, strict=True)),
        "confusion": [list(row) for row in scored.confusion],
        "image_miou": [image.miou for image in scored.images],
    }


def _refuse(option: str, given: dict[str, Any]) -> None:
    """Refuse options that another one leaves without effect."""
    if extra := [name for name, value in given.items() if value is not None]:
        raise SpecError(
            f"{option}: leave out {' and '.join(extra)}, which {'has' if len(extra) == 1 else 'have'} no effect with it"
        )


def _check_form(path: Path, format_: str, form: "tuple[Backend, DType | None] | None") -> None:
    """Refuse a backend that does not run a file, or a number format that the file alone decides."""
    if form is None:
        return
    runs = {"onnx": ("onnxruntime", "openvino"), "openvino": ("openvino",)}.get(format_, ())
    if form[0] not in runs:
        raise SpecError(f"--backend {form[0]}: cannot run {path.name}; {' or '.join(runs) or 'leave it out'}")
    if form[1] == "int8":
        raise SpecError(f"--backend {form[0]}:int8: the number format is in {path.name}; leave out :int8")


def _channels(option: str, text: str | None) -> tuple[float, float, float] | None:
    """Three numbers with commas, one per channel."""
    if text is None:
        return None
    try:
        red, green, blue = (float(part) for part in text.split(","))
    except ValueError:
        raise SpecError(f"{option} {shorten(text)}: expected three numbers, such as 123.7,116.3,103.5") from None
    least = "above" if option == "--std" else "of at least"
    if not all(math.isfinite(n) and (n > 0 if option == "--std" else n >= 0) for n in (red, green, blue)):
        raise SpecError(f"{option} {shorten(text)}: expected three numbers {least} 0")
    return red, green, blue


def _describe_file(score: "FileScore") -> dict[str, Any]:
    """What a file's scores have beside those of a network."""
    change = score.image_change
    return {
        "runtime": score.runtime,
        "torch_miou": score.torch.miou if score.torch else None,
        "torch_class_iou": list(score.torch.class_iou) if score.torch else None,
        "image_miou_change": [change.mean, change.half] if change else None,
        "changed_pixels": score.changed,
        "pixels": score.pixels,
        "not_compared": score.missing or None,
    }


def _print_file(score: "FileScore", path: Path) -> None:
    """The file beside the network that it was made of."""
    text = f"\n{path.name} by {score.runtime}. "
    if score.torch is None or score.changed is None or score.pixels is None:
        text += f"Not compared with PyTorch: {score.missing}."
    else:
        changed = f"{score.changed:,} of {score.pixels:,} pixels"
        text += f"PyTorch on the same images: mIoU {100 * score.torch.miou:.2f} %, the file "
        text += (
            f"{100 * score.deployed.miou:.2f} %; {changed} ({100 * score.changed / score.pixels:.2g} %) have another "
        )
        text += "class."
        if (change := score.image_change) is not None:
            text += (
                f" The mIoU of an image changes by {100 * change.mean:+.2f} ± {100 * change.half:.2f} points (95 %)."
            )
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _print(scored: "Evaluated", saved: "SavedNetwork", data: "SegmentationData", split: str) -> None:
    from rich.table import Table

    from jetbench.reporting import units
    from jetbench.reporting.terminal import print_whole

    console.print(
        f"[bold]{escape(saved.architecture.name)}[/] on {split} of {escape(data.info.describe())}", highlight=False
    )
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_column(style="dim")
    rows = (
        ("mIoU", scored.miou, "mean IoU over the classes in the labels, from one confusion matrix"),
        ("pixel accuracy", scored.pixel_accuracy, "share of the labelled pixels that have their class"),
        ("class accuracy", scored.class_accuracy, "mean over the classes of the share of their pixels"),
        ("frequency-weighted IoU", scored.frequency_weighted_iou, "mean IoU, weighted by the pixels of each class"),
        ("boundary F-score", scored.boundary_f, "mean over the images, within 0.75 % of the diagonal"),
    )
    for name, value, how in rows:
        table.add_row(f"[bold]{name}[/]", f"{units.score(value)} %" if value is not None else units.MISSING, how)
    print_whole(console, table)
    each = Table(box=None, pad_edge=False, title="\nIoU of each class", title_justify="left")
    each.add_column("class", overflow="fold")
    for heading in ("IoU %", "pixels %", "most often taken for"):
        each.add_column(heading, justify="left" if heading.startswith("most") else "right", no_wrap=True)
    total = sum(scored.labelled)
    for number, (name, iou) in enumerate(zip(scored.class_names, scored.class_iou, strict=True)):
        each.add_row(
            escape(name),
            units.score(iou),
            f"{100 * scored.labelled[number] / total:.1f}",
            escape(_confused(scored, number)),
        )
    print_whole(console, each)


def _confused(scored: "Evaluated", number: int) -> str:
    """The other class that most of a class's pixels got, with their share."""
    row = scored.confusion[number]
    others = [(count, name) for n, (count, name) in enumerate(zip(row, scored.class_names, strict=True)) if n != number]
    if not sum(row) or not others or not max(others)[0]:
        return ""
    count, name = max(others)
    return f"{name} ({100 * count / sum(row):.0f} %)"


def _write(
    out: Path,
    scored: "Evaluated",
    saved: "SavedNetwork",
    config: "DatasetConfig",
    data: "SegmentationData",
    split: str,
    worst: int,
    model: Any,
) -> list[str]:
    """Write the confusion matrix as CSV and picture, and the worst images: as they are, labelled, predicted."""
    import csv

    from PIL import Image

    from jetbench.data.cache import open_source
    from jetbench.data.paired import PairedFiles
    from jetbench.reporting.pictures.confusion import draw_confusion
    from jetbench.reporting.tables.csv import no_formula
    from jetbench.training.predict import Legend, lay_over, predict_image
    from jetbench.training.samples import colours_of

    out.mkdir(parents=True, exist_ok=True)
    written = draw_confusion(
        out / "confusion",
        scored.class_names,
        scored.confusion,
        f"{saved.architecture.name} on {split} of {data.info.name}",
    )
    with (out / "confusion.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        names = [no_formula(name) for name in scored.class_names]
        writer.writerow(["true \\ predicted", *names])
        writer.writerows([name, *row] for name, row in zip(names, scored.confusion, strict=True))
    written.append(out / "confusion.csv")
    legend = Legend(data.info.class_names, colours_of(data.info.class_names, data.info.classes))
    source = open_source(config)
    for place, image in enumerate(scored.worst(worst), 1):
        stem = source.pairs[split][image.number].image.stem if isinstance(source, PairedFiles) else f"{image.number:03}"
        picture = Image.fromarray(data.images[split][image.number])
        truth, ids = data.labels[split][image.number], predict_image(model.cpu(), saved, picture)
        parts = [picture, lay_over(picture, truth, legend, 0.55), lay_over(picture, ids, legend, 0.55)]
        whole = Image.new("RGB", (sum(p.width for p in parts) + 8, max(p.height for p in parts)), "white")
        for number, part in enumerate(parts):
            whole.paste(part, (number * (picture.width + 4), 0))
        path = out / f"worst-{place:02}-{stem}-miou-{100 * (image.miou or 0):.0f}.png"
        whole.save(path)
        written.append(path)
    return [path.name for path in written]
