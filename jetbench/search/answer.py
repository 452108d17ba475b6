"""The answer of a search: the front compared with the base over several seeds, and every proposal's outcome."""

import csv
import io
import shutil
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml
from rich.console import Console

from jetbench.files import file_name, write_whole
from jetbench.network.rules import format_size
from jetbench.profiling.listing import count_quickly
from jetbench.records.record import Profile, Record
from jetbench.records.verdict import judge
from jetbench.reporting import units
from jetbench.reporting.questions.in_short import Line, answer_in_short
from jetbench.reporting.tables.columns import BY_NAME, numbers, words
from jetbench.reporting.tables.csv import no_formula, to_csv
from jetbench.reporting.tables.footnotes import Notes
from jetbench.reporting.tables.html import to_html
from jetbench.reporting.tables.latex import to_latex
from jetbench.reporting.tables.markdown import to_markdown
from jetbench.reporting.tables.protocol import describe_machine
from jetbench.reporting.tables.rows import Row, name_without_seed
from jetbench.reporting.tables.table import Cell, Section, Table, TableRow
from jetbench.reporting.tables.terminal import to_terminal
from jetbench.reporting.terminal import print_notes, print_whole
from jetbench.spec.architecture import AnyArchitecture
from jetbench.spec.search import Objective, Search
from jetbench.spec.sweep import Sweep, VariantGroup
from jetbench.stats import Difference, differences, front_of

ANSWER, PROPOSALS, FRONT, PICTURE = "answer.md", "proposals.csv", "front", "answer"


@dataclass(frozen=True)
class AnswerRow:
    """One network of the answer with its trainings, one for each seed; `kept` are the successful ones.

    `estimated_latency` is that of a device that is elsewhere, in seconds; None where latencies are measured. It is of
    class `predicted` if `is_predicted`: by a latency model, and not by a data sheet.
    """

    name: str
    architecture: AnyArchitecture
    changes: Mapping[str, object]
    records: tuple[Record, ...]
    estimated_latency: float | None = None
    is_predicted: bool = False

    @property
    def kept(self) -> tuple[Record, ...]:
        """Trainings that have a result."""
        return tuple(record for record in self.records if record.failure is None and record.training)

    @property
    def val(self) -> tuple[float, ...]:
        """Best validation mIoU of each seed; of the file, where a runtime runs one."""
        return tuple(counts.miou for record in self.kept if (counts := record.counts_on("val")) is not None)

    @property
    def test(self) -> tuple[float, ...]:
        """Test mIoU of each seed; files are not scored on test."""
        return tuple(counts.miou for record in self.kept if (counts := record.counts_on("test")) is not None)

    def measured(self, name: Objective) -> tuple[float, ...]:
        """Each seed's latency (s) or energy (J) for one image, without seeds that were not measured validly."""
        values = []
        for profile in self.profiles:
            if judge(profile).level == "invalid":
                continue
            model = profile.model_latency
            if name == "latency" and model:
                values.append(model.median_s / model.batch_size)
            elif name == "energy" and profile.energy_j_per_image is not None:
                values.append(profile.energy_j_per_image)
        return tuple(values)

    @property
    def profiles(self) -> tuple[Profile, ...]:
        """The profiles of the seeds that have one."""
        return tuple(record.profile for record in self.kept if record.profile)

    @property
    def doubt(self) -> str | None:
        """Why measurements are doubtful: `2 of 3 profiles suspect or invalid (reasons)`; None if they are not."""
        verdicts = [verdict for profile in self.profiles if (verdict := judge(profile)).level in ("suspect", "invalid")]
        if not verdicts:
            return None
        reasons = dict.fromkeys(reason for verdict in verdicts for reason in verdict.reasons)
        left_out = sum(verdict.level == "invalid" for verdict in verdicts)
        return (
            f"{len(verdicts)} of {units.counted(len(self.profiles), 'profile')} suspect or invalid"
            f"{f', {left_out} left out' if left_out else ''} ({'; '.join(reasons)})"
        )

    def costs(self, name: Objective) -> tuple[float, ...]:
        """A cost for each seed. A counted cost is returned only once, since it is the same for every seed."""
        if name == "latency" and self.estimated_latency is not None:
            return (self.estimated_latency,)
        if name in ("latency", "energy"):
            return self.measured(name)
        if not self.records:
            return ()
        data = self.records[0].data
        counts = count_quickly(self.architecture, data.num_classes, data.size)
        return ({"parameters": counts.parameters, "macs": counts.macs, "memory": counts.memory_bytes}[name],)

    def cost(self, name: Objective) -> float | None:
        """The median over the seeds; None if it is unknown."""
        costs = self.costs(name)
        return statistics.median(costs) if costs else None


