"""The sampler `additive`: a network's cost is known before it is trained, so only its mIoU is predicted.

A black-box sampler proposes a network and then learns its cost. This one draws some hundreds of networks that are
within the counted limits, predicts their mIoU (and other measured quantities) with a linear model of their choices,
and picks the one with the largest expected gain in hypervolume at its cost. The model also estimates the noise of
single trainings, so that one lucky training does not attract all proposals.
"""

import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from numpy.typing import NDArray

from jetbench.search.space import COUNTED, Quantities, SearchSpace
from jetbench.spec.search import Objective, Search
from jetbench.stats import front_of, hypervolume

Floats = NDArray[np.float64]
Assignment = Mapping[str, str]

POOL = 200  # networks that are compared for each proposal
DRAWS = 2_000  # the most draws to fill the pool
# The expected improvement is the mean over these deviations from the prediction, in standard deviations. They are half
# of a normal distribution's quartile means; whole ones explored too much for a budget of some dozens of trainings.
STEPS = (-0.64, -0.16, 0.16, 0.64)
NOISE_SHARES = (
    0.05,
    0.1,
    0.2,
    0.4,
    0.6,
    0.8,
    0.95,
)  # shares of the variance; the model takes the one with the largest marginal likelihood


@dataclass(frozen=True)
class LinearModel:
    """Ridge regression with the most likely noise share of `NOISE_SHARES`."""

    mean: float
    features: Floats
    solved: Floats
    precision: Floats
    scale: float

    @staticmethod
    def fit(features: Floats, values: Floats) -> "LinearModel":
        """Fit features (N, F) and values (N,), with N >= 2."""
        mean, count = float(values.mean()), len(values)
        rest, variance = values - mean, max(float(values.var()), 1e-12)
        # About as many features of a network are 1 as there are axes; the prior's variance is spread over these.
        norm = float((features**2).sum(axis=1).mean()) or 1.0
        kernel = features @ features.T / norm
        best, model = -math.inf, LinearModel(mean, features, np.zeros(count), np.eye(count), 0.0)
        for share in NOISE_SHARES:
            covariance = variance * ((1 - share) * kernel + share * np.eye(count))
            precision = np.linalg.inv(covariance)
            likelihood = -float(np.linalg.slogdet(covariance)[1]) - float(rest @ precision @ rest)
            if likelihood > best:
                scale = variance * (1 - share) / norm
                best, model = likelihood, LinearModel(mean, features, precision @ rest, precision, scale)
        return model

    def predict(self, features: Floats) -> tuple[Floats, Floats]:
        """Predict features (M, F): means (M,), and standard deviations (M,) of their uncertainty."""
        shared = self.scale * features @ self.features.T
        unknown = self.scale * (features**2).sum(axis=1) - np.einsum("ij,jk,ik->i", shared, self.precision, shared)
        return self.mean + shared @ self.solved, np.sqrt(np.maximum(unknown, 0.0))


