"""The sampler `tpe`: tree-structured Parzen estimators (Bergstra et al., 2011), set for a small budget."""

import optuna

from jetbench.spec.search import Search


def make_tpe(search: Search, seed: int) -> optuna.samplers.BaseSampler:
    """A TPE sampler, used after the first random networks."""
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=1)