def gather(
    finalists: Sequence[tuple[str, AnyArchitecture, Mapping[str, object]]], records: Sequence[Record]
) -> list[AnswerRow]:
    """Rows in the order of `finalists` (name, architecture, changes), each with its seeds' records."""
    by_name: dict[str, list[Record]] = {}
    for record in records:
        by_name.setdefault(name_without_seed(record), []).append(record)
    return [
        AnswerRow(name, architecture, changes, tuple(by_name.get(name, ())))
        for name, architecture, changes in finalists
    ]


def describe_difference(found: Difference | None) -> str:
    """`+2.1 ± 1.0`, or `+0.4 ± 2.0, n.s.` if it is not significantly different from 0; in points."""
    if found is None:
        return units.MISSING
    text = f"{100 * found.mean:+.1f} \N{PLUS-MINUS SIGN} {100 * found.half:.1f}"
    return f"{text}, n.s." if found.is_tie else text


def _spread(values: Sequence[float], expected: int) -> str:
    if not values:
        return units.MISSING
    text = f"{100 * statistics.fmean(values):.1f}"
    if len(values) > 1:
        text += f" \N{PLUS-MINUS SIGN} {100 * statistics.stdev(values):.1f}"
    return text if len(values) == expected else f"{text} ({len(values)} of {expected})"


COST_WORDS: dict[Objective, str] = {
    "macs": "MACs",
    "latency": "latency",
    "energy": "energy",
    "parameters": "parameters",
    "memory": "memory",
}


def counting_costs(search: Search) -> list[Objective]:
    """The costs that must not exceed the base's: MACs, latency, and the costs among the search's objectives."""
    wanted: tuple[Objective, ...] = ("macs", "latency", *search.objectives)
    return [name for name in dict.fromkeys(wanted) if name != "miou"]


def costs_no_more(row: AnswerRow, base: AnswerRow, search: Search) -> str:
    """`yes` if no cost of `counting_costs` is above the base's, else `no: ...`; a dash if one is unknown."""
    more: list[str] = []
    overlapping: list[str] = []
    missing: list[str] = []
    for name in counting_costs(search):
        own, theirs = row.costs(name), base.costs(name)
        if not own or not theirs:
            missing.append(name)
        elif statistics.median(own) > statistics.median(theirs):
            # Measured costs do not count as higher if the ranges of the seeds overlap.
            (overlapping if min(own) <= max(theirs) else more).append(name)
    if more:
        return f"no: {', '.join(more)}"
    return units.MISSING if missing else "yes" + (f", {' and '.join(overlapping)} overlapping" if overlapping else "")


def on_front(rows: Sequence[AnswerRow], search: Search) -> list[bool | None]:
    """For each row, True if it is Pareto-optimal after the final trainings, by mean val mIoU; None if unknown."""
    points: dict[int, list[float]] = {}
    for number, row in enumerate(rows):
        values = [
            (-statistics.fmean(row.val) if row.val else None) if name == "miou" else row.cost(name)
            for name in search.objectives
        ]
        present = [value for value in values if value is not None]
        if len(present) == len(values):
            points[number] = present
    front = {list(points)[number] for number in front_of(list(points.values()))}
    return [number in front if number in points else None for number in range(len(rows))]


