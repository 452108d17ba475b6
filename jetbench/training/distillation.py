"""Knowledge distillation (Hinton et al., 2015): the soft targets of a trained network in addition to the labels."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jetbench.spec.training import DistillationConfig


class Teacher(nn.Module):
    """A trained network that predicts logits for the images of its student."""

    def __init__(
        self,
        model: nn.Module,
        own: tuple[Sequence[float], Sequence[float]],
        given: tuple[Sequence[float], Sequence[float]],
    ) -> None:
        """Wrap `model`, which expects images normalised by its `own` mean and deviation but gets those of `given`."""
        super().__init__()
        self.model = model.eval()
        mean, deviation, given_mean, given_deviation = (
            torch.tensor(values).view(1, 3, 1, 1) for values in (*own, *given)
        )
        self.scale: Tensor
        self.shift: Tensor
        self.register_buffer("scale", given_deviation / deviation)
        self.register_buffer("shift", (given_mean - mean) / deviation)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K, H, W) for images (N, 3, H, W) normalised as for the student; without gradients."""
        with torch.no_grad():
            logits: Tensor = self.model(images * self.scale + self.shift)
        return logits


def distillation_loss(student: Tensor, teacher: Tensor, config: DistillationConfig) -> Tensor:
    """`weight` * T^2 * KL(teacher || student) of the softmaxes at temperature T, the mean over all pixels incl. void.

    Args:
        student: logits (N, K, H, W).
        teacher: logits (N, K, h, w), resized to the student's size if they differ.
        config: weight and temperature.
    """
    if teacher.shape[2:] != student.shape[2:]:
        teacher = F.interpolate(teacher, student.shape[2:], mode="bilinear", align_corners=False)
    t = config.temperature
    ours, theirs = ((logits.float() / t).log_softmax(dim=1) for logits in (student, teacher))
    divergence = (theirs.exp() * (theirs - ours)).sum(dim=1).mean()
    return config.weight * t**2 * divergence
