"""The claims of the JetSeg paper, each with a verdict from counts and records.

The claims are data (claims.yaml); the function of the same name here decides each. A claim on which the records have
no data is untestable here, and its ruling says what is missing.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from jetbench.network.closed_form import cost_of
from jetbench.network.list_operations import list_operations
from jetbench.network.operations import Cost, add_up
from jetbench.network.plan import BaselinePlan, plan_architecture, plan_network
from jetbench.network.rules import format_size
from jetbench.profiling.listing import count_training_only, list_network
from jetbench.profiling.roofline import estimate
from jetbench.records.record import Estimate
from jetbench.reporting import units
from jetbench.reporting.studies import Study
from jetbench.reporting.tables.columns import BY_NAME, Column, Value, relative_half, words
from jetbench.reporting.tables.footnotes import Notes
from jetbench.reporting.tables.protocol import group_rows
from jetbench.reporting.tables.rows import Row, rows_of
from jetbench.reporting.tables.table import Cell, Section, Table, TableRow, believed
from jetbench.spec.base import Spec, parse_spec, read_yaml
from jetbench.spec.catalog import load_architecture, load_jetseg
from jetbench.spec.device import load_device
from jetbench.spec.training import JetLossConfig
from jetbench.spec.values import Size
from jetbench.stats import Difference, paired_difference

ClaimVerdict = Literal["reproduced", "not reproduced", "contradicts itself", "untestable here"]
VERDICTS: tuple[ClaimVerdict, ...] = ("reproduced", "not reproduced", "contradicts itself", "untestable here")
NETWORK, CLASSES, SIZE = "jetseg-nano-released", 32, (512, 512)
"""The only network that fits the figures of table 1: the nano preset in its released form, CamVid's 32 classes."""
FPS_TOLERANCE = 0.10
PRINT_TOLERANCE = 0.01
"""Two figures that the paper prints for the same quantity contradict each other if they differ by more than this."""
WORTHWHILE_POINTS = 0.01
"""A claimed gain of mIoU is not reproduced if the interval rules out a gain of this size."""
REAL_TIME_FPS = 30.0
MIN_SEEDS = 3
CLAIMS = Path(__file__).with_name("claims.yaml")


class PrintedFigure(Spec):
    """A number of the paper, and where it is printed."""

    value: float
    unit: str
    where: str


class Claim(Spec):
    """One claim, with every figure that the paper gives for it."""

    name: str
    says: Annotated[str, Field(min_length=1)]
    figures: tuple[PrintedFigure, ...] = ()

    def values(self, unit: str) -> list[float]:
        """The distinct values in that unit, in the order of the figures."""
        return list(dict.fromkeys(figure.value for figure in self.figures if figure.unit == unit))


class PrintedRow(Spec):
    """A row of the paper's table 1, as printed; the headings of both counts say G."""

    model: str
    network: str
    input: Size | None = None
    pretrained: bool
    augmentation: bool
    parameters: float
    flops: float
    fps: float | None = None


@dataclass(frozen=True)
class Ruling:
    """A verdict with its evidence, and what data would decide it if some is missing."""

    claim: Claim
    verdict: ClaimVerdict
    evidence: str
    missing: str = ""
    studies: tuple[str, ...] = ()
    """The studies whose records are the evidence."""


@dataclass(frozen=True)
class Evidence:
    """The rows of all given studies, without the measurements of invalid profiles."""

    rows: tuple[Row, ...]

    def measured(self, name: str, device: str | None = None, gpu: str | None = None) -> list[tuple[Row, Value]]:
        """Rows with the FPS of an unchanged network at the paper's input, on that board or GPU."""
        matches = []
        for row in self.rows:
            if row.architecture.name != name or not is_unchanged(row) or (value := BY_NAME["fps"].read(row)) is None:
                continue
            profile, config = row.profiles[0], row.records[0].profiling_config
            fits = (device is None or profile.device == device) and (
                gpu is None or gpu.lower() in profile.environment.device.lower()
            )
            if fits and profile.input_size == SIZE and config.batch_size == 1:
                matches.append((row, value))
        return matches


