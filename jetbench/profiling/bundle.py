"""Bundles: networks packed for a board where jetbench cannot be installed.

A bundle is a folder with each network as TorchScript, which an older torch can load, and as ONNX files for runtimes; a
reference output, images with labels to score, and the probe, the same code that measures here. JetPack 4 has Python
3.6 and JetPack 5 has 3.8, and torch only for these. An engine is never packed: it runs only where it is built.
"""

import hashlib
import json
import shutil
import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import jetbench
from jetbench.data.cache import SegmentationData, load_data
from jetbench.deploy.pack import IMAGES, ExportedFile, ExportRequest, export_network
from jetbench.deploy.quantise import spread
from jetbench.errors import SpecError
from jetbench.files import digest_of, file_name, write_whole
from jetbench.models.build import to_torchscript
from jetbench.models.weights import SavedNetwork, load_weights
from jetbench.probe.measure import count_classes
from jetbench.probe.packed import REQUEST, SUMS, VERSION
from jetbench.probe.passes import Normalise, random_pixels
from jetbench.profiling.case import Case
from jetbench.profiling.files import first_line
from jetbench.profiling.power import plan_of
from jetbench.profiling.standard import read_standard, standard_case
from jetbench.progress import Report
from jetbench.records.folder import SWEEP, read_landed
from jetbench.spec.base import Spec, parse_spec, read_yaml
from jetbench.spec.dataset import DatasetConfig, Split
from jetbench.spec.device import Device
from jetbench.spec.profiling import DType, ProfilingConfig
from jetbench.training.evaluate import check_classes_of

PROBE = Path(jetbench.__file__).parent / "probe"
FILES: dict[DType, str] = {"fp32": "model.onnx", "fp16": "model.fp16.onnx", "int8": "model.int8.onnx"}
TRACED: dict[DType, str] = {"fp32": "model.ts", "fp16": "model.fp16.ts"}
STANDARD = "standard"  # the folder of the standard network


@dataclass(frozen=True)
class Packed:
    """A network in a bundle.

    Args:
        label: its name.
        forms: the forms in which the board runs it.
        difference: of the traced network's output, over the largest output; None if no form is traced.
    """

    label: str
    forms: tuple[str, ...]
    difference: float | None


class _Asked(Spec):
    """What of a study's sweep.yaml a bundle needs."""

    dataset: DatasetConfig


def networks_of_study(folder: Path) -> tuple[dict[str, str], DatasetConfig | None]:
    """The weights files of a study's trained networks with their names, of each the first seed, and its data.

    Raises:
        SpecError: it has none, or its weights are not there.
    """
    first: dict[tuple[str, str], tuple[str, str]] = {}
    for record in read_landed(folder):
        if record.training is None:
            continue
        path = folder / "weights" / record.training.weights_file
        if path.is_file():
            recipe = record.recipe.model_copy(update={"seed": 0})
            first.setdefault((record.fingerprint, recipe.identity), (str(path), record.variant))
    if not first:
        raise SpecError(f"{folder}: has no trained network whose weights are in {folder / 'weights'}")
    asked = read_yaml(folder / SWEEP).get("dataset") if (folder / SWEEP).exists() else None
    config = parse_spec(_Asked, {"dataset": asked}, str(folder / SWEEP)).dataset if asked is not None else None
    return dict(first.values()), config


def settings_for(device: Device, settings: Sequence[ProfilingConfig]) -> list[ProfilingConfig]:
    """Settings as a board runs them: PyTorch runs the traced network there, since jetbench's own code is not there.

    Raises:
        SpecError: the board has no such runtime or number format.
    """
    chosen = []
    for config in settings:
        if config.backend in ("eager", "traced"):
            if config.dtype not in TRACED:
                raise SpecError(f"--dtype {config.dtype}: PyTorch runs {' and '.join(TRACED)} on a board")
            chosen.append(config.model_copy(update={"backend": "traced", "channels_last": False}))
            continue
        wanted = "tensorrt" if device.accelerator == "cuda" else "onnxruntime"
        if config.backend != wanted:
            raise SpecError(f"--backend {config.backend}: {device.title} runs eager (traced there) and {wanted}")
        if wanted == "tensorrt" and device.precisions and config.dtype not in device.precisions:
            has = ", ".join(device.precisions)
            raise SpecError(f"--dtype {config.dtype}: TensorRT builds {has} on {device.title}")
        chosen.append(config)
    return list(dict.fromkeys(chosen))


