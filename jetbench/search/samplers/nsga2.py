"""The sampler `nsga2`: a genetic algorithm for several objectives (Deb et al., 2002), in small generations."""

import optuna

from jetbench.spec.search import Search


def make_nsga2(search: Search, seed: int) -> optuna.samplers.BaseSampler:
    """An NSGA-II sampler; a generation is a quarter of the trainings."""
    return optuna.samplers.NSGAIISampler(population_size=max(6, search.trainings // 4), seed=seed)
