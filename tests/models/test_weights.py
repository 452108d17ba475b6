import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from jetbench.errors import SpecError
from jetbench.models.build import build_model
from jetbench.models.weights import SavedNetwork, load_weights
from jetbench.spec.catalog import load_architecture


def saved(path: Path, **more: Any) -> Path:
    architecture = load_architecture("jetseg-nano")
    described = {
        "architecture": architecture.model_dump(mode="json"),
        "num_classes": 3,
        "input_size": [64, 64],
        "mean": [1.0, 2.0, 3.0],
        "std": [1.0, 1.0, 1.0],
        **more,
    }
    save_file(build_model(architecture, 3, (64, 64)).state_dict(), path, {"jetbench": json.dumps(described)})
    return path


def test_weights_come_back_with_the_network_and_its_input(tmp_path: Path) -> None:
    model, network = load_weights(saved(tmp_path / "a.safetensors"))
    assert isinstance(network, SavedNetwork)
    assert (network.num_classes, network.mean) == (3, (1.0, 2.0, 3.0))
    assert sum(p.numel() for p in model.parameters()) > 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mean", [1.0, 2.0]),
        ("mean", [1.0, 2.0, 3.0, 4.0]),
        ("std", [1.0, 1.0, 0.0]),
        ("std", [1.0, -1.0, 1.0]),
        ("num_classes", 10**9),
        ("input_size", [10**6, 64]),
    ],
)
def test_metadata_that_fit_no_image_are_refused_by_their_field(tmp_path: Path, field: str, value: Any) -> None:
    with pytest.raises(SpecError, match=field):
        load_weights(saved(tmp_path / "a.safetensors", **{field: value}))