def write_bundle(
    folder: Path,
    cases: Sequence[Case],
    device: Device,
    dataset: DatasetConfig | None = None,
    images: int | None = None,
    modes: Sequence[str] = (),
    fixes_clocks: bool = False,
    report: Report = lambda share, text: None,
    split: Split = "val",
) -> list[Packed]:
    """Write a bundle for a board.

    Args:
        folder: it must not exist.
        cases: networks with settings from `settings_for`; those of one network stand together.
        device: the board.
        dataset: int8 files are calibrated on its train, and `split` is packed with its labels; None: no images.
        images: that many of the split, evenly spaced; None: all of them.
        modes: measure in each of these power modes, by the board's names.
        fixes_clocks: run jetson_clocks in each mode.
        report: called with the finished share and what is being done.
        split: what files are scored on; a study looks at test once, for what it chose.

    Raises:
        SpecError: the folder exists, a network cannot be traced or exported, or the data are of another size.
        DataError: the data cannot be read.
    """
    if folder.exists():
        raise SpecError(f"{folder}: already exists; choose another --out")
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        packed = _fill(building, _by_network(cases), device, dataset, images, report, modes, fixes_clocks, split)
        building.chmod(0o755)
        building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return packed


def _by_network(cases: Sequence[Case]) -> list[list[Case]]:
    groups: dict[tuple[Any, ...], list[Case]] = {}
    for case in cases:
        if case.file is not None:
            raise SpecError(
                f"{case.label}: a model file of another exporter cannot be packed; give an architecture, or its weights"
            )
        network = (case.architecture.model_dump_json(), case.num_classes, case.input_size)
        groups.setdefault((case.label, case.weights_file, case.weights, *network), []).append(case)
    return list(groups.values())


def _fill(
    folder: Path,
    networks: Sequence[Sequence[Case]],
    device: Device,
    dataset: DatasetConfig | None,
    images: int | None,
    report: Report,
    modes: Sequence[str],
    fixes_clocks: bool,
    split: Split,
) -> list[Packed]:
    data = load_data(dataset) if dataset is not None else None
    chosen = _pack_images(folder, data, images, split) if data is not None and _is_scored(networks) else None
    packed, described = [], []
    for number, cases in enumerate(networks):
        report(number / len(networks), f"packing {cases[0].label}")
        name = f"{number + 1:02}-{file_name(cases[0].label)}"
        (folder / name).mkdir()
        entry, difference = _pack_network(folder, name, cases, dataset)
        if data is not None and chosen is not None and cases[0].weights_file is not None:
            entry |= _pack_classes(folder, name, cases[0], data, chosen, split)
        described.append(entry)
        packed.append(Packed(cases[0].label, tuple(case.config.form for case in cases), difference))
    shutil.copytree(PROBE, folder / "probe", ignore=shutil.ignore_patterns("__pycache__"))
    request = {
        "version": VERSION,
        "jetbench": jetbench.__version__,
        "device": device.model_dump(mode="json"),
        "accelerator": device.accelerator,
        "sensors": device.sensors,
        "energy_plan": list(plan_of(networks[0][0].config)),
        "modes": list(modes),
        "jetson_clocks": fixes_clocks,
        "standard": _pack_standard(folder, networks[0][0].config),
        "data": _describe_data(data, chosen, split) if data is not None and chosen is not None else None,
        "networks": described,
    }
    request["identity"] = _identity(folder, networks, request)
    write_whole(folder / REQUEST, json.dumps(request))
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sums = "".join(f"{digest_of(path)}  {path.relative_to(folder).as_posix()}\n" for path in files)
    write_whole(folder / SUMS, sums)
    return packed


