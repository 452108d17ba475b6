import pytest
import torch
from torch import Tensor, nn

from jetbench.data.labels import VOID
from jetbench.spec.training import JetLossConfig
from jetbench.training.jetloss import (
    JetLoss,
    ReleasedJetLoss,
    effective_number_weights,
)


def confident(target: Tensor, num_classes: int, scale: float = 60.0) -> Tensor:
    ids = torch.where(target == VOID, 0, target)
    return scale * nn.functional.one_hot(ids, num_classes).movedim(-1, 1).float()


@pytest.fixture
def target() -> Tensor:
    torch.manual_seed(0)
    return torch.randint(0, 4, (2, 16, 16))


def uniform(**terms: float) -> JetLoss:
    return JetLoss(torch.full((4,), 1 / 4), JetLossConfig(**terms))


def test_a_perfect_prediction_costs_nothing_and_each_term_of_a_wrong_one_nearly_one(target: Tensor) -> None:
    assert uniform()(confident(target, 4), target).item() == pytest.approx(0, abs=1e-5)
    assert uniform()(confident((target + 1) % 4, 4), target).item() == pytest.approx(3, abs=0.1)


def test_the_terms_are_soft_recall_precision_and_iou(target: Tensor) -> None:
    logits = torch.randn(2, 4, 16, 16)
    p = logits.softmax(1)
    y = nn.functional.one_hot(target, 4).movedim(-1, 1)
    hits, predicted, actual = ((p * y).sum((0, 2, 3)), p.sum((0, 2, 3)), y.sum((0, 2, 3)))
    recall = 1 - ((hits + 1) / (actual + 1)).mean()
    precision = 1 - ((hits + 1) / (predicted + 1)).mean()
    iou = 1 - ((hits + 1) / (predicted + actual - hits + 1)).mean()
    off = {"recall": 0.0, "precision": 0.0, "batch_iou": 0.0}
    for name, expected in (("recall", recall), ("precision", precision), ("batch_iou", iou)):
        loss = uniform(**{**off, name: 1.0})(logits, target)
        assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert uniform()(logits, target).item() == pytest.approx((recall + precision + iou).item(), rel=1e-5)


def test_classes_absent_from_the_batch_are_left_out_of_the_mean() -> None:
    target = torch.zeros(1, 8, 8, dtype=torch.long)
    logits = torch.randn(1, 4, 8, 8)
    only = JetLoss(torch.tensor([1.0, 0.0, 0.0, 0.0]), JetLossConfig())
    assert uniform()(logits, target).item() == pytest.approx(only(logits, target).item(), rel=1e-6)


def test_weights_are_effective_numbers() -> None:
    pixels = [100_000, 1_000, 10, 0]
    beta = 0.999
    raw = [(1 - beta) / (1 - beta**n) for n in pixels[:3]] + [0]
    expected = torch.tensor(raw) / sum(raw)
    assert torch.allclose(effective_number_weights(pixels, JetLossConfig(beta=beta)), expected.float(), rtol=1e-5)


def test_the_ends_of_the_scale_are_uniform_and_inverse_frequency() -> None:
    pixels = [8_000_000, 2_000_000, 40_000]
    even = effective_number_weights(pixels, JetLossConfig(beta=0.0))
    assert torch.allclose(even, torch.full((3,), 1 / 3))
    inverse = effective_number_weights(pixels, JetLossConfig(beta=1 - 1e-12))
    shares = 1 / torch.tensor(pixels, dtype=torch.float64)
    assert torch.allclose(inverse, (shares / shares.sum()).float(), rtol=1e-3)


def test_rare_share_means_the_same_for_any_number_of_images() -> None:
    config = JetLossConfig(rare_share=0.01)
    few = effective_number_weights([80_000, 20_000, 400], config)
    many = effective_number_weights([80_000_000, 20_000_000, 400_000], config)
    assert torch.allclose(few, many, rtol=1e-2)
    assert few[2] > 2 * few[0]


def descend(loss: nn.Module, steps: int = 60) -> float:
    """Share of pixels that are right after plain descent on free logits."""
    torch.manual_seed(0)
    target = torch.randint(0, 4, (2, 12, 12))
    logits = (0.1 * torch.randn(2, 4, 12, 12)).requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        loss(logits, target).backward()
        optimizer.step()
    return float((logits.argmax(1) == target).float().mean())


def test_jetloss_leads_to_the_labels_and_the_released_one_away_from_them() -> None:
    assert descend(uniform()) > 0.99
    assert descend(ReleasedJetLoss()) < 0.3
