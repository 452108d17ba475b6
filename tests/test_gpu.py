from pathlib import Path

import pytest
import torch

from jetbench import build_model, load_architecture
from jetbench.device import load_device
from jetbench.experiment import ProfilingConfig, TrainingConfig
from jetbench.profiling.profile import profile_model
from jetbench.training.data import SegmentationData
from jetbench.training.loop import train


@pytest.mark.gpu
def test_a_training_in_mixed_precision_and_a_profile_on_a_gpu(streets: SegmentationData, tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    device = torch.device("cuda")
    torch.manual_seed(0)
    model = build_model(load_architecture("jetseg-nano"), 11, streets.info.size).to(device)
    config = TrainingConfig.model_validate({"budget": "60 steps", "batch_size": 4, "evaluations": 2})
    result = train(model, streets, config, device, tmp_path / "weights.safetensors")
    assert result.mixed_precision
    assert result.best.counts.miou > 2 * streets.info.constant_miou["val"]
    quick, target = ProfilingConfig(min_seconds=0, window_seconds=2, idle_seconds=1), load_device("workstation")
    profile = profile_model(model, streets.info.size, quick, device, target)
    assert profile.environment.tf32 is False
    assert "CUDA" in profile.environment.device
    assert profile.peak_memory_bytes is not None
    assert profile.peak_memory_bytes > 4 * profile.parameters