class AdditivePicker:
    """Picks the next network of a space."""

    def __init__(self, space: SearchSpace, goals: Sequence[Objective], seed: int) -> None:
        self.space, self.goals, self.random = space, goals, random.Random(seed)
        self._features: dict[tuple[tuple[str, str], ...], Floats] = {}
        self.options = [(axis, option) for axis, options in space.choices.items() for option in options]
        # Numbers may have a trend that extends to values not yet tried, such as 20 channels after 12 and 16.
        self.ordered = {
            axis: {option: 2 * rank / (len(options) - 1) - 1 for rank, option in enumerate(sorted(options, key=float))}
            for axis, options in space.choices.items()
            if len(options) > 2 and all(_is_number(option) for option in options)
        }

    def pick(
        self,
        trained: Sequence[tuple[Assignment, Sequence[float]]],
        waiting: Sequence[Assignment],
        taken: set[str],
    ) -> dict[str, str] | None:
        """The assignment with the largest expected gain in hypervolume; None if no new network fits.

        Args:
            trained: assignments that were trained, with their objectives in the order of the goals; less is better.
            waiting: assignments under way; their predictions are used as their results.
            taken: fingerprints of networks that must not be proposed again.
        """
        features = self._matrix([chosen for chosen, _ in trained])
        models = {
            name: LinearModel.fit(features, self._scaled(name, [values[number] for _, values in trained]))
            for number, name in enumerate(self.goals)
            if name not in COUNTED
        }
        smoothed = self._points([chosen for chosen, _ in trained], models)
        reference = [
            0.0 if name == "miou" else float(self.space.search.limits.given.get(name, max(p[number] for p in smoothed)))
            for number, name in enumerate(self.goals)
        ]
        front = [smoothed[number] for number in front_of(smoothed)]
        parents = [trained[number][0] for number in front_of(smoothed)]
        pool = self._draw(parents, taken)
        if not pool:
            return None
        points = [*front, *self._points(waiting, models)]
        gains = np.zeros(len(pool))
        for step in STEPS:
            gains += [hypervolume([*points, point], reference) for point in self._points(pool, models, step)]
        return pool[int(gains.argmax())]

    def _draw(self, parents: Sequence[Assignment], taken: set[str]) -> list[dict[str, str]]:
        """New networks within the counted limits: half of the draws are random, half are neighbours of the front."""
        pool: dict[str, dict[str, str]] = {}
        for number in range(DRAWS):
            chosen = self.space.draw(self.random) if number % 2 else self._neighbour(self.random.choice(list(parents)))
            fingerprint = self.space.fits(chosen)
            if fingerprint is not None and fingerprint not in taken:
                pool[fingerprint] = chosen
            if len(pool) >= POOL:
                break
        return list(pool.values())

    def _neighbour(self, parent: Assignment) -> dict[str, str]:
        """The parent with one to three axes drawn again."""
        changed = set(self.random.sample(list(parent), min(len(parent), self.random.choice((1, 1, 2, 3)))))
        chosen: dict[str, str] = {}
        for axis, options in self.space.choices.items():
            if self.space.active(chosen, axis):
                keeps = axis in parent and axis not in changed
                chosen[axis] = parent[axis] if keeps else self.random.choice(options)
        return chosen

    def _points(
        self, assignments: Sequence[Assignment], models: Mapping[Objective, LinearModel], step: float = 0.0
    ) -> list[tuple[float, ...]]:
        """Objectives, less is better: counted costs, and predictions that are made worse by `step` deviations."""
        if not assignments:
            return []
        features = self._matrix(assignments)
        columns = []
        for name in self.goals:
            if name in COUNTED:
                columns.append([self._counts(chosen).get(name) or 0.0 for chosen in assignments])
            else:
                mean, unknown = models[name].predict(features)
                predicted = mean + step * unknown
                columns.append(list(predicted if name == "miou" else np.exp(predicted)))
        return [tuple(float(value) for value in row) for row in zip(*columns, strict=True)]

    def _scaled(self, name: Objective, values: Sequence[float]) -> Floats:
        """The values that the model fits: logarithms of times and energies, whose effects multiply rather than add."""
        return np.array(values if name == "miou" else np.log(values))

    def _counts(self, chosen: Assignment) -> Quantities:
        return Quantities.of(self.space.cost(self.space.architecture(chosen)), None)

    def _matrix(self, assignments: Sequence[Assignment]) -> Floats:
        """(N, F): the option of each axis (one-hot), the rank of numeric options, and the logarithms of the counts."""
        rows = []
        for chosen in assignments:
            key = tuple(chosen.items())
            if key not in self._features:
                counts = self._counts(chosen)
                logs = [math.log(counts.macs / 1e8), math.log(counts.parameters / 1e5)]
                self._features[key] = np.array(
                    [
                        *(float(chosen.get(axis) == option) for axis, option in self.options),
                        *(ranks.get(chosen.get(axis, ""), 0.0) for axis, ranks in self.ordered.items()),
                        *logs,
                    ]
                )
            rows.append(self._features[key])
        return np.array(rows)


def _is_number(option: str) -> bool:
    value = json.loads(option)
    return isinstance(value, int | float) and not isinstance(value, bool)


def make_additive(search: Search, seed: int) -> optuna.samplers.BaseSampler:
    """Random proposals; `AdditivePicker` replaces them after the first trainings."""
    return optuna.samplers.RandomSampler(seed=seed)
