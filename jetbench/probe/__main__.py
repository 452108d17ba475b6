"""python3 -m probe BUNDLE: measures bundled networks on a board where jetbench itself cannot be installed.

Needs Python 3.6 and the board's own torch. `jetbench profile` times a network with the same code. If it is ended, the
same command goes on where it was.
"""

import argparse
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

import torch

from . import machine
from .alone import WAITING, die_with, machine_to_itself
from .build_engine import BuildError, ensure_engine
from .measure import describe, file_of, measure
from .packed import DAMAGED, RESULT, VERSION, Bundle, BundleError, write_whole
from .power_mode import Held, PowerModeError, left_over
from .trtexec import run_trtexec
from .units import Report, Units

INTERRUPTED = 130


def main() -> int:
    """Measure the bundle in fresh processes, one after another, and write result.json into it."""
    arguments = _parser().parse_args()
    try:
        bundle = Bundle(arguments.bundle.resolve())
        if arguments.one is not None:
            return _child(bundle, arguments)
        if not _is_whole(bundle):
            return DAMAGED
        (bundle.folder / (RESULT + ".part")).write_text("", encoding="utf-8")
    except BundleError as error:
        print("error: {}".format(error), file=sys.stderr)
        return 2
    except OSError as error:
        print("error: {}: this folder cannot be written ({})".format(arguments.bundle, error.strerror), file=sys.stderr)
        return 2
    if arguments.leash:
        threading.Thread(target=end_with_input, daemon=True).start()
    report = tell_json if arguments.progress_json else tell
    try:
        return _run(bundle, arguments, report)
    except PowerModeError as error:
        print("error: --power-mode: {}".format(error), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on where it was", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python3 -m probe", description=__doc__)
    parser.add_argument("bundle", type=Path, help="the folder that `jetbench bundle` wrote")
    parser.add_argument("--processes", type=int, help="number of fresh processes to time in; default: the bundle's")
    parser.add_argument(
        "--power-mode", metavar="MODE,...", help="measure in each of these power modes, by the board's names for them; "
        "the mode is restored afterwards; default: the bundle's, or the mode that the board is in",
    )  # fmt: skip
    parser.add_argument("--jetson-clocks", action="store_true", help="fix all clocks at the highest of each mode")
    parser.add_argument("--again", action="store_true", help="measure again what this board has measured")
    parser.add_argument(
        "--leash", action="store_true", help="end when standard input closes: the program that started this is gone"
    )
    parser.add_argument("--progress-json", action="store_true", help="report progress as JSON lines, for a program")
    parser.add_argument("--one", choices=["build", "alone", "turn"], help=argparse.SUPPRESS)
    parser.add_argument("--network", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--cases", help=argparse.SUPPRESS)
    parser.add_argument("--parent", type=int, help=argparse.SUPPRESS)
    return parser


def _is_whole(bundle: Bundle) -> bool:
    try:
        bundle.check()
    except BundleError as error:
        print("error: {}".format(error), file=sys.stderr)
        return False
    return True


def _child(bundle: Bundle, arguments: argparse.Namespace) -> int:
    """One process of those that measure; its findings are the last line of its output."""
    die_with(arguments.parent)
    network, numbers = bundle.networks[arguments.network], [int(each) for each in arguments.cases.split(",")]
    if arguments.one == "build":
        case = network["cases"][numbers[0]]
        try:
            name = file_of(case)
            file_dtype = next(dtype for dtype, each in case["files"].items() if each == name)
            findings = ensure_engine(str(bundle.folder / name), case["config"]["dtype"], file_dtype)
        except ImportError as error:
            try:
                findings = _by_trtexec(bundle, case)
            except BuildError as other:
                text = "TensorRT's Python package is not here ({}), and {}; JetPack has both"
                print(text.format(error, other), file=sys.stderr)
                return 1
        except BuildError as error:
            print(str(error), file=sys.stderr)
            return 1
    else:
        findings = measure(bundle, network, numbers, arguments.one == "alone")
    print(json.dumps(findings))
    return 0


def _by_trtexec(bundle: Bundle, case: Dict[str, Any]) -> Dict[str, Any]:
    """What trtexec measures, for want of a Python package of TensorRT."""
    if case["config"].get("cuda_graph"):
        raise BuildError("trtexec is asked for no CUDA graph")
    files = {dtype: str(bundle.folder / name) for dtype, name in case["files"].items()}
    timed = run_trtexec(files, case["config"]["dtype"])
    return {
        "trtexec": dict(timed, file=Path(timed["file"]).name),
        "environment": describe(torch.device("cpu"), case["config"], True, False),
        "identity": machine.board_identity(),
    }


def _run(bundle: Bundle, arguments: argparse.Namespace, report: Report) -> int:
    request = bundle.request
    given = arguments.power_mode
    modes: List[str] = given.split(",") if given is not None else request["modes"]
    restored = left_over()
    if restored:
        print("attention: {}".format(restored), file=sys.stderr)
    if arguments.again:
        bundle.forget()
    fixes_clocks = arguments.jetson_clocks or bool(request["jetson_clocks"])
    units = Units(bundle, arguments.processes, len(modes) or 1, report, fixes_clocks)
    report(0.0, WAITING)
    if modes:
        with Held(fixes_clocks) as held:
            held.check(modes)
            for mode in modes:
                try:
                    held.set(mode)
                except PowerModeError as error:  # such as a mode that wants a reboot: the others are measured
                    units.fail(mode, str(error))
                    continue
                _alone(units, mode, report)
    else:
        _alone(units, None, report)
    if not units.measured and not units.by_trtexec:
        for failure in units.failures:
            print("error: {}".format(failure["reason"]), file=sys.stderr)
        return 1
    result = {
        "version": VERSION,
        "bundle": request,
        "units": units.measured,
        "trtexec": units.by_trtexec,
        "failures": units.failures,
        "finished_s": time.time(),
    }
    path = bundle.folder / RESULT
    write_whole(path, json.dumps(result))
    for failure in units.failures:
        mode = "{}: ".format(failure["mode"]) if failure["mode"] else ""
        print("not measured: {}{}".format(mode, failure["reason"]), file=sys.stderr)
    print(
        "written: {}. Copy it to the machine with jetbench and run: jetbench collect {}".format(path, RESULT),
        file=sys.stderr,
    )
    return 0


def _alone(units: Units, mode: Optional[str], report: Report) -> None:
    with machine_to_itself(lambda text: report(units.share, text)):
        units.run(mode)


def tell(share: float, text: str) -> None:
    """Report progress to a person."""
    print("{:3.0f} %  {}".format(100 * share, text), file=sys.stderr, flush=True)


def tell_json(share: float, text: str) -> None:
    """Report progress to a program: the finished share (0 to 1) and what is being done."""
    print(json.dumps({"share": share, "text": text}), file=sys.stderr, flush=True)


def end_with_input() -> None:
    """Wait until standard input ends, then end this process; its children end with it."""
    while os.read(0, 4096):
        pass
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
