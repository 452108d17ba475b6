"""Augmentation of a whole batch: mirroring, scaling, shifting, lighting, cropping; labels move with the pixels.

The changes depend only on the seed and the step, so a training that resumes after a kill sees the same images.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from jetbench.data.labels import VOID
from jetbench.spec.training import AugmentationConfig


def augment(images: Tensor, target: Tensor, config: AugmentationConfig, seed: int, step: int) -> tuple[Tensor, Tensor]:
    """The augmented images and target; unchanged if `config` requests no augmentation.

    Args:
        images: normalised, (N, 3, H, W); pixels from outside an image become 0, the mean of the data.
        target: class ids, (N, H, W); pixels from outside an image become void.
        config: the augmentation.
        seed: the seed of the training.
        step: the number of this batch, from 0.
    """
    if not config.is_on:
        return images, target
    config.check_size((target.shape[1], target.shape[2]))
    generator = torch.Generator().manual_seed((seed * 1_000_003 + step) % 2**63)
    count = len(images)

    def draw(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=generator)

    mirrored = torch.rand(count, generator=generator) < (0.5 if config.flip else 0.0)
    low, high = config.scale
    scale = draw(low, high)
    # The side of the window is 1 / scale of the image's. A smaller window lies anywhere inside the image; a larger one
    # contains the image anywhere.
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
        # Ids start at 1, because grid_sample fills the outside with 0; float32 represents them exactly.
        ids = torch.where(target == VOID, 0, target + 1).unsqueeze(1).to(grid.dtype)
        ids = F.grid_sample(ids, grid, mode="nearest", padding_mode="zeros", align_corners=False).squeeze(1).long()
        target = torch.where(ids == 0, VOID, ids - 1)
    if config.light:
        view = (count, 1, 1, 1)
        images = images * gain.view(view).to(images.device) + offset.view(view).to(images.device)
    if config.crop is not None:
        height, width = config.crop
        tops, lefts = (
            torch.randint(whole - part + 1, (count,), generator=generator).tolist()
            for whole, part in zip(target.shape[1:], config.crop, strict=True)
        )
        places = list(zip(tops, lefts, strict=True))
        images = torch.stack([images[n, :, y : y + height, x : x + width] for n, (y, x) in enumerate(places)])
        target = torch.stack([target[n, y : y + height, x : x + width] for n, (y, x) in enumerate(places)])
    return images, target
