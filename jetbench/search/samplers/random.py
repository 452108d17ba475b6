"""The sampler `random`: every option of an axis is equally likely."""

import optuna

from jetbench.spec.search import Search


def make_random(search: Search, seed: int) -> optuna.samplers.BaseSampler:
    """A random sampler, the reference for the other samplers."""
    return optuna.samplers.RandomSampler(seed=seed)
