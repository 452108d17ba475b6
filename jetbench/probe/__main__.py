"""python3 -m probe BUNDLE: measures a bundled network on a board where jetbench itself cannot be installed.

Needs Python 3.6 and the board's own torch. The same code times a network for `jetbench profile`.
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
    parser.add_argument("--processes", type=int, help="fresh processes to time in; default: as the bundle says")
    parser.add_argument("--leash", action="store_true", help="end when standard input does: who started this is gone")
    parser.add_argument("--progress-json", action="store_true", help="tell progress as JSON lines, for a program")
    parser.add_argument("--one", choices=["latency", "rest"], help=argparse.SUPPRESS)
    parser.add_argument("--parent", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    try:
        request = json.loads((asked.bundle / "request.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        print("error: {}: no bundle that can be read ({})".format(asked.bundle, error), file=sys.stderr)
        return 2
    if asked.one:
        die_with(asked.parent)
        print(json.dumps(measure(asked.bundle, request, asked.one)))
        return 0
    try:
        (asked.bundle / "result.tmp").write_text("", encoding="utf-8")
    except OSError as error:
        print("error: {}: cannot write here ({})".format(asked.bundle, error.strerror), file=sys.stderr)
        return 2
    if asked.leash:
        threading.Thread(target=end_with_input, daemon=True).start()
    report = tell_json if asked.progress_json else tell
    report(0.0, WAITING)
    with machine_to_itself():
        found = measure_all(asked.bundle, asked.processes or request["config"]["processes"], report)
    if found is None:
        return 1
    result = asked.bundle / "result.json"
    partial = asked.bundle / "result.tmp"
    partial.write_text(json.dumps({"processes": found, "bundle": request, "finished_s": time.time()}), encoding="utf-8")
    partial.replace(result)
    print("written: {}. Bring it back for: jetbench collect result.json".format(result.resolve()), file=sys.stderr)
    return 0


def tell(share: float, text: str) -> None:
    """Progress for a person."""
    print(text, file=sys.stderr)


def tell_json(share: float, text: str) -> None:
    """Progress for a program: the finished share (0 to 1) and what is being done."""
    print(json.dumps({"share": share, "text": text}), file=sys.stderr, flush=True)


def end_with_input() -> None:
    """Wait until standard input ends, then end this process; its children end with it."""
    while os.read(0, 4096):
        pass
    os._exit(1)


def measure_all(
    bundle: Path, count: int, report: Callable[[float, str], None] = tell
) -> Optional[List[Dict[str, Any]]]:
    """What each of `count` fresh processes finds, one after another; None if one failed."""
    found: List[Dict[str, Any]] = []
    for number, part in enumerate(["rest"] + ["latency"] * (count - 1), 1):
        report((number - 1) / count, "process {} of {}".format(number, count))
        root = str(Path(__file__).resolve().parents[1])
        code = "import sys; sys.path.insert(0, {!r}); from probe.__main__ import main; sys.exit(main())".format(root)
        command = [sys.executable, "-c", code, str(bundle), "--one", part, "--parent", str(os.getpid())]
        done = subprocess.run(command, stdout=subprocess.PIPE, universal_newlines=True)
        if done.returncode:
            print("error: process {} ended with code {}".format(number, done.returncode), file=sys.stderr)
            return None
        found.append(json.loads(done.stdout.splitlines()[-1]))
    return found


def measure(bundle: Path, request: Dict[str, Any], part: str) -> Dict[str, Any]:
    """What one process finds; `rest` has energy and memory too."""
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
        (found,), _ = time_in_turn([loaded], [], config, between=observer.pulse)
        found["cold_start"] = loaded.cold_start
        model, images, plain = loaded.module, loaded.images, loaded.model
        if part == "rest":
            peak = machine.process_memory()["peak_bytes"]
            found["energy"], found["power_notes"] = measure_power(request, plain, observer)
            # A frozen network has its weights as constants, which nothing lists.
            weights_bytes, image_bytes = request["weights_bytes"], images.numel() * images.element_size()
            in_a_pass = peak_allocated(plain, device) if device.type == "cuda" else None
            found["memory"] = {
                "weights_bytes": weights_bytes,
                "image_bytes": image_bytes,
                "allocator_peak_bytes": None if in_a_pass is None else weights_bytes + image_bytes + in_a_pass,
                "reserved_bytes": torch.cuda.max_memory_reserved(device) if device.type == "cuda" else None,
                "process_baseline_bytes": session.baseline["resident_bytes"],
                "process_peak_bytes": peak,
            }
            found["memory"].update(observer.memory())
            found["finite"] = bool(torch.isfinite(model(images)).all())
        # Last, so that neither its pass nor its tensors are in any number above.
        found["difference"] = check(model, bundle, device)
    found["watch"] = observer.finish()
    found["environment"] = describe(device, config, session.flushes, session.keeps)
    found["identity"] = machine.board_identity()
    return found


def check(model: Any, bundle: Path, device: torch.device) -> float:
    """Largest difference to the reference output of the machine that bundled it, over the reference's largest value."""
    reference = torch.load(str(bundle / "reference.pt"), map_location=device)
    output = model(reference["images"])
    return float((output - reference["logits"]).abs().max() / reference["logits"].abs().max())


def measure_power(request: Dict[str, Any], timed: Any, observer: Observer) -> Any:
    """Raw energy windows and the notes about them."""
    config = request["config"]
    if config["power"] == "none":
        return None, ["not measured: --power none"]
    names = request["sensors"] if config["power"] == "auto" else [config["power"]]
    raw, reasons = capture(names, config["power_interval"], timed, EnergyPlan(*request["energy_plan"]))
    if raw is not None:
        observer.take(raw["samples"], raw["load"])
    return raw, reasons


def describe(device: torch.device, config: Dict[str, Any], flushes: bool, keeps: bool) -> Dict[str, Any]:
    """As `record.Environment` has it."""
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
        "cores": len(os.sched_getaffinity(0)),
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