ANSWER_COLUMNS = (
    BY_NAME["parameters"],
    BY_NAME["macs"],
    BY_NAME["counted-memory"],
    BY_NAME["latency"],
    words("costs-no-more", "costs no more"),
    words("on-front", "on front"),
    BY_NAME["val"],
    numbers("val-to-base", "val to base (points)", "measured", short="val to base"),
    BY_NAME["test"],
    numbers("test-to-base", "test to base (points)", "measured", short="test to base"),
)
COSTS = ("estimate", "predicted", *(column.name for column in ANSWER_COLUMNS[:6]))
SCORES = tuple(column.name for column in ANSWER_COLUMNS[6:])


def build_answer(rows: Sequence[AnswerRow], search: Search, described: str) -> Table:
    """The answer as a table; the first row is the base.

    Args:
        rows: the base, then the front.
        search: the search.
        described: one line about the outcomes of the proposals.
    """
    base = rows[0]
    val = [None, *differences([row.val for row in rows])]
    test = [None, *differences([row.test for row in rows])]
    words = {True: "yes", False: "no", None: units.MISSING}
    expected = len(search.final.seeds)
    lines = []
    for row, on_val, on_test, is_front in zip(rows, val, test, on_front(rows, search), strict=True):
        cells = (
            units.count(row.cost("parameters")),
            units.millions(row.cost("macs")),
            units.mebibytes(row.cost("memory")),
            units.milliseconds(row.cost("latency")) + (" (?)" if row.doubt and row.measured("latency") else ""),
            units.MISSING if row is base else costs_no_more(row, base, search),
            words[is_front],
            _spread(row.val, expected),
            describe_difference(on_val),
            _spread(row.test, expected),
            describe_difference(on_test),
        )
        lines.append(TableRow(row.name, tuple(map(Cell, cells))))
    notes = Notes(tuple(answer_notes(rows, search, described)))
    is_estimated = any(row.estimated_latency is not None for row in rows)
    stands = BY_NAME["predicted" if any(row.is_predicted for row in rows) else "estimate"]
    columns = tuple(stands if is_estimated and c.name == "latency" else c for c in ANSWER_COLUMNS)
    return Table(title_of(search), columns, (Section("", tuple(lines)),), notes, heading="network")


def _whose(rows: Sequence[AnswerRow], search: Search) -> str:
    """Where the latencies of an answer come from."""
    if all(row.estimated_latency is None for row in rows):
        return "median of the seeds' profiles"
    if any(row.is_predicted for row in rows):
        return f"PREDICTED for {search.board} by {search.latency_model}, and measured by nobody"
    return f"ESTIMATED for {search.board} from its data sheet, in its highest power mode and with nothing fused"


