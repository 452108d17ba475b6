import math
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from jetbench import load_architecture
from jetbench.records.energy import Energy, PowerSample
from jetbench.records.record import Record
from jetbench.reporting.pictures.drawing import (
    Label,
    Look,
    house_style,
    make_panel,
    name_ends,
    name_points,
    place_labels,
)
from jetbench.reporting.pictures.plots import ENERGY, PICTURES, _draw_curves, _value, write_plots
from jetbench.reporting.tables.rows import Row, rows_of
from jetbench.spec.architecture import Foreign
from jetbench.spec.training import TrainingConfig
from tests.made_up import failed, profile, record, training


def made(count: int) -> list[Record]:
    return [
        record(
            f"variant {n}",
            0.3 + n / 50,
            fingerprint=f"{n}",
            architecture=load_architecture("jetseg-nano", **{"decoder.head_channels": 16 + 8 * n}),
            profile=profile(0.01 + n / 500, flops=4_000_000 * (n + 1), bytes_moved=1_000_000),
        )
        for n in range(count)
    ]


def rows(count: int) -> list[Row]:
    return rows_of([*made(count), failed("broken").model_copy(update={"fingerprint": "broken"})])


def words(path: Path) -> str:
    return "".join(ElementTree.parse(path).getroot().itertext())


@pytest.mark.parametrize(
    ("kinds", "key"),
    [
        (("cgnet",), "black triangles: baselines;"),
        (("own",), "black triangles: other networks;"),
        (("cgnet", "own"), "black triangles: baselines and other networks;"),
    ],
)
def test_a_network_of_the_users_is_no_baseline_in_the_key(kinds: tuple[str, ...], key: str, tmp_path: Path) -> None:
    own = Foreign(name="own", model="own.py:build", digest="0" * 12)
    others = [
        record(
            kind,
            0.4 + n / 50,
            fingerprint=kind,
            architecture=own if kind == "own" else load_architecture(kind),
            profile=profile(0.02 + n / 100, eq2_flops=1.0),
        )
        for n, kind in enumerate(kinds)
    ]
    write_plots(
        tmp_path, rows_of([*made(2), *others]), "title", names=["accuracy-against-latency"], look=Look(notes=True)
    )
    assert key in " ".join(words(tmp_path / "accuracy-against-latency.svg").split())


def test_each_picture_in_three_formats_names_its_rows_beside_their_points(tmp_path: Path) -> None:
    paths = write_plots(tmp_path, rows(8), "title")
    # Nothing here has a sensor, a data sheet or a second backend, so there is no picture of energy, and no roofline.
    there = [
        name for name in PICTURES if name not in ("accuracy-against-energy", "roofline", "backends", "power-modes")
    ]
    assert [path.name for path in paths] == [f"{name}.{ending}" for name in there for ending in ("png", "svg", "pdf")]
    for name in there:
        with Image.open(tmp_path / f"{name}.png") as image:
            assert image.size[0] == int(252 / 72.27 * 300)  # one column of 252 TeX points, at 300 dots
        text = words(tmp_path / f"{name}.svg")
        assert all(f"variant {n}" in text for n in range(8)), name
        assert "broken" not in text
    assert "latency of one image, median (ms)" in words(tmp_path / "accuracy-against-latency.svg")


