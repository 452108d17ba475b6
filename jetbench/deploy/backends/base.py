"""TorchForm and Runtime: the two kinds of backends, a form of PyTorch's module and a runtime that runs a file."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any, Literal

from torch import Tensor, nn

from jetbench.probe.sensors.missing import Missing
from jetbench.spec.profiling import FileBackend, TorchBackend


@dataclass(frozen=True)
class TorchForm:
    """A form in which PyTorch runs a module.

    Args:
        name: the backend's name.
        prepare: module in eval mode, on the device of a batch of images -> what runs in its place.
        keeps_module: True if what runs is the module itself, or needs it.
    """

    name: TorchBackend
    prepare: Callable[[nn.Module, Tensor], Any]
    keeps_module: bool = True


@dataclass(frozen=True)
class Runtime:
    """A runtime that runs a file.

    Args:
        name: the backend's name.
        packages: what has to be installed, the runtime first.
        extra: the extra of jetbench that installs them.
        device: where it runs: the processor, or a GPU.
    """

    name: FileBackend
    packages: tuple[str, ...]
    extra: str
    device: Literal["cpu", "cuda"] = "cpu"

    def missing(self) -> Missing | None:
        """What is not installed, and the command that installs it."""
        lacking = [name for name in self.packages if find_spec(name) is None]
        if not lacking:
            return None
        return Missing(f"{' and '.join(lacking)} not installed", f"pip install 'jetbench[{self.extra}]'")

    def describe(self) -> str:
        """Each package with its version."""
        return ", ".join(f"{name} {version_of(name)}" for name in self.packages)


def version_of(package: str) -> str:
    """The version of an importable package; `unknown` of one that is distributed under another name."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
