"""A latency model on one screen: its errors beside those of MACs, bytes and the roofline; and its predictions."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from jetbench.profiling.latency_model import (
    Errors,
    LatencyModel,
    Learnt,
    errors_of,
    errors_of_proxy,
    repeatability,
)
from jetbench.profiling.latency_predict import MOST_REASONS, Prediction
from jetbench.reporting import units
from jetbench.reporting.tables.columns import numbers, words
from jetbench.reporting.tables.footnotes import Notes
from jetbench.reporting.tables.table import Cell, Section, Table, TableRow
from jetbench.reporting.tables.terminal import to_terminal
from jetbench.reporting.terminal import print_notes, print_whole


def errors_by_predictor(networks: Sequence[Learnt]) -> dict[str, Errors | None]:
    """The errors of the model, of what it is compared with, and of the measurement itself, on the same networks."""
    return {
        "this model": errors_of([(each.predicted_s, each.seconds) for each in networks]),
        "MACs": errors_of_proxy(networks, lambda each: each.macs),
        "bytes moved": errors_of_proxy(networks, lambda each: each.bytes_moved),
        "roofline": errors_of_proxy(networks, lambda each: each.roofline_s),
        "measured again": repeatability(networks),
    }


def errors_table(model: LatencyModel) -> Table:
    """The errors by predictor: on the learnt networks, each left out of its fit, and on the held-out ones."""
    columns = (
        numbers("networks", "networks"),
        numbers("median", "median |error| (%)", short="median %"),
        numbers("p90", "90th percentile (%)", short="90 % within %"),
        numbers("tau", "Kendall's tau", short="tau"),
    )
    sections = []
    groups = [("left out of the fit in turn", model.learnt), ("never fitted", model.held_out)]
    for label, networks in groups:
        if not networks:
            continue
        rows = tuple(
            TableRow(name, tuple(map(Cell, (str(len(networks)), *_cells(errors)))))
            for name, errors in errors_by_predictor(networks).items()
        )
        sections.append(Section(label if model.held_out else "", rows))
    title = f"Errors of predictions, {model.space} on {model.describe_setting()}"
    return Table(title, columns, tuple(sections), Notes(()), heading="predicted by")


def _cells(errors: Errors | None) -> tuple[str, ...]:
    if errors is None:
        return (units.MISSING,) * 3
    tau = units.MISSING if errors.tau is None else f"{errors.tau:.2f}"
    return f"{100 * errors.median:.1f}", f"{100 * errors.p90:.1f}", tau


def print_model(console: Console, model: LatencyModel) -> None:
    """Print the errors of a model, and what it knows."""
    table = errors_table(model)
    print_whole(console, to_terminal(table, not console.is_terminal))
    block = f" in blocks of {model.block} channels where a convolution allows it" if model.block else ""
    print_notes(
        console,
        [
            f"Learnt from {len(model.learnt)} networks with {model.runtime}{block}; the standard network takes "
            f"{units.MILLISECONDS.describe(model.standard_s)}. A prediction has an interval of \N{PLUS-MINUS SIGN} "
            f"{units.percent(model.half)} (95 %).",
            "MACs, bytes and roofline: with the factor that fits best. Measured again: the second process of each "
            "network against the first; the median of both, which is predicted, repeats better.",
        ],
    )


def describe_model(model: LatencyModel) -> dict[str, Any]:
    """The errors of a model as plain data."""
    return {
        "space": model.space,
        "device": model.device,
        "setting": model.config.describe(),
        "networks": len(model.learnt),
        "held_out": len(model.held_out),
        "interval": model.half,
        "errors": {
            label: {name: errors and errors.model_dump() for name, errors in errors_by_predictor(networks).items()}
            for label, networks in (("cross_validated", model.learnt), ("held_out", model.held_out))
            if networks
        },
    }


def print_predictions(console: Console, model: LatencyModel, predictions: Sequence[Prediction]) -> None:
    """Print predictions: each with its interval, or a dash with the reason."""
    columns = (
        numbers("latency", "latency, PREDICTED (ms)", short="ms, PREDICTED"),
        numbers("interval", "95 % interval (ms)", short="95 %"),
        words("outside", "outside of what was learnt"),
    )
    rows = []
    for each in predictions:
        interval = units.MISSING
        if each.interval is not None:
            interval = f"{units.milliseconds(each.interval[0])} to {units.milliseconds(each.interval[1])}"
        shown = "; ".join(each.reasons[:MOST_REASONS])
        more = len(each.reasons) - MOST_REASONS
        reasons = shown + (f"; and {more} more" if more > 0 else "")
        rows.append(TableRow(each.name, (Cell(units.milliseconds(each.seconds)), Cell(interval), Cell(reasons))))
    table = Table(
        f"Predicted for {model.describe_setting()}", columns, (Section("", tuple(rows)),), Notes(()), heading="network"
    )
    print_whole(console, to_terminal(table, not console.is_terminal))
    print_notes(console, [f"Predicted by what was learnt of {model.space}; nothing here was measured."])
