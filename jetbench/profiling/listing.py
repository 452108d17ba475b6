"""count and list_network: what a network costs. JetSeg is counted without torch, a baseline by tracing it."""

import contextlib
import dataclasses
import json
import subprocess
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jetbench.data.cache import COUNTS, cache_folder
from jetbench.errors import SpecError
from jetbench.files import read_text, write_whole
from jetbench.network.closed_form import QuickCost, cost_of
from jetbench.network.list_operations import list_operations
from jetbench.network.operations import Convolution, Cost, Operation, Tensor, add_up
from jetbench.network.plan import AnyPlan, BaselinePlan, CodePlan, ForeignPlan, plan_network
from jetbench.spec.architecture import AnyArchitecture, InCode
from jetbench.spec.catalog import load_architecture
from jetbench.spec.sources import named_source
from jetbench.spec.values import Size

COUNTS_VERSION = 3
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


def count_quickly(architecture: AnyArchitecture, num_classes: int, size: Size) -> QuickCost:
    """The totals that limits need: of JetSeg in closed form, of any other network from `list_network`.

    Raises:
        SpecError: it cannot be built at this size, or its code was not named in this command.
    """
    if not isinstance(architecture, InCode):
        return cost_of(architecture, num_classes, size)
    cost = add_up(list_network(plan_network(architecture, num_classes, size)))
    return QuickCost(cost.parameters, cost.macs, cost.eq2_flops, cost.peak_activation_bytes)


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


_known: dict[str, tuple[Operation, ...] | str] = {}
"""The operations of users' networks by fingerprint, or why there are none, so that none is built twice."""


def _count_apart(plan: ForeignPlan) -> tuple[Operation, ...]:
    """The operations of a user's network; its code runs only if the cache does not have them."""
    count_together([plan])
    known = _known[plan.fingerprint]
    if isinstance(known, str):
        raise SpecError(known)
    return known


def count_together(plans: Sequence[AnyPlan]) -> None:
    """Count users' networks in one process instead of one each, and keep the counts in the cache by fingerprint.

    A network that ends the process, or takes too long, is remembered as such; another process counts those behind it.

    Raises:
        SpecError: nobody named the source of one of them in this command.
    """
    waiting = []
    for plan in {plan.fingerprint: plan for plan in plans if isinstance(plan, ForeignPlan)}.values():
        if plan.fingerprint in _known:
            continue
        try:
            _known[plan.fingerprint] = _read_operations(json.loads(read_text(_kept_at(plan), MOST_COUNT_BYTES)))
        except (OSError, ValueError, TypeError, KeyError):
            named_source(plan.name, plan.model, plan.digest)
            waiting.append(plan)
    while waiting:
        answers, end = _run_counting(waiting)
        for plan, answer in zip(waiting, answers, strict=False):
            if (error := answer.get("error")) is not None:
                _known[plan.fingerprint] = str(error)
                continue
            _known[plan.fingerprint] = _read_operations(answer["operations"])
            with contextlib.suppress(OSError):
                _kept_at(plan).parent.mkdir(parents=True, exist_ok=True)
                write_whole(_kept_at(plan), json.dumps(answer["operations"]))
        waiting = waiting[len(answers) :]
        if waiting:
            ended = waiting.pop(0)
            _known[ended.fingerprint] = f"{ended.name}: {end}"


def _kept_at(plan: ForeignPlan) -> Path:
    return cache_folder() / COUNTS / f"{plan.fingerprint}-{COUNTS_VERSION}.json"


def _run_counting(plans: Sequence[ForeignPlan]) -> tuple[list[dict[str, Any]], str]:
    """What a process says of each plan, and how it ended; the plans behind the last answer got none."""
    asked = json.dumps([dataclasses.asdict(plan) for plan in plans])
    command = [sys.executable, "-m", "jetbench.profiling.counting"]
    try:
        done = subprocess.run(command, input=asked, capture_output=True, text=True, timeout=COUNT_LIMIT_S, check=False)
    except subprocess.TimeoutExpired as error:
        said = error.stdout or b""
        printed = said.decode(errors="replace") if isinstance(said, bytes) else said
        end = f"counting it took more than {COUNT_LIMIT_S:g} s"
    else:
        printed = done.stdout
        last = (done.stderr.strip().splitlines() or ["no message"])[-1][:300]
        end = f"its process ended while it was counted (exit code {done.returncode}: {last})"
    whole = printed[: printed.rfind("\n") + 1]
    return [json.loads(line) for line in whole.splitlines()], end


def _read_operations(rows: Sequence[Any]) -> tuple[Operation, ...]:
    """Operations as JSON has them."""
    operations = []
    for *counts, reads, makes, shape in rows:
        read, made = (tuple(Tensor(*each) for each in several) for several in (reads, makes))
        operations.append(Operation._make([*counts, read, made, _read_shape(shape) if shape else None]))
    return tuple(operations)


def _read_shape(values: Sequence[Any]) -> Convolution:
    in_channels, out_channels, kernel, dilation, stride, groups, size = values
    return Convolution(in_channels, out_channels, tuple(kernel), tuple(dilation), stride, groups, tuple(size))


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
