from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from jetbench import build_model, load_architecture
from jetbench.errors import SpecError
from jetbench.training.beginning import load_beginning


def network(classes: int = 11, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build_model(load_architecture("jetseg-nano"), classes, (64, 96))


@pytest.mark.parametrize("form", ["safetensors", "plain", "wrapped", "parallel"])
def test_tensors_count_by_name_and_shape_in_every_usual_file(form: str, tmp_path: Path) -> None:
    given = network(seed=1).state_dict()
    path = tmp_path / ("w.safetensors" if form == "safetensors" else "w.pt")
    if form == "safetensors":
        save_file(given, path)
    elif form == "parallel":
        torch.save({"epoch": 3, "state_dict": {f"module.{name}": tensor for name, tensor in given.items()}}, path)
    else:
        torch.save({"model": given, "step": 2} if form == "wrapped" else given, path)
    model = network(seed=2)
    begun = load_beginning(model, path)
    assert all(torch.equal(tensor, given[name]) for name, tensor in model.state_dict().items())
    assert begun.loaded == len(given)
    assert not begun.left_out
    assert not begun.unused
    assert len(begun.digest) == 12


def test_a_head_of_other_classes_begins_at_random_and_is_listed(tmp_path: Path) -> None:
    save_file({**network(classes=19, seed=1).state_dict(), "extra": torch.zeros(1)}, tmp_path / "w.safetensors")
    model = network(classes=8, seed=2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    begun = load_beginning(model, tmp_path / "w.safetensors")
    assert begun.left_out
    assert "extra" in begun.unused
    assert begun.loaded + len(begun.left_out) == len(before)
    assert all(torch.equal(before[name], model.state_dict()[name]) for name in begun.left_out)


class Evil:
    def __reduce__(self) -> Any:
        return (exec, ("raise SystemExit('code was run')",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda path: torch.save({"model": Evil()}, path), "no state dict of tensors alone"),
        (lambda path: torch.save(nn.Linear(2, 2), path), "no state dict of tensors alone"),
        (lambda path: torch.save({"lr": 0.1}, path), "holds no tensors by name"),
        (lambda path: torch.save({"other": torch.zeros(3)}, path), "none of its 1 tensors has the name and shape"),
        (lambda path: path.write_text("no weights"), "no state dict of tensors alone"),
        (lambda path: None, "no such weights file"),
    ],
)
def test_nothing_but_tensors_is_read(content: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    content(path)
    with pytest.raises(SpecError, match=message):
        load_beginning(network(), path)
