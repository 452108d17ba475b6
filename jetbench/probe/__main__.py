"""python3 -m probe BUNDLE: measures a bundled network on a board where jetbench itself cannot be installed.

Needs Python 3.6 and the board's own torch. `jetbench profile` times a network with the same code.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

import torch

from . import machine
from .alone import WAITING, die_with, machine_to_itself
from .energy import EnergyPlan, capture
from .observer import Observer
from .passes import peak_allocated
from .run import Loaded, Session, time_in_turn


def main() -> int:
    """Time the bundle in fresh processes, one after another, and write result.json beside it."""
    parser = argparse.ArgumentParser(prog="python3 -m probe", description=__doc__)
    parser.add_argument("bundle", type=Path, help="the folder that `jetbench bundle` wrote")
    parser.add_argument("--processes", type=int, help="number of fresh processes to time in; default: the bundle's")
    parser.add_argument(
        "--leash", action="store_true", help="end when standard input closes: the program that started this is gone"
    )
    parser.add_argument("--progress-json", action="store_true", help="report progress as JSON lines, for a program")
    parser.add_argument("--one", choices=["latency", "rest"], help=argparse.SUPPRESS)
    parser.add_argument("--parent", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    try:
        request = json.loads((arguments.bundle / "request.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        print("error: {}: no readable bundle ({})".format(arguments.bundle, error), file=sys.stderr)
        return 2
    if arguments.one:
        die_with(arguments.parent)
        print(json.dumps(measure(arguments.bundle, request, arguments.one)))
        return 0
    try:
        (arguments.bundle / "result.tmp").write_text("", encoding="utf-8")
    except OSError as error:
        print("error: {}: this folder cannot be written ({})".format(arguments.bundle, error.strerror), file=sys.stderr)
        return 2
    if arguments.leash:
        threading.Thread(target=end_with_input, daemon=True).start()
    report = tell_json if arguments.progress_json else tell
    report(0.0, WAITING)
    with machine_to_itself(lambda text: report(0.0, text)):
        findings = measure_all(arguments.bundle, arguments.processes or request["config"]["processes"], report)
    if findings is None:
        return 1
    result = arguments.bundle / "result.json"
    partial = arguments.bundle / "result.tmp"
    partial.write_text(
        json.dumps({"processes": findings, "bundle": request, "finished_s": time.time()}), encoding="utf-8"
    )
    partial.replace(result)
    print(
        "written: {}. Copy it to the machine with jetbench and run: jetbench collect result.json".format(
            result.resolve()
        ),
        file=sys.stderr,
    )
    return 0


def tell(share: float, text: str) -> None:
    """Report progress to a person."""
    print(text, file=sys.stderr)


def tell_json(share: float, text: str) -> None:
    """Report progress to a program: the finished share (0 to 1) and what is being done."""
    print(json.dumps({"share": share, "text": text}), file=sys.stderr, flush=True)


def end_with_input() -> None:
    """Wait until standard input ends, then end this process; its children end with it."""
    while os.read(0, 4096):
        pass
    os._exit(1)


def measure_all(
    bundle: Path, count: int, report: Callable[[float, str], None] = tell
) -> Optional[List[Dict[str, Any]]]:
    """The findings of `count` fresh processes, run one after another; None if one failed."""
    findings: List[Dict[str, Any]] = []
    for number, part in enumerate(["rest"] + ["latency"] * (count - 1), 1):
        report((number - 1) / count, "process {} of {}".format(number, count))
        root = str(Path(__file__).resolve().parents[1])
        code = "import sys; sys.path.insert(0, {!r}); from probe.__main__ import main; sys.exit(main())".format(root)
        command = [sys.executable, "-c", code, str(bundle), "--one", part, "--parent", str(os.getpid())]
        done = subprocess.run(command, stdout=subprocess.PIPE, universal_newlines=True)
        if done.returncode:
            print("error: process {} ended with code {}".format(number, done.returncode), file=sys.stderr)
            return None
        findings.append(json.loads(done.stdout.splitlines()[-1]))
    return findings


def measure(bundle: Path, request: Dict[str, Any], part: str) -> Dict[str, Any]:
    """The findings of one process; the part `rest` measures energy and memory too."""
    config, size = request["config"], request["input_size"]
    session = Session(config)
    observer = session.observer
    device = torch.device("cuda" if request["accelerator"] == "cuda" and torch.cuda.is_available() else "cpu")
    inference = getattr(torch, "inference_mode", torch.no_grad)

    def build(images: torch.Tensor) -> Tuple[Any, Any]:
        traced = torch.jit.load(str(bundle / "model.ts"), map_location=device).eval()  # type: ignore[no-untyped-call]
        return traced, traced

    with inference():
        loaded = Loaded(build, device, (size[0], size[1]), config, request["mean"], request["std"])
        loaded.warm_up()
        (findings,), _ = time_in_turn([loaded], [], config, between=observer.pulse)
        findings["cold_start"] = loaded.cold_start
        model, images, plain = loaded.module, loaded.images, loaded.model
        if part == "rest":
            peak = machine.process_memory()["peak_bytes"]
            findings["energy"], findings["power_notes"] = measure_power(request, plain, observer)
            # A frozen network holds its weights as constants, which cannot be listed: the bundle states their size.
            weights_bytes, image_bytes = request["weights_bytes"], images.numel() * images.element_size()
            in_a_pass = peak_allocated(plain, device) if device.type == "cuda" else None
            findings["memory"] = {
                "weights_bytes": weights_bytes,
                "image_bytes": image_bytes,
                "allocator_peak_bytes": None if in_a_pass is None else weights_bytes + image_bytes + in_a_pass,
                "reserved_bytes": torch.cuda.max_memory_reserved(device) if device.type == "cuda" else None,
                "process_baseline_bytes": session.baseline["resident_bytes"],
                "process_peak_bytes": peak,
            }
            findings["memory"].update(observer.memory())
            findings["finite"] = bool(torch.isfinite(model(images)).all())
        # Last, so that its pass and its tensors are in no number above.
        findings["difference"] = check(model, bundle, device)
    findings["watch"] = observer.finish()
    findings["environment"] = describe(device, config, session.flushes, session.keeps)
    findings["identity"] = machine.board_identity()
    return findings


def check(model: Any, bundle: Path, device: torch.device) -> float:
    """Largest difference from the bundle's reference output, divided by the reference's largest value."""
    reference = torch.load(str(bundle / "reference.pt"), map_location=device)
    output = model(reference["images"])
    return float((output - reference["logits"]).abs().max() / reference["logits"].abs().max())


def measure_power(request: Dict[str, Any], timed: Any, observer: Observer) -> Any:
    """Raw energy windows (None if no sensor can be read) and the notes about them."""
    config = request["config"]
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


if __name__ == "__main__":
    sys.exit(main())
