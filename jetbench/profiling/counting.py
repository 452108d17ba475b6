"""Count users' networks in a process of its own: reads plans as JSON, prints the operations of each as JSON.

The user's code runs here and not in the process that shows tables: it may print, take memory, or crash.
"""

import json
import os
import sys
from typing import Any

from jetbench.errors import JetbenchError
from jetbench.network.operations import Operation
from jetbench.network.plan import ForeignPlan


def main() -> None:
    """Read a list of plans from the standard input; print a line for each: `operations`, or `error` in one sentence."""
    plans = [ForeignPlan(**{**raw, "input_size": tuple(raw["input_size"])}) for raw in json.loads(sys.stdin.read())]
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # the user's code may print, also from C
    for plan in plans:
        answers.write(f"{json.dumps(_count(plan))}\n")
        answers.flush()


def _count(plan: ForeignPlan) -> dict[str, Any]:
    try:
        return {"operations": list_apart(plan)}
    except JetbenchError as error:
        return {"error": str(error)}
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        size = "x".join(map(str, plan.input_size))
        return {"error": f"{plan.name}: it fails on an image of {size} ({type(error).__name__}: {lines[0][:300]})"}


def list_apart(plan: ForeignPlan) -> list[Operation]:
    """The operations of a user's network, traced in this process.

    Raises:
        SpecError: it cannot be built.
    """
    import torch

    from jetbench.models.build import build_planned
    from jetbench.profiling.listing import placed
    from jetbench.profiling.trace import trace_own, with_unused

    model = build_planned(plan).eval()
    operations, _ = trace_own(model, torch.zeros(1, 3, *plan.input_size))
    return with_unused([placed(operation, "network") for operation in operations], model)


if __name__ == "__main__":
    main()