def _identity(folder: Path, networks: Sequence[Sequence[Case]], request: dict[str, Any]) -> str:
    """A digest of all that a bundle is made of. Two bundles of the same differ in some bytes: exporters write times."""
    probe = [digest_of(path) for path in sorted((folder / "probe").rglob("*.py"))]
    cases = [case.model_dump_json() for cases in networks for case in cases]
    files = {case.weights_file for cases in networks for case in cases if case.weights_file}
    weights = [digest_of(Path(name)) for name in sorted(files)]  # a study may be trained again at its old place
    images = [digest_of(folder / name) for name in ("pixels.z", "labels.z") if (folder / name).exists()]
    shared = {key: value for key, value in request.items() if key != "networks"}
    text = json.dumps([shared, probe, cases, weights, images, torch.__version__], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _is_scored(networks: Sequence[Sequence[Case]]) -> bool:
    """True if a file of trained weights is among the forms: PyTorch's own forms compute what PyTorch computes."""
    return any(case.config.runs_file and case.weights_file is not None for cases in networks for case in cases)


def _pack_images(folder: Path, data: SegmentationData, images: int | None, split: Split) -> list[int]:
    """Write images of a split with their labels; returns their numbers.

    Raises:
        SpecError: the split has no labelled image.
    """
    total = data.info.images[split]
    if not total:
        raise SpecError(f"--dataset: {data.info.name} has no labelled image in {split}")
    chosen = list(spread(images or total, total))
    for name, arrays in (("pixels.z", data.images), ("labels.z", data.labels)):
        (folder / name).write_bytes(zlib.compress(np.ascontiguousarray(arrays[split][chosen]).tobytes()))
    return chosen


def _describe_data(data: SegmentationData, chosen: Sequence[int], split: Split) -> dict[str, Any]:
    return {
        "pixels": "pixels.z",
        "labels": "labels.z",
        "images": len(chosen),
        "size": data.info.size,
        "split": split,
        "dataset": data.info.name,
        "digest": data.info.digest,
    }


def _pack_network(
    folder: Path, name: str, cases: Sequence[Case], dataset: DatasetConfig | None
) -> tuple[dict[str, Any], float | None]:
    """Write the files of one network; returns its entry in the request, and the traced network's difference.

    Raises:
        SpecError: its forms take different numbers of images, or one cannot be made.
    """
    first = cases[0]
    for name_of, what in (("batch_size", "--batch"), ("threads", "--threads")):
        if len({getattr(case.config, name_of) for case in cases}) > 1:
            raise SpecError(f"{what}: a bundle has one value for all forms of a network")
    network = first.network().build().eval()
    normalise = Normalise(first.mean, first.std, torch.device("cpu"))
    images = normalise(random_pixels(first.config.batch_size, first.input_size, first.config.seed))
    with torch.no_grad():
        logits = network(images)
    torch.save({"images": images, "logits": logits}, folder / name / "reference.pt")
    exported = _export(folder / name, _formats_of(cases), first, dataset)
    described, difference = [], None
    for case in cases:
        own: dict[DType, str] = {dtype: f"{name}/{FILES[dtype]}" for dtype in _files_of(case.config)}
        if not case.config.runs_file:
            own = {case.config.dtype: f"{name}/{TRACED[case.config.dtype]}"}
            traced = _trace(network, images, case)
            torch.jit.save(traced, str(folder / own[case.config.dtype]))
            if case.config.dtype == "fp32":
                with torch.no_grad():
                    difference = float((traced(images) - logits).abs().max() / logits.abs().max())
        half = 2 if case.config.dtype == "fp16" else 1
        in_torch = sum(tensor.nbytes for tensor in network.state_dict().values()) // half
        weights_bytes = exported[next(iter(own))].file.bytes if case.config.runs_file else in_torch
        weights_file = Path(case.weights_file).name if case.weights_file else None
        shown = case.model_copy(update={"weights_file": weights_file, "artefact": None, "dataset": None})
        described.append(
            {
                "case": shown.model_dump(mode="json"),
                "config": case.config.model_dump(mode="json"),
                "form": case.config.form,
                "files": own,
                "exported": [exported[dtype].model_dump(mode="json") for dtype in own if case.config.runs_file],
                "weights_bytes": weights_bytes,
            }
        )
    entry = {
        "label": first.label,
        "folder": name,
        "input_size": first.input_size,
        "num_classes": first.num_classes,
        "mean": first.mean,
        "std": first.std,
        "reference": f"{name}/reference.pt",
        "cases": described,
    }
    return entry, difference


def _pack_standard(folder: Path, config: ProfilingConfig) -> dict[str, Any] | None:
    """Write the standard network, traced; returns its entry in the request, or None if the settings ask for none."""
    case = standard_case(config, backend="traced")
    if case is None:
        return None
    (folder / STANDARD).mkdir()
    images = Normalise(case.mean, case.std, torch.device("cpu"))(random_pixels(1, case.input_size, case.config.seed))
    traced = _trace(case.network().build().eval(), images, case)
    file = f"{STANDARD}/{TRACED['fp32']}"
    torch.jit.save(traced, str(folder / file))
    return {
        "name": case.label,
        "digest": read_standard()[1],
        "file": file,
        "input_size": case.input_size,
        "mean": case.mean,
        "std": case.std,
        "config": case.config.model_dump(mode="json"),
    }


def _trace(network: nn.Module, images: torch.Tensor, case: Case) -> Any:
    """The traced network in the number format of a case, whose weights are frozen in it.

    Raises:
        SpecError: this torch cannot compute it in that format.
    """
    if case.config.dtype == "fp32":
        return to_torchscript(network, images)
    try:
        return to_torchscript(case.network().build().eval().half(), images.half())
    except RuntimeError as error:
        raise SpecError(
            f"{case.label}: this torch cannot trace it in {case.config.dtype} ({first_line(error)})"
        ) from None


def _files_of(config: ProfilingConfig) -> tuple[DType, ...]:
    """The number formats of the files that a setting may run: TensorRT from 11 takes fp16 from the file."""
    return ("fp32", "fp16") if config.form == "tensorrt fp16" else (config.dtype,)


def _formats_of(cases: Sequence[Case]) -> list[DType]:
    files = (dtype for case in cases if case.config.runs_file for dtype in _files_of(case.config))
    return list(dict.fromkeys(files))


def _export(
    folder: Path, formats: Sequence[DType], case: Case, dataset: DatasetConfig | None
) -> dict[DType, ExportedFile]:
    """Write an ONNX file in each number format, compared with PyTorch.

    Raises:
        SpecError: the exporter or the runtime fails, or an fp32 file does not compute what its network does.
    """
    saved = SavedNetwork(
        architecture=case.architecture, num_classes=case.num_classes, input_size=case.input_size, mean=case.mean,
        std=case.std,
    )  # fmt: skip
    made = {}
    for dtype in formats:
        request = ExportRequest(
            label=case.label,
            saved=saved,
            weights_file=str(Path(case.weights_file).resolve()) if case.weights_file else None,
            weights=case.weights,
            seed=case.config.seed,
            batch_size=case.config.batch_size,
            dataset=dataset,
            images=IMAGES if dtype == "fp32" else 1,
            precision=dtype,
        )
        with tempfile.TemporaryDirectory(prefix="jetbench-") as place:
            exported = export_network(request, Path(place) / "files")
            (only,) = exported.files
            if not only.passes:
                raise SpecError(f"{case.label}: its ONNX file differs from it: {only.parities[0].describe()}")
            shutil.copyfile(Path(place) / "files" / only.file.name, folder / FILES[dtype])
        named = only.file.model_copy(update={"name": FILES[dtype]})
        made[dtype] = only.model_copy(update={"file": named})
    return made


def _pack_classes(
    folder: Path, name: str, case: Case, data: SegmentationData, chosen: Sequence[int], split: Split
) -> dict[str, Any]:
    """Write the classes that PyTorch gives the packed images; returns their entry, with their counts by image.

    Raises:
        SpecError: the network has other classes or another size than the data.
    """
    assert case.weights_file
    network, saved = load_weights(Path(case.weights_file))
    check_classes_of(saved, data.info.class_names, case.weights_file)
    if data.info.size != saved.input_size:
        size = "x".join(map(str, saved.input_size))
        raise SpecError(f"--dataset: {case.label} takes images of {size}; leave size out")
    normalise = Normalise(saved.mean, saved.std, torch.device("cpu"))
    classes, counts = [], []
    with torch.inference_mode():
        for number in chosen:
            pixels = torch.from_numpy(data.images[split][number : number + 1].copy())
            own = network.eval()(normalise(pixels)).argmax(dim=1)[0].to(torch.uint8)
            classes.append(own.numpy())
            labels = torch.from_numpy(data.labels[split][number].copy())
            counts.append(count_classes(own, labels, saved.num_classes))
    path = f"{name}/classes.z"
    (folder / path).write_bytes(zlib.compress(np.stack(classes).tobytes()))
    return {"classes": path, "counts": counts}
