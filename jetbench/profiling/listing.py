"""count and list_network: what a network costs. JetSeg is counted without torch, a baseline by tracing it."""

import contextlib
import dataclasses
import json
import subprocess
import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from jetbench.data.cache import COUNTS, cache_folder
from jetbench.errors import SpecError
from jetbench.files import read_text, write_whole
from jetbench.network.list_operations import list_operations
from jetbench.network.operations import Cost, Operation, Tensor, add_up
from jetbench.network.plan import AnyPlan, BaselinePlan, CodePlan, ForeignPlan, plan_network
from jetbench.spec.architecture import AnyArchitecture
from jetbench.spec.catalog import load_architecture
from jetbench.spec.sources import named_source

COUNTS_VERSION = 1
COUNT_LIMIT_S = 600.0
MOST_COUNT_BYTES = 2**26

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

    A baseline is built on torch's meta device, which computes nothing and needs no memory; a user's network in a
    process of its own. For both, `part` of an operation is the outermost module that ran it.

    Raises:
        SpecError: a user's network cannot be built or run.
    """
    if isinstance(plan, ForeignPlan):
        return _count_apart(plan)
    return _trace(plan) if isinstance(plan, BaselinePlan) else list_operations(plan)


def count_training_only(plan: CodePlan) -> int:
    """Number of parameters in a baseline's heads that only training uses; of a user's network, 0: nobody says."""
    if isinstance(plan, ForeignPlan):
        return 0
    everything = sum(parameter.numel() for parameter in _build(plan).parameters())
    return everything - sum(operation.parameters for operation in _trace(plan))


def _build(plan: BaselinePlan) -> "nn.Module":
    import torch

    from jetbench.models.build import build_planned

    with torch.device("meta"):
        return build_planned(plan)


@lru_cache(maxsize=256)
def _count_apart(plan: ForeignPlan) -> tuple[Operation, ...]:
    """The operations of a user's network, listed by a process of its own, and kept in the cache by its fingerprint."""
    named_source(plan.name, plan.model, plan.digest)  # said here, in one line
    kept = cache_folder() / COUNTS / f"{plan.fingerprint}-{COUNTS_VERSION}.json"
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        return read_operations(read_text(kept, MOST_COUNT_BYTES))
    asked = json.dumps(dataclasses.asdict(plan))
    command = [sys.executable, "-m", "jetbench.profiling.counting"]
    try:
        done = subprocess.run(command, input=asked, capture_output=True, text=True, timeout=COUNT_LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        raise SpecError(f"{plan.name}: counting it took more than {COUNT_LIMIT_S:g} s") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"its process ended with {done.returncode}"]
        raise SpecError(lines[-1].removeprefix("error: "))
    operations = read_operations(done.stdout.splitlines()[-1])
    with contextlib.suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_whole(kept, done.stdout.splitlines()[-1])
    return operations


def read_operations(text: str) -> tuple[Operation, ...]:
    """Operations from the JSON of `write_operations`."""
    rows = json.loads(text)
    return tuple(
        Operation(*row[:-2], *(tuple(Tensor(*each) for each in tensors) for tensors in row[-2:])) for row in rows
    )


def write_operations(operations: Sequence[Operation]) -> str:
    """Operations as JSON on one line."""
    return json.dumps(operations)


@lru_cache(maxsize=64)
def _trace(plan: BaselinePlan) -> tuple[Operation, ...]:
    import torch

    from jetbench.profiling.trace import trace_own

    operations, _ = trace_own(_build(plan), torch.zeros(1, 3, *plan.input_size, device="meta"))
    return tuple(placed(operation) for operation in operations)


def placed(operation: Operation, within: str = "") -> Operation:
    """The operation with the outermost module, or the outermost one within a module, as its part."""
    path = operation.layer.removeprefix(f"{within}.") if within else operation.layer
    part, _, layer = ("" if within and path == within else path).partition(".")
    return operation._replace(part=part or "between", layer=layer)
