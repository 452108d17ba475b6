import matplotlib.pyplot as plt
import pytest

from jetbench.reporting.pictures.drawing import Look, make_panel

TITLES = [
    "nano: kernels and dilations, group counts and stages around the nano preset",
    "WWWWWW MMMMMM " * 9,
    "iiii llll " * 20,
    "short",
]


@pytest.mark.parametrize("title", TITLES)
def test_a_title_and_notes_of_wide_letters_stay_within_the_picture(title: str) -> None:
    figure, _ = make_panel(title, title.lower(), [title.upper()], look=Look(notes=True))
    figure.canvas.draw()
    for text in figure.texts:
        box = text.get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.width
        assert " ".join(text.get_text().split()).lower().startswith(title.split()[0].lower())
    plt.close(figure)
