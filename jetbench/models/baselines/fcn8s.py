"""FCN-8s (Long et al., 2014): VGG-16 as a convolution over the image, its scores upsampled and added at three strides.

Fully Convolutional Networks for Semantic Segmentation, https://arxiv.org/abs/1411.4038

As the authors' Caffe model: the first convolution pads by 100 so that the fully connected 7x7 fits, scores are
cropped (by 5, 9 and 31) to line up, transposed convolutions start as bilinear interpolation. In the original these
stay fixed, and the rest starts from ImageNet weights of VGG-16 and scores of zero. Here everything is trained from
scratch, as in every other network. The convolutions therefore use the initialisation of He et al.: without norms, the
signals would vanish with torch's default.
Choices: none; any input size works.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jetbench.models.baselines.layers import conv, halve

STAGES = ((3, 64, 64), (64, 128, 128), (128, 256, 256, 256), (256, 512, 512, 512), (512, 512, 512, 512))
PADDING = 100


def bilinear_upsampling(channels: int, kernel_size: int, stride: int) -> nn.ConvTranspose2d:
    """Transposed convolution without bias that begins as bilinear interpolation of each channel."""
    up = nn.ConvTranspose2d(channels, channels, kernel_size, stride, bias=False)
    offset = torch.arange(kernel_size) - (kernel_size - 1) / 2
    side = 1 - offset.abs() / stride
    with torch.no_grad():
        up.weight.zero_()
        up.weight[range(channels), range(channels)] = torch.outer(side, side)
    return up


def crop(x: Tensor, offset: int, size: torch.Size | tuple[int, int]) -> Tensor:
    """The window of height and width `size` that begins `offset` from the top left."""
    return x[..., offset : offset + size[0], offset : offset + size[1]]


class FCN8s(nn.Module):
    """(N, 3, H, W) -> logits (N, K, H, W)."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(*(layer for pair in pairwise(widths) for layer in (conv(*pair, bias=True), nn.ReLU())))
            for widths in STAGES
        )
        self.fc6 = nn.Conv2d(512, 4096, 7)
        self.fc7 = nn.Conv2d(4096, 4096, 1)
        self.score = nn.Conv2d(4096, num_classes, 1)
        self.score4 = nn.Conv2d(512, num_classes, 1)
        self.score3 = nn.Conv2d(256, num_classes, 1)
        for module in (*self.stages.modules(), self.fc6, self.fc7):
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        self.up5 = bilinear_upsampling(num_classes, 4, 2)
        self.up4 = bilinear_upsampling(num_classes, 4, 2)
        self.up3 = bilinear_upsampling(num_classes, 16, 8)

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-2:]
        x = F.pad(x, (PADDING - 1,) * 4)  # the first convolution pads the last pixel
        pooled: list[Tensor] = []
        for stage in self.stages:
            x = halve(stage(x))
            pooled.append(x)
        x = F.dropout(F.relu(self.fc6(x)), 0.5, self.training)
        x = F.dropout(F.relu(self.fc7(x)), 0.5, self.training)
        y = self.up5(self.score(x))
        y = self.up4(y + crop(self.score4(pooled[3]), 5, y.shape[-2:]))
        y = self.up3(y + crop(self.score3(pooled[2]), 9, y.shape[-2:]))
        return crop(y, 31, size)
