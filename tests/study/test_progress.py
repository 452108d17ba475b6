import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from jetbench.execution.executor import Job, Progress
from jetbench.execution.requests import Phase
from jetbench.study.progress import BarView, LineView
from tests.made_up import failed, job_request, record

View = BarView | LineView


def job(share: float, phase: Phase = "train") -> Progress:
    return Progress(Job("k", "groups=1", Path(), job_request(phase), 1, 1.0), share, "step 5, loss 1.2", 10.0)


def shown(make: Callable[[Console], View], terminal: bool) -> str:
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=120)
    with make(console) as view:
        view.prepare(1, 2)
        view.prepare(2, 2)
        view.begin(4, 1)
        view.show(1, [job(0.5)], 250.0)
        if isinstance(view, BarView):
            view.progress.refresh()  # it draws a few times a second by itself
        view.show(1, [job(0.5, "profile")], None)
        view.land(record("groups=1"), 2, 130.0)
        view.land(failed("groups=[gcd]", "the loss was nan at step 3 in [/usr/lib]"), 3, None)
        view.note("lost [/x]; trying once more")
        view.show(3, [], 0.0)
    return text.getvalue()


@pytest.mark.parametrize(("make", "terminal"), [(BarView, True), (LineView, False)])
def test_each_landing_and_each_failure_is_told(make: Callable[[Console], View], terminal: bool) -> None:
    text = shown(make, terminal)
    assert "groups=1" in text
    assert "val mIoU 50.0 %, 10.0 ms, 1,000 parameters" in text.replace("\x1b[0m", "")
    assert "train diverged: the loss was nan at step 3" in text
    assert "trying once more" in text


def test_lines_have_no_control_codes_and_count() -> None:
    text = shown(LineView, terminal=False)
    assert "\x1b" not in text
    assert "[2/4] groups=1" in text
    assert "[3/4] groups=[gcd]" in text
    assert "(about 2 min left)" in text
    assert "(estimating the time left)" in text


def test_bars_show_the_running_job_and_the_time_left() -> None:
    text = shown(BarView, terminal=True)
    assert "train groups=1" in text
    assert "step 5, loss 1.2" in text
    assert "about 4 min left" in text
