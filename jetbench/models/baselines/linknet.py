"""LinkNet (Chaurasia and Culurciello, 2017): ResNet-18, and a thin decoder that adds each encoder stage's input.

LinkNet: Exploiting Encoder Representations for Efficient Semantic Segmentation, https://arxiv.org/abs/1707.03718

Choices:
- The decoder's convolutions have no bias, as the paper's block is drawn; the authors' Torch7 code has some (992 more
  parameters in all).
- The link into the last decoder block, from the pooled stem, is there, as in the authors' code; some ports leave it
  out.
- The code's ReLU after each addition is left out: both terms come from a ReLU, so it changes nothing.
- Maps are resized to match the link that is added, so any input size works; the original takes multiples of
  32.
"""

from torch import Tensor, nn

from jetbench.models.baselines.layers import conv_norm_act, double_to, norm_act
from jetbench.models.baselines.resnet import WIDTHS, ResNet18

EPS = 1e-3  # of the decoder's norms, as in the authors' code


class DecoderBlock(nn.Module):
    """1x1 to a quarter, 3x3 transposed, 1x1: (N, C_in, h, w) -> (N, C_out, *size)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        inner = in_channels // 4
        self.reduce = conv_norm_act(in_channels, inner, 1, eps=EPS)
        self.up = nn.ConvTranspose2d(inner, inner, 3, stride, padding=1, bias=False)
        self.norm = norm_act(inner, eps=EPS)
        self.expand = conv_norm_act(inner, out_channels, 1, eps=EPS)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        expanded: Tensor = self.expand(self.norm(double_to(self.up, self.reduce(x), size)))
        return expanded


class LinkNet(nn.Module):
    """(N, 3, H, W) -> logits (N, K, H, W)."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.encoder = ResNet18()
        widths = (64, *WIDTHS)
        self.decoder = nn.ModuleList(
            DecoderBlock(widths[number], widths[number - 1], 1 if number == 1 else 2) for number in (4, 3, 2, 1)
        )
        self.up = nn.ConvTranspose2d(64, 32, 3, stride=2, padding=1)
        self.norm = norm_act(32, eps=EPS)
        self.refine = conv_norm_act(32, 32, bias=True, eps=EPS)
        self.classifier = nn.ConvTranspose2d(32, num_classes, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-2:]
        *links, y = self.encoder(x)
        for block, link in zip(self.decoder, reversed(links), strict=True):
            y = block(y, link.shape[-2:]) + link
        half = ((size[0] + 1) // 2, (size[1] + 1) // 2)
        y = self.refine(self.norm(double_to(self.up, y, half)))
        return double_to(self.classifier, y, size)
