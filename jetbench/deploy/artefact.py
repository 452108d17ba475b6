"""Artefacts: the file of a network for a runtime, made once and kept in the cache by all that it depends on.

A file is made in a process of its own, which also runs it: a runtime that crashes on it ends that process only, and
neither the export's time nor its memory is in a measurement.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from pydantic import ValidationError

from jetbench.data.cache import ARTEFACTS, cache_folder, load_data
from jetbench.deploy.backends import RUNTIMES
from jetbench.deploy.backends.base import version_of
from jetbench.deploy.backends.tensor_rt import build_engine, file_precision
from jetbench.deploy.export import OPSET, digest_of_model
from jetbench.deploy.pack import MANIFEST, Exported, ExportedFile, ExportRequest, export_network
from jetbench.errors import SpecError
from jetbench.files import read_json, write_json
from jetbench.models.weights import SavedNetwork
from jetbench.network.plan import plan_network
from jetbench.probe.engines.tensor_rt import describe_gpu
from jetbench.probe.machine import power_mode
from jetbench.records.deployment import Format
from jetbench.spec.base import Spec
from jetbench.spec.dataset import DatasetConfig
from jetbench.spec.profiling import ProfilingConfig

ARTEFACT_VERSION = 1
"""Part of every key: another number where a file would be made in another way."""
MADE_WITH = "versions.json"
IMAGES = 3


class Artefact(Spec):
    """A file that a runtime has run, and how its output compares with PyTorch's in float32."""

    path: str
    exported: ExportedFile


def make_artefact(
    label: str,
    saved: SavedNetwork,
    config: ProfilingConfig,
    weights_file: str | None = None,
    weights: str | None = None,
    dataset: DatasetConfig | None = None,
) -> Artefact:
    """The file of a network for the backend of a setting; from the cache if it was made before.

    Args:
        label: the network's name in messages.
        saved: the network, with the statistics of its input.
        config: its backend, number format, batch size, and the seed of random weights.
        weights_file: its weights; None for random ones.
        weights: their SHA-256.
        dataset: what an int8 file is calibrated on; by default generated streets.

    Raises:
        SpecError: it cannot be exported, or the runtime cannot run it.
    """
    request = ExportRequest(
        label=label,
        saved=saved,
        weights_file=weights_file,
        weights=weights,
        seed=config.seed,
        batch_size=config.batch_size,
        images=IMAGES,
        backend=config.file_backend,
        dtype=config.dtype,
    )
    if config.backend == "tensorrt":
        request = request.model_copy(update={"precision": file_precision(config.dtype)})
    if config.dtype == "int8":
        formats: tuple[Format, ...] = ("openvino",) if config.backend == "openvino" else ("onnx",)
        request = request.model_copy(update={"precision": "int8", "dataset": dataset, "formats": formats})
    folder = cache_folder() / ARTEFACTS / _key(request)
    known = _read(folder)
    if known is None:
        _make(request, folder)
        known = _read(folder)
    if known is None:
        raise SpecError(f"{folder}: reads back differently from what was written; set JETBENCH_CACHE to another disk")
    return known


def engine_of_file(artefact: Artefact, config: ProfilingConfig) -> Artefact:
    """A model file of another exporter with its TensorRT engine, which is built beside a copy in the cache.

    Raises:
        SpecError: TensorRT cannot build it, or the cache cannot be written.
    """
    made_with = {"artefacts": str(ARTEFACT_VERSION), "gpu": _where()}
    parts = [artefact.exported.file.sha256, config.dtype, json.dumps(made_with, sort_keys=True)]
    folder = cache_folder() / ARTEFACTS / hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    path = folder / Path(artefact.path).name
    if not (folder / MADE_WITH).exists():
        try:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            shutil.copyfile(artefact.path, path)
            build_engine(path, config.dtype, artefact.exported.precision)
            write_json(folder / MADE_WITH, made_with)  # last: where it is, the engine is
        except OSError as error:
            raise SpecError(f"{folder}: cannot be written ({error.strerror}); set JETBENCH_CACHE to another") from None
    return artefact.model_copy(update={"path": str(path)})


