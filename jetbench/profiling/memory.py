"""Peak memory of one forward pass: the allocator's on a GPU, the process's growth on a CPU.

Both are weights plus the most that was held at once during a pass at the profiled size. On a CPU torch has no
allocator to ask, so the kernel is: the process's high-water mark, less what was resident before the pass.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

CLEAR_HIGH_WATER = "5"


def measure_peak_memory(model: nn.Module, images: Tensor) -> tuple[int | None, str]:
    """Bytes of weights, buffers and one pass at its peak, and how they were found (or why they were not).

    Call it before any pass at this size: memory that an earlier pass has left resident would not show again.

    Args:
        model: network in eval mode, on the device of `images`.
        images: one batch, (N, 3, H, W).
    """
    with torch.inference_mode():
        if images.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(images.device)
            model(images)
            torch.cuda.synchronize(images.device)
            return torch.cuda.max_memory_allocated(images.device), "peak of torch's CUDA allocator, weights included"
        try:
            # A small pass first, so that libraries loaded and kernels compiled at first use are not counted.
            model(images[..., :64, :64])
            Path("/proc/self/clear_refs").write_text(CLEAR_HIGH_WATER)
            before = _status_bytes("VmRSS")
            model(images)
            growth = _status_bytes("VmHWM") - before
        except OSError as error:
            return None, f"the process's high-water mark cannot be read here ({error})"
    held = sum(tensor.nbytes for tensor in model.state_dict().values())
    return held + max(growth, 0), "weights plus growth of the process's resident memory during one pass"


def _status_bytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}")
