"""Measures forms of one network of a bundle in this process.

Needs Python 3.6, torch, and the runtime of a form that a file runs in.
"""

import os
import platform
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

import torch

from . import machine
from .energy import EnergyPlan, capture
from .engines import open_engine
from .engines.tensor_rt import file_format
from .observer import Observer
from .packed import Bundle
from .passes import Normalise, peak_allocated
from .peaks import measure_peaks
from .run import Loaded, Session

LAYER_PASSES = 5
VOID = 255


def measure(bundle: Bundle, network: Dict[str, Any], numbers: Sequence[int], is_alone: bool) -> Dict[str, Any]:
    """The findings of one process.

    Args:
        bundle: the folder.
        network: one of its networks.
        numbers: which of its cases: several are timed in turn, with a copy of the first.
        is_alone: also measure energy, memory, the difference from the reference and the score; of one case only.
    """
    cases = [network["cases"][number] for number in numbers]
    config = cases[0]["config"]
    session = Session(config)
    observer = session.observer
    inference = getattr(torch, "inference_mode", torch.no_grad)
    with inference():
        loaded = [_load(bundle, network, case) for case in cases]
        twin = _load(bundle, network, cases[0]) if len(cases) > 1 else None
        for each in loaded + [other for other in (twin,) if other is not None]:
            each.warm_up()
        memory = session.read_memory(loaded[0].images.device)
        turns = session.time_in_turn(loaded, config, copy=twin, load_standard=_standard_of(bundle))
        findings = turns.runs
        for own, each in zip(findings, loaded):  # noqa: B905 (strict= is of Python 3.10)
            own["cold_start"] = each.cold_start
        if is_alone:
            findings[0].update(_measure_rest(bundle, network, cases[0], loaded[0], session, memory))
    device = loaded[0].images.device
    return {
        "cases": list(numbers),
        "findings": findings,
        "control": turns.control,
        "standard": turns.standard,
        "watch": observer.finish(),
        "environment": describe(device, config, session.flushes, session.keeps),
        "identity": machine.board_identity(),
    }


def device_of(request: Dict[str, Any], case: Dict[str, Any]) -> torch.device:
    """Where a case runs: on the GPU if the board has one that torch finds, but ONNX Runtime on the processor."""
    is_gpu = request["accelerator"] == "cuda" and case["config"]["backend"] != "onnxruntime"
    return torch.device("cuda" if is_gpu and torch.cuda.is_available() else "cpu")


def file_of(case: Dict[str, Any]) -> str:
    """The name of the file that a case runs, of those that were packed for it."""
    files, dtype = case["files"], case["config"]["dtype"]
    if case["config"]["backend"] == "tensorrt":
        dtype = file_format(dtype)
    return str(files[dtype])


def _load(bundle: Bundle, network: Dict[str, Any], case: Dict[str, Any]) -> Loaded:
    config, path = case["config"], str(bundle.folder / file_of(case))
    device, is_traced = device_of(bundle.request, case), config["backend"] == "traced"

    def build(images: torch.Tensor) -> Tuple[Any, Any]:
        if is_traced:
            traced = torch.jit.load(path, map_location=device).eval()  # type: ignore[no-untyped-call]
            return traced, traced
        engine = open_engine(config["backend"], path, config["dtype"], config["threads"], config["flush_denormals"])
        return None, engine

    size, dtype = network["input_size"], None if is_traced else "fp32"  # the images of a file are fp32
    try:
        return Loaded(build, device, (size[0], size[1]), config, network["mean"], network["std"], dtype)
    except RuntimeError:
        if is_traced and config["dtype"] != "fp32" and device.type == "cpu":
            text = "torch {} found no GPU, and does not compute {} on this processor"
            raise RuntimeError(text.format(torch.__version__, config["dtype"])) from None
        raise


def _standard_of(bundle: Bundle) -> Optional[Callable[[], Loaded]]:
    """What loads the standard network, traced; None if the bundle holds none."""
    standard = bundle.request.get("standard")
    if standard is None:
        return None
    case = dict(standard, files={"fp32": standard["file"]})
    return lambda: _load(bundle, standard, case)


def _measure_rest(
    bundle: Bundle,
    network: Dict[str, Any],
    case: Dict[str, Any],
    loaded: Loaded,
    session: Session,
    memory: Dict[str, Any],
) -> Dict[str, Any]:
    observer, images, device = session.observer, loaded.images, loaded.images.device
    findings: Dict[str, Any] = {}
    findings["energy"], findings["power_notes"] = measure_power(bundle.request, case["config"], loaded.model, observer)
    # A frozen network holds its weights as constants, which cannot be listed: the bundle states their size.
    weights_bytes, image_bytes = case["weights_bytes"], images.numel() * images.element_size()
    is_traced = case["config"]["backend"] == "traced"
    # A CUDA graph has taken its memory when it was captured, and allocates nothing in a pass.
    can_tell = device.type == "cuda" and is_traced and not case["config"].get("cuda_graph")
    in_a_pass = peak_allocated(loaded.model, device) if can_tell else None
    findings["memory"] = {
        "weights_bytes": weights_bytes,
        "image_bytes": image_bytes,
        "allocator_peak_bytes": None if in_a_pass is None else weights_bytes + image_bytes + in_a_pass,
    }
    findings["memory"].update(memory)
    findings["memory"].update(observer.memory())
    findings["finite"] = bool(torch.isfinite(loaded.runs(images)).all())
    findings["peaks"] = measure_peaks(device, case["config"]["dtype"])
    # Last, so that these passes and tensors are in no number above.
    findings["parity"] = compare(loaded.runs, bundle, network, device, images.dtype)
    findings["file"] = file_of(case)
    if not is_traced:
        findings["deployment"] = loaded.runs.describe()
        findings["layers"] = [layer.to_dict() for layer in loaded.runs.list_layers(images, LAYER_PASSES)]
        findings["score"] = score(loaded.runs, bundle, network, case, device)
    return findings


