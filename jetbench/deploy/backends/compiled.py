"""Compiled: torch.compile makes kernels of the whole module."""

from jetbench.deploy.backends.base import TorchForm
from jetbench.models.build import compile_whole

COMPILED = TorchForm("compiled", lambda module, images: compile_whole(module))
