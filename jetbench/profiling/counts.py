"""The counts of fvcore, thop and torch's FlopCounterMode for a built network, operation by operation.

The three disagree because they count different things under the same name. Each runs on a copy without hooks, so the
model that was passed in keeps its values, buffers, hooks and mode.
"""

import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import packages_distributions, version
from typing import Any

import torch
from torch import Tensor, nn

from jetbench.profiling.trace import copy_without_hooks


@dataclass(frozen=True, slots=True)
class ToolCount:
    """One tool's total for one image, by its own names of operations, and the operations it reports as left out."""

    tool: str
    distribution: str
    version: str
    total: int
    by_operation: dict[str, int]
    unsupported: dict[str, int]


def count_parameters(model: nn.Module) -> int:
    """Number of parameters that training changes; running statistics are not parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_with_fvcore(model: nn.Module, images: Tensor) -> ToolCount:
    """Fvcore's count; `unsupported` holds operations that it counted as 0, but not those that it ignores silently."""
    from fvcore.nn import FlopCountAnalysis

    analysis = FlopCountAnalysis(copy_without_hooks(model), images[:1])
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates the tracer that fvcore uses
        by_operation = {name: int(count) for name, count in sorted(analysis.by_operator().items())}
    unsupported = {name: int(times) for name, times in sorted(analysis.unsupported_ops().items())}
    return ToolCount("fvcore", *_distribution("fvcore"), sum(by_operation.values()), by_operation, unsupported)


def count_with_thop(model: nn.Module, images: Tensor) -> ToolCount:
    """Thop's count, by class of module. It silently misses operations that are called as functions."""
    copied = copy_without_hooks(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # thop imports distutils
        from thop import profile

        total, _, layers = profile(copied, inputs=(images[:1],), verbose=False, ret_layer_info=True)
    by_operation: Counter[str] = Counter()
    if not layers:
        by_operation[type(copied).__name__] += int(total)  # the network is one layer
    for name, count in _leaves(layers, ""):
        by_operation[type(copied.get_submodule(name)).__name__] += int(count)
    counted = {name: count for name, count in sorted(by_operation.items()) if count}
    return ToolCount("thop", *_distribution("thop"), int(total), counted, {})


def _leaves(layers: dict[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    for name, (operations, _, inner) in layers.items():
        if inner:
            yield from _leaves(inner, f"{prefix}{name}.")
        else:
            yield prefix + name, operations


def count_with_torch(model: nn.Module, images: Tensor) -> ToolCount:
    """The count of `torch.utils.flop_counter`: 2 per MAC of the operations that it knows, nothing for others."""
    from torch.utils.flop_counter import FlopCounterMode

    copied = copy_without_hooks(model)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        copied(images[:1])
    counts = counter.get_flop_counts().get("Global", {})
    by_operation = {str(getattr(name, "__name__", name)): int(count) for name, count in counts.items()}
    return ToolCount("FlopCounterMode", *_distribution("torch"), int(counter.get_total_flops()), by_operation, {})


COUNTERS: tuple[Callable[[nn.Module, Tensor], ToolCount], ...] = (count_with_fvcore, count_with_thop, count_with_torch)


def _distribution(package: str) -> tuple[str, str]:
    """The installed distribution of an import name, and its version. Two distributions share the name thop."""
    names = sorted(set(packages_distributions().get(package, [package])))
    return " and ".join(names), " and ".join(version(name) for name in names)
