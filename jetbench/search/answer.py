"""What a search found: the front beside its base, over several seeds; and every proposal with its fate."""

import csv
import io
import shutil
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from rich.console import Console

from jetbench.files import write_whole
from jetbench.network.closed_form import cost_of
from jetbench.network.rules import format_size
from jetbench.records.record import Profile, Record
from jetbench.records.verdict import judge
from jetbench.reporting import units
from jetbench.reporting.tables.columns import BY_NAME, numbers, words
from jetbench.reporting.tables.csv import to_csv
from jetbench.reporting.tables.footnotes import Notes
from jetbench.reporting.tables.html import to_html
from jetbench.reporting.tables.latex import to_latex
from jetbench.reporting.tables.markdown import to_markdown
from jetbench.reporting.tables.protocol import describe_machine
from jetbench.reporting.tables.rows import name_without_seed
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
    """One network of the answer with its trainings, one for each seed; `kept` are those that ended well."""

    name: str
    architecture: AnyArchitecture
    changes: Mapping[str, object]
    records: tuple[Record, ...]

    @property
    def kept(self) -> tuple[Record, ...]:
        """Trainings that have a result."""
        return tuple(record for record in self.records if record.failure is None and record.training)

    @property
    def val(self) -> tuple[float, ...]:
        """Best validation mIoU of each seed."""
        return tuple(record.training.best.counts.miou for record in self.kept if record.training)

    @property
    def test(self) -> tuple[float, ...]:
        """Test mIoU of each seed."""
        return tuple(record.training.test.miou for record in self.kept if record.training)

    def measured(self, name: Objective) -> tuple[float, ...]:
        """Each seed's latency (s) or energy (J) of one image; fewer where it was not measured, or not validly."""
        told = []
        for profile in self.profiles:
            if judge(profile).level == "invalid":
                continue
            model = profile.model_latency
            if name == "latency" and model:
                told.append(model.median_s / model.batch_size)
            elif name == "energy" and profile.energy_j_per_image is not None:
                told.append(profile.energy_j_per_image)
        return tuple(told)

    @property
    def profiles(self) -> tuple[Profile, ...]:
        """Of the seeds that have one."""
        return tuple(record.profile for record in self.kept if record.profile)

    @property
    def doubt(self) -> str | None:
        """Why what was measured is to be taken with care, if it is: `2 of 3 profiles suspect (reasons)`."""
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
        """A cost by each seed; a counted one is there once, and is the same for every seed."""
        if name in ("latency", "energy"):
            return self.measured(name)
        if not self.records:
            return ()
        data = self.records[0].data
        counts = cost_of(self.architecture, data.num_classes, data.size)
        return ({"parameters": counts.parameters, "macs": counts.macs, "memory": counts.memory_bytes}[name],)

    def cost(self, name: Objective) -> float | None:
        """The median over the seeds; None where it is not known."""
        told = self.costs(name)
        return statistics.median(told) if told else None


