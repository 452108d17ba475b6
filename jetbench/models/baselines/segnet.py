"""SegNet (Badrinarayanan et al., 2015): VGG-16 and its mirror image, which unpools by the encoder's own indices.

SegNet: A Deep Convolutional Encoder-Decoder Architecture for Image Segmentation, https://arxiv.org/abs/1511.00561

As the paper and the authors' Caffe model: 13 + 13 convolutions with bias, each but the last with norm and ReLU.
Max-pooling rounds up, as in Caffe, and unpooling goes back to the size before, so any input size works.
Choices: none.
"""

from itertools import pairwise

from torch import Tensor, nn

from jetbench.models.baselines.layers import conv, conv_norm_act, halve_with_indices, unpool

ENCODER = ((3, 64, 64), (64, 128, 128), (128, 256, 256, 256), (256, 512, 512, 512), (512, 512, 512, 512))
DECODER = ((512, 512, 512, 512), (512, 512, 512, 256), (256, 256, 256, 128), (128, 128, 64), (64, 64))


def convolutions(widths: tuple[int, ...]) -> nn.Sequential:
    """3x3 convolutions from each width to the next."""
    return nn.Sequential(*(conv_norm_act(before, after, bias=True) for before, after in pairwise(widths)))


class SegNet(nn.Module):
    """(N, 3, H, W) -> logits (N, K, H, W)."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(convolutions(widths) for widths in ENCODER)
        self.decoder = nn.ModuleList(convolutions(widths) for widths in DECODER)
        self.classifier = conv(64, num_classes, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        pooled: list[tuple[Tensor, tuple[int, int]]] = []
        for stage in self.encoder:
            x = stage(x)
            size = (x.shape[-2], x.shape[-1])
            x, indices = halve_with_indices(x)
            pooled.append((indices, size))
        for stage in self.decoder:
            x = stage(unpool(x, *pooled.pop()))
        logits: Tensor = self.classifier(x)
        return logits
