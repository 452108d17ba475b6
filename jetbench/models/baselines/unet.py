"""U-Net (Ronneberger et al., 2015) in its usual form today: padded convolutions, with batch norm.

U-Net: Convolutional Networks for Biomedical Image Segmentation, https://arxiv.org/abs/1505.04597

Departs from the paper, which uses unpadded convolutions with bias and without norm, and crops the skips: its logits
are smaller than its image (388 for 572), so they could not be compared at the image's size. Widths, depth and the 2x2
transposed convolutions are the paper's; with the paper's biases instead of norms there would be 31,032,395 parameters
for 11 classes, here there are 31,038,283. The paper's dropout is left out too.
Choices: max-pooling rounds up and the upsampled map is cut to its skip, so any input size works.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from jetbench.models.baselines.layers import conv, conv_norm_act, double_to, halve

WIDTHS = (64, 128, 256, 512, 1024)


def double_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    """Two 3x3 convolutions, each with norm and ReLU."""
    return nn.Sequential(conv_norm_act(in_channels, out_channels), conv_norm_act(out_channels, out_channels))


class UNet(nn.Module):
    """(N, 3, H, W) -> logits (N, K, H, W)."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(double_conv(before, after) for before, after in pairwise((3, *WIDTHS)))
        rising = tuple(pairwise(reversed(WIDTHS)))
        self.ups = nn.ModuleList(nn.ConvTranspose2d(before, after, 2, stride=2) for before, after in rising)
        self.decoder = nn.ModuleList(double_conv(before, after) for before, after in rising)
        self.classifier = conv(64, num_classes, 1, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for number, stage in enumerate(self.encoder):
            x = stage(x if number == 0 else halve(x))
            skips.append(x)
        skips.pop()
        for up, stage in zip(self.ups, self.decoder, strict=True):
            skip = skips.pop()
            assert isinstance(up, nn.ConvTranspose2d)
            x = stage(torch.cat([skip, double_to(up, x, skip.shape[-2:])], dim=1))
        logits: Tensor = self.classifier(x)
        return logits
