"""The samplers of a search, one file each; `SAMPLERS` is the register, by the names that a search file has."""

from collections.abc import Callable

import optuna

from jetbench.search.samplers import additive, gp, nsga2, random, tpe
from jetbench.spec.search import SamplerName, Search

Sampler = optuna.samplers.BaseSampler

SAMPLERS: dict[SamplerName, Callable[[Search, int], Sampler]] = {
    "tpe": tpe.make,
    "nsga2": nsga2.make,
    "random": random.make,
    "gp": gp.make,
    "additive": additive.make,
}
"""What makes each, for a search and a seed."""
