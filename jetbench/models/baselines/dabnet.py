"""DABNet (Li et al., 2019): depthwise asymmetric bottlenecks, a plain and a dilated branch side by side.

DABNet: Depth-wise Asymmetric Bottleneck for Real-time Semantic Segmentation, https://arxiv.org/abs/1907.11357

As the authors' code (3 and 6 blocks): PReLU for each channel, batch norm with eps 1e-3, no biases.
Choices: max-pooling rounds up, so that odd maps fit; the original needs a stride-2 map of even size.
"""

import torch
from torch import Tensor, nn

from jetbench.models.baselines.layers import conv, conv_norm_act, depthwise, halve, norm_act, resize, shrink_image

EPS = 1e-3
RATES = (4, 4, 8, 8, 16, 16)


def asymmetric(channels: int, dilation: int = 1) -> nn.Sequential:
    """Depthwise 3x1, then 1x3, each with norm and PReLU."""
    layers: list[nn.Module] = []
    for kernel in ((3, 1), (1, 3)):
        layers += [depthwise(channels, kernel, dilation=dilation), *norm_act(channels, "prelu", EPS)]
    return nn.Sequential(*layers)


class DABlock(nn.Module):
    """(N, C, H, W) -> the same shape."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        inner = channels // 2
        self.reduce = nn.Sequential(
            *norm_act(channels, "prelu", EPS), *conv_norm_act(channels, inner, act="prelu", eps=EPS)
        )
        self.plain, self.dilated = asymmetric(inner), asymmetric(inner, dilation)
        self.expand = nn.Sequential(*norm_act(inner, "prelu", EPS), conv(inner, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.reduce(x)
        expanded: Tensor = self.expand(self.plain(y) + self.dilated(y))
        return expanded + x


class DABNet(nn.Module):
    """(N, 3, H, W) -> logits (N, K, H, W)."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            *(conv_norm_act(3 if i == 0 else 32, 32, 3, 2 if i == 0 else 1, act="prelu", eps=EPS) for i in range(3))
        )
        self.norm1 = norm_act(32 + 3, "prelu", EPS)
        self.down1 = conv(35, 64 - 35, 3, stride=2)
        self.norm2 = norm_act(64, "prelu", EPS)
        self.block1 = nn.Sequential(*(DABlock(64, 2) for _ in range(3)))
        self.norm3 = norm_act(64 + 64 + 3, "prelu", EPS)
        self.down2 = nn.Sequential(conv(131, 128, 3, stride=2), *norm_act(128, "prelu", EPS))
        self.block2 = nn.Sequential(*(DABlock(128, rate) for rate in RATES))
        self.norm4 = norm_act(128 + 128 + 3, "prelu", EPS)
        self.classifier = conv(259, num_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(torch.cat([self.stem(x), shrink_image(x, 1)], dim=1))
        down = self.norm2(torch.cat([self.down1(y), halve(y)], dim=1))
        y = self.norm3(torch.cat([self.block1(down), down, shrink_image(x, 2)], dim=1))
        down = self.down2(y)
        y = self.norm4(torch.cat([self.block2(down), down, shrink_image(x, 3)], dim=1))
        return resize(self.classifier(y), x.shape[-2:])
