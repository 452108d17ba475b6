"""Names that a shell completes: architectures, sweeps, searches, spaces, devices, columns and report folders."""

from pathlib import Path

from jetbench.spec.catalog import Kind, names


def architectures(incomplete: str) -> list[str]:
    """Architectures and baselines."""
    return _beginning("architecture", incomplete)


def sweeps(incomplete: str) -> list[str]:
    """Sweeps."""
    return _beginning("sweep", incomplete)


def searches(incomplete: str) -> list[str]:
    """Searches."""
    return _beginning("search", incomplete)


def spaces(incomplete: str) -> list[str]:
    """Spaces."""
    return _beginning("space", incomplete)


def devices(incomplete: str) -> list[str]:
    """Devices that are profiled on."""
    from jetbench.spec.device import device_names

    return [name for name in device_names() if name.startswith(incomplete)]


def columns(incomplete: str) -> list[str]:
    """Columns of tables; what stands before the last comma is kept."""
    from jetbench.reporting.tables.columns import BY_NAME

    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in ("help", *BY_NAME) if name.startswith(last)]


def studies(incomplete: str) -> list[str]:
    """Report folders under `reports/`, and whatever path is being typed."""
    folders = [str(path.parent) for path in Path("reports").glob("*/records.jsonl")]
    return sorted(name for name in folders if name.startswith(incomplete))


def _beginning(kind: Kind, incomplete: str) -> list[str]:
    return [name for name in names(kind) if name.startswith(incomplete)]
