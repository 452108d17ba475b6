from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from jetbench import build_model, load_architecture
from jetbench.data.cache import SegmentationData
from jetbench.errors import DivergedError
from jetbench.records.record import TrainingResult
from jetbench.spec.training import Budget, Floor, TrainingConfig
from jetbench.training.average import MovingAverage
from jetbench.training.loop import Schedule, build_optimizer, train
from jetbench.training.metrics import class_counts

CPU = torch.device("cpu")


def config(budget: str = "8 steps", **more: object) -> TrainingConfig:
    return TrainingConfig.model_validate({"budget": budget, "batch_size": 4, "evaluations": 2, **more})


def run(streets: SegmentationData, folder: Path, asked: TrainingConfig) -> tuple[TrainingResult, nn.Module]:
    torch.manual_seed(asked.seed)
    model = build_model(load_architecture("jetseg-nano"), 11, streets.info.size)
    return train(model, streets, asked, CPU, folder / "weights.safetensors"), model


def test_the_same_seed_gives_the_same_training(streets: SegmentationData, tmp_path: Path) -> None:
    first, _ = run(streets, tmp_path, config())
    again, _ = run(streets, tmp_path, config())
    other, _ = run(streets, tmp_path, config(seed=1))
    assert first.loss_curve == again.loss_curve
    assert first.val == again.val
    assert first.loss_curve != other.loss_curve


def test_the_deterministic_mode_gives_the_same_and_puts_back_what_it_found(
    streets: SegmentationData, tmp_path: Path
) -> None:
    plain, _ = run(streets, tmp_path, config("2 steps"))
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        strict, _ = run(streets, tmp_path, config("2 steps", deterministic=True))
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(before[0])
    assert (torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark) == before
    assert strict.loss_curve == plain.loss_curve
    assert strict.test == plain.test


def test_a_record_says_where_the_seconds_went(streets: SegmentationData, tmp_path: Path) -> None:
    result, _ = run(streets, tmp_path, config("4 steps", proxies=True))
    phases = result.phase_seconds
    assert set(phases) == {"proxies", "data", "network", "evaluation", "checkpoints"}
    assert phases["checkpoints"] == 0
    assert phases["data"] + phases["network"] == pytest.approx(result.seconds, rel=0.05)
    assert result.processor_seconds
    assert 0 < result.processor_seconds < 1.5 * sum(phases.values())
    assert set(result.proxies) == {"synflow", "gradient-norm", "naswot"}


@pytest.mark.parametrize("loss", ["jetloss", "cross-entropy"])
def test_a_short_training_lowers_the_loss_and_beats_the_constant(
    streets: SegmentationData, tmp_path: Path, loss: str
) -> None:
    result, _ = run(streets, tmp_path, config("60 steps", loss=loss))
    first = sum(value for _, value in result.loss_curve[:6]) / 6
    last = sum(value for _, value in result.loss_curve[-6:]) / 6
    assert last < 0.85 * first
    assert result.best.counts.miou > 2 * (streets.info.constant_miou["val"] or 0)


def test_the_saved_weights_are_those_of_the_best_validation(streets: SegmentationData, tmp_path: Path) -> None:
    result, model = run(streets, tmp_path, config())
    saved = load_file(tmp_path / "weights.safetensors")
    assert saved.keys() == model.state_dict().keys()
    assert all(torch.equal(saved[name], tensor) for name, tensor in model.state_dict().items())
    assert result.best.counts.miou == max(e.counts.miou for e in result.val)
    assert result.last.step == result.steps == 8


def test_every_pixel_that_is_not_void_is_scored_once(streets: SegmentationData, tmp_path: Path) -> None:
    result, _ = run(streets, tmp_path, config("2 steps"))
    for counts, split in ((result.last.counts, "val"), (result.test, "test")):
        assert counts
        assert sum(counts.true_positives) + sum(counts.false_negatives) == int((streets.labels[split] != 255).sum())


def test_a_loss_that_explodes_ends_the_run(streets: SegmentationData, tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match=r"the loss was (nan|inf) at step \d"):
        run(streets, tmp_path, config(learning_rate=1e18))
    assert not (tmp_path / "weights.safetensors").exists()


def test_a_last_step_that_breaks_the_network_gives_no_score(streets: SegmentationData, tmp_path: Path) -> None:
    with pytest.raises(DivergedError):
        run(streets, tmp_path, config("1 step", learning_rate=1e18, schedule="constant"))


@pytest.mark.parametrize(("budget", "steps"), [("7 steps", 7), ("1.5 epochs", 6), ("2 epochs", 8)])
def test_a_budget_in_steps_or_epochs_is_kept_exactly(
    streets: SegmentationData, tmp_path: Path, budget: str, steps: int
) -> None:
    result, _ = run(streets, tmp_path, config(budget))
    assert result.steps == steps
    assert result.epochs == steps * 4 / 16


def test_a_budget_in_seconds_stops_after_them(streets: SegmentationData, tmp_path: Path) -> None:
    result, _ = run(streets, tmp_path, config("1 second"))
    assert 1 <= result.seconds < 3
    assert result.steps > 1


def test_one_cycle_rises_then_falls_to_nearly_nothing() -> None:
    schedule = Schedule(TrainingConfig(budget=Budget(amount=100, unit="steps"), learning_rate=0.01), images=10)
    rates = []
    for schedule.step in range(100):
        rates.append(schedule.learning_rate)
    assert rates[0] == pytest.approx(0.01 / 25)
    assert rates.index(max(rates)) == 30
    assert max(rates) == pytest.approx(0.01)
    assert rates[-1] < 1e-4
    assert rates[30:] == sorted(rates[30:], reverse=True)


