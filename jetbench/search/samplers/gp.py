"""The sampler `gp`: Bayesian optimisation with a Gaussian process; needs scipy."""

from importlib.util import find_spec

import optuna

from jetbench.errors import SpecError
from jetbench.spec.search import Search


def make_gp(search: Search, seed: int) -> optuna.samplers.BaseSampler:
    """It takes over once there is something to learn from.

    Raises:
        SpecError: scipy is not installed.
    """
    if find_spec("scipy") is None:
        raise SpecError("sampler gp needs scipy: pip install 'jetbench[search]'; or take tpe")
    return optuna.samplers.GPSampler(seed=seed, n_startup_trials=1)
