"""The baselines, one file each; `build_model` finds them in the register `BASELINES`."""

from collections.abc import Callable

from torch import nn

from jetbench.models.baselines.adscnet import ADSCNet
from jetbench.models.baselines.bisenetv2 import BiSeNetV2
from jetbench.models.baselines.cgnet import CGNet
from jetbench.models.baselines.dabnet import DABNet
from jetbench.models.baselines.ddrnet import DDRNet23Slim
from jetbench.models.baselines.dfanet import DFANet
from jetbench.models.baselines.dsanet import DSANet
from jetbench.models.baselines.enet import ENet
from jetbench.models.baselines.espnetv2 import ESPNetV2
from jetbench.models.baselines.fastscnn import FastSCNN
from jetbench.models.baselines.fcn8s import FCN8s
from jetbench.models.baselines.fpenet import FPENet
from jetbench.models.baselines.linknet import LinkNet
from jetbench.models.baselines.mininetv2 import MiniNetV2
from jetbench.models.baselines.pidnet import PIDNetS
from jetbench.models.baselines.ppliteseg import PPLiteSegT
from jetbench.models.baselines.regseg import RegSeg
from jetbench.models.baselines.segnet import SegNet
from jetbench.models.baselines.stdc import STDC1Seg
from jetbench.models.baselines.thundernet import ThunderNet
from jetbench.models.baselines.unet import UNet
from jetbench.models.baselines.wfdcnet import WFDCNet
from jetbench.spec.architecture import BaselineName

BASELINES: dict[BaselineName, Callable[[int], nn.Module]] = {
    "linknet": LinkNet,
    "cgnet": CGNet,
    "dsanet": DSANet,
    "regseg": RegSeg,
    "enet": ENet,
    "espnetv2": ESPNetV2,
    "dabnet": DABNet,
    "mininetv2": MiniNetV2,
    "wfdcnet": WFDCNet,
    "segnet": SegNet,
    "unet": UNet,
    "fcn8s": FCN8s,
    "fpenet": FPENet,
    "adscnet": ADSCNet,
    "dfanet": DFANet,
    "thundernet": ThunderNet,
    "fastscnn": FastSCNN,
    "bisenetv2": BiSeNetV2,
    "ddrnet23-slim": DDRNet23Slim,
    "pidnet-s": PIDNetS,
    "stdc1": STDC1Seg,
    "ppliteseg-t": PPLiteSegT,
}
"""Maps names to functions from a number of classes to a module: (N, 3, H, W) -> logits (N, K, H, W).

A module with auxiliary heads also returns their outputs in training mode. It has `auxiliary_weights`, their weights in
the loss, and `training_only`, the names of the submodules that inference does not use.
"""