def answer_notes(rows: Sequence[AnswerRow], search: Search, described: str) -> list[str]:
    """The notes that explain the table's numbers."""
    kept = [record for row in rows for record in row.kept]
    notes = [f"The search: {described}."]
    if not kept:
        return [*notes, "No final training succeeded."]
    first, seeds = kept[0], sorted({record.recipe.seed for record in kept})
    cost = " and ".join(COST_WORDS[name] for name in search.objectives if name != "miou")
    counting = ", ".join(COST_WORDS[name] for name in counting_costs(search))
    notes += [
        f"Data: {first.data.describe()}. Every network was trained again: {first.recipe.budget}, seeds "
        f"{', '.join(map(str, seeds))}. val and test: mean and standard deviation over the seeds, of the best val mIoU "
        "of each seed and of the test mIoU of the same weights.",
        "to base: difference of the means. The intervals of a column hold for all rows together with 95 % (Student, "
        "pooled deviation, Bonferroni). n.s.: not significantly different, the interval contains 0. The networks were "
        "chosen on the val split, which biases their val upwards; the search did not use test.",
        f"costs no more: no more than the base in any of: {counting}. overlapping: the measured median is higher, but "
        "the ranges of the seeds overlap. MiB: weights and peak activations, counted. ms: one image, "
        f"{_whose(rows, search)}.",
        f"on front: Pareto-optimal in mean val mIoU and {cost} after these trainings.",
        f"Measured on: {describe_machine(first.profile.environment)}." if first.profile else "",
    ]
    if search.profiling.runs_file:
        notes.append(
            f"mIoU is that of each file in {search.profiling.backend}, on val; `jetbench evaluate --backend` scores "
            "test. The search before it ranked by PyTorch's mIoU, since it profiles before it trains."
        )
    if search.training.seed in seeds:
        notes.append(
            f"Seed {search.training.seed} also selected the front, so its results are not independent evidence; "
            "leave it out of final.seeds."
        )
    notes += [f"(?) {row.name}: {row.doubt}." for row in rows if row.doubt]
    for row in rows[1:]:
        for name, most in search.limits.given.items():
            value = row.cost(name)
            if value is not None and value > most:
                notes.append(f"{row.name}: after training, its {name} is {value / most - 1:.1%} over the limit.")
    for row in rows:
        notes += [
            f"{record.variant} failed ({record.failure.phase}, {record.failure.status}): {record.failure.reason}"
            for record in row.records
            if record.failure
        ]
    return [note for note in notes if note]


def title_of(search: Search) -> str:
    """The search's name, with its description if it has one."""
    return f"{search.name}: {search.description}" if search.description else search.name


def shorten_answer(rows: Sequence[AnswerRow], study: str) -> tuple[Line, ...]:
    """The answer in short: the networks of the answer beside the base, which comes first."""
    made = [Row(row.name, row.architecture, tuple(row.kept), study) for row in rows if row.kept]
    base = made[0] if made and rows[0].kept else None
    return answer_in_short([replace(row, base=base) for row in made], _seeds_of_the_final)


def _seeds_of_the_final(count: int) -> str:
    return f"--set final.seeds=[{','.join(map(str, range(1, count + 1)))}]"


def write_answer(folder: Path, rows: Sequence[AnswerRow], search: Search, described: str) -> list[Path]:
    """Write answer.md, and each network of the front as a YAML with the weights of its best seed."""
    # Networks of an earlier answer, which are still in its records, must not be mixed with those of this one.
    shutil.rmtree(folder / FRONT, ignore_errors=True)
    (folder / FRONT).mkdir(parents=True)
    title = title_of(search)
    table = build_answer(rows, search, described)
    trained = next((record for row in rows for record in row.kept), None)
    where = ""
    above = [f"**{line.role}**: {line.text}" for line in shorten_answer(rows, search.name)]
    page = [to_markdown(table, above), f"![mIoU of the networks by cost]({PICTURE}.png)", ""]
    for row in rows[1:]:
        changed = ", ".join(f"{axis} {value}" for axis, value in row.changes.items())
        page.append(f"- **{row.name}**: {changed}")
    if trained is not None:
        where = f" at {format_size(trained.data.size)}, {trained.data.num_classes} classes"
        page += ["", *_how_to_go_on(rows, where, format_size(trained.data.size))]
    texts = {
        ANSWER: "\n".join(page) + "\n",
        "answer.tex": to_latex(table),
        "answer.csv": to_csv(table),
        "answer.html": to_html(table),
    }
    for name, text in texts.items():
        write_whole(folder / name, text)
    path = folder / f"{FRONT}.yaml"
    write_whole(path, yaml.safe_dump(_as_sweep(rows, search), sort_keys=False, allow_unicode=True))
    written = [*(folder / name for name in texts), path]
    for row in rows[1:]:
        path = folder / FRONT / f"{file_name(row.name)}.yaml"  # a record may hold any name
        # Fields that are None have default values; the name and the description are the network's own, not the base's.
        raw = row.architecture.model_dump(mode="json", exclude_none=True, exclude={"paper", "reported"})
        raw |= {"name": row.name, "description": f"found by {title}{where}"}
        write_whole(path, yaml.safe_dump(raw, sort_keys=False, allow_unicode=True))
        written.append(path)
        best = max(row.kept, key=_val_of, default=None)
        if best is not None and best.training is not None:
            weights = folder / "final" / "weights" / best.training.weights_file
            if weights.exists():
                written.append(Path(shutil.copy(weights, path.with_suffix(".safetensors"))))
    return written


