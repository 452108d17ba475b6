from pathlib import Path

import pytest

from jetbench.reporting.pictures.confusion import draw_confusion
from jetbench.reporting.pictures.drawing import Look
from tests.reporting.pictures.test_plots import words


@pytest.mark.parametrize(
    ("last", "is_empty"), [((0, 0, 0), True), ((1, 0, 999), False)], ids=["a class without pixels", "every class"]
)
def test_the_key_says_what_a_cell_without_a_number_is(last: tuple[int, ...], is_empty: bool, tmp_path: Path) -> None:
    draw_confusion(tmp_path / "x", ("a", "b", "c"), [(750, 250, 0), (4, 996, 0), last], "title", Look(notes=True))
    text = " ".join(words(tmp_path / "x.svg").split())
    assert "75 25" in text
    assert "no number: 0.5 % or less" in text
    assert ("an empty row: not in the labels" in text) == is_empty
