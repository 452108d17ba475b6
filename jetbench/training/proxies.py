"""Zero-cost proxies: scores of an untrained network from one or two passes, to compare with its trained accuracy.

synflow (Tanaka et al., 2020), the norm of the gradient of the loss, and NASWOT (Mellor et al., 2021), as Abdelfattah et
al. (2021) use them to rank architectures. None is known to rank segmentation networks; `jetbench table --per budget`
shows how well each does.
"""

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from jetbench.models.activations import ACTIVATIONS
from jetbench.training.losses import CrossEntropy

KINKED: tuple[type[nn.Module], ...] = (*ACTIVATIONS.values(), nn.PReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU)
NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm)
PROXIES = ("synflow", "gradient-norm", "naswot")


def measure_proxies(model: nn.Module, images: Tensor, target: Tensor) -> dict[str, float]:
    """The finite proxies of a freshly built network, by name; the network and all random generators stay unchanged.

    Args:
        model: untrained; the proxies are measured on copies.
        images: one normalised batch, (N, 3, H, W), with at least two images.
        target: its class ids, (N, H, W).
    """
    with torch.random.fork_rng(devices=[images.device] if images.device.type == "cuda" else []):
        scores = {
            "synflow": synflow(copy.deepcopy(model), images[:1]),
            "gradient-norm": gradient_norm(copy.deepcopy(model), images, target),
            "naswot": naswot(copy.deepcopy(model), images),
        }
    return {name: value for name, value in scores.items() if math.isfinite(value)}


def synflow(model: nn.Module, images: Tensor) -> float:
    """Log10 of the sum over weights of |w dR/dw|, R being the summed output for an image of ones, with |w| for w.

    Norm layers are bypassed, because they would cancel the scale of the weights. Computed in double precision, because
    R grows with depth.
    """
    model = model.double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_()
    with _norms_passed_by(model):
        total = model(torch.ones_like(images, dtype=torch.float64)).sum()
    gradients = torch.autograd.grad(total, list(model.parameters()), allow_unused=True)
    flow = sum(
        float((parameter.detach() * gradient).abs().sum())
        for parameter, gradient in zip(model.parameters(), gradients, strict=True)
        if gradient is not None
    )
    return math.log10(flow) if flow > 0 and math.isfinite(flow) else -math.inf


@contextmanager
def _norms_passed_by(model: nn.Module) -> Iterator[None]:
    norms = [module for module in model.modules() if isinstance(module, NORMS)]

    def pass_by(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return inputs[0]

    handles = [norm.register_forward_hook(pass_by) for norm in norms]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def gradient_norm(model: nn.Module, images: Tensor, target: Tensor) -> float:
    """Euclidean norm of the gradient of the cross-entropy with respect to all weights, for one batch."""
    outputs = model.train()(images)
    logits = outputs[0] if isinstance(outputs, tuple) else outputs
    loss = CrossEntropy()(logits, target)
    gradients = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
    return math.sqrt(sum(float(gradient.square().sum()) for gradient in gradients if gradient is not None))


def naswot(model: nn.Module, images: Tensor) -> float:
    """Log-determinant of the similarity of the images' activation patterns (signs of the inputs of activations).

    The kernel counts the equal signs of each pair of images, scaled to 1 for an image with itself, so that networks of
    different sizes are comparable. The more the patterns differ, the closer the value is to 0 from below. It is minus
    infinity for fewer than two images, or if two images have the same pattern. Only activations that are modules count:
    all of JetSeg's are, but some baselines call functions, so compare values only within a family.
    """
    kernel = torch.zeros(len(images), len(images), dtype=torch.float64)
    count = 0

    def look(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        nonlocal count
        signs = (inputs[0] > 0).flatten(1).to(torch.float32)
        kernel.add_((signs @ signs.T + (1 - signs) @ (1 - signs).T).double().cpu())
        count += signs.shape[1]

    handles = [module.register_forward_pre_hook(look) for module in model.modules() if isinstance(module, KINKED)]
    try:
        with torch.no_grad():
            model.train()(images)
    finally:
        for handle in handles:
            handle.remove()
    if not count or len(images) < 2 or int(torch.linalg.matrix_rank(kernel / count)) < len(images):
        return -math.inf
    return float(torch.linalg.slogdet(kernel / count).logabsdet)