def _val_of(record: Record) -> float:
    counts = record.counts_on("val")
    return counts.miou if counts is not None else 0.0


def _how_to_go_on(rows: Sequence[AnswerRow], where: str, size: str) -> list[str]:
    """The commands to continue with a network of the front."""
    if len(rows) < 2:
        return []
    name = f"{FRONT}/{rows[1].name}"
    return [
        f"Each network is an architecture file in `{FRONT}/`; its costs apply{where}. If weights were kept, those of "
        "the seed with the best val mIoU are next to it; that mIoU differs from the mean in the table. To continue:",
        "",
        f"    jetbench show {name}.yaml --size {size}",
        f"    jetbench profile {name}.safetensors",
        f"    jetbench sweep {FRONT}.yaml --budget 60epochs    # trains all of them, and the base",
    ]


def _as_sweep(rows: Sequence[AnswerRow], search: Search) -> dict[str, object]:
    """The answer's networks as a sweep, for further training."""
    training = search.training.model_copy(update={"budget": search.final.budget})
    sweep = Sweep(
        name=f"{search.name}-{FRONT}",
        description=f"the answer of {search.name}",
        base=search.base,
        variants=(VariantGroup(cases={row.name: dict(row.changes) for row in rows[1:]}),) if rows[1:] else (),
        dataset=search.dataset,
        training=training,
        profiling=search.profiling,
    )
    # exclude_defaults drops the dataset's name, which identifies its class, so dump it in full.
    return {**sweep.model_dump(mode="json", exclude_defaults=True), "dataset": search.dataset.model_dump(mode="json")}


def print_answer(console: Console, table: Table) -> None:
    """Print the answer's table; as two tables, costs and scores, if one is too wide for the terminal."""
    is_plain = not console.is_terminal
    whole = to_terminal(table, is_plain)
    if console.measure(whole, options=console.options.update(width=10_000)).maximum > console.width:
        print_whole(console, to_terminal(table.only(COSTS), is_plain))
        print_whole(console, to_terminal(table.only(SCORES), is_plain))
    else:
        print_whole(console, whole)
    print_notes(console, table.notes.all)


@dataclass(frozen=True)
class Fate:
    """One proposal: its record, the limit that it exceeds and by what share, and its known quantities (SI units)."""

    record: Record
    limit: str | None
    excess: float | None
    known: Mapping[str, float | None]


IN_UNITS = {
    "memory": "memory_bytes",
    "estimated_latency": "estimated_latency_s",
    "predicted_latency": "predicted_latency_s",
    "latency": "latency_s",
    "energy": "energy_j",
}
"""Column names of quantities that have a unit."""


def write_proposals(folder: Path, fates: Sequence[Fate], axes: Sequence[str]) -> Path:
    """Write proposals.csv: every proposed network with its quantities in SI units and its outcome."""
    quantities = [IN_UNITS.get(name, name) for name in fates[0].known] if fates else []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["network", "also_named", "outcome", "limit", "excess", "reason", *quantities, *axes])
    for fate in fates:
        record = fate.record
        outcome = record.failure.status if record.failure else "trained"
        reason = record.failure.reason if record.failure else ""
        about = [record.variant, "; ".join(record.also_named), outcome, fate.limit, fate.excess, reason]
        row = [*about, *fate.known.values(), *(record.changes.get(axis) for axis in axes)]
        writer.writerow([no_formula(value) if isinstance(value, str) else value for value in row])
    path = folder / PROPOSALS
    write_whole(path, text.getvalue())
    return path
