"""Traced: PyTorch runs a frozen TorchScript trace of the module."""

from jetbench.deploy.backends.base import TorchForm
from jetbench.models.build import to_torchscript

TRACED = TorchForm("traced", to_torchscript)
