"""The HTML report, as data and in a real browser without a window."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from jetbench.records.record import Record
from jetbench.reporting.sheets.page import TEMPLATE, describe_study, render, write_page
from jetbench.reporting.studies import Study
from jetbench.reporting.tables.rows import name_without_seed
from jetbench.spec.training import TrainingConfig
from jetbench.training.samples import KEY, encode_ids
from tests.made_up import DATASET, ENVIRONMENT, failed, profile, record

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NASTY = "</script><b>\"'&{{DATA}}"


def study(*records: Record, folder: Path = Path("study"), **asked: Any) -> Study:
    networks = tuple(each.model_copy(update={"fingerprint": name_without_seed(each)}) for each in records)
    return Study(folder, "study", "A study: of things", networks, (), asked)


def sure(name: str, miou: float, latency_s: float, **more: Any) -> list[Record]:
    """Three seeds, so near each other that it is known how good the network is."""
    changes = more.pop("changes", {})
    return [
        record(
            f"{name}, seed={seed}",
            miou + (seed - 1) / 1000,
            latency_s,
            key=f"{name}{seed}",
            changes={**changes, "training.seed": seed},
            training_config=TrainingConfig(seed=seed),
            **more,
        )
        for seed in range(3)
    ]


def three() -> Study:
    return study(
        *sure("fast", 0.4, 0.010, changes={"groups": 1}),
        *sure("good", 0.6, 0.020, changes={"groups": 4}),
        *sure("worse", 0.3, 0.030),
        failed(NASTY, "the loss was nan <here>"),
    )


def test_the_data_has_rows_pages_failures_and_no_empty_column() -> None:
    data = describe_study(three())
    assert [row["label"] for row in data["rows"]] == ["fast", "good", "worse", f"{NASTY} (failed)"]
    assert [row["front"] for row in data["rows"]] == [True, True, False, False]
    assert set(data["details"]) == {row["id"] for row in data["rows"]}
    assert data["failures"] == [{"name": NASTY, "text": "train, diverged: the loss was nan <here>"}]
    names = [column["name"] for column in data["columns"]]
    assert "latency" in names
    assert "power" not in names  # nothing has it, and a note says why
    latency = data["rows"][0]["values"]["latency"]
    assert latency["v"] == 10.0
    assert latency["lo"] < 10.0 < latency["hi"]
    assert data["axes"] == [{"name": "groups", "label": "groups", "values": ["(base)", "1", "4"], "base": "(base)"}]
    blocks = data["details"]["fast0"]["blocks"]
    assert blocks[0]["stage"] == "S0"
    assert sum(part["macs"] for part in data["details"]["fast0"]["costs"]) > 0


def test_the_page_is_one_file_without_network_and_cannot_be_broken_out_of(tmp_path: Path) -> None:
    path = write_page(tmp_path / "report.html", three())
    text = path.read_text()
    assert not re.findall(r"""(?:src|href)=["']?https?://|@import|url\(""", text)
    scripts: list[str] = []

    class Scripts(HTMLParser):
        inside = False

        def handle_starttag(self, tag: str, attrs: Any) -> None:
            self.inside = tag == "script" and ("type", "application/json") in attrs

        def handle_data(self, data: str) -> None:
            if self.inside:
                scripts.append(data)

        def handle_endtag(self, tag: str) -> None:
            self.inside = False

    Scripts().feed(text)
    assert json.loads("".join(scripts)) == describe_study(three())
    before = path.read_bytes()
    assert write_page(path, three()).read_bytes() == before


