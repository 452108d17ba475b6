"""count and list_network: what a network costs. JetSeg is counted without torch, a baseline by tracing it."""

from functools import lru_cache
from typing import TYPE_CHECKING

from jetbench.network.list_operations import list_operations
from jetbench.network.operations import Cost, Operation, add_up
from jetbench.network.plan import AnyPlan, BaselinePlan, plan_network
from jetbench.spec.architecture import AnyArchitecture
from jetbench.spec.catalog import load_architecture

if TYPE_CHECKING:
    from torch import nn


def count(network: AnyArchitecture | str, num_classes: int = 11, size: tuple[int, int] = (512, 512)) -> Cost:
    """The cost of a network for one image: parameters, MACs, FLOPs, equation 2, peak activations and bytes moved.

    Args:
        network: a name (`jetseg-nano`), the path of a YAML file, or an architecture.
        num_classes: channels of the logits.
        size: (height, width) of the image.

    Raises:
        SpecError: the network does not exist, or cannot be built at this size.
    """
    architecture = load_architecture(network) if isinstance(network, str) else network
    return add_up(list_network(plan_network(architecture, num_classes, size)))


def list_network(plan: AnyPlan) -> tuple[Operation, ...]:
    """The operations of one forward pass in eval mode, for one image, in order, without training-only heads.

    A baseline is built on torch's meta device, which computes nothing and needs no memory. For a baseline, `part` of
    an operation is the outermost module that ran it.
    """
    return _trace(plan) if isinstance(plan, BaselinePlan) else list_operations(plan)


def count_training_only(plan: BaselinePlan) -> int:
    """Number of parameters in a baseline's heads that only training uses."""
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