def is_unchanged(row: Row) -> bool:
    """True if the row's network is a bundled one without changes, whatever its training."""
    return all(key.startswith("training.") or key == "base" for record in row.records for key in record.changes)


def read_claims() -> list[Claim]:
    """All claims, in the order of their file."""
    claims = read_yaml(CLAIMS)["claims"]
    return [parse_spec(Claim, {"name": name, **fields}, f"{CLAIMS}: {name}") for name, fields in claims.items()]


def read_table1() -> list[PrintedRow]:
    """The paper's table 1."""
    return [parse_spec(PrintedRow, row, f"{CLAIMS}: table1") for row in read_yaml(CLAIMS)["table1"]]


def judge_claims(studies: Sequence[Study] = ()) -> list[Ruling]:
    """The ruling on each claim, from counts and from the records of the studies."""
    rows = [
        row
        for study in studies
        for row in rows_of([record for record in study.records if not record.is_form], study.name)
    ]
    evidence = Evidence(tuple(believed(rows)))
    return [JUDGES[claim.name](claim, evidence) for claim in read_claims()]


def _count(name: str, classes: int, size: Size) -> Cost | None:
    """The cost of a network; None for a baseline if torch is not installed to build it."""
    try:
        return add_up(list_network(plan_network(load_architecture(name), classes, size)))
    except ImportError:
        return None


NO_TORCH = "torch, to build and count the network"


def _parameters(claim: Claim, evidence: Evidence) -> Ruling:
    cost = cost_of(load_jetseg(NETWORK), CLASSES, SIZE)
    printed = f"{claim.figures[0].value / 1e9:.5f}"
    others = {
        name: cost_of(load_jetseg(f"jetseg-{name}-released"), CLASSES, SIZE).parameters
        for name in ("agx", "workstation")
    }
    text = (
        f"{NETWORK} with {CLASSES} classes has {cost.parameters:,} parameters, which rounds to {printed} G; the "
        f"presets that the paper names for the devices of its table have {others['agx']:,} (AGX) and "
        f"{others['workstation']:,} (workstation), so the row describes the smallest preset, for the Nano"
    )
    is_so = f"{cost.parameters / 1e9:.5f}" == printed
    return Ruling(claim, "reproduced" if is_so else "not reproduced", text)


def _flops(claim: Claim, evidence: Evidence) -> Ruling:
    costs = {n: cost_of(load_jetseg(NETWORK, combination=n), CLASSES, SIZE).eq2_flops for n in range(6)}
    printed = claim.figures[0].value
    nearest = min(costs, key=lambda number: abs(costs[number] - printed))
    is_so = abs(costs[nearest] - printed) <= 0.5e6
    text = (
        f"by equation 2 the six released combinations take {min(costs.values()) / 1e9:.3f} to "
        f"{max(costs.values()) / 1e9:.3f} G; the nearest, combination {nearest}, takes {costs[nearest] / 1e9:.4f} G, "
        f"{abs(costs[nearest] / printed - 1):.2%} away (reports/paper/equation-2.md)"
    )
    return Ruling(claim, "reproduced" if is_so else "not reproduced", text)


def _fps(device: str | None, gpu: str | None, where: str) -> Callable[[Claim, Evidence], Ruling]:
    def judge(claim: Claim, evidence: Evidence) -> Ruling:
        printed = " and ".join(f"{figure.value:g} ({figure.where})" for figure in claim.figures)
        matches = evidence.measured(NETWORK, device, gpu)
        if matches:
            row, value = matches[0]
            nearest = min(claim.values("FPS"), key=lambda figure: abs(figure / value.number - 1))
            share = nearest / value.number - 1
            text = (
                f"measured {_describe_fps(row, value)}; the paper says {printed}, the nearest of which is {share:+.0%}"
            )
        else:
            text = f"the paper gives both {printed}" if len(claim.values("FPS")) > 1 else f"the paper says {printed}"
        missing = "" if matches else f"a profile of {NETWORK} at 512x512 on {where}"
        used = (matches[0][0].study,) if matches else ()
        if _contradict(claim.values("FPS")):
            return Ruling(claim, "contradicts itself", text, missing, used)
        if not matches:
            return Ruling(claim, "untestable here", text, missing)
        is_so = abs(share) <= FPS_TOLERANCE
        return Ruling(claim, "reproduced" if is_so else "not reproduced", text, studies=used)

    return judge


