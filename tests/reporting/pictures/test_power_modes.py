"""The picture of power modes, and that of two boards."""

from pathlib import Path

import numpy as np
import pytest

from jetbench.errors import SpecError
from jetbench.records.measurement import Latency
from jetbench.records.record import Record
from jetbench.reporting.pictures.boards import draw_boards
from jetbench.reporting.pictures.drawing import Look, house_style
from jetbench.reporting.pictures.power_modes import draw_power_modes
from jetbench.reporting.questions.boards import boards_of
from jetbench.reporting.questions.transfer import measure_transfer
from jetbench.reporting.studies import Study
from jetbench.reporting.tables.columns import find_columns
from jetbench.reporting.tables.rows import rows_of
from jetbench.reporting.tables.table import build_table
from jetbench.spec.profiling import ProfilingConfig
from tests.made_up import ENVIRONMENT, latency, profile, record


def on(board: str, mode: str, name: str, seconds: float, form: str = "traced") -> Record:
    """A network on a board in a power mode, timed in three processes that agree."""
    state = ENVIRONMENT.model_copy(update={"power_mode": mode, "device": "gpu", "cpu": board})
    timed = profile(seconds, device=board, environment=state, model_latency=precise(seconds))
    config = ProfilingConfig.model_validate({"backend": form})
    key = f"{board} {mode} {name} {form}"
    return record(name, profile=timed, fingerprint=name, profiling_config=config, kind="profile", key=key)


def precise(seconds: float) -> Latency:
    return latency(seconds, 1.001 * seconds, 0.999 * seconds)


def test_each_mode_of_a_board_has_a_place_by_its_clock() -> None:
    records = [on("nano", mode, name, s) for mode, s in (("MAXN", 0.01), ("5W", 0.02)) for name in ("a", "b")]
    with house_style():
        figure = draw_power_modes(rows_of(records), "title", Look())
    assert figure is not None
    plot = figure.axes[0]
    assert [label.get_text() for label in plot.get_xticklabels()] == ["5W", "MAXN"]  # the slower clock first
    (line, *_) = plot.get_lines()
    assert np.asarray(line.get_ydata()).tolist() == pytest.approx([50.0, 100.0])


def test_one_mode_is_no_picture() -> None:
    assert draw_power_modes(rows_of([on("nano", "MAXN", "a", 0.01)]), "title", Look()) is None
    assert draw_power_modes(rows_of([record("a")]), "title", Look()) is None


def two_boards() -> Study:
    """Three networks on two boards: b and c change places."""
    times = {"a": (0.01, 0.02), "b": (0.02, 0.06), "c": (0.03, 0.05)}
    records = [on("nano", "MAXN", name, first) for name, (first, _) in times.items()]
    records += [on("nano", "5W", name, 2 * first) for name, (first, _) in times.items()]
    records += [on("agx", "MAXN", name, second) for name, (_, second) in times.items()]
    records += [on("agx", "MAXN", name, second, "eager") for name, (_, second) in times.items()]
    return Study(Path("study"), "study", "study", tuple(records))


def test_the_boards_of_one_study_are_compared_in_the_form_that_both_have(tmp_path: Path) -> None:
    nano, agx = boards_of(two_boards())
    assert (nano.name, agx.name) == ("nano MAXN, traced", "agx MAXN, traced")
    assert [len(each.records) for each in (nano, agx)] == [3, 3]
    transfer = measure_transfer(nano, agx)
    assert transfer.tau == pytest.approx(1 / 3)  # two of three pairs in the same order: (2 - 1) / 3
    assert transfer.flips == (("b", "c"),)
    written = draw_boards(tmp_path, nano, agx)
    assert [path.name for path in written] == ["boards.png", "boards.svg", "boards.pdf"]
    with pytest.raises(SpecError, match="two are needed"):
        boards_of(two_boards(), "openvino")


def test_a_table_of_several_boards_names_each_group_by_its_board_and_mode() -> None:
    rows = rows_of(two_boards().records)
    table = build_table(rows, find_columns(["val", "latency"]), "title", mixed=True)
    assert [section.board for section in table.sections] == ["nano, MAXN", "nano, 5W", "agx, MAXN"]
    with pytest.raises(SpecError, match="board nano; power mode MAXN"):
        build_table(rows, find_columns(["val", "latency"]), "title")
