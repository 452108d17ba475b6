"""The sampler `additive`: what a network costs is known before it is trained, so only its mIoU is guessed.

A black-box sampler proposes a network and then finds out what it costs. This one draws some hundreds of networks that
are within the counted limits, predicts their mIoU (and what else must be measured) by a linear model of their choices,
and takes the one that is expected to add most hypervolume at its cost. The noise of single trainings is estimated with
the model, so that one lucky training does not draw all proposals to itself.
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
DRAWS = 2_000  # of these many draws at most
# Of what is not known of a network, in standard deviations: expected improvement is the mean over these. They are half
# of a normal distribution's quartile means: with whole ones it explored more than some dozens of trainings can pay for.
STEPS = (-0.64, -0.16, 0.16, 0.64)
NOISE_SHARES = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95)  # of the variance, to choose from by marginal likelihood


@dataclass(frozen=True)
class LinearModel:
    """Ridge regression whose noise is the most likely of `NOISE_SHARES`."""

    mean: float
    features: Floats
    solved: Floats
    precision: Floats
    scale: float

    @staticmethod
    def fit(features: Floats, values: Floats) -> "LinearModel":
        """Of features (N, F) and values (N,); N of two or more."""
        mean, count = float(values.mean()), len(values)
        rest, variance = values - mean, max(float(values.var()), 1e-12)
        # A network has about as many features that are 1 as there are axes: that is what a unit of prior spreads over.
        norm = float((features**2).sum(axis=1).mean()) or 1.0
        kernel = features @ features.T / norm
        best, found = -math.inf, LinearModel(mean, features, np.zeros(count), np.eye(count), 0.0)
        for share in NOISE_SHARES:
            covariance = variance * ((1 - share) * kernel + share * np.eye(count))
            precision = np.linalg.inv(covariance)
            likelihood = -float(np.linalg.slogdet(covariance)[1]) - float(rest @ precision @ rest)
            if likelihood > best:
                scale = variance * (1 - share) / norm
                best, found = likelihood, LinearModel(mean, features, precision @ rest, precision, scale)
        return found

    def predict(self, features: Floats) -> tuple[Floats, Floats]:
        """Of features (M, F): means (M,), and the standard deviations (M,) of what is not known of them."""
        shared = self.scale * features @ self.features.T
        unknown = self.scale * (features**2).sum(axis=1) - np.einsum("ij,jk,ik->i", shared, self.precision, shared)
        return self.mean + shared @ self.solved, np.sqrt(np.maximum(unknown, 0.0))


class AdditivePicker:
    """Picks the next network of a space."""

    def __init__(self, space: SearchSpace, goals: Sequence[Objective], seed: int) -> None:
        self.space, self.goals, self.random = space, goals, random.Random(seed)
        self._features: dict[tuple[tuple[str, str], ...], Floats] = {}
        self.options = [(axis, option) for axis, options in space.choices.items() for option in options]
        # Of numbers, more may be better all along: 20 channels, never tried, beyond 16 and 12 that were.
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
        """The assignment that is expected to add most.

        Args:
            trained: what has been tried, with its objectives in the order of the goals, less being better.
            waiting: what is being tried now; it is taken to become what is predicted.
            taken: fingerprints that are not to be proposed again.
        """
        known = self._matrix([chosen for chosen, _ in trained])
        models = {
            name: LinearModel.fit(known, self._scaled(name, [values[number] for _, values in trained]))
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
        """Half at random, half neighbours of the front; each within the counted limits and new."""
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
        """One to three axes drawn anew."""
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
        """Counted costs as they are, the rest as predicted, `step` deviations to the worse; less is better."""
        if not assignments:
            return []
        features = self._matrix(assignments)
        columns = []
        for name in self.goals:
            if name in COUNTED:
                columns.append([self._counts(chosen).get(name) or 0.0 for chosen in assignments])
            else:
                mean, unknown = models[name].predict(features)
                told = mean + step * unknown
                columns.append(list(told if name == "miou" else np.exp(told)))
        return [tuple(float(value) for value in row) for row in zip(*columns, strict=True)]

    def _scaled(self, name: Objective, values: Sequence[float]) -> Floats:
        """Times and energies are products more than sums."""
        return np.array(values if name == "miou" else np.log(values))

    def _counts(self, chosen: Assignment) -> Quantities:
        return Quantities.of(self.space.cost(self.space.architecture(chosen)), None)

    def _matrix(self, assignments: Sequence[Assignment]) -> Floats:
        """(N, F): which option each axis has, where it stands among numbers, and the logarithms of the counts."""
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
    """Random proposals; `AdditivePicker` replaces them once there is something to learn from."""
    return optuna.samplers.RandomSampler(seed=seed)