def _contradict(values: Sequence[float]) -> bool:
    """True if the values differ by too much to be one figure, printed twice."""
    return bool(values) and max(values) / min(values) - 1 > PRINT_TOLERANCE


def _describe_fps(row: Row, value: Value) -> str:
    profile = row.profiles[0]
    span = f" [{value.low:.3g}, {value.high:.3g}]" if value.low is not None and value.high is not None else ""
    mode = f", {profile.environment.power_mode}" if profile.environment.power_mode else ""
    setting = row.records[0].profiling_config
    return f"{value.number:.3g} FPS{span} on {profile.environment.device}{mode}, {setting}, in {row.study or row.name}"


def _real_time(claim: Claim, evidence: Evidence) -> Ruling:
    matches = evidence.measured(NETWORK, device="agx")
    if matches:
        row, value = matches[0]
        is_so = (value.low or value.number) >= REAL_TIME_FPS
        text = f"measured {_describe_fps(row, value)}"
        return Ruling(claim, "reproduced" if is_so else "not reproduced", text, studies=(row.study,))
    device = load_device("agx")
    estimates = []
    for name in (NETWORK, "jetseg-agx-released"):
        operations = list_operations(plan_architecture(load_jetseg(name), CLASSES, SIZE))
        best = estimate(operations, device, "fp32", 1)
        if isinstance(best, Estimate):
            estimates.append(f"{name} {best.throughput_fps:.0f} FPS")
    figures = claim.values("FPS")
    is_real_time = all(value >= REAL_TIME_FPS for value in figures)
    printed = " and ".join(f"{value:g}" for value in figures)
    text = f"the printed figures, {printed} FPS, {'would' if is_real_time else 'would not all'} be real time"
    if estimates:
        text += f"; an ESTIMATE from the board's data sheet, fp32, nothing fused: at best {', '.join(estimates)}"
    return Ruling(
        claim=claim,
        verdict="untestable here",
        evidence=text,
        missing=f"a profile of {NETWORK} at 512x512 on a Jetson AGX Xavier",
    )


def _runs_on_nano(claim: Claim, evidence: Evidence) -> Ruling:
    matches = evidence.measured(NETWORK, device="nano")
    if matches:
        return Ruling(claim, "reproduced", f"measured {_describe_fps(*matches[0])}", studies=(matches[0][0].study,))
    cost, board = cost_of(load_jetseg(NETWORK), CLASSES, SIZE), load_device("nano")
    memory = f" of its {units.mebibytes(board.memory_bytes)} MiB" if board.memory_bytes else ""
    return Ruling(
        claim=claim,
        verdict="untestable here",
        evidence="counted: weights and peak activations take "
        f"{units.mebibytes(cost.memory_bytes)} MiB{memory}, so the network fits into its memory",
        missing=f"a profile of {NETWORK} at 512x512 on a Jetson Nano",
    )


