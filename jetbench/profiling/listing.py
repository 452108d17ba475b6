"""list_network: every operation of any planned network, JetSeg's without torch, a rival's by tracing it."""

from functools import lru_cache
from typing import TYPE_CHECKING

from jetbench.network.list_operations import list_operations
from jetbench.network.operations import Operation
from jetbench.network.plan import AnyPlan, BaselinePlan

if TYPE_CHECKING:
    from torch import nn


def list_network(plan: AnyPlan) -> tuple[Operation, ...]:
    """The operations of one forward pass in eval mode, for one image, in order; training-only heads run none.

    A rival is built on torch's meta device, where nothing is computed and no memory is needed. `part` of an operation
    is then the outermost module that ran it.
    """
    return _trace(plan) if isinstance(plan, BaselinePlan) else list_operations(plan)


def count_training_only(plan: BaselinePlan) -> int:
    """Parameters of a rival's heads that only training uses."""
    everything = sum(parameter.numel() for parameter in _build(plan).parameters())
    return everything - sum(operation.parameters for operation in _trace(plan))


def _build(plan: BaselinePlan) -> "nn.Module":
    import torch

    from jetbench.models.build import build_planned

    with torch.device("meta"):
        return build_planned(plan)


@lru_cache(maxsize=64)
def _trace(plan: BaselinePlan) -> tuple[Operation, ...]:
    import torch

    from jetbench.profiling.trace import trace_own

    operations, _ = trace_own(_build(plan), torch.zeros(1, 3, *plan.input_size, device="meta"))
    return tuple(_placed(operation) for operation in operations)


def _placed(operation: Operation) -> Operation:
    part, _, layer = operation.layer.partition(".")
    return operation._replace(part=part or "between", layer=layer)