def test_a_training_below_its_floor_ends_there_with_its_weights(streets: SegmentationData, tmp_path: Path) -> None:
    def run_with(*floors: Floor) -> TrainingResult:
        torch.manual_seed(0)
        model = build_model(load_architecture("jetseg-nano"), 11, streets.info.size)
        asked = config("9 steps", evaluations=3)
        return train(model, streets, asked, CPU, tmp_path / "weights.safetensors", floors=floors)

    ended = run_with(Floor(evaluation=2, of=3, miou=1.0, why="made up"))
    assert ended.stopped
    assert ended.stopped.endswith("at evaluation 2 of 3 is below 100.0 %: made up")
    assert (ended.steps, len(ended.val)) == (6, 2)
    assert (tmp_path / "weights.safetensors").exists()
    whole = run_with(Floor(evaluation=1, of=3, miou=0.0, why=""), Floor(evaluation=3, of=3, miou=1.0, why=""))
    assert whole.stopped is None
    assert whole.steps == 9
    assert whole.val[:2] == ended.val


def rates(**more: Any) -> list[float]:
    schedule = Schedule(config("10 steps", learning_rate=1.0, **more), 100)
    found = []
    for step in range(10):
        schedule.step = step
        found.append(schedule.learning_rate)
    return found


def test_the_polynomial_schedule_and_warm_up_by_hand() -> None:
    assert rates(schedule="polynomial") == pytest.approx([(1 - n / 10) ** 0.9 for n in range(10)])
    # A rise over the first 40 %: four steps at a quarter, a half, three quarters, and the whole.
    assert rates(schedule="constant", warm_up=0.4) == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 1, 1])
    both = rates(schedule="polynomial", warm_up=0.4)
    assert both[1] == pytest.approx(0.5 * 0.9**0.9)
    with pytest.raises(ValueError, match="one-cycle has its own"):
        config(warm_up=0.1)


def one_weight(**more: Any) -> tuple[nn.Linear, torch.optim.Optimizer]:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 2.0)
    return model, build_optimizer(model, config(optimizer="sgd", learning_rate=0.1, **more))


def test_sgd_with_momentum_and_weight_decay_by_hand() -> None:
    model, optimizer = one_weight(momentum=0.5, weight_decay=0.1)
    weight, velocity = 2.0, 0.0
    for _ in range(3):
        model.weight.grad = torch.full((1, 1), 3.0)
        optimizer.step()
        velocity = 0.5 * velocity + (3.0 + 0.1 * weight)
        weight -= 0.1 * velocity
        assert model.weight.item() == pytest.approx(weight)


def test_the_moving_average_by_hand() -> None:
    model, _ = one_weight()
    average = MovingAverage(model, 0.3)
    expected = 2.0
    for step, weight in enumerate((4.0, 6.0, 1.0)):
        nn.init.constant_(model.weight, weight)
        average.update(model)
        decay = min(0.3, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * weight
        assert next(average.model.parameters()).item() == pytest.approx(expected)
    other = MovingAverage(model, 0.3)
    other.restore(average.state)
    assert other.steps == 3
    assert next(other.model.parameters()).item() == pytest.approx(expected)


def test_what_is_scored_and_saved_is_the_moving_average(streets: SegmentationData, tmp_path: Path) -> None:
    plain, model = run(streets, tmp_path / "a", config("6 steps"))
    averaged, _ = run(streets, tmp_path / "b", config("6 steps", moving_average=0.9))
    assert averaged.loss_curve == plain.loss_curve  # the training itself is the same
    assert averaged.val != plain.val
    saved = load_file(tmp_path / "b" / "weights.safetensors")
    assert any(not torch.equal(saved[name], tensor) for name, tensor in model.state_dict().items())


def test_gradients_longer_than_the_limit_are_scaled_down(streets: SegmentationData, tmp_path: Path) -> None:
    """With SGD without decay a step moves all weights together by the rate times the norm."""
    asked = config(
        "1 step", optimizer="sgd", momentum=0.0, weight_decay=0.0, schedule="constant", learning_rate=1.0,
        clip_gradients=0.01, evaluations=1,
    )  # fmt: skip
    torch.manual_seed(0)
    before = build_model(load_architecture("jetseg-nano"), 11, streets.info.size)
    _, after = run(streets, tmp_path, asked)
    moved = [(new - old).flatten() for new, old in zip(after.parameters(), before.parameters(), strict=True)]
    assert torch.cat(moved).norm().item() == pytest.approx(0.01, rel=1e-3)


def test_the_whole_confusion_matrix_is_kept(streets: SegmentationData, tmp_path: Path) -> None:
    result, _ = run(streets, tmp_path, config("4 steps"))
    for split, counts in (("val", result.best.counts), ("test", result.test)):
        matrix = torch.tensor(result.confusion[split])
        assert counts == class_counts(matrix)
        assert int(matrix.sum()) == int((streets.labels[split] != 255).sum())


def test_crops_train_a_network_that_is_scored_on_whole_images(streets: SegmentationData, tmp_path: Path) -> None:
    result, _ = run(streets, tmp_path, config("2 steps", augmentation={"crop": "32x48"}))
    assert result.steps == 2
    counts = result.last.counts
    assert sum(counts.true_positives) + sum(counts.false_negatives) == int((streets.labels["val"] != 255).sum())