def test_energy_is_drawn_in_millijoules_with_the_interval_of_its_windows(tmp_path: Path) -> None:
    """No sensor is here: the samples are made up."""
    drawn = []
    for n in range(3):
        # 2, 3 and 4 W for 10 s and 500 images each: 40, 60 and 80 mJ, some windows a little more.
        watts = 2.0 + n
        samples = [PowerSample(at_s=t / 2, power_w={"all": watts * (1 + t // 20 / 100)}) for t in range(81)]
        load = tuple((10.0 * k, 10.0 * k + 10, 500) for k in range(1, 4))
        energy = Energy(
            sensor="made up", interval_s=0.5, scope="made up", total_rails=("all",), images_per_pass=1,
            samples=tuple(samples), idle=((0.0, 10.0),), load=load,
        )  # fmt: skip
        drawn.append(record(f"v{n}", 0.3 + n / 10, fingerprint=f"{n}", profile=profile(0.01, energy=energy)))
    (png, svg, _) = write_plots(tmp_path, rows_of(drawn), "title", ["accuracy-against-energy"])
    text = words(svg)
    assert "energy of one image, gross (mJ)" in text
    assert all(f"v{n}" in text for n in range(3))
    assert png.is_file()
    values = [_value(row, ENERGY) for row in rows_of(drawn)]
    assert [round(value.number) for value in values if value] == [41, 61, 82]
    assert all(value.low and value.high and value.low < value.number < value.high for value in values if value)


def test_a_curve_is_the_mean_of_its_seeds_and_no_two_names_share_a_colour_and_dashes() -> None:
    made = [
        each.model_copy(update={"fingerprint": f"{n}", "training": training(0.3 + n / 50 + seed / 100)})
        for n in range(12)
        for seed, each in enumerate(
            record(
                f"n{n}, seed={s}", key=f"{n}{s}", changes={"training.seed": s}, training_config=TrainingConfig(seed=s)
            )
            for s in range(3)
        )
    ]
    figure = _draw_curves(rows_of(made), "title", Look())
    assert figure
    lines = figure.axes[0].get_lines()
    assert len(lines) == 12
    assert len({(line.get_color(), str(line.get_linestyle())) for line in lines}) == 12
    assert np.asarray(lines[0].get_ydata())[-1] == pytest.approx(31.0)
    plt.close(figure)


def test_pictures_are_the_same_bytes_each_time(tmp_path: Path) -> None:
    paths = write_plots(tmp_path, rows(3), "title")
    before = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in write_plots(tmp_path, rows(3), "title")] == before


def test_only_what_is_asked_for_is_drawn(tmp_path: Path) -> None:
    assert len(write_plots(tmp_path, rows(2), "title", ["latencies"])) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latencies.pdf", "latencies.png", "latencies.svg"]


def test_without_a_measured_row_there_is_no_picture(tmp_path: Path) -> None:
    assert write_plots(tmp_path, rows_of([failed("broken")]), "title") == []


def test_names_that_find_no_place_are_ranks_that_a_key_spells_out() -> None:
    figure, axis = make_panel("title", "a note")
    axis.set(xlim=(0, 1), ylim=(0, 1))
    grid = [(x / 10, y / 10) for x in range(2, 9) for y in range(3, 8)]
    crowd = [Label(x, y, f"a network with a long name {n}", rank=n + 1) for n, (x, y) in enumerate(grid)]
    crowd[0] = replace(crowd[0], text="the base", order=-3)
    name_points(figure, axis, crowd, grid)
    figure.canvas.draw()
    told = [text.get_text() for text in axis.texts]
    (key,) = (text for text in told if "\N{NO-BREAK SPACE}" in text)
    written = set(told) - {key}
    ranks = {word for word in written if word.isdecimal()}
    spelt = dict(re.findall(r"(\d+)\N{NO-BREAK SPACE}([\w\s]+?)(?:;|$)", key))
    assert ranks == set(spelt)
    assert "the base" in written  # it is placed first
    assert {number: " ".join(name.split()) for number, name in spelt.items()} == {
        str(label.rank): label.text for label in crowd if str(label.rank) in ranks
    }
    assert (written - ranks) | {crowd[int(rank) - 1].text for rank in ranks} == {label.text for label in crowd}
    boxes = [Text.get_window_extent(text) for text in axis.texts if text.get_text() != key]  # without the leader lines
    plt.close(figure)
    for number, one in enumerate(boxes):
        for other in boxes[:number]:
            across = min(one.x1, other.x1) - max(one.x0, other.x0)
            assert across <= 1 or min(one.y1, other.y1) - max(one.y0, other.y0) <= 1


def test_a_name_lies_on_no_error_bar() -> None:
    figure, axis = make_panel("title", "")
    axis.set(xlim=(0, 1), ylim=(0, 1))
    bars = [((0.2, 0.5), (0.8, 0.5)), ((0.5, 0.2), (0.5, 0.8))]
    place_labels(figure, axis, [Label(0.5, 0.5, "a name")], [(0.5, 0.5)], bars)
    figure.canvas.draw()
    (text,) = axis.texts
    box = Text.get_window_extent(text)
    plt.close(figure)
    for start, end in bars:
        (x0, y0), (x1, y1) = axis.transData.transform(start), axis.transData.transform(end)
        for n in range(101):
            x, y = x0 + (x1 - x0) * n / 100, y0 + (y1 - y0) * n / 100
            assert not (box.x0 < x < box.x1 and box.y0 < y < box.y1)


def test_svg_and_pdf_have_neither_title_nor_notes_unless_asked_for(tmp_path: Path) -> None:
    def told(look: Look) -> tuple[str, str]:
        write_plots(tmp_path, rows(3), "The title", ["accuracy-against-latency"], ("png", "svg"), look)
        return words(tmp_path / "accuracy-against-latency.svg"), "latency of one image, median (ms)"

    text, axis = told(Look())
    assert axis in text
    assert "The title" not in text
    assert "bars:" not in text
    text, _ = told(Look(title=True))
    assert "The title" in text
    assert "bars:" not in text
    text, _ = told(Look(title=True, notes=True))
    assert "bars: 95 % intervals" in text
    assert "processor" in text
    write_plots(tmp_path, rows(3), "t", ["accuracy-against-latency"], ("png",), Look(columns=2))
    with Image.open(tmp_path / "accuracy-against-latency.png") as image:
        assert image.size[0] == int(516 / 72.27 * 300)


def test_accuracy_ends_at_zero_and_each_study_has_a_shape(tmp_path: Path) -> None:
    low = [
        replace(row, study=study)
        for study in ("one", "two")
        for row in rows_of(
            [
                record(
                    f"seed={n}",
                    0.01 + 0.2 * n,
                    key=f"{study}{n}",
                    changes={"training.seed": n},
                    fingerprint=study,
                    training_config=TrainingConfig(seed=n),
                )
                for n in range(2)
            ]
        )
    ]
    write_plots(tmp_path, low, "title", ["accuracy-against-latency"], ("svg",), Look(notes=True))
    text = words(tmp_path / "accuracy-against-latency.svg")
    assert "circles: one; squares: two" in text
    assert "\N{MINUS SIGN}" not in text  # no negative mIoU at the axis


def test_a_name_is_nearer_to_its_own_point_than_to_another_or_has_a_line_to_it() -> None:
    figure, axis = make_panel("title", "")
    axis.set(xlim=(0, 1), ylim=(0, 1))
    points = [(0.5, 0.5), (0.5, 0.56), (0.53, 0.5), (0.2, 0.8)]
    place_labels(figure, axis, [Label(x, y, f"n{n}") for n, (x, y) in enumerate(points)], points)
    figure.canvas.draw()
    texts: dict[str, Any] = {text.get_text(): text for text in axis.texts}
    plt.close(figure)
    assert len(texts) == 4
    assert texts["n3"].arrow_patch is None
    for number, point in enumerate(points):
        text = texts[f"n{number}"]
        box = Text.get_window_extent(text)

        def distance(at: tuple[float, float], box: Any = box) -> float:
            x, y = axis.transData.transform(at)
            return math.hypot(max(box.x0 - x, 0, x - box.x1), max(box.y0 - y, 0, y - box.y1))

        nearest = min(points, key=distance)
        assert nearest == point or text.arrow_patch is not None


def test_every_number_of_the_key_stands_in_the_picture_however_crowded_it_is() -> None:
    figure, axis = make_panel("title", "")
    axis.set(xlim=(0, 1), ylim=(0, 1))
    points = [(0.5 + n % 5 / 60, 0.5 + n // 5 / 60) for n in range(25)]
    labels = [Label(x, y, f"a long name {n}", rank=n + 1) for n, (x, y) in enumerate(points)]
    name_points(figure, axis, labels, points)
    texts = [text.get_text() for text in axis.texts]
    plt.close(figure)
    key = next(text for text in texts if "\N{NO-BREAK SPACE}" in text)
    numbers = {word.split("\N{NO-BREAK SPACE}")[0] for word in key.replace("\n", " ").split("; ")}
    assert len(numbers) > 5
    assert numbers <= set(texts)


def test_a_cost_that_is_the_same_for_all_is_not_drawn(tmp_path: Path) -> None:
    same = [record(f"loss {n}", 0.3 + n / 50, fingerprint=f"{n}") for n in range(3)]
    assert not write_plots(tmp_path, rows_of(same), "t", ["accuracy-against-macs"], ("svg",))


def test_names_at_the_ends_of_lines_do_not_meet() -> None:
    figure, axis = make_panel("title", "")
    axis.set(xlim=(0, 2), ylim=(0, 1))
    name_ends(figure, axis, [Label(1, 0.5 + n / 1e3, f"line {n}") for n in range(6)])
    figure.canvas.draw()
    heights = sorted(axis.transData.transform(text.xyann)[1] for text in axis.texts)  # type: ignore[attr-defined]
    gaps = [after - before for before, after in pairwise(heights)]
    plt.close(figure)
    assert min(gaps) == pytest.approx(1.2 * 6.0 * 100 / 72)


@pytest.mark.parametrize("dpi", [72, 300])
@pytest.mark.parametrize("name", ["loss=weighted-cross-entropy", "a" * 120])
def test_no_text_leaves_the_picture_at_any_resolution(name: str, dpi: int) -> None:
    with house_style():
        figure, axis = make_panel("a title of many words " * 4, "a key " * 40)
        axis.barh([0, 1], [1, 2])
        axis.set_yticks([0, 1], ["stages.s3.residual_branches", "short"], fontsize=6)
        name_ends(figure, axis, [Label(2, 1, name)])
        figure.canvas.draw()
        figure.set_layout_engine("none")  # as it is saved
        figure.set_dpi(dpi)
        figure.canvas.draw()
        edges = [text.get_window_extent() for text in figure.findobj(Text) if text.get_text()]
        width = figure.bbox.width
        plt.close(figure)
    assert min(box.x0 for box in edges) > -0.002 * width
    assert max(box.x1 for box in edges) < 1.002 * width
    shown = axis.texts[0].get_text()
    assert shown == name or (shown.startswith("aa") and shown.endswith("aa") and "\N{HORIZONTAL ELLIPSIS}" in shown)
