"""jetbench: generates variants of JetSeg, trains and profiles them, and lands everything in comparison tables.

The names below are the Python API. Each loads its room when it is first used: torch takes seconds to import.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from jetbench.errors import DataError, JetbenchError, ProfilingError, SpecError, StudyError

if TYPE_CHECKING:
    from jetbench.models.build import build_model
    from jetbench.models.weights import load_weights
    from jetbench.network.plan import plan_architecture
    from jetbench.profiling.listing import count
    from jetbench.profiling.session import profile
    from jetbench.reporting.sheets.profile import describe_record
    from jetbench.reporting.studies import Study, read_study
    from jetbench.search.run import SearchResult, run_search
    from jetbench.spec.architecture import Architecture
    from jetbench.spec.catalog import load_architecture
    from jetbench.spec.profiling import ProfilingConfig
    from jetbench.spec.search import Search
    from jetbench.spec.sweep import Sweep
    from jetbench.study.place import Place
    from jetbench.study.run import run_sweep

__version__ = "0.1.0"
__all__ = [
    "Architecture",
    "DataError",
    "JetbenchError",
    "Place",
    "ProfilingConfig",
    "ProfilingError",
    "Search",
    "SearchResult",
    "SpecError",
    "Study",
    "StudyError",
    "Sweep",
    "build_model",
    "count",
    "describe_record",
    "load_architecture",
    "load_weights",
    "plan_architecture",
    "profile",
    "read_study",
    "run_search",
    "run_sweep",
]

_ROOMS = {
    "Architecture": "spec.architecture",
    "Place": "study.place",
    "ProfilingConfig": "spec.profiling",
    "Search": "spec.search",
    "SearchResult": "search.run",
    "Study": "reporting.studies",
    "Sweep": "spec.sweep",
    "build_model": "models.build",
    "count": "profiling.listing",
    "describe_record": "reporting.sheets.profile",
    "load_architecture": "spec.catalog",
    "load_weights": "models.weights",
    "plan_architecture": "network.plan",
    "profile": "profiling.session",
    "read_study": "reporting.studies",
    "run_search": "search.run",
    "run_sweep": "study.run",
}


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return getattr(import_module(f"jetbench.{_ROOMS[name]}"), name)
    raise AttributeError(f"module 'jetbench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_ROOMS])
