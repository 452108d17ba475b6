from pathlib import Path
from xml.etree import ElementTree

from PIL import Image

from jetbench.reporting.plots import write_plots
from tests.made_up import failed, record


def test_three_pictures_in_two_formats_with_a_point_and_a_line_of_the_key_for_each_row(tmp_path: Path) -> None:
    made = [record(f"variant {n}", 0.3 + n / 50, 0.01 + n / 500) for n in range(12)]
    paths = write_plots(tmp_path, [*made, failed("broken")], "title")
    assert [path.name for path in paths] == [
        "accuracy-against-latency.png",
        "accuracy-against-latency.svg",
        "accuracy-against-macs.png",
        "accuracy-against-macs.svg",
        "learning-curves.png",
        "learning-curves.svg",
    ]
    for path in paths[::2]:
        with Image.open(path) as image:
            assert image.size[0] > 1000
    text = "".join(ElementTree.parse(paths[1]).getroot().itertext())
    assert all(f"variant {n}" in text for n in range(12))
    assert "broken" not in text
    assert "latency of one image, median" in text


def test_without_a_measured_row_there_is_no_picture(tmp_path: Path) -> None:
    assert write_plots(tmp_path, [failed("broken")], "title") == []


def test_one_row_is_enough(tmp_path: Path) -> None:
    assert len(write_plots(tmp_path, [record("only")], "title")) == 6
