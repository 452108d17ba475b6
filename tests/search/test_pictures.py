from pathlib import Path
from xml.etree import ElementTree

from PIL import Image

from jetbench.search.pictures import Settled, Trained, Words, draw_answer, draw_search

WORDS = Words("A title", "CamVid", "300 steps each")


def words(path: Path) -> str:
    return "".join(ElementTree.parse(path).getroot().itertext())


def test_a_search_is_drawn_one_column_wide_with_its_key_in_the_png_alone(tmp_path: Path) -> None:
    trained = [Trained(f"s-0-{n:03}", 10.0 + n, 20.0 + n) for n in range(5)]
    png, svg = draw_search(tmp_path / "search", trained, [Trained("s-0-009", 9, 3)], trained[2], "MACs", 12.0, WORDS)
    with Image.open(png) as picture:
        assert picture.width == int(252 / 72.27 * 300)
    text = words(svg)
    assert "004" in text
    assert "best validation mIoU (%)" in text
    assert "A title" not in text
    assert "300 steps each" not in text


def test_an_answer_names_its_base_and_each_network_by_its_number(tmp_path: Path) -> None:
    rows = [Settled("jetseg-nano", 40.0, (30.0, 31.0)), Settled("s-0-017", 10.0, (30.5, 31.5))]
    text = words(draw_answer(tmp_path / "answer", rows, "MACs", WORDS)[1])
    assert "jetseg-nano (base)" in text
    assert "017" in text
