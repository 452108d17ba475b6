"""MovingAverage: weights averaged over the steps, which are scored and saved in place of the last ones."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn


class MovingAverage:
    """The average a <- d a + (1 - d) w of the weights after each step, with d = min(decay, (1 + step) / (10 + step)).

    The smaller d of the first steps lets the average leave the random weights. Running statistics are averaged as the
    weights are; counters are copied.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model, self.decay, self.steps = copy.deepcopy(model).eval(), decay, 0
        for parameter in self.model.parameters():
            parameter.requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take the weights of `model` after a step into the average."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        for own, new in zip(self.model.state_dict().values(), model.state_dict().values(), strict=True):
            if own.is_floating_point():
                own.lerp_(new.to(own.dtype), 1 - decay)
            else:
                own.copy_(new)

    @property
    def state(self) -> dict[str, int | dict[str, Tensor]]:
        """The average and the number of steps, for a checkpoint."""
        return {"steps": self.steps, "weights": self.model.state_dict()}

    def restore(self, state: Mapping[str, int | dict[str, Tensor]]) -> None:
        """Continue from the state of a checkpoint."""
        steps, weights = state["steps"], state["weights"]
        assert isinstance(steps, int)
        assert isinstance(weights, dict)
        self.steps = steps
        self.model.load_state_dict(weights)
