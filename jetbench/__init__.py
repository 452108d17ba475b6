"""jetbench: generates variants of JetSeg, trains and profiles them, and lands everything in comparison tables."""

from typing import TYPE_CHECKING, Any

from jetbench.errors import DataError, JetbenchError, ProfilingError, SpecError, StudyError
from jetbench.network.plan import plan_architecture
from jetbench.spec.architecture import Architecture
from jetbench.spec.catalog import load_architecture

if TYPE_CHECKING:
    from jetbench.models.build import build_model

__version__ = "0.1.0"
__all__ = [
    "Architecture",
    "DataError",
    "JetbenchError",
    "ProfilingError",
    "SpecError",
    "StudyError",
    "build_model",
    "load_architecture",
    "plan_architecture",
]


def __getattr__(name: str) -> Any:
    # torch takes seconds to import and tables, listings and counts do not need it.
    if name == "build_model":
        from jetbench.models.build import build_model

        return build_model
    raise AttributeError(f"module 'jetbench' has no attribute {name!r}")
