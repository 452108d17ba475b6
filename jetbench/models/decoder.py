"""The RegSeg-style decoder of JetSeg (section 2.3), in the form of the paper and in that of the released code."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jetbench.models.activations import ACTIVATIONS
from jetbench.network.plan import DecoderPlan
from jetbench.spec.architecture import ActivationName


def conv_norm_act(in_channels: int, out_channels: int, activation: ActivationName) -> nn.Sequential:
    """1x1 convolution, batch norm, activation: (N, C_in, H, W) -> (N, C_out, H, W)."""
    conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), ACTIVATIONS[activation]())


def upsample_to(x: Tensor, like: Tensor) -> Tensor:
    """`x` resized to the height and width of `like`, bilinear."""
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


class RegSegDecoder(nn.Module):
    """Three feature maps, deep to shallow -> logits (N, K, h, w) at the shallowest map's size.

    `regseg`: the deepest head is added to the middle one, fused, and concatenated with the shallow one.
    `released`: the released code computes that sum and drops it, so the deepest head never affects the output.
    """

    def __init__(self, plan: DecoderPlan, activation: ActivationName) -> None:
        super().__init__()
        head = plan.head_channels
        self.heads = nn.ModuleList(conv_norm_act(tap.channels, head, activation) for tap in plan.taps)
        self.fuse = conv_norm_act(head, head, activation)
        self.last = conv_norm_act(2 * head, head, activation)
        self.classifier = nn.Conv2d(head, plan.num_classes, 1)
        self.fusion = plan.fusion

    def forward(self, features: list[Tensor]) -> Tensor:
        deep, middle, shallow = (head(feature) for head, feature in zip(self.heads, features, strict=True))
        up = upsample_to(deep, middle) + middle
        if self.fusion == "released":
            # The sum above is unused, and the last upsampling changes nothing. The released code computes both, so this
            # form does too.
            fused = upsample_to(self.fuse(upsample_to(middle, shallow) + shallow), shallow)
        else:
            fused = upsample_to(self.fuse(up), shallow)
        logits: Tensor = self.classifier(self.last(torch.cat([fused, shallow], dim=1)))
        return logits
