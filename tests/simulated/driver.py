"""A study of made-up jobs with everything else real: python -m tests.simulated.driver FOLDER VARIANTS [key=value...].

Keys: ray (address), board, slots, wait (seconds for trouble to pass), timeout, storage, phases, retry, memory (64MiB).
"""

import os
import signal
import sys
import threading
import time
from pathlib import Path

from rich.console import Console

from jetbench.errors import JetbenchError
from jetbench.execution.executor import Executor, token_of
from jetbench.execution.local import LocalExecutor
from jetbench.network.variants import expand_sweep
from jetbench.spec.base import parse_spec
from jetbench.spec.sweep import Sweep
from jetbench.study.progress import LineView
from jetbench.study.run import run_study
from tests.made_up import DATASET, SIZE

WORKER = "tests.simulated.jobs"


def made_up_sweep(count: int, **more: object) -> Sweep:
    """One network with `count` seeds."""
    group = {"grid": {"training.seed": list(range(count))}}
    raw = {"name": "made-up", "base": "jetseg-nano", "include_base": False, "variants": [group], **more}
    return parse_spec(Sweep, raw, "made-up.yaml")


def main() -> int:
    """Run the study; exit codes as the command line's."""
    folder, count = Path(sys.argv[1]), int(sys.argv[2])
    told = dict(pair.split("=", 1) for pair in sys.argv[3:])
    # As the kernel's: this process's main thread may be in a call when the test's own ends.
    threading.Thread(target=die_with_test, args=(os.getppid(),), daemon=True).start()
    sweep = made_up_sweep(
        count,
        timeout_s=float(told.get("timeout", "60")),
        memory_limit=told.get("memory"),
        board=told.get("board"),
    )
    slots, wait_s = int(told.get("slots", "2")), float(told.get("wait", "5"))
    executor: Executor = LocalExecutor(
        {"cpu": slots, token_of(told.get("board")): 1}, slots, WORKER, ("tests.made_up",)
    )
    if "ray" in told:
        from jetbench.execution.ray import RayExecutor, connect

        connect(told["ray"], told["board"])
        executor = RayExecutor({"cpu": 1}, told["board"], wait_s, WORKER)
    view = LineView(Console(highlight=False))
    phases = ("train", "profile")[: int(told.get("phases", "2"))]
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as jetbench/__main__.py
    try:
        records = run_study(
            folder=folder,
            sweep=sweep,
            variants=expand_sweep(sweep, 3, SIZE),
            dataset=DATASET,
            device="cpu",
            executor=executor,
            view=view,
            retry_failed="retry" in told,
            phases=phases,  # type: ignore[arg-type]
            storage=told.get("storage"),
            storage_wait_s=wait_s,
        )
    except KeyboardInterrupt:
        print("stopped", flush=True)
        return 130
    except JetbenchError as error:
        print(f"error: {error}", flush=True)
        return 2

    return 3 if any(record.failure for record in records) else 0


def die_with_test(parent: int) -> None:
    """End when the test's process is gone."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main())
