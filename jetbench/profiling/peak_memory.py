"""Peak memory of one forward pass: weights, input, and the most that torch's allocator held at once.

On a GPU the allocator counts its peak. On a CPU its allocations and releases are recorded during one pass and added up,
which gives the same bytes every time. Neither includes what libraries allocate themselves, outside torch's allocator.
"""

import os
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from jetbench.probe.passes import peak_allocated, wait_for
from jetbench.probe.timing import Pass

MEANING = "weights, input and the most that torch's allocator held at once during one pass"


def measure_peak_memory(
    model: nn.Module, images: Tensor, run: Callable[[], object] | None = None
) -> tuple[int | None, str]:
    """Peak bytes of one pass, and what they include; or None, and why they could not be measured.

    Args:
        model: network in eval mode, on the device of `images`; its weights are counted.
        images: one batch, (N, 3, H, W).
        run: runs one pass of the network in another form, compiled or traced; None runs `model` itself.
    """
    one_pass = run or (lambda: model(images))
    weights = bytes_of_weights(model)
    with torch.inference_mode():
        if images.device.type == "cuda":
            timed = Pass(one_pass, wait_for(images.device))
            return weights + images.nbytes + peak_allocated(timed, images.device), MEANING
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # otherwise the profiler prints to the terminal
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
            one_pass()
    results = getattr(recorded.profiler, "kineto_results", None)
    if results is None:
        return None, "this torch does not record its allocations"
    changes = [event.nbytes() for event in results.events() if event.name() == "[memory]"]
    allocated = peak = 0
    for change in changes:
        allocated += change
        peak = max(peak, allocated)
    if not changes or allocated != 0:
        return None, f"the recorded allocations do not add up: {allocated} bytes are left after {len(changes)} changes"
    return weights + images.nbytes + peak, MEANING


def bytes_of_weights(model: nn.Module) -> int:
    """Bytes of a network's weights, running statistics included."""
    return sum(tensor.nbytes for tensor in model.state_dict().values())
