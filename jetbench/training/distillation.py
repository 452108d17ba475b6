"""Knowledge distillation (Hinton et al., 2015): a trained network's soft answers beside the labels, pixel by pixel."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from jetbench.spec.training import DistillationConfig


class Teacher(nn.Module):
    """A trained network that answers for the images that its student is shown."""

    def __init__(
        self,
        model: nn.Module,
        own: tuple[Sequence[float], Sequence[float]],
        given: tuple[Sequence[float], Sequence[float]],
    ) -> None:
        """Take `model`, which wants images normalised by its `own` mean and deviation, and is given others."""
        super().__init__()
        self.model = model.eval()
        mean, deviation, given_mean, given_deviation = (torch.tensor(each).view(1, 3, 1, 1) for each in (*own, *given))
        self.scale: Tensor
        self.shift: Tensor
        self.register_buffer("scale", given_deviation / deviation)
        self.register_buffer("shift", (given_mean - mean) / deviation)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N, K, H, W) for images (N, 3, H, W) as the student gets them; nothing flows back into it."""
        with torch.no_grad():
            logits: Tensor = self.model(images * self.scale + self.shift)
        return logits


def distillation_loss(student: Tensor, teacher: Tensor, config: DistillationConfig) -> Tensor:
    """Weight T^2 KL(teacher || student) of softmaxes at temperature T, the mean over all pixels, void too.

    Args:
        student: logits (N, K, H, W).
        teacher: logits (N, K, h, w), brought to the student's size where they differ.
        config: weight and temperature.
    """
    if teacher.shape[2:] != student.shape[2:]:
        teacher = F.interpolate(teacher, student.shape[2:], mode="bilinear", align_corners=False)
    t = config.temperature
    ours, theirs = ((each.float() / t).log_softmax(dim=1) for each in (student, teacher))
    divergence = (theirs.exp() * (theirs - ours)).sum(dim=1).mean()
    return config.weight * t**2 * divergence
