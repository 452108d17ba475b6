"""The losses against closed forms, against float64, and against kornia's, which know no void for Lovász."""

import math
from pathlib import Path

import kornia.losses
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor, nn

from jetbench.data.labels import VOID
from jetbench.errors import SpecError
from jetbench.spec.catalog import name_loss
from jetbench.spec.sources import NAMED
from jetbench.spec.training import JetLossConfig, LossName, OhemConfig, TrainingConfig
from jetbench.training.jetloss import JetLoss, effective_number_weights
from jetbench.training.losses import CrossEntropy, Dice, Focal, Lovasz, Ohem, build_loss, enet_weights, jaccard_slope

PIXELS = [4000, 1000, 300, 20]
RIGHT = [name for name in LossName.__args__ if name != "jetloss-released"]  # type: ignore[attr-defined]


def built(name: LossName) -> nn.Module:
    return build_loss(TrainingConfig(loss=name), PIXELS)


def sample(seed: int = 0, void: float = 0.2, classes: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(3, 4, 12, 10, generator=generator)
    target = torch.randint(0, classes, (3, 12, 10), generator=generator)
    target[torch.rand(3, 12, 10, generator=generator) < void] = VOID
    return logits, target


def gradient(loss: nn.Module, logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    leaf = logits.clone().requires_grad_()
    value = loss(leaf, target)
    (slope,) = torch.autograd.grad(value, leaf)
    return value.detach(), slope


@pytest.mark.parametrize("name", RIGHT)
def test_right_costs_less_than_unsure_and_unsure_less_than_wrong(name: LossName) -> None:
    _, target = sample()
    one_hot = nn.functional.one_hot(torch.where(target == VOID, 0, target), 4).movedim(-1, 1).float()
    values = [float(built(name)(scale * one_hot, target)) for scale in (30.0, 0.0, -30.0)]
    assert values[0] == pytest.approx(0, abs=1e-5)
    assert values[0] < values[1] < values[2]


@pytest.mark.parametrize("name", RIGHT)
def test_void_pixels_have_no_gradient_and_change_nothing(name: LossName) -> None:
    logits, target = sample()
    value, slope = gradient(built(name), logits, target)
    void = (target == VOID).unsqueeze(1).expand_as(logits)
    assert (slope[void] == 0).all()
    assert (slope[~void] != 0).any()
    other = torch.where(void, torch.randn_like(logits), logits)
    assert built(name)(other, target).item() == pytest.approx(value.item(), rel=1e-6)


@pytest.mark.parametrize("name", RIGHT)
def test_a_batch_of_void_costs_nothing_and_its_gradient_is_nought(name: LossName) -> None:
    logits, target = sample(void=1.0)
    value, slope = gradient(built(name), logits, target)
    assert value == 0
    assert (slope == 0).all()


@pytest.mark.parametrize("name", RIGHT)
def test_the_order_of_images_pixels_and_classes_does_not_matter(name: LossName) -> None:
    logits, target = sample()
    value = built(name)(logits, target)
    turned = built(name)(logits.flip(0).transpose(2, 3), target.flip(0).transpose(1, 2))
    assert turned.item() == pytest.approx(value.item(), rel=1e-5)
    order = torch.tensor([2, 0, 3, 1])
    place = torch.empty_like(order).index_copy_(0, order, torch.arange(4))
    renamed = torch.where(target == VOID, VOID, place[torch.where(target == VOID, 0, target)])
    loss = build_loss(TrainingConfig(loss=name), [PIXELS[number] for number in order])
    assert loss(logits[:, order], renamed).item() == pytest.approx(value.item(), rel=1e-5)


@pytest.mark.parametrize("name", ["jetloss", "dice", "lovasz"])
def test_a_class_that_is_absent_from_the_batch_costs_nothing_by_itself(name: LossName) -> None:
    """What it takes from the others is their loss: with a third class's logit at minus infinity nothing is left."""
    logits, target = sample(classes=3)
    without = logits.clone()
    without[:, 3] = -1e4
    fewer = build_loss(TrainingConfig(loss=name, jetloss=JetLossConfig(beta=0.0)), PIXELS[:3])
    loss = build_loss(TrainingConfig(loss=name, jetloss=JetLossConfig(beta=0.0)), PIXELS)
    assert loss(without, target).item() == pytest.approx(fewer(logits[:, :3], target).item(), rel=1e-5)


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_costs_its_logits_rounding_and_nothing_more(name: LossName, dtype: torch.dtype) -> None:
    # 400,000 pixels: counts of them pass what half precision can hold.
    generator = torch.Generator().manual_seed(1)
    logits = (8 * torch.randn(1, 4, 640, 640, generator=generator)).to(dtype)
    target = torch.randint(0, 4, (1, 640, 640), generator=generator)
    value, slope = gradient(built(name), logits, target)
    exact, exact_slope = gradient(built(name), logits.double(), target)
    assert value.item() == pytest.approx(exact.item(), rel=1e-5)
    # Its gradient comes back in half precision; what loses it is the scale, which is why scalers are used.
    assert torch.isfinite(slope).all()
    scaled = slope.double() - exact_slope
    assert scaled.abs().max() <= max(exact_slope.abs().max().item() * 2**-7, 2**-24)


@pytest.mark.parametrize("name", RIGHT)
def test_extreme_logits_give_finite_values_and_gradients(name: LossName) -> None:
    logits, target = sample()
    for scale in (1e-30, 1e4, 1e30):
        value, slope = gradient(built(name), scale * logits, target)
        assert torch.isfinite(value)
        assert torch.isfinite(slope).all()


@pytest.mark.parametrize("name", RIGHT)
def test_single_precision_agrees_with_double(name: LossName) -> None:
    logits, target = sample(3)
    value, slope = gradient(built(name), logits, target)
    exact, exact_slope = gradient(built(name), logits.double(), target)
    assert value.item() == pytest.approx(exact.item(), rel=2e-6)
    torch.testing.assert_close(slope.double(), exact_slope, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("name", RIGHT)
def test_gradients_agree_with_finite_differences(name: LossName) -> None:
    logits, target = sample(4)
    few = logits[:1, :, :4, :4].double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: built(name)(x, target[:1, :4, :4]), few)


def test_many_pixels_lose_nothing() -> None:
    """Four million pixels, a class of one in a hundred thousand: sums in single precision hold."""
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(1, 3, 2000, 2000, generator=generator)
    target = torch.zeros(1, 2000, 2000, dtype=torch.long)
    target[:, :1000] = 1
    target[0, 0, :40] = 2
    for name in ("jetloss", "dice"):
        loss = build_loss(TrainingConfig(loss=name), [2_000_000, 1_999_960, 40])
        assert loss(logits, target).item() == pytest.approx(loss(logits.double(), target).item(), rel=2e-7)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_without_void_they_are_kornias(seed: int) -> None:
    logits, target = sample(seed, void=0.0)
    focal = kornia.losses.focal_loss(logits, target, alpha=None, gamma=2.0, reduction="sum") / target.numel()
    assert Focal()(logits, target).item() == pytest.approx(focal.item(), rel=1e-5)
    # kornia's mean is over all classes, each with its own counts in every image: one image, all of them present.
    one, ids = logits[:1], target[:1]
    lovasz = kornia.losses.lovasz_softmax_loss(one, ids)
    assert Lovasz()(one, ids).item() == pytest.approx(lovasz.item(), rel=1e-4)
    dice = kornia.losses.dice_loss(one, ids, average="macro", eps=0.5)
    scores = one.softmax(1)
    mask = nn.functional.one_hot(ids, 4).movedim(-1, 1)
    own = 1 - (2 * (scores * mask).sum((0, 2, 3))) / (scores.sum((0, 2, 3)) + mask.sum((0, 2, 3)) + 0.5)
    assert dice.item() == pytest.approx(own.mean().item(), rel=1e-4)  # how kornia reads Dice
    smooth = 1 - (2 * (scores * mask).sum((0, 2, 3)) + 1) / (scores.sum((0, 2, 3)) + mask.sum((0, 2, 3)) + 1)
    assert Dice()(one, ids).item() == pytest.approx(smooth.mean().item(), rel=1e-5)


def test_cross_entropy_is_torchs_with_and_without_weights() -> None:
    logits, target = sample()
    weights = torch.tensor([1.0, 2.0, 5.0, 0.5])
    for own, given_weights in ((CrossEntropy(), None), (CrossEntropy(weights), weights)):
        expected = nn.functional.cross_entropy(logits, target, given_weights, ignore_index=VOID)
        assert own(logits, target).item() == pytest.approx(expected.item(), rel=1e-6)


def test_the_weights_of_weighted_cross_entropy_are_enets() -> None:
    found = enet_weights([980, 20, 0])
    assert found.tolist() == pytest.approx([1 / math.log(2.0), 1 / math.log(1.04), 1 / math.log(1.02)], rel=1e-6)
    loss = built("weighted-cross-entropy")
    assert isinstance(loss, CrossEntropy)
    assert loss.class_weights is not None
    assert loss.class_weights.tolist() == pytest.approx(enet_weights(PIXELS).tolist())


def test_lovasz_of_hard_predictions_is_one_less_the_iou() -> None:
    """The extension agrees with the loss that it extends where predictions are sure."""
    _, target = sample(void=0.0)
    predicted = torch.where(torch.arange(10) < 7, target, (target + 1) % 4)
    logits = 1e4 * nn.functional.one_hot(predicted, 4).movedim(-1, 1).float()
    ious = []
    for label in range(4):
        a, b = predicted == label, target == label
        ious.append(float((a & b).sum() / (a | b).sum()))
    assert Lovasz()(logits, target).item() == pytest.approx(1 - sum(ious) / 4, rel=1e-5)
    assert jaccard_slope(torch.tensor([True, False, True])).sum() == pytest.approx(1)


def test_jetloss_is_exact_against_a_reference_in_double_precision() -> None:
    """Written out pixel by pixel from section 2.4 as design and docstring read it, in Python's own arithmetic."""
    logits, target = sample(5)
    config = JetLossConfig(rare_share=0.05, recall=0.7, precision=1.3, batch_iou=2.0)
    weights = effective_number_weights(PIXELS, config).double()
    scores = logits.double().softmax(1)
    hits, predicted, actual = [0.0] * 4, [0.0] * 4, [0.0] * 4
    for image in range(3):
        for row in range(12):
            for column in range(10):
                label = int(target[image, row, column])
                if label == VOID:
                    continue
                actual[label] += 1
                hits[label] += float(scores[image, label, row, column])
                for number in range(4):
                    predicted[number] += float(scores[image, number, row, column])
    expected = 0.0
    for number in range(4):
        weight = float(weights[number] / weights.sum())
        expected += weight * 0.7 * (1 - (hits[number] + 1) / (actual[number] + 1))
        expected += weight * 1.3 * (1 - (hits[number] + 1) / (predicted[number] + 1))
        expected += weight * 2.0 * (1 - (hits[number] + 1) / (predicted[number] + actual[number] - hits[number] + 1))
    loss = JetLoss(effective_number_weights(PIXELS, config), config)
    assert loss(logits.double(), target).item() == pytest.approx(expected, rel=1e-9)
    assert loss(logits, target).item() == pytest.approx(expected, rel=1e-6)


def test_ohem_by_hand() -> None:
    """Four labelled pixels whose class has the probabilities 0.9, 0.6, 0.5, 0.2, and a void one."""
    own = torch.tensor([0.9, 0.6, 0.5, 0.2, 0.01])
    logits = torch.stack([own, 1 - own]).log().view(1, 2, 1, 5)
    target = torch.tensor([[[0, 0, 0, 0, VOID]]])
    hard = [-math.log(p) for p in (0.6, 0.5, 0.2)]
    assert Ohem(OhemConfig(threshold=0.7))(logits, target).item() == pytest.approx(sum(hard) / 3)
    # None is below 0.1, so the hardest half of the four counts.
    assert Ohem(OhemConfig(threshold=0.1, least=0.5))(logits, target).item() == pytest.approx(sum(hard[1:]) / 2)
    every = Ohem(OhemConfig(threshold=1.0))(logits, target).item()
    assert every == pytest.approx(CrossEntropy()(logits, target).item())


OWN = """
import torch.nn.functional as F


def entropy(num_classes, class_pixels, scale=1.0):
    assert len(class_pixels) == num_classes
    return lambda logits, target: scale * F.cross_entropy(logits, target, ignore_index=255)


def per_image():
    return lambda logits, target: logits.mean(dim=(1, 2, 3))


def text():
    return "no loss"
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(NAMED, "")
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "own.py"
    path.write_text(OWN)
    return path


def test_a_loss_of_ones_own_gets_its_arguments_and_the_classes(own: Path) -> None:
    logits, target = sample()
    config = name_loss(TrainingConfig(loss="own.py:entropy", loss_arguments={"scale": 2.0}))
    value, slope = gradient(build_loss(config, PIXELS), logits, target)
    expected, its_slope = gradient(CrossEntropy(), logits, target)
    assert value.item() == pytest.approx(2 * expected.item())
    assert torch.allclose(slope, 2 * its_slope, atol=1e-7)
    of_torch = name_loss(TrainingConfig(loss="torch.nn:CrossEntropyLoss", loss_arguments={"ignore_index": VOID}))
    assert gradient(build_loss(of_torch, PIXELS), logits, target)[0].item() == pytest.approx(expected.item())


def test_the_identity_of_a_loss_is_its_source_and_not_the_place_of_its_file(own: Path, tmp_path: Path) -> None:
    here = name_loss(TrainingConfig(loss="own.py:entropy"))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "own.py").write_text(OWN)
    there = name_loss(TrainingConfig(loss="elsewhere/own.py:entropy"))
    assert here.loss != there.loss
    assert here.identity == there.identity
    assert here.identity != name_loss(TrainingConfig(loss="own.py:entropy", loss_arguments={"scale": 2})).identity
    assert here.identity != name_loss(TrainingConfig(loss="own.py:text")).identity
    own.write_text(OWN + "# changed\n")
    assert here.identity != name_loss(TrainingConfig(loss="own.py:entropy")).identity
    with pytest.raises(SpecError, match="code is imported only if the command names it"):
        build_loss(here.model_copy(update={"loss_source": "0" * 12}), PIXELS)


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("own.py:gone", "training.loss: .*own.py:gone: has no gone"),
        ("own.py:text", "own.py:text returned a str; expected a loss, a module or function of"),
        ("own.py:per_image", r"own.py:per_image gives a tensor \(3,\); expected a scalar tensor with a gradient"),
        ("gone.py:entropy", "training.loss: .*gone.py:entropy: no such file"),
    ],
)
def test_what_is_no_loss_is_said(loss: str, message: str, own: Path) -> None:
    logits, target = sample()
    with pytest.raises(SpecError, match=message):
        build_loss(name_loss(TrainingConfig(loss=loss)), PIXELS)(logits.requires_grad_(), target)


def test_a_name_that_is_no_loss_and_arguments_of_ours_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"expected 'jetloss', .* or FILE\.py:factory"):
        TrainingConfig(loss="tversky")
    with pytest.raises(ValidationError, match="loss_arguments: dice takes none"):
        TrainingConfig(loss="dice", loss_arguments={"alpha": 1})
