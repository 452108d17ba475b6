"""Eager: PyTorch runs the module as it was written."""

from jetbench.deploy.backends.base import TorchForm

EAGER = TorchForm("eager", lambda module, images: module)
