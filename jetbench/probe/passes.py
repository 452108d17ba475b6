"""The passes that are timed: the network alone, and a camera frame from bytes to class ids."""

from typing import Any, Callable, Sequence, Tuple

import torch

from .timing import Pass

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def wait_for(device: torch.device) -> Callable[[], None]:
    """A function that blocks until all work queued on `device` is done."""
    if device.type == "cuda":
        return lambda: torch.cuda.synchronize(device)
    return lambda: None


def model_pass(model: Any, images: torch.Tensor) -> Pass:
    """The pass from normalised images on the device to logits at their size."""
    return Pass(lambda: model(images), wait_for(images.device))


def end_to_end_pass(model: Any, pixels: torch.Tensor, normalise: "Normalise") -> Pass:
    """The pass from uint8 bytes (N, H, W, 3) on the host to class ids there: copy, normalise, network, argmax, copy.

    A file may give class ids (N, H, W) itself; they are only copied.
    """

    def frame() -> torch.Tensor:
        output = model(normalise(pixels))
        classes = output.argmax(dim=1) if output.dim() == 4 else output  # type: torch.Tensor
        return classes.to(torch.uint8).cpu()

    return Pass(frame, wait_for(normalise.device))


class Normalise:
    """uint8 (N, H, W, 3) on any device -> (N, 3, H, W) on `device`, with zero mean and unit deviation, as `dtype`."""

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        device: torch.device,
        dtype: torch.dtype = torch.float32,
        channels_last: bool = False,
    ) -> None:
        self.device, self.dtype, self.channels_last = device, dtype, channels_last
        self.mean = torch.tensor(list(mean), device=device).view(1, 3, 1, 1)
        self.std = torch.tensor(list(std), device=device).view(1, 3, 1, 1)

    def __call__(self, pixels: torch.Tensor) -> torch.Tensor:
        images = pixels.to(self.device).permute(0, 3, 1, 2).contiguous().float()
        images = ((images - self.mean) / self.std).to(self.dtype)
        return images.contiguous(memory_format=torch.channels_last) if self.channels_last else images


def random_pixels(batch_size: int, size: Tuple[int, int], seed: int = 0) -> torch.Tensor:
    """A seeded batch of camera bytes, uint8 (N, H, W, 3)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (batch_size, size[0], size[1], 3), dtype=torch.uint8, generator=generator)


def peak_allocated(timed: Pass, device: torch.device) -> int:
    """Peak bytes that one pass allocates on a GPU, beyond what was allocated before it."""
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    timed.run()
    timed.wait()
    return int(torch.cuda.max_memory_allocated(device)) - int(before)


def count_denormals(model: Any, images: torch.Tensor) -> Tuple[int, int]:
    """(denormal, all) numbers in the outputs of the innermost modules over one pass, without flushing denormals.

    A denormal is smaller than the smallest normal float. Most processors take many times as long to compute with it.
    """
    counts = [0, 0]

    def look(module: Any, inputs: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor) and output.is_floating_point():
            smallest = torch.finfo(output.dtype).tiny
            counts[0] += int(((output != 0) & (output.abs() < smallest)).sum())
            counts[1] += output.numel()

    hooks = [m.register_forward_hook(look) for m in model.modules() if not list(m.children())]
    torch.set_flush_denormal(False)
    try:
        with torch.no_grad():
            model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return counts[0], counts[1]
