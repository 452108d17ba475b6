"""Published figures of networks, as text and table cells; kept apart from what is measured here."""

from collections.abc import Sequence

from jetbench.network.rules import format_size
from jetbench.reporting import units
from jetbench.spec.architecture import AnyArchitecture, Baseline, Foreign
from jetbench.spec.published import QUANTITIES, Quantity, Reported

APPROXIMATE = "\N{ALMOST EQUAL TO}"
HEADINGS = ("reported parameters", "reported FLOPs", "reported mIoU (%)", "reported FPS")
"""Headings of the published columns, in the order of `QUANTITIES`."""


def reported_cell(architecture: AnyArchitecture, quantity: Quantity) -> str:
    """Every published figure of that quantity with its conditions, abbreviated; a dash if none is known."""
    figures = [figure for figure in architecture.reported if figure.quantity == quantity]
    return "; ".join(_short(figure) for figure in figures) or units.MISSING


def _short(figure: Reported) -> str:
    where = [format_size(figure.size)] if figure.size else []
    where += [figure.device] if figure.device else []
    if figure.dataset:
        where = [" ".join(filter(None, (figure.dataset, figure.split)))]
    doubt = ("" if figure.seen else "?") + ("*" if figure.note else "")
    return _value(figure) + doubt + (f" ({', '.join(where)})" if where else "")


def _value(figure: Reported) -> str:
    match figure.quantity:
        case "parameters":
            return _scaled(figure.parameters or 0)
        case "flops":
            return _scaled(figure.flops or 0)
        case "miou":
            return f"{100 * (figure.miou or 0):.1f}"
        case "fps":
            return f"{figure.fps:g}"


def _scaled(count: int) -> str:
    unit, size = next((unit, size) for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3), ("", 1)) if count >= size)
    return f"{count / size:.4g} {unit}".strip()


def describe_figure(figure: Reported) -> str:
    """One published figure in full: `21.2 G FLOPs at 360x640, 2 per multiply-accumulate (abstract)`."""
    text = _value(figure)
    match figure.quantity:
        case "parameters":
            text += " parameters"
        case "flops":
            text += " FLOPs"
        case "miou":
            text += f" % mIoU on {figure.dataset}" + (f" {figure.split}" if figure.split else "")
        case "fps":
            text += " FPS"
    text += f" at {format_size(figure.size)}" if figure.size else ""
    text += f" on {figure.device}" if figure.device else ""
    text += f", {figure.per_mac} per multiply-accumulate" if figure.per_mac else ""
    text += f", {figure.note}" if figure.note else ""
    return f"{text} ({figure.source}{'' if figure.seen else ', not checked against the source'})"


def mark_of(architecture: AnyArchitecture) -> str:
    """The mark behind the name of an approximate network; empty for others."""
    return f" {APPROXIMATE}" if isinstance(architecture, Baseline) and architecture.fidelity == "approximate" else ""


def describe_kind(architecture: AnyArchitecture) -> str:
    """The kind of a network in two words: `paper form`, `exact baseline`."""
    if isinstance(architecture, Foreign):
        return "network of the user's own"
    if isinstance(architecture, Baseline):
        return f"{architecture.fidelity} baseline"
    return f"{architecture.form} form"


def describe_fidelity(architecture: Baseline) -> str:
    """How faithful a baseline is to the published network."""
    match architecture.fidelity:
        case "exact":
            return "exact: computes the same as the authors' code or a complete description"
        case "approximate":
            return f"approximate; assumed: {'; '.join(architecture.assumed)}"
        case "quoted":
            return f"only published figures; it was not built or measured: {'; '.join(architecture.assumed)}"


def describe_approximate(rows: Sequence[tuple[str, AnyArchitecture]]) -> list[str]:
    """Notes: the assumptions in each approximate baseline."""
    return [
        f"{name} {APPROXIMATE} is {describe_fidelity(each)}."
        for name, each in rows
        if isinstance(each, Baseline) and each.fidelity == "approximate"
    ]


def describe_published(rows: Sequence[tuple[str, AnyArchitecture]]) -> list[str]:
    """Notes: which baselines are only quoted, and what the published columns mean."""
    lines = [
        f"{name} is quoted: {describe_fidelity(each)}."
        for name, each in rows
        if isinstance(each, Baseline) and each.fidelity == "quoted"
    ]
    if any(each.reported for _, each in rows):
        lines.append(
            "Reported: published figures, from other machines, image sizes and trainings; none was measured here. "
            "FLOPs follow the source, with one or two per multiply-accumulate. Question mark: quoted from memory, "
            "not checked against the source. Star: a condition applies, given with the source."
        )
    return lines


def describe_sources(rows: Sequence[tuple[str, AnyArchitecture]]) -> list[str]:
    """Notes: every published figure of each row with its conditions and source."""
    lines = []
    for name, each in rows:
        if not each.reported:
            continue
        figures = sorted(each.reported, key=lambda figure: QUANTITIES.index(figure.quantity))
        paper = f" ({each.paper.authors}, {each.paper.year}, {each.paper.link})" if each.paper else ""
        lines.append(f"Reported of {name}{paper}: {'; '.join(map(describe_figure, figures))}.")
    return lines
