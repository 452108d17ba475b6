"""The sampler `gp`: Bayesian optimisation with a Gaussian process; needs scipy."""

from importlib.util import find_spec

import optuna

from jetbench.errors import SpecError
from jetbench.spec.search import Search


def make_gp(search: Search, seed: int) -> optuna.samplers.BaseSampler:
    """A Gaussian-process sampler, used after the first random networks.

    Raises:
        SpecError: scipy is not installed.
    """
    if find_spec("scipy") is None:
        raise SpecError("sampler gp needs scipy: pip install 'jetbench[search]'; or use the sampler tpe")
    return optuna.samplers.GPSampler(seed=seed, n_startup_trials=1)
