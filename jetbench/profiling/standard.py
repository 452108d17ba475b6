"""The standard network: fixed, shipped, some milliseconds long, timed in the same rounds as every profile.

One machine may be 15 % slower an hour later. It slows the standard network alike, so the ratio of a network's time to
that of the standard network compares from one day to another. PyTorch runs it in float32, whatever form is profiled.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from jetbench.files import digest_of
from jetbench.profiling.case import Case
from jetbench.profiling.findings import ProcessFindings
from jetbench.records.measurement import Standard
from jetbench.spec.architecture import Architecture
from jetbench.spec.base import parse_spec, read_yaml
from jetbench.spec.profiling import ProfilingConfig, TorchBackend

FILE = Path(__file__).with_name("standard.yaml")
SIZE = (96, 160)
CLASSES = 11


def standard_case(config: ProfilingConfig, backend: TorchBackend = "eager") -> Case | None:
    """The standard network beside networks with these settings of a process; None if they ask for none.

    Args:
        config: of the networks; the standard network takes one image, in float32.
        backend: what runs it: `traced` in a bundle, since jetbench's code is not on the board.
    """
    if config.reference == "none":
        return None
    architecture, _ = read_standard()
    own = {"batch_size": 1, "dtype": "fp32", "channels_last": False, "backend": backend, "cuda_graph": False}
    return Case(
        label=architecture.name,
        architecture=architecture,
        num_classes=CLASSES,
        input_size=SIZE,
        config=config.model_copy(update=own),
    )


def standard_times(processes: Sequence[ProcessFindings]) -> Standard | None:
    """The record of the standard network's passes on this machine; None if it was not timed in all processes."""
    runs = tuple(process.standard for process in processes if process.standard is not None)
    if len(runs) != len(processes):
        return None
    architecture, digest = read_standard()
    return Standard(name=architecture.name, digest=digest, form="eager", input_size=SIZE, runs=runs)


@lru_cache(maxsize=1)
def read_standard() -> tuple[Architecture, str]:
    """The standard network, and the SHA-256 of its file."""
    return parse_spec(Architecture, read_yaml(FILE), str(FILE)), digest_of(FILE)
