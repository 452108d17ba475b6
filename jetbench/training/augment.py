"""Augmentation of a whole batch at once: mirrored, scaled and shifted, lighter or darker; labels follow the pixels.

What happens to a batch depends on the seed and the step alone, so a training that goes on after a kill sees the same.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from jetbench.data.labels import VOID
from jetbench.spec.training import AugmentationConfig


def augment(images: Tensor, target: Tensor, config: AugmentationConfig, seed: int, step: int) -> tuple[Tensor, Tensor]:
    """A changed batch; the same one where nothing is asked for.

    Args:
        images: normalised, (N, 3, H, W); what lies outside an image becomes 0, the data's mean.
        target: class ids, (N, H, W); what lies outside an image becomes void.
        config: what may happen.
        seed: of the training.
        step: of this batch, 0 at first.
    """
    if not config.is_on:
        return images, target
    generator = torch.Generator().manual_seed((seed * 1_000_003 + step) % 2**63)
    count = len(images)

    def draw(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    mirrored = torch.rand(count, generator=generator) < (0.5 if config.flip else 0.0)
    low, high = config.scale
    scale = draw(low, high)
    # The window on the image is 1 / scale as long; where it is shorter than the image it lies anywhere within, and
    # where it is longer the image lies anywhere within it.
    slack = (1 - 1 / scale).abs()
    across, down = slack * draw(-1, 1), slack * draw(-1, 1)
    gain, offset = 1 + draw(-config.light, config.light), draw(-config.light, config.light)
    if config.moves:
        theta = torch.zeros(count, 2, 3)
        theta[:, 0, 0] = torch.where(mirrored, -1.0, 1.0) / scale
        theta[:, 1, 1] = 1 / scale
        theta[:, 0, 2], theta[:, 1, 2] = across, down
        height, width = target.shape[1:]
        grid = F.affine_grid(theta.to(images.device), [count, 3, height, width], align_corners=False)
        images = F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        # Ids from 1 on, so that what is outside, 0, can be told; single precision holds them exactly.
        ids = torch.where(target == VOID, 0, target + 1).unsqueeze(1).to(grid.dtype)
        ids = F.grid_sample(ids, grid, mode="nearest", padding_mode="zeros", align_corners=False).squeeze(1).long()
        target = torch.where(ids == 0, VOID, ids - 1)
    if config.light:
        view = (count, 1, 1, 1)
        images = images * gain.view(view).to(images.device) + offset.view(view).to(images.device)
    return images, target
