"""The samplers of a search, one file each; `SAMPLERS` registers them by their names in a search file."""

from collections.abc import Callable

import optuna

from jetbench.search.samplers import additive, gp, nsga2, random, tpe
from jetbench.spec.search import SamplerName, Search

AnySampler = optuna.samplers.BaseSampler

SAMPLERS: dict[SamplerName, Callable[[Search, int], AnySampler]] = {
    "tpe": tpe.make_tpe,
    "nsga2": nsga2.make_nsga2,
    "random": random.make_random,
    "gp": gp.make_gp,
    "additive": additive.make_additive,
}
"""The function that makes each sampler, from a search and a seed."""