def _make(request: ExportRequest, folder: Path) -> None:
    """Export into a folder beside the final one, then rename it; what another process finished first stays."""
    making = folder.with_name(f".{folder.name}-{os.getpid()}")
    try:
        export_network(request, making)
        write_json(making / MADE_WITH, _versions(request))
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(FileExistsError):
            making.rename(folder)
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise SpecError(f"{folder}: cannot be written ({error.strerror}); set JETBENCH_CACHE to another") from None
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _key(request: ExportRequest) -> str:
    saved = request.saved
    parts = [
        plan_network(saved.architecture, saved.num_classes, saved.input_size).fingerprint,
        str(saved.num_classes),
        str(saved.input_size),
        request.weights or f"seed {request.seed}",
        str(request.batch_size),
        str(OPSET),
        request.backend,
        request.dtype,
        *([_calibrated_on(request)] if request.precision == "int8" else []),
        json.dumps(_versions(request), sort_keys=True),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _calibrated_on(request: ExportRequest) -> str:
    config = request.data()
    return f"{request.calibrate} of {load_data(config).info.digest if config else None}"


def _versions(request: ExportRequest) -> dict[str, str]:
    packages = ("torch", *RUNTIMES[request.backend].packages)
    if request.precision == "int8" and request.backend == "openvino":
        packages = (*packages, "nncf")
    made_with = {"artefacts": str(ARTEFACT_VERSION), **{name: version_of(name) for name in packages}}
    if request.backend == "tensorrt":
        made_with["gpu"] = _where()
    return made_with


def _where() -> str:
    """What an engine belongs to: it runs on no other GPU, and is tuned at the clocks of a power mode."""
    return ", ".join(filter(None, (*describe_gpu(), power_mode(), _tensorrt())))


def _tensorrt() -> str:
    """The version of TensorRT, which has packages of several names."""
    try:
        return str(import_module("tensorrt").__version__)
    except ImportError:
        return "none"


def _read(folder: Path) -> Artefact | None:
    """The artefact of a folder; None if there is none, or its file is not the one that was made."""
    try:
        exported = Exported.model_validate(
            {key: value for key, value in (read_json(folder / MANIFEST) or {}).items() if key in Exported.model_fields}
        )
        (each,) = exported.files
        path = folder / each.file.name
        if digest_of_model(path) != each.file.sha256:
            return None
    except (OSError, ValueError, ValidationError):
        return None
    return Artefact(path=str(path), exported=each)


@dataclass(frozen=True)
class Kept:
    """An artefact in the cache; it is retired if it was made by other versions than are installed now."""

    folder: Path
    bytes: int
    is_retired: bool


def list_artefacts() -> Iterator[Kept]:
    """The artefacts in the cache."""
    root = cache_folder() / ARTEFACTS
    for folder in sorted(root.glob("[!.]*")):
        size = sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())
        yield Kept(folder, size, not _is_current(read_json(folder / MADE_WITH)))


def _is_current(made_with: dict[str, str] | None) -> bool:
    if not made_with or made_with.pop("artefacts", None) != str(ARTEFACT_VERSION):
        return False
    gpu = made_with.pop("gpu", None)
    is_here = gpu is None or gpu == _where()  # which asks TensorRT and the board, so only where there is an engine
    return is_here and all(version_of(name) == value for name, value in made_with.items())


def clear_retired() -> int:
    """Remove retired artefacts; returns the freed bytes.

    Raises:
        OSError: one cannot be removed.
    """
    freed = 0
    for kept in list_artefacts():
        if kept.is_retired:
            shutil.rmtree(kept.folder)
            freed += kept.bytes
    return freed
