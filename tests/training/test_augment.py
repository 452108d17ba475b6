import pytest
import torch
import torch.nn.functional as F

from jetbench.data.labels import VOID
from jetbench.errors import SpecError
from jetbench.spec.base import parse_spec
from jetbench.spec.training import AugmentationConfig, TrainingConfig
from jetbench.training.augment import augment


def batch(count: int = 8, height: int = 20, width: int = 30) -> tuple[torch.Tensor, torch.Tensor]:
    """Images whose first channel says where a pixel was across, the second where down, the third its class."""
    down, across = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    target = ((across // 10) + 3 * (down // 10)).expand(count, -1, -1).clone()
    target[:, :, 0] = VOID
    image = torch.stack([across.float(), down.float(), (1 + across // 10 + 3 * (down // 10)).float()])
    return image.expand(count, -1, -1, -1).clone(), target


def test_by_default_nothing_happens() -> None:
    images, target = batch()
    after = augment(images, target, AugmentationConfig(), seed=0, step=0)
    assert after[0] is images
    assert after[1] is target


def test_a_batch_hangs_on_seed_and_step_alone() -> None:
    images, target = batch()
    config = AugmentationConfig(flip=True, scale=(0.7, 1.5), light=0.2)
    first, again, later, other = (
        augment(images, target, config, seed, step) for seed, step in ((0, 5), (0, 5), (0, 6), (1, 5))
    )
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], later[0])
    assert not torch.equal(first[0], other[0])


def test_about_half_are_mirrored_with_their_labels_to_the_pixel() -> None:
    images, target = batch(64)
    after, labels = augment(images, target, AugmentationConfig(flip=True), seed=0, step=0)
    mirrored = 0
    for number in range(64):
        if torch.equal(labels[number], target[number]):
            torch.testing.assert_close(after[number], images[number], rtol=1e-4, atol=1e-3)
        else:
            mirrored += 1
            assert torch.equal(labels[number], target[number].flip(1))
            torch.testing.assert_close(after[number], images[number].flip(2), rtol=1e-4, atol=1e-3)
    assert 16 < mirrored < 48


@pytest.mark.parametrize("scale", [(1.4, 2.0), (0.5, 0.8)])
def test_labels_go_where_pixels_go_and_what_is_outside_is_void(scale: tuple[float, float]) -> None:
    images, target = batch(32)
    after, labels = augment(images, target, AugmentationConfig(scale=scale), seed=0, step=0)
    known = labels != VOID
    # Where all neighbours have one label, bilinear pixels are of that label too: the third channel says which.
    labelled = labels.float().unsqueeze(1)
    highest, lowest = F.max_pool2d(labelled, 3, 1, 1), -F.max_pool2d(-labelled, 3, 1, 1)
    inside = known & (highest == lowest).squeeze(1)
    inside[:, [0, -1]] = inside[:, :, [0, -1]] = False  # what is beyond the frame is not known
    assert inside.float().mean() > 0.1
    assert (after[:, 2].round() == labels + 1)[inside].float().mean() > 0.995
    share = (known.float().mean() / (target != VOID).float().mean()).item()
    if scale[0] > 1:
        assert share > 0.9
        # Neighbours are nearer to each other by the factor.
        steps = (after[:, 0, 10, 5:25] - after[:, 0, 10, 4:24]).median(dim=1).values
        assert (1 / scale[1] - 0.01 <= steps).all()
        assert (steps <= 1 / scale[0] + 0.01).all()
    else:
        assert scale[0] ** 2 < share < scale[1] ** 2 + 0.1
        # Outside is 0 to the pixel, but for the rim, and the column of void that every image has.
        outside = -F.max_pool2d(-(labels == VOID).float(), 5, 1, 2) == 1
        assert outside.float().mean() > 0.1
        assert (after[:, 2][outside] == 0).float().mean() > 0.99


def test_light_changes_pixels_evenly_and_no_label() -> None:
    images, target = batch()
    after, labels = augment(images, target, AugmentationConfig(light=0.3), seed=0, step=0)
    assert labels is target
    for number in range(8):
        gain = (after[number, 0, 0, 10] - after[number, 0, 0, 0]) / 10
        assert 0.7 <= gain <= 1.3
        torch.testing.assert_close(after[number], gain * images[number] + after[number, 0, 0, 0])


def test_a_scale_the_wrong_way_round_is_an_error() -> None:
    with pytest.raises(SpecError, match="the smaller factor first"):
        parse_spec(TrainingConfig, {"augmentation": {"scale": [2, 1]}}, "x")


def test_a_crop_is_a_part_of_the_image_with_its_labels() -> None:
    images, target = batch()
    config = AugmentationConfig(crop=(7, 11))
    assert config.is_on
    assert config.describe() == "cropped to 7x11"
    parts, labels = augment(images, target, config, seed=0, step=3)
    assert parts.shape == (8, 3, 7, 11)
    places = set()
    for part, own in zip(parts, labels, strict=True):
        left, top = int(part[0, 0, 0]), int(part[1, 0, 0])
        places.add((top, left))
        assert torch.equal(part, images[0, :, top : top + 7, left : left + 11])
        assert torch.equal(own, target[0, top : top + 7, left : left + 11])
    assert len(places) > 4
    whole, _ = augment(images, target, AugmentationConfig(crop=(20, 30)), seed=0, step=0)
    assert torch.equal(whole, images)
    with pytest.raises(SpecError, match="21x30 is larger than the images of 20x30"):
        augment(images, target, AugmentationConfig(crop=(21, 30)), seed=0, step=0)