def test_what_a_network_sees_comes_from_its_weights_or_a_reason_does(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    ids = np.ones((2, 8, 12), np.uint8)
    save_file({"w": torch.zeros(1)}, tmp_path / "weights" / "x.safetensors", {KEY: encode_ids(ids)})
    seen = describe_study(study(record("a"), folder=tmp_path))["details"]["a"]
    assert seen["strip"].startswith("data:image/png;base64,")
    unseen = describe_study(study(record("a")))["details"]["a"]
    assert unseen["strip"] is None
    assert "not beside the records" in unseen["nostrip"]


def test_images_and_truth_are_shown_only_of_the_studys_own_data() -> None:
    asked = {"name": "streets", "size": [64, 96], "train": 4, "val": 2, "test": 3, "seed": 0}
    data = describe_study(study(record("a", dataset=DATASET.model_copy(update={"size": (64, 96)})), dataset=asked))
    assert data["samples"] is None
    assert "differs from the study's" in data["nosamples"]
    assert "are not shown" in describe_study(study(record("a")))["nosamples"]


def ratio(one: str, other: str) -> float:
    """WCAG's contrast of two colours such as #aabbcc."""

    def light(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [":root", '[data-theme="dark"]'])
def test_text_can_be_read_in_both_themes(theme: str) -> None:
    block = TEMPLATE.read_text().split(theme + " {")[1].split("}")[0]
    colours = dict(re.findall(r"--([a-z]+): (#[0-9a-f]{6})", block))
    for ink in ("ink", "muted", "accent", "jetseg", "good", "bad"):
        for paper in ("paper", "raised"):
            assert ratio(colours[ink], colours[paper]) >= 4.5, (ink, paper)
    for mark in ("jetseg", "released", "baseline"):
        assert ratio(colours[mark], colours["paper"]) >= 3, mark


def browse(path: Path, script: str = "", seconds: int = 60, **options: str) -> tuple[str, str]:
    """The page as the browser has it after `script`, and what the browser complained of."""
    if script:
        path.write_text(path.read_text().replace("</body>", f"<script>{script}</script></body>"))
    if CHROMIUM is None:
        pytest.skip("needs chromium")
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            "--virtual-time-budget=5000",
            f"--user-data-dir={path.parent / 'browser'}",
            *(f"--{name.replace('_', '-')}={value}" for name, value in options.items()),
            "--dump-dom",
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    complaints = [line for line in done.stderr.splitlines() if "CONSOLE" in line or "Uncaught" in line]
    return done.stdout, "\n".join(complaints)


@pytest.mark.browser
def test_a_browser_shows_it_without_a_complaint(tmp_path: Path) -> None:
    dom, complaints = browse(write_page(tmp_path / "report.html", three()))
    assert complaints == ""
    body = dom.split("<tbody>")[1].split("</tbody>")[0]
    assert body.count("<tr") == 4
    assert "4 of 4 rows" in dom
    assert dom.count('class="mark jetseg') == 6  # three networks in two plots
    assert "the loss was nan &lt;here&gt;" in dom


USE = """
const say = (k, v) => document.body.setAttribute("data-" + k, v);
const names = () => [...document.querySelectorAll("#table tbody th")].map(e => e.textContent).join(" ");
document.querySelector('[data-sort="latency"]').click(); say("fastest", names());
document.querySelector('[data-sort="latency"]').click(); say("slowest", names());
say("focus", document.activeElement.dataset.sort);
const filter = document.getElementById("filter");
filter.value = "ms<25 val>35"; filter.oninput(); say("filtered", names());
filter.value = "lat < 2.5e1 nonsense<3 p90>x"; filter.oninput(); say("spelt", names());
say("trouble", document.getElementById("count").textContent);
filter.value = ""; filter.oninput();
document.getElementById("frontonly").click(); say("front", names());
document.getElementById("theme").click(); say("theme", document.documentElement.dataset.theme);
const mark = document.querySelector(".mark"); mark.focus(); say("tip", document.getElementById("tip").textContent);
mark.dispatchEvent(new KeyboardEvent("keydown", {key: "Enter"}));
setTimeout(() => {
  say("page", document.querySelector("#variant h1").textContent + " " + document.getElementById("overview").hidden);
  dispatchEvent(new KeyboardEvent("keydown", {key: "Escape"}));
  setTimeout(() => say("back", document.getElementById("variant").hidden), 50); }, 50);
"""


@pytest.mark.browser
def test_sorting_filtering_themes_and_the_keyboard(tmp_path: Path) -> None:
    made = study(*sure("fast", 0.4, 0.010), *sure("good", 0.6, 0.020), *sure("worse", 0.3, 0.030))
    dom, complaints = browse(write_page(tmp_path / "report.html", made), USE)
    assert complaints == ""
    told = dict(re.findall(r'data-([a-z]+)="([^"]*)"', re.findall(r"<body[^>]*>", dom)[0]))
    assert told["fastest"] == "fast good worse"
    assert told["slowest"] == "worse good fast"
    assert told["focus"] == "latency"
    assert told["filtered"] == "good fast"  # still sorted
    assert told["front"] == "good fast"
    assert told["spelt"] == "good fast"
    assert told["trouble"] == (
        "2 of 3 rows; ignored: no numeric column is called nonsense; x is not a number (example: p90&gt;10)"
    )
    assert told["theme"] in ("dark", "light")
    assert "latency median (ms): " in told["tip"]
    assert told["page"].endswith(" true")
    assert told["back"] == "true"


@pytest.mark.slow
@pytest.mark.browser
def test_a_thousand_records_open(tmp_path: Path) -> None:
    made = study(*(record(f"n{n}", 0.2 + n / 2000, 0.01 + (n * 37 % 1000) / 1e4, key=f"k{n}") for n in range(1000)))
    path = write_page(tmp_path / "report.html", made)
    timer = """const t = performance.getEntriesByType("navigation")[0];
    document.body.setAttribute("data-ms", Math.round(performance.now()));"""
    dom, complaints = browse(path, timer)
    assert complaints == ""
    assert "1000 of 1000 rows" in dom
    (milliseconds,) = re.findall(r'data-ms="(\d+)"', dom)
    assert int(milliseconds) < 10_000  # a bound against hanging; what it takes stands in the log
    print(f"opened in {milliseconds} ms, {path.stat().st_size / 2**20:.1f} MiB")


def test_the_template_has_its_two_places() -> None:
    text = TEMPLATE.read_text()
    assert text.count("{{TITLE}}") == 1
    assert text.count("{{DATA}}") == 1
    assert "{{" not in render({"title": "x", "rows": []})


def test_rows_of_different_machines_stand_in_groups_of_which_one_is_shown() -> None:
    elsewhere = profile(0.005, environment=ENVIRONMENT.model_copy(update={"cpu": "another"}))
    data = describe_study(study(*sure("a", 0.5, 0.01), *sure("b", 0.6, 0.01, profile=elsewhere)))
    assert len(data["groups"]) == 2
    assert [row["group"] for row in data["rows"]] == data["groups"]
    assert [row["front"] for row in data["rows"]] == [True, True]  # each in its own group


SMALL = """
const out = (within, but) => [...document.querySelectorAll(within)].filter(e => e.getClientRects().length
  && !e.closest(but) && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.tagName + "." + e.className);
const say = (name, told) => document.body.setAttribute("data-" + name, told.join(" ") || "fits");
say("overview", out("main *", ".scroll, .wide"));
location.hash = document.querySelector("#table tbody a").getAttribute("href");
setTimeout(() => { say("variant", out("#variant *", ".wide"));
  document.body.setAttribute("data-scrolls", document.documentElement.scrollWidth > innerWidth); }, 100);
"""


@pytest.mark.browser
def test_on_a_telephone_nothing_sticks_out(tmp_path: Path) -> None:
    dom, complaints = browse(write_page(tmp_path / "report.html", three()), SMALL, window_size="390,844")
    assert complaints == ""
    told = dict(re.findall(r'data-([a-z]+)="([^"]*)"', re.findall(r"<body[^>]*>", dom)[0]))
    assert told == {"overview": "fits", "variant": "fits", "scrolls": "false"}


def test_the_page_of_an_invalid_row_says_that_something_was_left_out_and_why() -> None:
    wrong = profile(0.01, output_difference=0.5)
    (detail,) = describe_study(study(record("a", profile=wrong)))["details"].values()
    assert detail["verdict"] == "invalid"
    assert detail["reasons"]
    assert "is invalid and left out" in detail["times"]
