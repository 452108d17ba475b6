from pathlib import Path

import pytest
import torch
from torch import nn

from jetbench import load_architecture
from jetbench.errors import SpecError
from jetbench.execution.requests import TrainRequest
from jetbench.execution.train import run_training
from jetbench.models.weights import load_weights
from jetbench.spec.dataset import StreetsConfig
from jetbench.spec.training import DistillationConfig, TrainingConfig
from jetbench.training.distillation import Teacher, distillation_loss


def test_the_same_answers_cost_nothing_and_others_the_divergence() -> None:
    torch.manual_seed(0)
    teacher, student = torch.randn(2, 5, 6, 8), torch.randn(2, 5, 6, 8, requires_grad=True)
    assert distillation_loss(teacher, teacher, DistillationConfig()).item() == pytest.approx(0, abs=1e-6)
    config = DistillationConfig(weight=0.5, temperature=3.0)
    ours, theirs = (x.movedim(1, -1).reshape(-1, 5) / 3 for x in (student, teacher))
    expected = nn.functional.kl_div(ours.log_softmax(1), theirs.softmax(1), reduction="batchmean")
    loss = distillation_loss(student, teacher, config)
    assert loss.item() == pytest.approx(0.5 * 9 * expected.item(), rel=1e-5)
    (slope,) = torch.autograd.grad(loss, student)
    assert slope.abs().sum() > 0


def test_a_teacher_of_another_size_is_brought_to_its_students() -> None:
    smooth = torch.ones(1, 3, 4, 4) * torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1)
    large = smooth[:, :, :1, :1].expand(-1, -1, 9, 7)
    assert distillation_loss(large, smooth, DistillationConfig()).item() == pytest.approx(0, abs=1e-6)


def test_a_teacher_sees_images_as_it_was_trained_on_them_and_nothing_flows_back() -> None:
    model = nn.Conv2d(3, 4, 1)
    own, given = ((100.0, 110.0, 120.0), (50.0, 40.0, 30.0)), ((90.0, 90.0, 90.0), (60.0, 60.0, 60.0))
    pixels = 255 * torch.rand(2, 3, 5, 5)

    def normalised(by: tuple[tuple[float, ...], tuple[float, ...]]) -> torch.Tensor:
        mean, deviation = (torch.tensor(each).view(1, 3, 1, 1) for each in by)
        return (pixels - mean) / deviation

    answers = Teacher(model, own, given)(normalised(given))
    assert not answers.requires_grad
    torch.testing.assert_close(answers, model(normalised(own)).detach(), rtol=1e-4, atol=1e-5)


def request(folder: Path, **training: object) -> TrainRequest:
    return TrainRequest(
        architecture=load_architecture("jetseg-nano"),
        dataset=StreetsConfig(size=(48, 64), train=16, val=6, test=4),
        training=TrainingConfig.model_validate({"budget": "3 steps", "batch_size": 4, "evaluations": 1, **training}),
        device="cpu",
        weights_file=str(folder / "w.safetensors"),
    )


def test_a_training_follows_its_teacher_and_says_whom(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    alone = run_training(request(tmp_path / "a"), lambda share, text: None).training
    teacher = tmp_path / "a" / "w.safetensors"
    taught = run_training(request(tmp_path / "b", teacher=str(teacher)), lambda share, text: None).training
    assert alone.teacher is None
    assert taught.teacher
    assert taught.teacher.startswith("jetseg-nano (")
    assert taught.loss_curve[0][1] > alone.loss_curve[0][1]  # its own loss and the divergence
    load_weights(tmp_path / "b" / "w.safetensors")


def test_a_teacher_of_other_classes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jetbench.execution import train as benchmark

    run_training(request(tmp_path), lambda share, text: None)
    model, saved = load_weights(tmp_path / "w.safetensors")
    monkeypatch.setattr(benchmark, "load_weights", lambda path: (model, saved.model_copy(update={"num_classes": 32})))
    with pytest.raises(SpecError, match="has 32 classes, the data 11"):
        run_training(request(tmp_path, teacher=str(tmp_path / "w.safetensors")), lambda share, text: None)