def _twice_as_fast(claim: Claim, evidence: Evidence) -> Ruling:
    rows = {row.network: row for row in read_table1()}
    ours, theirs = rows[NETWORK], rows["dsanet"]
    assert ours.fps
    assert theirs.fps
    assert theirs.input
    text = (
        f"the paper gives the FPS of one baseline only, {theirs.model}, {theirs.fps:g} FPS at "
        f"{theirs.input[1]}x{theirs.input[0]} on its authors' GPU: {ours.fps:g} / {theirs.fps:g} is "
        f"{ours.fps / theirs.fps:.1f}, but at different inputs and on different GPUs"
    )
    ratios = [ratio for baseline in ("dsanet", "linknet", "cgnet") for ratio in _ratios(evidence, baseline)]
    if ratios:
        text += f". Measured under equal conditions, on other machines: {'; '.join(text for text, _ in ratios)}"
    return Ruling(
        claim=claim,
        verdict="untestable here",
        evidence=text,
        missing="profiles of JetSeg and its baselines at one input on a Titan RTX and a Jetson Xavier",
        studies=tuple(dict.fromkeys(study for _, study in ratios)),
    )


def _ratios(evidence: Evidence, baseline: str) -> list[tuple[str, str]]:
    """The speed-up of the released nano over a baseline, in each study that profiled both alike; and the study."""
    ratios = []
    for row in evidence.rows:
        if row.architecture.name != NETWORK or not is_unchanged(row):
            continue
        ours = BY_NAME["latency"].read(row)
        for other in evidence.rows:
            if other.study != row.study or other.architecture.name != baseline or not is_unchanged(other):
                continue
            theirs = BY_NAME["latency"].read(other)
            if ours is None or theirs is None or len(group_rows([row, other], ("counted", "measured"))) > 1:
                continue
            ratio = theirs.number / ours.number
            half = ratio * math.hypot(*(relative_half(value) or 0.0 for value in (ours, theirs)))
            tie = ", not significantly different" if ours.is_tied_with(theirs) else ""
            machine, size = row.profiles[0].environment, format_size(row.profiles[0].input_size)
            text = (
                f"{ratio:.2f} \N{PLUS-MINUS SIGN} {half:.2f} times as fast as {baseline}{tie} (at "
                f"{size}, {machine.device}, {machine.cpu}, {row.study})"
            )
            ratios.append((text, row.study))
    return ratios


def _fewer_parameters(claim: Claim, evidence: Evidence) -> Ruling:
    printed = claim.figures[0].value
    baselines = [row for row in read_table1() if row.network != NETWORK]
    total = sum(row.parameters for row in baselines)
    counts = ", ".join(f"{row.model} {row.parameters:g} M" for row in baselines)
    text = (
        f"the baselines of its table 1 have {total:.2f} M parameters together ({counts}), so none of them can have "
        f"{printed / 1e6:.2f} M more than JetSeg"
    )
    return Ruling(claim, "contradicts itself" if printed > 1e6 * total else "untestable here", text)


def _fewer_flops(claim: Claim, evidence: Evidence) -> Ruling:
    printed = claim.figures[0].value
    *baselines, jetseg = read_table1()
    shares = {row.model: 1 - jetseg.flops / row.flops for row in baselines}
    differences = ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
    text = (
        f"by its table 1 JetSeg has fewer FLOPs than each baseline by {differences}, at different inputs and by two "
        f"ways of counting; no difference is {printed:.2%}"
    )
    is_printed = any(round(share, 4) == printed for share in shares.values())
    return Ruling(claim, "untestable here" if is_printed else "contradicts itself", text)


@dataclass(frozen=True)
class LossChange:
    """JetLoss compared with another loss: one network and recipe, seed by seed, in one study."""

    change: Difference
    text: str
    study: str


def _losses(score: Column, when: str, beside: Column | None = None) -> Callable[[Claim, Evidence], Ruling]:
    """A function that judges by `score`. The score `beside` it favours JetLoss, so it can only refute the claim."""

    def judge(claim: Claim, evidence: Evidence) -> Ruling:
        changes = _compare_losses(evidence, score, when)
        if not changes:
            return Ruling(
                claim=claim,
                verdict="untestable here",
                evidence="no given study trains one network with both",
                missing=f"a sweep over training.loss with JetLoss and a usual loss, {MIN_SEEDS} seeds each",
            )
        text = "; ".join(each.text for each in changes)
        more = _compare_losses(evidence, beside, when) if beside is not None else []
        if more:
            text += f"; on the split by which the weights were chosen: {'; '.join(each.text for each in more)}"
        used = tuple(dict.fromkeys(each.study for each in (*changes, *more)))
        if all(each.change.mean > each.change.half for each in changes):
            return Ruling(claim, "reproduced", text, studies=used)
        if any(each.change.mean + each.change.half < WORTHWHILE_POINTS for each in (*changes, *more)):
            return Ruling(claim, "not reproduced", text, studies=used)
        missing = "more seeds: the intervals contain both 0 and a gain of one point"
        return Ruling(claim, "untestable here", text, missing, used)

    return judge


