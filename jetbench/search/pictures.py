"""A search's own pictures: its networks by each cost, and how much each choice matters."""

from collections.abc import Sequence
from pathlib import Path

from jetbench.experiment import Objective, Search
from jetbench.record import Record
from jetbench.reporting.answer import PICTURE, Row, title_of
from jetbench.reporting.searches import Settled, Trained, draw_answer, draw_importances, draw_search
from jetbench.search.importance import Importance, importances
from jetbench.search.searcher import Searcher
from jetbench.search.space import Quantities, describe_limits
from jetbench.search.stopping import miou_of

FEW = 8  # trained networks; of fewer, any importance would be chance
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
        most = search.limits.given.get(name)

        def point(record: Record, name: Objective = name, scale: float = scale) -> Trained:
            known = Quantities.of(searcher.space.cost(record.architecture), record.profile)
            return Trained(record.variant, scale * (known.get(name) or 0.0), 100 * miou_of(record))

        written += draw_search(
            folder / f"search-{name}",
            [point(record) for record in ended],
            [point(record) for record in trained if record.failure is not None],
            point(base) if base else None,
            label,
            None if most is None else scale * most,
            (title, data, how),
        )
    if len(ended) >= FEW and (bars := importance_of(searcher)):
        early = len(trained) - len(ended)
        without = f"; {early} ended early are left out" if early else ""
        how = f"{how}; main effects among the {len(ended)} networks trained to the end, not of the whole space{without}"
        written += draw_importances(
            folder / "importance", bars, (f"{search.name}: how much each choice matters", data, how)
        )
    return written


def write_answer_picture(folder: Path, rows: Sequence[Row], search: Search) -> list[Path]:
    """The networks of the answer and the base by the search's first cost: answer.png and .svg."""
    name = next(goal for goal in search.objectives if goal != "miou")
    scale, label = SCALES[name]
    settled = [
        Settled(row.name, scale * cost, tuple(100 * miou for miou in row.test))
        for row in rows
        if (cost := row.cost(name)) is not None and row.test
    ]
    if not settled or settled[0].name != rows[0].name:
        return []  # without the base, which is drawn first, there is nothing to compare with
    trained = next(record for row in rows for record in row.kept)
    how = (
        f"{search.final.budget} each, seeds {', '.join(map(str, search.final.seeds))}; the search did not look at test"
    )
    return draw_answer(folder / PICTURE, settled, label, (title_of(search), trained.dataset.describe(), how))
