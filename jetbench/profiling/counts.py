"""Parameters and MACs of a built network: our own count by hooks, and what fvcore and thop say beside it.

The tools disagree because they count different things: fvcore adds 2 per element of batch norm and 4 per upsampled
element, thop 4 per element of batch norm, and both call the sum MACs or FLOPs. Every counter runs on a copy: the
model that was passed in is the same afterwards.
"""

import copy
import logging
import warnings
from importlib.metadata import version

import torch
from torch import Tensor, nn

from jetbench.record import CounterResult


def count_parameters(model: nn.Module) -> int:
    """Numbers that training changes; running statistics are not parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_macs(model: nn.Module, images: Tensor) -> int:
    """Multiply-accumulates of all convolutions for one image, biases not counted.

    Args:
        model: left as it is.
        images: (N, 3, H, W); the count is divided by N.
    """
    copied = copy.deepcopy(model).eval()
    macs = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs
        weight = module.weight
        assert isinstance(weight, Tensor)
        macs += output.numel() * weight[0].numel()

    for module in copied.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
            module.register_forward_hook(count)
        elif isinstance(module, nn.Linear | nn.modules.conv._ConvTransposeNd | nn.MultiheadAttention | nn.RNNBase):
            raise TypeError(f"count_macs has no rule for {type(module).__name__}")
    with torch.inference_mode():
        copied(images)
    return macs // images.shape[0]


def count_with_fvcore(model: nn.Module, images: Tensor) -> CounterResult:
    """Fvcore's total for one image; `unsupported` holds the operations it met and gave 0."""
    from fvcore.nn import FlopCountAnalysis

    analysis = FlopCountAnalysis(copy.deepcopy(model).eval(), images[:1])
    logging.getLogger("fvcore.nn.jit_analysis").setLevel(logging.ERROR)
    analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates the tracer that fvcore uses
        total = int(analysis.total())
    unsupported = {name: int(times) for name, times in sorted(analysis.unsupported_ops().items())}
    return CounterResult(tool="fvcore", version=version("fvcore"), macs=total, unsupported=unsupported)


def count_with_thop(model: nn.Module, images: Tensor) -> CounterResult:
    """Thop's total for one image. It counts modules only: what is called as a function is missed without a word."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # thop imports distutils
        from thop import profile

        macs, _ = profile(copy.deepcopy(model).eval(), inputs=(images[:1],), verbose=False)
    return CounterResult(tool="thop", version=version("thop"), macs=int(macs))