def _compare_losses(evidence: Evidence, score: Column, when: str) -> list[LossChange]:
    split = "test" if score is BY_NAME["test"] else "validation"
    trained = [row for row in evidence.rows if len(row.trainings) >= MIN_SEEDS]
    paired: list[tuple[Row, str, list[float]]] = []
    for ours in trained:
        config = ours.records[0].recipe
        if config.loss != "jetloss" or config.jetloss != JetLossConfig():
            continue  # the paper's claim is about the default settings
        for theirs in trained:
            loss = theirs.records[0].recipe.loss
            is_other = theirs.study == ours.study and loss not in ("jetloss", "jetloss-released")
            if not is_other or _but_loss(ours) != _but_loss(theirs):
                continue
            one, other = _scores(ours, score), _scores(theirs, score)
            pairs = [one[seed] - other[seed] for seed in one if seed in other]
            if len(pairs) < MIN_SEEDS:
                continue
            paired.append((ours, loss, pairs))
    changes = []
    for ours, baseline, pairs in paired:
        # Bonferroni: of many losses, one would otherwise differ significantly by chance.
        change = paired_difference(pairs, 1 - 0.05 / len(paired))
        word = "not significant" if change.is_tie else "significant"
        text = (
            f"{when}, {ours.architecture.name}, JetLoss {100 * change.mean:+.1f} \N{PLUS-MINUS SIGN} "
            f"{100 * change.half:.1f} points of {split} mIoU compared with {baseline}, {word} ({len(pairs)} seeds, "
            f"each with both, {ours.records[0].recipe.budget}, {ours.records[0].data.name}, {ours.study})"
        )
        changes.append(LossChange(change, text, ours.study))
    return changes


def _scores(row: Row, score: Column) -> dict[int, float]:
    """The score of each seed."""
    return {
        record.recipe.seed: value.number
        for record in row.records
        if (value := score.read(Row(row.name, row.architecture, (record,)))) is not None
    }


def _but_loss(row: Row) -> tuple[str, str]:
    config = row.records[0].recipe.model_dump(mode="json", exclude={"loss", "jetloss", "seed"})
    return row.records[0].fingerprint, str(config)


def _halfway(row: Row) -> Value | None:
    """Validation mIoU at the evaluation nearest to half of the training."""
    scores = []
    for training in row.trainings:
        evaluation = min(training.val, key=lambda each: abs(each.step - training.steps / 2))
        if abs(evaluation.step / training.steps - 0.5) <= 0.15 and not training.stopped:
            scores.append(evaluation.counts.miou)
    return Value(sum(scores) / len(scores)) if scores else None


HALFWAY = Column("halfway", "val mIoU halfway (%)", "measured", "trained", read=_halfway, unit=units.PERCENT)


def _accuracy(claim: Claim, evidence: Evidence) -> Ruling:
    return Ruling(
        claim=claim,
        verdict="untestable here",
        evidence="the paper defines mIoU (equation 3) and reports none of JetSeg",
        missing="an mIoU from the paper; the tables have the mIoU that the networks reach here",
    )


