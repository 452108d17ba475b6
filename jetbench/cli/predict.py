"""predict: segment images and videos with a trained network; writes class ids and colour overlays."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from jetbench.cli.app import RESULTS, check_folder, console, errors, verb
from jetbench.cli.options import ModelOption, name_model
from jetbench.errors import SpecError
from jetbench.spec.catalog import kind_of_file

if TYPE_CHECKING:
    from torch import nn

    from jetbench.models.weights import SavedNetwork


@verb(RESULTS)
def predict(
    network: Annotated[
        str,
        typer.Argument(
            metavar="WEIGHTS", help="A .safetensors file that a sweep or search saved; it knows its network."
        ),
    ],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Images, folders of images, or videos.")],
    weights: Annotated[
        Path | None,
        typer.Option("--weights", metavar="W", help="The weights, if the first argument is the network's name."),
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Write the pictures to this folder.")] = Path(
        "predictions"
    ),
    opacity: Annotated[float, typer.Option(min=0.0, max=1.0, help="Opacity of the colours over the image.")] = 0.55,
    model_source: ModelOption = None,
) -> None:
    """Segment images and videos with a trained network: writes each with its classes in colour, and class ids as PNG.

    Images are resized to the network's training size, and the classes back to the size of the image. Videos need
    OpenCV (`pip install 'jetbench[video]'`); their frames show the time that the network took, which is no benchmark.
    """
    from jetbench.data.pictures import count_frames, open_rgb
    from jetbench.models.weights import load_weights
    from jetbench.training.predict import Legend, is_video, predict_image, write_overlay

    if weights is None and not network.endswith(".safetensors") and not kind_of_file(network):
        raise SpecError(
            f"{network}: not a weights file; give one, such as reports/nano/weights/NAME.safetensors, or --weights"
        )
    name_model(model_source)
    model, saved = load_weights(weights or network)
    if weights is not None and saved.architecture.name != network:
        raise SpecError(f"{weights}: holds weights of {saved.architecture.name}, not of {network}; give that name")
    legend, files = Legend.of(saved), _find(images)
    _check_targets(files, out)
    for path in (
        path for _, path in files if not is_video(path)
    ):  # all of them, so that an error comes before any file
        open_rgb(path)
        if (frames := count_frames(path)) > 1:
            console.print(f"{path}: has {frames} frames; the first is read", highlight=False, markup=False)
    check_folder(out, [], option="--out")
    for name, path in files:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        if is_video(path):
            summary = _predict_video(model, saved, path, out / f"{name}.mp4", opacity)
        else:
            image = open_rgb(path)
            ids = predict_image(model, saved, image)
            written = write_overlay((out / name).parent, Path(name).name, image, ids, legend, opacity)
            summary = ", ".join(file.name for file in written)
        console.print(f"{path}: {summary}", highlight=False, soft_wrap=True, markup=False)
    console.print(f"Written to {out}.", highlight=False, soft_wrap=True, markup=False)


def _check_targets(files: Sequence[tuple[str, Path]], out: Path) -> None:
    """Raise if two pictures would have one name, or a picture would be written over what is read.

    Raises:
        SpecError: the message names both files.
    """
    from jetbench.training.predict import is_video

    read = {path.resolve(): path for _, path in files}
    written: dict[Path, Path] = {}
    for name, path in files:
        endings = (".mp4",) if is_video(path) else ("-overlay.png", "-classes.png")
        for target in [(out / f"{name}{ending}").resolve() for ending in endings]:
            if target in read:
                raise SpecError(f"{path}: its picture would be written over {read[target]}; give another --out")
            if target in written:
                raise SpecError(f"{written[target]} and {path} would overwrite each other in {out}; rename one")
            written[target] = path


def _is_ours(path: Path) -> bool:
    """True for the pictures of an earlier run."""
    return path.stem.endswith(("-overlay", "-classes"))


def _find(given: Sequence[Path]) -> list[tuple[str, Path]]:
    """Each image and video with the name of its pictures: its own without the ending."""
    from jetbench.data.pictures import SUFFIXES, walk
    from jetbench.training.predict import is_video

    files: list[tuple[str, Path]] = []
    for path in given:
        if not path.is_dir():
            files.append((path.stem, path))
            continue
        inside = [
            each for each in walk(path) if (each.suffix.lower() in SUFFIXES or is_video(each)) and not _is_ours(each)
        ]
        if not inside:
            raise SpecError(f"{path}: this folder holds no image ({', '.join(SUFFIXES)}) and no video")
        files += [(str(each.relative_to(path).with_suffix("")), each) for each in inside]
    return files


def _predict_video(model: "nn.Module", saved: "SavedNetwork", path: Path, target: Path, opacity: float) -> str:
    from jetbench.reporting.units import counted, milliseconds
    from jetbench.training.predict import predict_video

    with errors.status(escape(path.name)) as status:
        video = predict_video(
            model,
            saved,
            path,
            target,
            opacity,
            lambda frame, frames: status.update(f"{escape(path.name)}: frame {frame} of {frames or '?'}"),
        )
    return f"{video.path.name}, {counted(video.frames, 'frame')}, {milliseconds(video.seconds)} ms each (median, here)"
