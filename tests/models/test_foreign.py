import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from jetbench import build_model, count, load_architecture
from jetbench.data.caches import clear_cached, count_counted, list_cached
from jetbench.errors import SpecError
from jetbench.models.foreign import ForeignNetwork, pick_output
from jetbench.network.plan import plan_network
from jetbench.network.variants import read_sweep
from jetbench.profiling.listing import list_network
from jetbench.profiling.trace import trace_network
from jetbench.spec.architecture import Foreign
from jetbench.spec.sources import NAMED, digest_of_source, is_model
from jetbench.training.beginning import load_beginning

SOURCE = """
from torch import nn

print("the user's code speaks")


class Net(nn.Module):
    def __init__(self, classes, width):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x):
        return {"logits": self.head(self.body(x)), "features": x}


def build(num_classes, width=8):
    return Net(num_classes, width)


def sized(classes, height, width):
    return Net(classes, height // width)


def broken(num_classes):
    raise RuntimeError("no weights here")


def text(num_classes):
    return "a text"
"""
SIZE = (64, 96)


@pytest.fixture(autouse=True)
def _names_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test names stays in it: names are in the environment, so that jobs inherit them."""
    monkeypatch.setenv(NAMED, "")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "net.py").write_text(SOURCE)
    path = tmp_path / "mine.yaml"
    path.write_text("description: mine\nmodel: net.py:build\narguments: {width: 16}\n")
    return path


def parameters_of(width: int, classes: int) -> int:
    return 27 * width + 2 * width + width * classes + classes


def test_a_file_beside_the_yaml_becomes_a_network_with_logits_of_the_images_size(own: Path) -> None:
    model = build_model(str(own), 5, SIZE)
    assert model(torch.zeros(2, 3, *SIZE)).shape == (2, 5, *SIZE)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters_of(16, 5)


def test_it_is_counted_in_a_process_of_its_own_as_it_is_traced_here(own: Path) -> None:
    cost = count(str(own), 5, SIZE)
    assert cost.parameters == parameters_of(16, 5)
    assert cost.macs == (27 * 16 + 16 * 5) * 32 * 48
    plan = plan_network(load_architecture(str(own)), 5, SIZE)
    here = trace_network(build_model(str(own), 5, SIZE), torch.zeros(1, 3, *SIZE)).operations
    apart = list_network(plan)
    assert [each[2:] for each in apart] == [each[2:] for each in here]
    assert {each.part for each in apart} == {"body", "head", "between"}


def test_parameters_that_nothing_reads_are_counted_and_named(own: Path, tmp_path: Path) -> None:
    dead = SOURCE.replace("        self.head =", "        self.dead = nn.Conv2d(100, 100, 1)\n        self.head =")
    (tmp_path / "net.py").write_text(dead)
    model = build_model(str(own), 5, SIZE)
    operations = list_network(plan_network(load_architecture(str(own)), 5, SIZE))
    assert sum(each.parameters for each in operations) == sum(each.numel() for each in model.parameters())
    (unused,) = [each for each in operations if each.part == "unused"]
    assert (unused.parameters, unused.macs, unused.flops, unused.moved_bytes) == (100 * 100 + 100, 0, 0, 0)


def test_counts_are_kept_in_the_cache_and_removed_with_it(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JETBENCH_CACHE", str(tmp_path / "cache"))
    assert count_counted() == 0
    architecture = load_architecture(str(own))
    count(architecture, 6, SIZE)
    assert count_counted() == 1
    assert list_cached() == []
    os.environ[NAMED] = ""
    assert count(architecture, 6, SIZE).parameters == parameters_of(16, 6)  # known: nothing is imported
    assert clear_cached() > 0
    assert count_counted() == 0


def test_arguments_can_be_changed_and_hold_the_number_of_classes_and_the_size(own: Path) -> None:
    wide = load_architecture(str(own), **{"arguments.width": 32})
    assert count(wide, 5, SIZE).parameters == parameters_of(32, 5)
    own.write_text("model: net.py:sized\narguments: {classes: $classes, height: $width, width: $height}\n")
    model = build_model(str(own), 7, (64, 128))
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters_of(2, 7)


def test_the_fingerprint_knows_source_factory_arguments_and_size(own: Path) -> None:
    def fingerprint(changes: dict[str, Any] | None = None, classes: int = 5, size: tuple[int, int] = SIZE) -> str:
        return plan_network(load_architecture(str(own), **(changes or {})), classes, size).fingerprint

    first = fingerprint()
    assert first == fingerprint()
    others = {fingerprint(classes=6), fingerprint(size=(96, 96))}
    others |= {fingerprint({"arguments.width": 8}), fingerprint({"output": "features"})}
    (own.parent / "net.py").write_text(SOURCE + "# changed\n")
    others.add(fingerprint())
    assert len(others - {first}) == 5


@pytest.mark.slow
def test_the_fingerprint_knows_the_neighbours_that_the_file_imports(own: Path) -> None:
    """`net` imports `widths_of_net`, which imports from a package beside it; `other` is not imported."""
    folder = own.parent
    (folder / "net.py").write_text("from widths_of_net import WIDTH\n" + SOURCE.replace("width=8", "width=WIDTH"))
    (folder / "widths_of_net.py").write_text("import package_of_net.sizes\nWIDTH = package_of_net.sizes.WIDTH\n")
    (folder / "package_of_net").mkdir()
    (folder / "package_of_net" / "sizes.py").write_text("WIDTH = 24\n")
    (folder / "other.py").write_text("")
    own.write_text("model: net.py:build\n")

    def fingerprint() -> str:
        return plan_network(load_architecture(str(own)), 5, SIZE).fingerprint

    first = fingerprint()
    assert count(str(own), 5, SIZE).parameters == parameters_of(24, 5)
    (folder / "other.py").write_text("# changed\n")
    assert fingerprint() == first
    (folder / "package_of_net" / "sizes.py").write_text("WIDTH = 4\n")
    assert fingerprint() != first
    assert count(str(own), 5, SIZE).parameters == parameters_of(4, 5)


def test_a_neighbour_that_something_else_hides_is_refused(own: Path) -> None:
    """A module of the name `fractions` was imported before, so that the file would get that one."""
    (own.parent / "fractions.py").write_text("")
    (own.parent / "net.py").write_text("import fractions\n" + SOURCE)
    with pytest.raises(SpecError, match=r"imports fractions, which is .* and not the one beside it; rename it"):
        build_model(str(own), 5, SIZE)


def test_code_is_imported_only_if_the_command_named_it(own: Path, tmp_path: Path) -> None:
    architecture = load_architecture(str(own))
    assert isinstance(architecture, Foreign)
    os.environ[NAMED] = ""  # another command, which has the architecture from a record
    with pytest.raises(SpecError, match="code is imported only if the command names it"):
        build_model(architecture, 5, SIZE)
    with pytest.raises(SpecError, match="code is imported only if the command names it"):
        count(architecture, 9, SIZE)
    load_architecture(str(own))  # named again
    (tmp_path / "net.py").write_text(SOURCE + "# changed\n")
    with pytest.raises(SpecError, match="changed while this command ran"):
        build_model(architecture, 5, SIZE)


def test_the_sweep_of_a_report_folder_names_nothing(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "s.yaml").write_text(f"base: {own.name}\n")
    monkeypatch.chdir(tmp_path)
    read_sweep("s.yaml")
    (tmp_path / "records.jsonl").write_text("")
    with pytest.raises(SpecError, match="is the YAML of a report folder"):
        read_sweep("s.yaml")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("gone.py:build", "no such file"),
        ("net.py:gone", "has no gone"),
        ("typo.py:build", r"cannot be imported \(AttributeError: module 'math' has no attribute 'sine'\)"),
        ("net.py:broken", r"broken\(num_classes=5\) failed \(RuntimeError: no weights here\)"),
        ("net.py:text", "returned a str, not a torch module"),
        ("no_such_package:build", "no package no_such_package is installed"),
    ],
)
def test_what_cannot_be_built_is_said_in_one_line(model: str, message: str, own: Path) -> None:
    own.write_text(f"model: {model}\n")
    (own.parent / "typo.py").write_text("import math\nmath.sine(1)\n")
    with pytest.raises(SpecError, match=message):
        build_model(str(own), 5, SIZE)


def test_a_file_is_run_once_in_a_process_and_again_when_it_changed(own: Path, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from pathlib import Path\nruns = Path(__file__).with_name('runs')\n"
        "runs.write_text(runs.read_text() + 'x' if runs.exists() else 'x')\n" + SOURCE
    )
    for _ in range(2):
        build_model(str(own), 5, SIZE)
    assert (tmp_path / "runs").read_text() == "x"
    with (tmp_path / "net.py").open("a") as file:
        file.write("# changed\n")
    build_model(str(own), 5, SIZE)
    assert (tmp_path / "runs").read_text() == "xx"


def test_a_neighbour_that_was_edited_in_a_session_is_read_anew(own: Path, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("from edited_parts import build\n")
    (tmp_path / "edited_parts.py").write_text(SOURCE)
    own.write_text("model: net.py:build\n")
    assert sum(each.numel() for each in build_model(str(own), 5, SIZE).parameters()) == parameters_of(8, 5)
    (tmp_path / "edited_parts.py").write_text(SOURCE.replace("width=8", "width=32"))
    assert sum(each.numel() for each in build_model(str(own), 5, SIZE).parameters()) == parameters_of(32, 5)


def test_an_installed_package_is_named_by_its_module() -> None:
    assert is_model("torch.nn:Conv2d")
    assert not is_model("jetseg-nano")
    assert not is_model("sweeps/nano.yaml")
    assert len(digest_of_source("jetbench.models.build:build_model")) == 12


class Fixed(nn.Module):
    """Returns what it was given, around logits."""

    def __init__(self, around: Any) -> None:
        super().__init__()
        self.around = around

    def forward(self, images: Tensor) -> Any:
        return self.around(torch.zeros(len(images), 3, 4, 5))


class Holder:
    def __init__(self, logits: Tensor) -> None:
        self.logits, self.hidden = logits, logits[:, :1]


@pytest.mark.parametrize(
    ("around", "output"),
    [
        (lambda x: x, None),
        (lambda x: (x, x[:, :1]), None),
        (lambda x: [x[:, :1], x], 1),
        (lambda x: {"out": x, "aux": x[:, :1]}, None),
        (lambda x: {"only": x}, None),
        (lambda x: {"a": x[:, :1], "b": x}, "b"),
        (Holder, None),
        (Holder, "logits"),
    ],
)
def test_the_logits_are_found_in_what_a_module_returns(around: Any, output: str | int | None) -> None:
    network = ForeignNetwork(Fixed(around), "net", output, 3)
    assert network(torch.zeros(2, 3, 16, 20)).shape == (2, 3, 16, 20)


def test_what_could_be_several_outputs_or_has_other_classes_is_refused() -> None:
    logits = torch.zeros(1, 3, 4, 4)
    with pytest.raises(SpecError, match="which output holds the logits is not clear; it returns a dict with a, b"):
        pick_output({"a": logits, "b": logits}, None, "net")
    with pytest.raises(SpecError, match="there is no output 'c'"):
        pick_output({"a": logits}, "c", "net")
    with pytest.raises(SpecError, match=r"its output has the shape \(1, 3, 4, 5\); expected logits \(N, 7, h, w\)"):
        ForeignNetwork(Fixed(lambda x: x), "net", None, 7)(torch.zeros(1, 3, 8, 8))


def test_weights_of_the_bare_module_fit(own: Path, tmp_path: Path) -> None:
    model = build_model(str(own), 5, SIZE)
    bare = {name.removeprefix("network."): tensor + 1 for name, tensor in model.state_dict().items()}
    torch.save(bare, tmp_path / "w.pt")
    begun = load_beginning(model, tmp_path / "w.pt")
    assert begun.loaded == len(bare)
    assert not begun.left_out