def _three_devices(claim: Claim, evidence: Evidence) -> Ruling:
    counts = {
        name: cost_of(load_jetseg(f"jetseg-{name}-released"), CLASSES, (720, 960)).parameters
        for name in ("nano", "agx", "workstation")
    }
    presets = ", ".join(f"{name} {count:,}" for name, count in counts.items())
    differ = len(set(counts.values())) == len(counts) and len(claim.values("parameters")) == 1
    return Ruling(
        claim=claim,
        verdict="contradicts itself" if differ else "untestable here",
        evidence="the paper gives the same 0.00003 G parameters and 1.125 GFLOPs for the workstation and the AGX, but "
        f"the release has three presets with {presets} parameters (32 classes, 720x960)",
    )


def _linknet(claim: Claim, evidence: Evidence) -> Ruling:
    cost = _count("linknet", 11, (360, 640))
    if cost is None:
        return Ruling(claim, "untestable here", "", NO_TORCH)
    text = (
        f"counted {cost.parameters:,} parameters, and {2 * cost.macs / 1e9:.1f} G at 360x640 with 2 per "
        f"multiply-accumulate, {cost.flops / 1e9:.1f} G with all other operations"
    )
    parameters, flops = claim.values("parameters")[0], claim.values("FLOPs")[0]
    fits = any(round(each / 1e9, 1) == round(flops / 1e9, 1) for each in (2 * cost.macs, cost.flops))
    is_so = round(cost.parameters / 1e6, 1) == round(parameters / 1e6, 1) and fits
    return Ruling(claim, "reproduced" if is_so else "not reproduced", text)


def _cgnet(claim: Claim, evidence: Evidence) -> Ruling:
    cost, other = _count("cgnet", 19, (360, 480)), _count("cgnet", 19, (360, 640))
    if cost is None or other is None:
        return Ruling(claim, "untestable here", "", NO_TORCH)
    parameters, flops = claim.values("parameters")[0], claim.values("FLOPs")[0]
    is_so = round(2 * cost.macs / 1e9) == round(flops / 1e9) and round(cost.parameters / 1e6, 1) == parameters / 1e6
    text = (
        f"counted {cost.parameters:,} parameters, and with 2 per multiply-accumulate {2 * cost.macs / 1e9:.2f} G at "
        f"the 360x480 of the table; {2 * other.macs / 1e9:.2f} G is the figure at 360x640"
    )
    return Ruling(claim, "reproduced" if is_so else "not reproduced", text)


def _dsanet(claim: Claim, evidence: Evidence) -> Ruling:
    cost = _count("dsanet", 11, (360, 480))
    if cost is None:
        return Ruling(claim, "untestable here", "", NO_TORCH)
    plan = plan_network(load_architecture("dsanet"), 11, (360, 480))
    heads = count_training_only(plan) if isinstance(plan, BaselinePlan) else 0
    fps = claim.values("FPS")
    text = (
        f"{' and '.join(f'{value:g}' for value in fps)} FPS in one paper; counted, the deployed network has "
        f"{cost.parameters:,} parameters, {cost.parameters + heads:,} with its auxiliary heads, and "
        f"{cost.macs / 1e9:.2f} G multiply-accumulates at 360x480 (torch's FlopCounterMode counts 37.5 G for its code "
        "with all heads at 512x1024, so the row mixes two inputs)"
    )
    parameters, flops = claim.values("parameters")[0], claim.values("FLOPs")[0]
    counts = cost.parameters, cost.parameters + heads
    is_so = any(round(each / 1e6, 2) == round(parameters / 1e6, 2) for each in counts) and any(
        round(each / 1e9, 1) == round(flops / 1e9, 1) for each in (cost.macs, 2 * cost.macs)
    )
    verdict: ClaimVerdict = "contradicts itself" if _contradict(fps) else "reproduced" if is_so else "not reproduced"
    return Ruling(claim, verdict, text)