def compare(
    runs: Any, bundle: Bundle, network: Dict[str, Any], device: torch.device, dtype: torch.dtype
) -> Dict[str, Any]:
    """How a form's output differs from PyTorch's in float32, with the fields of `records.deployment.Parity`."""
    reference = torch.load(str(bundle.folder / network["reference"]), map_location=device)
    expected = reference["logits"].double()
    given = runs(reference["images"].to(dtype)).double()
    is_finite = bool(torch.isfinite(given).all())
    difference = (given - expected).abs()
    return {
        "on": "the reference",
        "images": int(expected.shape[0]),
        "pixels": int(expected[:, 0].numel()),
        "changed": int((given.argmax(dim=1) != expected.argmax(dim=1)).sum()),
        "largest": float(difference.max()) if is_finite else None,
        "rms": float((difference**2).mean().sqrt()) if is_finite else None,
        "scale": float(expected.abs().max()) if is_finite else None,
        "is_finite": is_finite,
    }


def score(
    runs: Any, bundle: Bundle, network: Dict[str, Any], case: Dict[str, Any], device: torch.device
) -> Optional[Dict[str, Any]]:
    """What a form scores on the bundle's images; None if the bundle has none for it.

    `counts` are those of `count_classes` for each image; `changed` are pixels with another class than PyTorch gives.
    """
    data = bundle.images() if network.get("classes") else None
    if data is None:
        return None
    pixels, labels = data
    theirs, count = bundle.classes_of(network), int(network["num_classes"])
    normalise, batch = Normalise(network["mean"], network["std"], device), case["config"]["batch_size"]
    counts, changed = [], 0
    for number in range(len(pixels)):
        image = pixels[number : number + 1].expand(batch, -1, -1, -1)  # a file takes whole batches
        classes = runs(normalise(image)).argmax(dim=1)[0].to(torch.uint8).cpu()
        counts.append(count_classes(classes, labels[number], count))
        changed += int((classes != theirs[number]).sum())
    return {"counts": counts, "changed": changed}


def count_classes(classes: torch.Tensor, labels: torch.Tensor, count: int) -> List[List[int]]:
    """The true positives, false positives and false negatives of each class; void pixels are left out."""
    known = labels != VOID
    true, given = labels[known].long(), classes[known].long()
    right = torch.bincount(true[true == given], minlength=count)
    taken, there = torch.bincount(given, minlength=count), torch.bincount(true, minlength=count)
    return [right.tolist(), (taken - right).tolist(), (there - right).tolist()]


def measure_power(request: Dict[str, Any], config: Dict[str, Any], timed: Any, observer: Observer) -> Any:
    """Raw energy windows (None if no sensor can be read) and the notes about them."""
    if config["power"] == "none":
        return None, ["not measured: --power none"]
    names = request["sensors"] if config["power"] == "auto" else [config["power"]]
    raw, reasons = capture(names, config["power_interval"], timed, EnergyPlan(*request["energy_plan"]))
    if raw is not None:
        observer.take(raw["samples"], raw["load"])
    return raw, reasons


def describe(device: torch.device, config: Dict[str, Any], flushes: bool, keeps: bool) -> Dict[str, Any]:
    """The machine and its software, with the fields of `record.Environment`."""
    cpu = ""
    for line in (machine.read_text("/proc/cpuinfo") or "").splitlines():
        if line.startswith(("model name", "Model")):
            cpu = line.split(":", 1)[1].strip()
            break
    name = "cpu"
    if device.type == "cuda":
        name = "{} (CUDA {})".format(torch.cuda.get_device_name(device), torch.version.cuda)
    state = machine.read_state()
    clocks = state["cpu_hz"]
    return {
        "device": name,
        "cpu": cpu or platform.machine(),
        "cores": machine.cores(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "clock_mhz": [hz / 1e6 for hz in clocks] if clocks else None,
        "load_average": state["load_average"],
        "system": "{} {} {}".format(platform.system(), platform.release(), platform.machine()),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "threads": config["threads"],
        "flush_denormals": bool(flushes),
        "tf32": False,
        "keeps_freed_memory": keeps,
        "power_mode": state["power_mode"],
    }
