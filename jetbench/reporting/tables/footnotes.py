"""The notes under a table: data, training, how and where it was measured, what is missing and why."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from jetbench.errors import visible
from jetbench.network.rules import format_size
from jetbench.records.record import CounterResult, Record
from jetbench.records.verdict import Verdict, judge
from jetbench.reporting import units
from jetbench.reporting.tables.columns import TRAINING_TIMES, Column
from jetbench.reporting.tables.protocol import describe_machine, describe_machines
from jetbench.reporting.tables.published import (
    APPROXIMATE,
    describe_approximate,
    describe_published,
    describe_sources,
)
from jetbench.reporting.tables.rows import Row, one_per_network
from jetbench.spec.profiling import describe_settings

MOST_FAILURES = 2  # that a terminal lists
NoteLevel = Literal["none", "short", "full"]
NOTE_LEVELS: tuple[NoteLevel, ...] = ("none", "short", "full")


@dataclass(frozen=True)
class Notes:
    """The notes under a table, one line each: `essential` ones that every file shows, and further `details`.

    `brief` are those that a terminal shows, which are shorter; without any it shows the first essential ones.
    """

    essential: tuple[str, ...]
    details: tuple[str, ...] = ()
    brief: tuple[str, ...] = ()

    @property
    def all(self) -> tuple[str, ...]:
        """All notes, the essential ones first."""
        return (*self.essential, *self.details)


def footnotes(rows: Sequence[Row], columns: Sequence[Column], show_invalid: bool = False) -> Notes:
    """The notes for those columns of those rows; with `show_invalid` the table also shows invalid profiles."""
    records = [record for row in rows for record in row.records]
    needs = {column.needs for column in columns}
    trained, measured = "trained" in needs, "measured" in needs
    named = [(row.name, row.architecture) for row in one_per_network(rows)]
    lines: list[str] = []
    details: list[str] = []
    brief: list[str] = []
    busy = _busiest(records) if measured else None
    if busy is not None:
        lines.append(f"BUSY MACHINE: {busy}. Do not trust the latencies and FPS.")
        brief.append(lines[-1])
    trainings = [record for record in records if record.dataset is not None]  # the others are profiles alone
    if trained or not measured:
        lines += [f"Data: {data}." for data in dict.fromkeys(record.data.describe() for record in trainings)]
    if trained and trainings:
        lines += _describe_trainings(rows, trainings)
        brief += _trained_in_brief(rows, trainings)
        details += dict.fromkeys(_describe_scoring(record) for record in trainings)
    if trainings and any(column.name in TRAINING_TIMES for column in columns):
        lines += _describe_training_times(trainings)
    if "counted" in needs and records:
        details += _describe_counting(records)
    if measured:
        lines += [*_describe_measuring(records), *_describe_unprofiled(records)]
        brief += _measured_in_brief(records)
        details += _describe_machine_state(records)
    names = {column.name for column in columns}
    deployed, in_brief = _describe_deployed(records, names)
    lines += deployed
    brief += in_brief
    lines += _describe_times(records)
    if measured:
        lines += _describe_verdicts(rows, show_invalid)
    for row in rows:
        lines += _describe_row(row, measured)
    failed = [line for row in rows if row.is_failed for line in _describe_row(row, measured)]
    brief = [*brief[: busy is not None], *failed[:MOST_FAILURES], *brief[busy is not None :]]
    if trained:
        details += _describe_heads(records)
    if any(column.kind == "reported" for column in columns):
        lines += describe_published(named)
    approximate = describe_approximate(named)
    if approximate:
        lines.append(
            f"{APPROXIMATE}: differs from the published network in some points; `jetbench show NAME` lists the "
            "assumptions."
        )
    details += approximate
    return Notes(*(tuple(map(on_one_line, each)) for each in (lines, details, brief)))


def _describe_scoring(record: Record) -> str:
    dataset = record.data
    test = dataset.constant_miou["test"]
    on_test = f" and {units.score(test)} % on test" if test is not None else ""
    return (
        "mIoU: mean IoU over the classes that occur in the split, from one confusion matrix over the whole split at "
        f"the size above ({dataset.name}, {format_size(dataset.size)}). The best constant prediction scores "
        f"{units.score(dataset.constant_miou['val'])} % on val{on_test}. "
        + (
            "The test split was scored once, with the weights that scored best on val."
            if test is not None
            else "The data have no labelled test images, so no row has a test score."
        )
    )


def _describe_trainings(rows: Sequence[Row], records: Sequence[Record]) -> list[str]:
    seeds = sorted({record.recipe.seed for record in records})
    counts = sorted({len(row.trainings) for row in rows if row.trainings})
    several = counts and counts[-1] > 1
    how_many = " or ".join(str(count) for count in counts)
    if several:
        spread = f"Mean over {how_many} trainings \N{PLUS-MINUS SIGN} standard deviation. "
    else:
        spread = "One training per row: the accuracies are not ranked, because another seed could reverse their order. "
    without = "" if any(r.recipe.augmentation.is_on for r in records) else ", without augmentation"
    return [
        f"Training: {describe_trainings(records)}; seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}.",
        f"{spread}All networks were trained from random weights{without}, with this recipe instead of their own.",
    ]


def _trained_in_brief(rows: Sequence[Row], records: Sequence[Record]) -> list[str]:
    """Data, recipe and seeds, for a terminal."""
    data = " or ".join(dict.fromkeys(f"{r.data.name} {format_size(r.data.size)}" for r in records))
    counts = sorted({len(row.trainings) for row in rows if row.trainings})
    if not counts:
        return []
    several = f"mean of {' or '.join(map(str, counts))} trainings \N{PLUS-MINUS SIGN} standard deviation"
    return [f"mIoU on {data}: {several if counts[-1] > 1 else 'one training per row'}; {describe_trainings(records)}."]


def _measured_in_brief(records: Sequence[Record]) -> list[str]:
    """How and where latencies were measured, for a terminal."""
    profiles = [record.profile for record in records if record.profile]
    if not profiles:
        return _describe_unprofiled(records)
    profiles = [profile for profile in profiles if profile.model_latency]
    if not profiles:
        return ["Nothing was measured."]
    where = " or ".join(dict.fromkeys(f"{p.environment.device}, {p.environment.cpu}" for p in profiles))
    how = describe_settings([record.profiling_config for record in records if record.profile])
    return [f"Latency: median of one image, {how}, on {where}."]


def _describe_training_times(records: Sequence[Record]) -> list[str]:
    """What the seconds of a training contain, and the load and machine on which they were measured."""
    environments = [e for record in records if (e := record.training_environment)]
    loads = [e.load_average for e in environments if e.load_average is not None]
    loaded = f" (load average after each: {_span(loads, 1)})" if loads else ""
    return [
        "Seconds of a training: the sum of its phases data, network (forward, loss, backward, optimiser), evaluation, "
        "checkpoints and proxies. Start-up and work lost to a kill are left out. Images/s: over data and network. "
        f"Other jobs may have run at the same time{loaded}, so these columns are not ranked. Threads busy: processor "
        "seconds over the seconds of all threads of a training, spinning included; in the rest the threads waited, or "
        "other jobs had the cores. A dash: unknown (a GPU), or different machines trained the seeds.",
        *(f"Trained on: {text}." for text in dict.fromkeys(describe_machine(e) for e in environments)),
    ]


def _describe_unprofiled(records: Sequence[Record]) -> list[str]:
    """Which finished rows have no profile, and therefore dashes."""
    without = [record.variant for record in records if record.profile is None and record.failure is None]
    if not without:
        return []
    whole = len(without) == sum(record.failure is None for record in records)
    names = "no row" if whole else f"not {', '.join(without[:6])}{' and others' if len(without) > 6 else ''}"
    return [f"Profiled: {names}, as requested."]


def _describe_times(records: Sequence[Record]) -> list[str]:
    """The days on which the rows were finished."""
    days = sorted({record.finished[:10] for record in records})
    return [f"Rows finished on {days[0]}{f' to {days[-1]}' if len(days) > 1 else ''} (UTC)."] if days else []


def _named(row: Row) -> list[tuple[str, Record]]:
    """The records of a row, with the seed in the name if there are several."""
    several = len(row.records) > 1
    return [
        (row.name + (f" (seed {record.seed})" if several and record.seed is not None else ""), record)
        for record in row.records
    ]


def _describe_verdicts(rows: Sequence[Row], show_invalid: bool) -> list[str]:
    """Why profiles are in doubt, with all rows that share a reason."""
    names: dict[Verdict, list[str]] = {}
    for row in rows:
        for name, record in _named(row):
            if record.profile and (verdict := judge(record.profile)).level in ("suspect", "invalid"):
                names.setdefault(verdict, []).append(name)
    lines = []
    for verdict, doubtful in names.items():
        *most, last = doubtful
        verb, whose = ("are", "their") if most else ("is", "its")
        is_out = verdict.level == "invalid" and not show_invalid
        left_out = f" ({whose} measurements are left out; `--all` shows them)" if is_out else ""
        lines.append(f"{' and '.join(filter(None, (', '.join(most), last)))} {verb} {verdict}{left_out}.")
    return lines


def _describe_row(row: Row, measured: bool) -> list[str]:
    lines = []
    for name, record in _named(row):
        if record.failure:
            lines.append(f"{name} failed ({record.failure.phase}, {record.failure.status}): {record.failure.reason}")
        if measured and record.profiling_config.runs_file and record.profile and not record.profile.model_latency:
            lines.append(f"{name} has no measurement, {record.profile.notes.get('latency', 'not measured')}.")
        if record.also_named:
            lines.append(f"{name} is the same network and training as {', '.join(record.also_named)}, so it ran once.")
    return lines


def _busiest(records: Sequence[Record]) -> str | None:
    """The highest load average, if it exceeds the number of cores by more than 1."""
    environments = [r.profile.environment for r in records if r.profile and r.profile.model_latency]
    loads = [(e.load_average, e.cores) for e in environments if e.load_average is not None]
    load, cores = max(loads, default=(0.0, 1))
    return f"load average {load:.1f} on {cores} cores" if load > cores + 1 else None


def on_one_line(text: str) -> str:
    """The text with all white space as single spaces and without control characters: for cells, lists and comments."""
    return visible(" ".join(text.split()))


def describe_trainings(records: Sequence[Record]) -> str:
    """The recipes without seeds, merged if they differ in one part only: `jetloss or dice, 300 steps, ...`."""
    trained = [record for record in records if record.training] or records  # a failed one has no training result
    recipes = list(dict.fromkeys(_recipe(record) for record in trained))
    differ = [n for n, parts in enumerate(zip(*recipes, strict=True)) if len(set(parts)) > 1]
    if len(differ) > 1:
        return "; or ".join(", ".join(filter(None, recipe)) for recipe in recipes)
    differing = [list(dict.fromkeys(parts)) for parts in zip(*recipes, strict=True)]
    without = (*[""] * 5, "full precision", "images as they are", "without a teacher", "from random weights")
    merged = [
        parts[0] if len(parts) == 1 else " or ".join(part or no for part in parts)
        for parts, no in zip(differing, without, strict=True)
    ]
    return ", ".join(filter(None, merged))


def _recipe(record: Record) -> tuple[str, ...]:
    """The parts of a recipe in words; every recipe has the same number of parts, some of them empty."""
    config = record.recipe
    changed = config.augmentation.describe()
    teacher = record.training.teacher if record.training else config.teacher
    how = config.distillation
    loss = config.describe_loss(whole=True)
    if loss == "jetloss":
        beta = config.jetloss.beta
        loss += f" (rare_share {config.jetloss.rare_share:g})" if beta is None else f" (beta {beta:g})"
    return (
        loss,
        str(config.budget),
        f"batch {config.batch_size}",
        config.describe_optimizer(),
        f"{config.threads} thread{'s' * (config.threads > 1)}",
        "mixed precision" if record.training and record.training.mixed_precision else "",
        f"images {changed}" if changed else "",
        f"taught by {teacher} (weight {how.weight:g}, temperature {how.temperature:g})" if teacher else "",
        _beginning(record),
    )


def _beginning(record: Record) -> str:
    """`from weights.pt (1a2b3c4d5e6f), 210 of 214 tensors`, if a training did not begin from random weights."""
    init = record.training.init if record.training else None
    if init is None:
        return f"from {record.recipe.init}" if record.recipe.init else ""
    whole = init.loaded + len(init.left_out)
    return f"from {init.file} ({init.digest}), {init.loaded} of {whole} tensors"


def _describe_counting(records: Sequence[Record]) -> list[str]:
    line = (
        "Counted by jetbench, for one image. MACs: multiply-accumulates of convolutions. FLOPs: 2 per MAC "
        "(1 MAC = 2 FLOPs), and other operations by the rules that `jetbench count` prints. Eq. 2: the paper's "
        "equation as its authors' tool applies it."
    )
    first = next((record for record in records if record.profile), None)
    if first is not None and first.profile is not None and first.profile.counters:
        line += f" Other tools count {first.variant} by other rules: {_describe_counters(first.profile.counters)}."
    return [line, *_notes_of(records, {"macs": "MACs", "fvcore": "fvcore", "thop": "thop"})]


def _notes_of(records: Sequence[Record], headings: Mapping[str, str]) -> list[str]:
    notes = [record.profile.notes for record in records if record.profile]
    return [
        f"{heading}: {note}."
        for key, heading in headings.items()
        for note in dict.fromkeys(each[key] for each in notes if key in each)
    ]


def _describe_measuring(records: Sequence[Record]) -> list[str]:
    profiles = [record.profile for record in records if record.profile]
    if not profiles:
        return []
    counts = [len(profile.model_latency.samples_s) for profile in profiles if profile.model_latency] or [0]
    processes = [len(profile.model_latency.runs) for profile in profiles if profile.model_latency] or [0]
    freshly = f"{_span(processes, 0)} fresh process{'es' if max(processes) > 1 else ''}"
    settings = describe_settings([record.profiling_config for record in records if record.profile])
    tf32 = " with TF32" if any(profile.environment.tf32 for profile in profiles) else ""
    lines = [
        f"Latency: {_span(counts, 0)} passes in {freshly} after a warm-up, {settings}{tf32}, on a seeded "
        "random image. Model: from the normalised image to logits of the image's size. End to end: from image bytes "
        "through normalisation, network and argmax to class ids, without decoding a file.",
    ]
    machines = describe_machines(profile.environment for profile in profiles)
    if any(profile.environment.power_mode for profile in profiles):
        lines.append(
            "Boards: sensors, power modes and the probe were tested on simulated Jetsons, never on a real one."
        )
    return lines + [f"Measured on: {text}." for text in machines]


def _describe_deployed(records: Sequence[Record], names: Collection[str]) -> tuple[list[str], list[str]]:
    """What the columns of deployed forms mean, and what ran them; at length, and in brief."""
    deployed = [(record, record.profile.deployment) for record in records if record.profile]
    ran = [(record, deployment) for record, deployment in deployed if deployment is not None]
    lines, brief = [], []
    compared = [record.profile.comparison for record in records if record.profile and record.profile.comparison]
    if "ratio" in names and compared:
        over = " or ".join(dict.fromkeys(each.reference for each in compared))
        brief.append(f"Ratio: time over that of {over}, in the same rounds; =: not different.")
        lines.append(
            f"Ratio: the time over that of {over} (a form of a sweep: of the same network), pass by pass in the same "
            "rounds; the median of the processes. =: not different, by as much as a second copy of the reference "
            "differs."
        )
    if "gpu-compute" in names and any(deployment.trtexec for _, deployment in ran):
        text = "trtexec: GPU compute by NVIDIA's timer; two passes in flight hide the launches, so it is no latency."
        lines.append(text)
        brief.append(text)
    scores = [score for _, deployment in ran for score in deployment.scores]
    if scores:
        lines.append(
            "mIoU of a row that a runtime runs is that of its file in that runtime, never that of PyTorch. Conversion: "
            "its val mIoU less PyTorch's on the same images, in points; =: the 95 % interval of the change of an "
            "image, paired, contains 0."
        )
        brief.append("mIoU of a row that a runtime runs: its file's own. Conversion: that less PyTorch's, in points.")
    lines += dict.fromkeys(
        f"{record.profiling_config.form}: {deployment.runtime} on {deployment.executes}; "
        + ", ".join(f"{name} {value}" for name, value in deployment.options.items())
        + f". {deployment.file.exporter}, opset {deployment.file.opset}."
        for record, deployment in ran
    )
    lines += dict.fromkeys(
        f"{record.profiling_config.form}: calibrated on {deployment.calibration.describe()}."
        for record, deployment in ran
        if deployment.calibration is not None
    )
    lines += dict.fromkeys(
        f"{record.profiling_config.form} has no mIoU, {deployment.unscored}."
        for record, deployment in ran
        if deployment.unscored
    )
    return lines, brief


def _describe_machine_state(records: Sequence[Record]) -> list[str]:
    profiles = [record.profile for record in records if record.profile]
    lines = _notes_of(records, {"peak_memory_bytes": "Peak memory", "power_w": "Power"})
    clocks = [clock for profile in profiles for clock in profile.environment.clock_mhz or ()]
    loads = [profile.environment.load_average for profile in profiles if profile.environment.load_average is not None]
    if clocks:
        lines.append(f"Processor clocks after each profile: {_span(clocks, 0)} MHz.")
    if loads:
        lines.append(
            f"Load average after each profile: {_span(loads, 1)}. One profile alone makes 1; earlier load counts for a "
            "minute."
        )
    return lines


def _span(values: Sequence[float], decimals: int) -> str:
    low, high = f"{min(values):.{decimals}f}", f"{max(values):.{decimals}f}"
    return low if low == high else f"{low} to {high}"


def _describe_counters(counters: Sequence[CounterResult]) -> str:
    return ", ".join(f"{counter.tool} {counter.version} {units.millions(counter.macs)} M" for counter in counters)


def _describe_heads(records: Sequence[Record]) -> list[str]:
    """Which networks were trained with auxiliary heads."""
    heads = {r.variant: r.training.auxiliary_weights for r in records if r.training and r.training.auxiliary_weights}
    if not heads:
        return []
    names = ", ".join(f"{name} ({', '.join(f'{weight:g}' for weight in weights)})" for name, weights in heads.items())
    return [
        "Trained with auxiliary heads, which are not counted and were removed before profiling (weight of each in the "
        f"loss): {names}."
    ]


def sources(rows: Sequence[Row]) -> list[str]:
    """Notes for files, too long for a terminal: each published figure with its source."""
    return [
        on_one_line(line) for line in describe_sources([(row.name, row.architecture) for row in one_per_network(rows)])
    ]