def gather(
    finalists: Sequence[tuple[str, AnyArchitecture, Mapping[str, object]]], records: Sequence[Record]
) -> list[AnswerRow]:
    """Rows in the order of `finalists` (name, architecture, changes), each with its seeds' records."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(name_without_seed(record), []).append(record)
    return [
        AnswerRow(name, architecture, changes, tuple(found.get(name, ()))) for name, architecture, changes in finalists
    ]


def describe_difference(found: Difference | None) -> str:
    """`+2.1 ± 1.0` or `+0.4 ± 2.0, a tie`, in points."""
    if found is None:
        return units.MISSING
    text = f"{100 * found.mean:+.1f} \N{PLUS-MINUS SIGN} {100 * found.half:.1f}"
    return f"{text}, a tie" if found.is_tie else text


def _spread(values: Sequence[float], asked: int) -> str:
    if not values:
        return units.MISSING
    text = f"{100 * statistics.fmean(values):.1f}"
    if len(values) > 1:
        text += f" \N{PLUS-MINUS SIGN} {100 * statistics.stdev(values):.1f}"
    return text if len(values) == asked else f"{text} ({len(values)} of {asked})"


COST_WORDS: dict[Objective, str] = {
    "macs": "MACs",
    "latency": "latency",
    "energy": "energy",
    "parameters": "parameters",
    "memory": "memory",
}


def counting_costs(search: Search) -> list[Objective]:
    """What a network must not have more of than the base: MACs, latency, and what the search itself kept down."""
    wanted: tuple[Objective, ...] = ("macs", "latency", *search.objectives)
    return [name for name in dict.fromkeys(wanted) if name != "miou"]


def costs_no_more(row: AnswerRow, base: AnswerRow, search: Search) -> str:
    """Is every cost that counts (MACs, latency, the search's own) no more than the base's? `no` says which are more."""
    more: list[str] = []
    ties: list[str] = []
    missing: list[str] = []
    for name in counting_costs(search):
        own, theirs = row.costs(name), base.costs(name)
        if not own or not theirs:
            missing.append(name)
        elif statistics.median(own) > statistics.median(theirs):
            # Of what is measured, seeds whose ranges overlap cannot be told apart.
            (ties if min(own) <= max(theirs) else more).append(name)
    if more:
        return f"no: {', '.join(more)}"
    return units.MISSING if missing else "yes" + (f", {' and '.join(ties)} a tie" if ties else "")


def on_front(rows: Sequence[AnswerRow], search: Search) -> list[bool | None]:
    """Does no other row beat it, now that all are trained again? By mean val mIoU; None where something is missing."""
    points: dict[int, list[float]] = {}
    for number, row in enumerate(rows):
        known = [
            (-statistics.fmean(row.val) if row.val else None) if name == "miou" else row.cost(name)
            for name in search.objectives
        ]
        finite = [value for value in known if value is not None]
        if len(finite) == len(known):
            points[number] = finite
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
COSTS, SCORES = tuple(column.name for column in ANSWER_COLUMNS[:6]), tuple(column.name for column in ANSWER_COLUMNS[6:])


def build_answer(rows: Sequence[AnswerRow], search: Search, described: str) -> Table:
    """The answer as a table; the first row is the base.

    Args:
        rows: the base, then the front.
        search: what was asked.
        described: what became of the proposals, in a line.
    """
    base = rows[0]
    val = [None, *differences([row.val for row in rows])]
    test = [None, *differences([row.test for row in rows])]
    words = {True: "yes", False: "no", None: units.MISSING}
    asked = len(search.final.seeds)
    lines = []
    for row, on_val, on_test, is_front in zip(rows, val, test, on_front(rows, search), strict=True):
        cells = (
            units.count(row.cost("parameters")),
            units.millions(row.cost("macs")),
            units.mebibytes(row.cost("memory")),
            units.milliseconds(row.cost("latency")) + (" (?)" if row.doubt and row.measured("latency") else ""),
            units.MISSING if row is base else costs_no_more(row, base, search),
            words[is_front],
            _spread(row.val, asked),
            describe_difference(on_val),
            _spread(row.test, asked),
            describe_difference(on_test),
        )
        lines.append(TableRow(row.name, tuple(map(Cell, cells))))
    notes = Notes(tuple(answer_notes(rows, search, described)))
    return Table(title_of(search), ANSWER_COLUMNS, (Section("", tuple(lines)),), notes)


def answer_notes(rows: Sequence[AnswerRow], search: Search, described: str) -> list[str]:
    """What the table's numbers are."""
    kept = [record for row in rows for record in row.kept]
    notes = [f"The search: {described}."]
    if not kept:
        return [*notes, "No final training has ended well."]
    first, seeds = kept[0], sorted({record.recipe.seed for record in kept})
    cost = " and ".join(COST_WORDS[name] for name in search.objectives if name != "miou")
    counting = ", ".join(COST_WORDS[name] for name in counting_costs(search))
    notes += [
        f"Data: {first.data.describe()}. Every network trained anew: {first.recipe.budget}, seeds "
        f"{', '.join(map(str, seeds))}; mean and standard deviation over them, best val of each, and the test of that.",
        "to base: difference of the means; the intervals of a column hold for all rows together with 95 % (Student, "
        "pooled deviation, Bonferroni); a tie where one holds 0. The networks were chosen on the val split, "
        "which flatters their val; the search did not look at test.",
        f"costs no more: no more than the base in any of: {counting}; what is measured is a tie where the ranges of "
        "the seeds overlap. MiB: weights and peak activations, counted. ms: one image, median of the seeds' profiles.",
        f"on front: trained again, no other row beats it in mean val mIoU and {cost}.",
        f"Measured on: {describe_machine(first.profile.environment)}." if first.profile else "",
    ]
    if search.training.seed in seeds:
        notes.append(
            f"Seed {search.training.seed} is the one that the front was picked by, so it is no fresh evidence; "
            "final.seeds without it would be."
        )
    notes += [f"(?) {row.name}: {row.doubt}." for row in rows if row.doubt]
    for row in rows[1:]:
        for name, most in search.limits.given.items():
            value = row.cost(name)
            if value is not None and value > most:
                notes.append(f"{row.name}: trained, its {name} is {value / most - 1:.1%} over the limit.")
    for row in rows:
        notes += [
            f"{record.variant} failed ({record.failure.phase}, {record.failure.status}): {record.failure.reason}"
            for record in row.records
            if record.failure
        ]
    return [note for note in notes if note]


def title_of(search: Search) -> str:
    """Its name and what it is about."""
    return f"{search.name}: {search.description}" if search.description else search.name


def write_answer(folder: Path, rows: Sequence[AnswerRow], search: Search, described: str) -> list[Path]:
    """Write answer.md, and each network of the front as a YAML with the weights of its best seed."""
    # What an earlier answer had found is in its records; beside this one's networks it would be taken for its own.
    shutil.rmtree(folder / FRONT, ignore_errors=True)
    (folder / FRONT).mkdir(parents=True)
    title = title_of(search)
    table = build_answer(rows, search, described)
    trained = next((record for row in rows for record in row.kept), None)
    where = ""
    page = [to_markdown(table), f"![the networks by cost]({PICTURE}.png)", ""]
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
        path = folder / FRONT / f"{row.name}.yaml"
        # What is None follows from the form; a network's own name and story, not the base's.
        raw = row.architecture.model_dump(mode="json", exclude_none=True, exclude={"paper", "reported"})
        raw |= {"name": row.name, "description": f"found by {title}{where}"}
        write_whole(path, yaml.safe_dump(raw, sort_keys=False, allow_unicode=True))
        written.append(path)
        best = max(
            row.kept, key=lambda record: record.training.best.counts.miou if record.training else 0, default=None
        )
        if best is not None and best.training is not None:
            weights = folder / "final" / "weights" / best.training.weights_file
            if weights.exists():
                written.append(Path(shutil.copy(weights, path.with_suffix(".safetensors"))))
    return written


def _how_to_go_on(rows: Sequence[AnswerRow], where: str, size: str) -> list[str]:
    """The commands that take a network of the front further."""
    if len(rows) < 2:
        return []
    name = f"{FRONT}/{rows[1].name}"
    return [
        f"Each network lies in `{FRONT}/` as an architecture; what it costs holds{where}. With it, where they were "
        "kept, are the weights of the seed with the best val mIoU, which is not the mean that is shown. From here:",
        "",
        f"    jetbench show {name}.yaml --size {size}",
        f"    jetbench profile {name}.safetensors",
        f"    jetbench sweep {FRONT}.yaml --budget 60epochs    # trains all of them, and the base",
    ]


def _as_sweep(rows: Sequence[AnswerRow], search: Search) -> dict[str, object]:
    """The answer's networks as a sweep, to be trained on."""
    training = search.training.model_copy(update={"budget": search.final.budget})
    asked = Sweep(
        name=f"{search.name}-{FRONT}",
        description=f"the answer of {search.name}",
        base=search.base,
        variants=(VariantGroup(cases={row.name: dict(row.changes) for row in rows[1:]}),) if rows[1:] else (),
        dataset=search.dataset,
        training=training,
        profiling=search.profiling,
    )
    # The data's kind is a default of its own class, and is what tells the classes apart.
    return {**asked.model_dump(mode="json", exclude_defaults=True), "dataset": search.dataset.model_dump(mode="json")}


def print_answer(console: Console, table: Table) -> None:
    """The answer's table on the terminal; costs and scores as two tables where one would be too wide."""
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
    """One proposal: what became of it, which limit it was over by what share, and what is known of it (SI units)."""

    record: Record
    limit: str | None
    excess: float | None
    known: Mapping[str, float | None]


IN_UNITS = {
    "memory": "memory_bytes",
    "estimated_latency": "estimated_latency_s",
    "latency": "latency_s",
    "energy": "energy_j",
}
"""Quantities whose unit a heading must say."""


def write_proposals(folder: Path, fates: Sequence[Fate], axes: Sequence[str]) -> Path:
    """proposals.csv: every network that was proposed, in SI units, and what became of it."""
    quantities = [IN_UNITS.get(name, name) for name in fates[0].known] if fates else []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["network", "also_named", "outcome", "limit", "excess", "reason", *quantities, *axes])
    for fate in fates:
        record = fate.record
        outcome = record.failure.status if record.failure else "trained"
        reason = record.failure.reason if record.failure else ""
        about = [record.variant, "; ".join(record.also_named), outcome, fate.limit, fate.excess, reason]
        writer.writerow([*about, *fate.known.values(), *(record.changes.get(axis) for axis in axes)])
    path = folder / PROPOSALS
    write_whole(path, text.getvalue())
    return path
