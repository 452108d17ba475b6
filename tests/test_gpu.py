from pathlib import Path
from typing import get_args

import pytest
import torch

from jetbench import build_model, load_architecture
from jetbench.data.cache import SegmentationData, load_data
from jetbench.probe.cuda_graph import Graphed
from jetbench.profiling.case import list_cases
from jetbench.profiling.live import profile_model
from jetbench.profiling.session import profile_cases
from jetbench.spec.dataset import StreetsConfig
from jetbench.spec.device import load_device
from jetbench.spec.profiling import ProfilingConfig
from jetbench.spec.training import LossName, TrainingConfig
from jetbench.training.loop import train


def require_gpu() -> torch.device:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    return torch.device("cuda")


@pytest.mark.gpu
def test_a_training_in_mixed_precision_and_a_profile_on_a_gpu(streets: SegmentationData, tmp_path: Path) -> None:
    device = require_gpu()
    torch.manual_seed(0)
    model = build_model(load_architecture("jetseg-nano"), 11, streets.info.size).to(device)
    config = TrainingConfig.model_validate({"budget": "60 steps", "batch_size": 4, "evaluations": 2})
    result = train(model, streets, config, device, tmp_path / "weights.safetensors")
    assert result.mixed_precision
    assert result.best.counts.miou > 2 * (streets.info.constant_miou["val"] or 0)
    quick, target = ProfilingConfig(min_seconds=0, window_seconds=2, idle_seconds=1), load_device("workstation")
    profile = profile_model(model, streets.info.size, quick, device, target)
    assert profile.environment.tf32 is False
    assert "CUDA" in profile.environment.device
    assert profile.peak_memory_bytes is not None
    assert profile.peak_memory_bytes > 4 * profile.parameters


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["jetseg-nano", "jetseg-workstation-released"])
def test_a_deterministic_training_repeats_itself_on_a_gpu(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = require_gpu()
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    size = (128, 320)  # the released form wants a longer side over 256
    data = load_data(StreetsConfig(size=size, train=8, val=4, test=4))
    config = TrainingConfig.model_validate(
        {"budget": "4 steps", "batch_size": 4, "evaluations": 1, "deterministic": True, "mixed_precision": False}
    )
    curves = []
    for number in range(2):
        torch.manual_seed(0)
        model = build_model(load_architecture(name), 11, size).to(device)
        curves.append(train(model, data, config, device, tmp_path / f"{number}.safetensors").loss_curve)
    assert curves[0] == curves[1]


@pytest.mark.gpu
@pytest.mark.parametrize("loss", get_args(LossName))
def test_every_loss_trains_on_a_gpu_with_augmentation_and_proxies(
    loss: str, streets: SegmentationData, tmp_path: Path
) -> None:
    device = require_gpu()
    torch.manual_seed(0)
    model = build_model(load_architecture("jetseg-nano"), 11, streets.info.size).to(device)
    config = TrainingConfig.model_validate(
        {
            **{"budget": "3 steps", "batch_size": 4, "evaluations": 1, "loss": loss, "proxies": True},
            "augmentation": {"flip": True, "scale": [0.5, 2.0], "light": 0.2},
        }
    )
    result = train(model, streets, config, device, tmp_path / "weights.safetensors")
    assert result.steps == 3
    assert len(result.proxies) == 3


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
def test_a_cuda_graph_computes_the_pass_that_it_replays(dtype: str) -> None:
    device = require_gpu()
    kind = {"fp32": torch.float32, "fp16": torch.float16}[dtype]
    torch.manual_seed(0)
    model = build_model(load_architecture("jetseg-nano"), 11, (128, 192)).to(device=device, dtype=kind).eval()
    one, other = (torch.randn(1, 3, 128, 192, device=device, dtype=kind) for _ in range(2))
    with torch.inference_mode():
        graphed = Graphed(model, one)
        for images in (one, other, one):
            assert torch.allclose(graphed(images), model(images), rtol=1e-2, atol=1e-2)
        assert not torch.allclose(model(one), model(other), rtol=1e-2, atol=1e-2)  # or the test would prove nothing


@pytest.mark.gpu
def test_a_graph_is_timed_beside_the_launches_that_it_saves() -> None:
    device = require_gpu()
    brief = {"power": "none", "min_seconds": 0, "precision": 1}
    settings = [ProfilingConfig.model_validate({**brief, "cuda_graph": each}) for each in (False, True)]
    plain, graph = profile_cases(
        list_cases(["jetseg-nano"], settings, (128, 192)), device.type, load_device("workstation")
    )
    assert plain.comparison is None
    assert graph.comparison is not None
    print(f"time of a pass by a CUDA graph over that without: {graph.comparison.median:.2f}")
    assert graph.comparison.median < 1  # some 500 launches of small kernels
