"""The READMEs: their made parts are up to date, their commands run, their links lead somewhere, and they stay short."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import cast

import click
import pytest
import typer
from PIL import Image

from jetbench.__main__ import main
from jetbench.cli.app import app
from jetbench.study.place import Place
from jetbench.study.run import run_sweep
from tests.data.test_folder import classes, folders
from tests.readmes import ROOT, made

LIMITS = {
    "README.md": 175,
    "architectures/README.md": 130,
    "sweeps/README.md": 305,
    "reports/README.md": 160,
    "docker/README.md": 115,
    "jetbench/README.md": 180,
    "jetbench/data/README.md": 80,
    "tests/README.md": 50,
}
TEXTS = {name: (ROOT / name).read_text() for name in LIMITS}
COMMANDS = list(
    dict.fromkeys(
        line.split(" #")[0].strip()
        for text in TEXTS.values()
        for line in re.findall(r"^    jetbench (.*)$", text, re.MULTILINE)
    )
)
# What a test runs in place of a command that takes long, that needs CamVid, or that needs a quiet machine.
SMALLER = {
    "plot reports/nano --picture latency-against-macs,latencies --out figures": "plot reports/nano "
    "--picture accuracy-against-macs,learning-curves --out figures",
    "sweep nano --budget 20epochs": "sweep nano --budget 20epochs --dry-run",
    "sweep camvid --dataset camvid:/data/camvid": "sweep camvid --dataset camvid:camvid --dry-run "
    "--set training.batch_size=2",
    "search search-quick": "search search-quick --dry-run",
    "search search-nano --max-latency 33ms --max-params 40k": "search search-nano --max-params 40k --dry-run",
    "explain jetseg-nano": "explain jetseg-nano --size 64x96 --quick --limit 1s --no-changes",
    "profile jetseg-nano --size 512x512": "profile jetseg-nano --size 64x96 --quick",
    "profile jetseg-nano --backend eager,onnxruntime,openvino": "profile jetseg-nano --quick --size 64x96 "
    "--backend eager,onnxruntime,openvino",
    "profile jetseg-nano jetseg-agx --quick": "profile jetseg-nano jetseg-agx --quick --size 64x96",
    "data check folder:/data/mine": "data check folder:mine",
    "train cgnet --dataset folder:/data/mine --budget 20epochs": "train cgnet --dataset folder:mine --size 64x96 "
    "--budget 1step --set batch_size=2",
    "evaluate reports/nano/weights/NAME.safetensors --dataset streets --out scores": "evaluate "
    "reports/nano/weights/NAME.safetensors --dataset streets --set train=2 --set val=2 --set test=2 --out scores",
    "data show folder:/data/mine --out shown": "data show folder:mine --out shown",
    # Beside other tests a latency may vary so much that its profile is invalid.
    "evaluate reports/nano --dataset streets --stream 30": "evaluate reports/nano --dataset streets --stream 30 --all",
    "profile reports/nano/weights/NAME.safetensors": "profile reports/nano/weights/NAME.safetensors --quick",
}
# The tests that run what needs a board's result or a cluster.
ELSEWHERE = {
    "collect bundle/result.json": "tests/profiling/test_bundle.py",
    "collect bundle/result.json --into reports/nano": "tests/profiling/test_bundle.py",
    "profile jetseg-nano --power-mode MODE_15W,MODE_30W --jetson-clocks": "tests/probe/test_power_mode.py",
    "export jetseg-nano --out onnx": "tests/deploy/test_score.py",
    "evaluate onnx/model.onnx --dataset streets": "tests/deploy/test_score.py",
    "latency learn search-nano --size 288x512": "tests/search/test_learning.py",
    "sweep nano --ray HEAD:6379 --device agx-orin": "tests/execution/test_ray.py",
    'sweep nano --ray "$head:$port" & wait $!': "tests/execution/test_ray.py",
}
SWEEP = """
base: jetseg-nano
dataset: {name: streets, size: 64x96, train: 8, val: 4, test: 4}
training: {budget: 2 steps, batch_size: 2, evaluations: 1}
profiling: {warmup_iterations: 1, min_iterations: 3, min_seconds: 0, precision: 1}
variants:
  - grid: {groups: [1, gcd]}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep and a picture."""
    folder = tmp_path_factory.mktemp("house")
    (folder / "own").mkdir()
    folders("{split}/images", "{split}/masks")(folder / "mine")
    classes(folder / "mine")
    (folder / "own" / "nano.yaml").write_text(SWEEP)
    Image.new("RGB", (96, 64), "gray").save(folder / "street.png")
    return folder


@pytest.fixture(scope="module")
def studies(folder: Path) -> Path:
    """Four studies of the sweep and trained weights beside it, and the kept study of what ships."""
    run_sweep(folder / "own" / "nano.yaml", Place(folder / "reports"))
    for name in ("camvid", "before", "after"):
        shutil.copytree(folder / "reports" / "nano", folder / "reports" / name)
    shutil.copytree(ROOT / "reports" / "paper" / "deployment", folder / "reports" / "deployment")
    weights = min((folder / "reports" / "nano" / "weights").glob("*.safetensors"))
    shutil.copy(weights, weights.with_name("NAME.safetensors"))
    return folder


@pytest.mark.parametrize("name", LIMITS)
def test_what_is_made_from_the_code_is_up_to_date(name: str) -> None:
    assert made(TEXTS[name]) == TEXTS[name], "run: make readmes"


@pytest.mark.parametrize("name", LIMITS)
def test_a_readme_stays_short(name: str) -> None:
    lines = TEXTS[name].splitlines()
    assert len(lines) <= LIMITS[name]
    assert max(len(line) for line in lines if not line.startswith(("|", "    "))) <= 140


@pytest.mark.parametrize("name", LIMITS)
def test_the_files_that_a_readme_points_to_are_there(name: str) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)[^)]*\)", TEXTS[name]):
        assert (ROOT / name).parent.joinpath(target).exists(), target


def test_each_key_says_what_it_is() -> None:
    blank = [line for text in TEXTS.values() for line in text.splitlines() if re.search(r"\|\s*\|$", line)]
    assert blank == []


def test_the_first_commands_are_the_two_that_set_everything_up() -> None:
    commands = re.findall(r"^    (\S.*)$", TEXTS["README.md"], re.MULTILINE)
    assert commands[0].startswith("make sweep")
    assert commands[1].startswith("make test")


def test_a_target_of_make_that_a_readme_names_is_there() -> None:
    for text in TEXTS.values():
        for target in re.findall(r"^    make ([a-z-]+)|`make ([a-z-]+)`", text, re.MULTILINE):
            done = subprocess.run(["make", "-n", *filter(None, target)], cwd=ROOT, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr


def test_the_rule_of_the_rooms_is_the_one_that_the_rooms_are_held_to() -> None:
    (rule,) = re.findall(r"^    errors .*$", TEXTS["jetbench/README.md"], re.MULTILINE)
    assert rule in TEXTS["README.md"]


@pytest.mark.parametrize(
    "command",
    [
        # A study takes two trainings; a profile takes its time.
        pytest.param(each, marks=[pytest.mark.slow] * ("reports/" in each or each.startswith(("profile ", "explain "))))
        for each in COMMANDS
        if each not in ELSEWHERE
    ],
)
def test_a_command_of_a_readme_runs(
    command: str,
    folder: Path,
    camvid_11: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if "reports/" in command:
        request.getfixturevalue("studies")
    monkeypatch.chdir(folder)
    Path("camvid").unlink(missing_ok=True)
    Path("camvid").symlink_to(camvid_11)
    monkeypatch.setattr(sys, "argv", ["jetbench", *shlex.split(SMALLER.get(command, command))])
    with pytest.raises(SystemExit) as end:
        main()
    told = capsys.readouterr()
    assert end.value.code in (0, None), told.err
    assert told.out or told.err


@pytest.mark.parametrize("command", ELSEWHERE)
def test_what_is_run_by_another_test_still_is(command: str) -> None:
    assert command in COMMANDS
    verb, *rest = command.split()
    text = (ROOT / ELSEWHERE[command]).read_text()
    assert f'"{verb}"' in text
    assert all(f'"{option}"' in text for option in rest if option == "--ray")


def test_a_command_within_a_sentence_has_a_verb_and_options_that_there_are() -> None:
    verbs = cast("click.Group", typer.main.get_command(app)).commands
    for text in TEXTS.values():
        for words in re.findall(r"`jetbench ([a-z]+ [^`]*)`", text):
            verb, *rest = words.split()
            command = verbs[verb]
            if hasattr(command, "commands"):  # a group, such as study
                command = command.commands[rest[0]]
            options = {option for parameter in command.params for option in parameter.opts}
            assert {word for word in rest if word.startswith("--")} <= options, words


@pytest.mark.slow
def test_the_script_of_the_readme_runs_a_sweep_and_draws_its_front(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # The script as it stands, on a smaller sweep of that name: the bundled one takes minutes.
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "nano.yaml").write_text(SWEEP)
    (script,) = re.findall(r"```python\n(.*?)```", TEXTS["README.md"], re.DOTALL)
    assert len(script.splitlines()) <= 15
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    exec(compile(script, "README.md", "exec"), {})
    assert "MACs" in capsys.readouterr().out
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "reports" / "nano" / "records.jsonl").exists()