def _adscnet(claim: Claim, evidence: Evidence) -> Ruling:
    cost = _count("adscnet", 11, (360, 480))
    if cost is None:
        return Ruling(claim, "untestable here", "", NO_TORCH)
    parameters, flops = claim.values("parameters")[0], claim.values("FLOPs")[0]
    text = (
        f"in its only public reimplementation (approximate) it has {cost.parameters:,} parameters and "
        f"{cost.macs / 1e9:.2f} G multiply-accumulates at 360x480: {cost.parameters / parameters:.0f} and "
        f"{cost.macs / flops:.0f} times as many"
    )
    is_so = round(cost.parameters / 1e3) == round(parameters / 1e3) and round(cost.macs / 1e6, 1) == flops / 1e6
    return Ruling(claim, "reproduced" if is_so else "not reproduced", text)


JUDGES: dict[str, Callable[[Claim, Evidence], Ruling]] = {
    "parameters": _parameters,
    "flops": _flops,
    "fps-titan-rtx": _fps(None, "titan rtx", "a Titan RTX"),
    "fps-agx": _fps("agx", None, "a Jetson AGX Xavier"),
    "real-time-agx": _real_time,
    "runs-on-nano": _runs_on_nano,
    "twice-as-fast": _twice_as_fast,
    "fewer-parameters": _fewer_parameters,
    "fewer-flops": _fewer_flops,
    "jetloss-converges-faster": _losses(HALFWAY, "halfway"),
    "jetloss-better": _losses(BY_NAME["test"], "at the end", BY_NAME["val"]),
    "accuracy": _accuracy,
    "three-devices": _three_devices,
    "row-linknet": _linknet,
    "row-cgnet": _cgnet,
    "row-dsanet": _dsanet,
    "adscnet": _adscnet,
}


def build_claims(rulings: Sequence[Ruling], studies: Sequence[Study] = ()) -> Table:
    """The rulings as a table: what the paper says, the verdict, the evidence, and what is missing."""
    columns = (
        words("says", "what the paper says"),
        words("verdict", "verdict"),
        words("evidence", "evidence"),
        words("missing", "what would decide it"),
    )
    rows = tuple(
        TableRow(
            ruling.claim.name,
            tuple(
                Cell(text or units.MISSING)
                for text in (_says(ruling.claim), ruling.verdict, ruling.evidence, ruling.missing)
            ),
        )
        for ruling in rulings
    )
    counts = {verdict: sum(ruling.verdict == verdict for ruling in rulings) for verdict in VERDICTS}
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    used = {name for ruling in rulings for name in ruling.studies}
    notes = (
        f"{units.counted(len(rulings), 'claim')}: {verdicts}.",
        _describe_used([study.name for study in studies if study.name in used], len(studies)),
        "Rules: a count (`jetbench count`) is reproduced if it rounds to the printed figure; a frame rate, if it is "
        f"within {FPS_TOLERANCE:.0%} on the named device; a gain of mIoU over seeds, if its interval (95 % for all "
        "losses together) lies above 0. A gain is not reproduced if the interval, on test or on val (by which the "
        f"weights were chosen), rules out {100 * WORTHWHILE_POINTS:g} point. Figures printed twice for the same "
        f"quantity contradict each other if they differ by more than {PRINT_TOLERANCE:.0%}.",
    )
    return Table("The claims of the JetSeg paper", columns, (Section("", rows),), Notes(notes), heading="claim")


def _describe_used(used: Sequence[str], given: int) -> str:
    if not given:
        return "No study was given, so all evidence is counted."
    if not used:
        return "The given studies have no evidence on any claim, so all evidence is counted."
    return f"Measured evidence from {', '.join(used)}."


def _says(claim: Claim) -> str:
    where = "; ".join(f"{figure.where}: {_plain(figure)}" for figure in claim.figures)
    return claim.says + (f" ({where})" if where else "")


def _plain(figure: PrintedFigure) -> str:
    match figure.unit:
        case "parameters" | "FLOPs":
            size, unit = next((s, u) for s, u in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if figure.value >= s)
            return f"{figure.value / size:g} {unit} {figure.unit}"
        case "share":
            return f"{figure.value:.2%}"
    return f"{figure.value:g} {figure.unit}"
