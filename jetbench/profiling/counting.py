"""Count a user's network in a process of its own: reads a plan as JSON, prints its operations as JSON.

The user's code runs here and not in the process that shows tables: it may print, take memory, or crash.
"""

import json
import sys

from jetbench.errors import JetbenchError
from jetbench.network.plan import ForeignPlan


def main() -> None:
    """Read a plan from the standard input and print its operations; an error is one line, with exit code 2."""
    raw = json.loads(sys.stdin.read())
    plan = ForeignPlan(**{**raw, "input_size": tuple(raw["input_size"])})
    told, sys.stdout = sys.stdout, sys.stderr  # the user's code may print
    try:
        import torch

        from jetbench.models.build import build_planned
        from jetbench.profiling.listing import placed, write_operations
        from jetbench.profiling.trace import trace_own

        model = build_planned(plan).eval()
        operations, _ = trace_own(model, torch.zeros(1, 3, *plan.input_size))
        text = write_operations([placed(operation, "network") for operation in operations])
    except JetbenchError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        size = "x".join(map(str, plan.input_size))
        print(
            f"error: {plan.name}: it fails on an image of {size} ({type(error).__name__}: {lines[0][:300]})",
            file=sys.stderr,
        )
        sys.exit(2)
    told.write(f"\n{text}\n")


if __name__ == "__main__":
    main()
