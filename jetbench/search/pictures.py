"""A search's own pictures: its networks by each cost, and how much each choice matters."""

from pathlib import Path

from jetbench.experiment import Objective
from jetbench.record import Record
from jetbench.reporting.answer import title_of
from jetbench.reporting.searches import draw_importances, draw_search
from jetbench.search.importance import Importance, importances
from jetbench.search.searcher import Searcher
from jetbench.search.space import Quantities, describe_limits
from jetbench.search.stopping import miou_of

SCALES: dict[Objective, tuple[float, str]] = {
    "latency": (1e3, "latency of one image, median, untrained (ms)"),
    "energy": (1e3, "energy of one image, gross, untrained (mJ)"),
    "macs": (1e-6, "MACs of one image (millions)"),
    "parameters": (1e-3, "parameters (thousands)"),
    "memory": (2**-20, "weights and peak activations, counted (MiB)"),
}


def importance_of(searcher: Searcher) -> list[Importance]:
    """How much each axis explains of the validation mIoU of the trained networks."""
    trained = [
        (params, miou_of(record))
        for record in searcher.landed
        if record.failure is None and record.training and (params := searcher.space.params(record.changes)) is not None
    ]
    return importances([params for params, _ in trained], [miou for _, miou in trained], list(searcher.space.choices))


def write_pictures(folder: Path, searcher: Searcher) -> list[Path]:
    """One picture for each cost among the objectives, and one of the importances."""
    trained = [record for record in searcher.landed if record.training is not None]
    ended = [record for record in trained if record.failure is None]
    if not ended:
        return []
    search = searcher.search
    title = title_of(search)
    data = trained[0].dataset.describe()
    how = f"{search.training.budget} each, one run each; limits {describe_limits(search.limits)}"
    written: list[Path] = []
    start = searcher.space.start()
    base = next((r for r in ended if start is not None and searcher.space.params(r.changes) == start), None)

    for name in search.objectives:
        if name == "miou":
            continue
        scale, label = SCALES[name]

        def point(record: Record, name: Objective = name, scale: float = scale) -> tuple[float, float]:
            known = Quantities.of(searcher.space.cost(record.architecture), record.profile)
            return scale * (known.get(name) or 0.0), 100 * miou_of(record)

        stopped = [point(record) for record in trained if record.failure is not None]
        points = [point(record) for record in ended]
        own = point(base) if base else None
        written += draw_search(folder / f"search-{name}", points, stopped, own, label, (title, data, how))
    if bars := importance_of(searcher):
        early = len(trained) - len(ended)
        without = f"; {early} ended early are left out" if early else ""
        how = f"{how}; main effects among the {len(ended)} networks trained to the end, not of the whole space{without}"
        written += draw_importances(
            folder / "importance", bars, (f"{search.name}: how much each choice matters", data, how)
        )
    return written
