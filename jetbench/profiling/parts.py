"""What each part of a network costs and how long it takes, so that costs can be compared with times.

A part is a block or the decoder of JetSeg, or an outermost module of a baseline or of a user's network. The clock is
read with the device idle at both ends of each part. An ordinary pass has no such waits, so the times of the parts
explain the latency but do not add up to it.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from jetbench.models.parts import parts_of, rest_of
from jetbench.network.operations import Operation
from jetbench.probe.passes import wait_for
from jetbench.records.measurement import NetworkPart

MIN_PASSES, MAX_PASSES, MAX_SECONDS = 3, 15, 3.0


def time_parts(
    module: nn.Module, images: torch.Tensor, clock: Callable[[], float] = time.perf_counter
) -> dict[str, list[float]]:
    """Seconds of each part in each of a few passes, and the remaining seconds of the pass; the module is not changed.

    Args:
        module: in eval mode, on the device of `images`.
        images: (N, 3, H, W), normalised.
        clock: seconds; tests pass their own.
    """
    names = parts_of(module)
    ready = wait_for(images.device)
    spent = dict.fromkeys(names, 0.0)
    ran: set[str] = set()
    began: dict[str, float] = {}

    def enter(name: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            ready()
            began[name] = clock()

        return hook

    def leave(name: str) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            ready()
            spent[name] += clock() - began.pop(name)
            ran.add(name)

        return hook

    samples: dict[str, list[float]] = {name: [] for name in (*names, rest_of(module))}
    hooks = []
    for name, path in names.items():
        part = module.get_submodule(path)
        hooks += [part.register_forward_pre_hook(enter(name)), part.register_forward_hook(leave(name))]
    try:
        with torch.inference_mode():
            begin = clock()
            for number in range(MAX_PASSES):
                spent.update(dict.fromkeys(spent, 0.0))
                ready()
                start = clock()
                module(images)
                ready()
                whole = clock() - start
                for name, seconds in spent.items():
                    samples[name].append(seconds)
                samples[rest_of(module)].append(max(0.0, whole - sum(spent.values())))
                if number + 1 >= MIN_PASSES and clock() - begin >= MAX_SECONDS:
                    break
    finally:
        for hook in hooks:
            hook.remove()
    return {name: seconds for name, seconds in samples.items() if name in ran or name == rest_of(module)}


def describe_parts(
    module: nn.Module, operations: Sequence[Operation], samples_s: dict[str, list[float]]
) -> tuple[NetworkPart, ...]:
    """Each part with its counts and its times.

    Args:
        module: the network.
        operations: operations for one image, from `trace.trace_operations`: `layer` is the path of the running module.
        samples_s: seconds from `time_parts`, or of the layers of a runtime; empty if nothing was timed.
    """
    names, rest = parts_of(module), rest_of(module)
    members: dict[str, list[Operation]] = {name: [] for name in (*names, rest, *samples_s)}
    for operation in operations:
        owner = next((n for n, path in names.items() if f"{operation.layer}.".startswith(f"{path}.")), rest)
        members[owner].append(operation)
    return tuple(
        describe_part(name, own, samples_s.get(name, ())) for name, own in members.items() if own or samples_s.get(name)
    )


def describe_part(name: str, operations: Sequence[Operation], samples_s: Sequence[float]) -> NetworkPart:
    """A part with the counts of its operations, and its seconds in each pass."""
    return NetworkPart(
        name=name,
        parameters=sum(operation.parameters for operation in operations),
        macs=sum(operation.macs for operation in operations),
        bytes_moved=sum(operation.moved_bytes for operation in operations),
        samples_s=tuple(samples_s),
    )
