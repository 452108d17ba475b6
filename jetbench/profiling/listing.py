"""list_network: every operation of any planned network, JetSeg's without torch, a rival's by tracing it."""

from functools import lru_cache

from jetbench.operations import Operation
from jetbench.plan import AnyPlan, BaselinePlan
from jetbench.walk import list_operations


def list_network(plan: AnyPlan) -> tuple[Operation, ...]:
    """The operations of one forward pass in eval mode, for one image, in order; training-only heads run none.

    A rival is built on torch's meta device, where nothing is computed and no memory is needed. `part` of an operation
    is then the outermost module that ran it.
    """
    return _trace(plan) if isinstance(plan, BaselinePlan) else list_operations(plan)


@lru_cache(maxsize=64)
def _trace(plan: BaselinePlan) -> tuple[Operation, ...]:
    import torch

    from jetbench.models.build import build_planned
    from jetbench.profiling.trace import trace_own

    with torch.device("meta"):
        model = build_planned(plan)
    operations, _ = trace_own(model, torch.zeros(1, 3, *plan.input_size, device="meta"))
    return tuple(_placed(operation) for operation in operations)


def _placed(operation: Operation) -> Operation:
    part, _, layer = operation.layer.partition(".")
    return operation._replace(part=part or "between", layer=layer)
