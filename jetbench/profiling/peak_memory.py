"""Peak memory of one forward pass: weights, input, and the most that torch's allocator held at once.

On a GPU the allocator keeps the count itself; on a CPU its allocations and releases are recorded during one pass and
added up, which gives the same bytes every time. What libraries allocate for themselves, behind torch, is in neither.
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
    """Peak bytes of one pass, and what they are (or why there are none).

    Args:
        model: network in eval mode, on the device of `images`.
        images: one batch, (N, 3, H, W).
        run: one pass of the network over such a batch in another form, compiled or traced; None runs `model` itself.
    """
    one_pass = run or (lambda: model(images))
    weights = sum(tensor.nbytes for tensor in model.state_dict().values())
    with torch.inference_mode():
        if images.device.type == "cuda":
            timed = Pass(one_pass, wait_for(images.device))
            return weights + images.nbytes + peak_allocated(timed, images.device), MEANING
        os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else the recorder announces itself on the terminal
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
            one_pass()
    results = getattr(recorded.profiler, "kineto_results", None)
    if results is None:
        return None, "this torch does not record its allocations"
    changes = [event.nbytes() for event in results.events() if event.name() == "[memory]"]
    held = peak = 0
    for change in changes:
        held += change
        peak = max(peak, held)
    if not changes or held != 0:
        return None, f"the recorded allocations do not add up: {held} bytes are left of {len(changes)} changes"
    return weights + images.nbytes + peak, MEANING
