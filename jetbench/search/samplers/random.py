"""The sampler `random`: every assignment is as likely as any other."""

import optuna

from jetbench.spec.search import Search


def make_random(search: Search, seed: int) -> optuna.samplers.BaseSampler:
    """What the other samplers are compared with."""
    return optuna.samplers.RandomSampler(seed=seed)
