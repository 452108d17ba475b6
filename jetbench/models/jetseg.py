"""JetSeg: the JetNet encoder, the RegSeg-style decoder, and the upsampling to the input's size (section 2.3)."""

import torch.nn.functional as F
from torch import Tensor, nn

from jetbench.models.decoder import RegSegDecoder
from jetbench.models.jetnet import JetNet
from jetbench.network.plan import Plan


class JetSeg(nn.Module):
    """(N, 3, H, W) -> logits (N, K, H, W).

    The input size of the plan determines the blocks; the built network then runs at any size.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.encoder = JetNet(plan)
        self.decoder = RegSegDecoder(plan.decoder, plan.activation)

    def forward(self, x: Tensor) -> Tensor:
        logits = self.decoder(self.encoder(x))
        return F.interpolate(logits, size=x.shape[-2:], mode="bilinear", align_corners=False)
