import itertools

import pytest
import torch

from jetbench.data.batches import NormaliseBatch, endless_batches
from jetbench.data.cache import SegmentationData

CPU = torch.device("cpu")


def test_batches_are_never_short_and_each_pass_has_every_image_once() -> None:
    batches = list(itertools.islice(endless_batches(10, 4, seed=0), 5))
    assert all(len(batch) == 4 for batch in batches)
    order = [index for batch in batches for index in batch]
    assert sorted(order[:10]) == sorted(order[10:]) == list(range(10))
    assert order[:10] != order[10:]


def test_images_are_normalised_and_never_channels_last(streets: SegmentationData) -> None:
    images, target = NormaliseBatch(streets, CPU)("train", list(range(16)))
    assert images.is_contiguous()  # channels_last corrupts the heap in backward with torch 2.13 on CPU
    assert images.mean(dim=(0, 2, 3)).abs().max() < 1e-3
    assert (images.std(dim=(0, 2, 3)) - 1).abs().max() < 1e-2
    assert target.dtype == torch.long


@pytest.mark.parametrize("split", ["train", "val"])
def test_data_that_a_device_holds_give_the_same_batches(streets: SegmentationData, split: str) -> None:
    """As on a GPU, where bytes are moved once; the same code on the only device that is always there."""
    mapped, held = NormaliseBatch(streets, CPU), NormaliseBatch(streets, CPU, is_resident=True)
    assert not mapped.is_resident
    indices = [3, 0, 5, 3]
    for one, other in zip(mapped(split, indices), held(split, indices), strict=True):
        assert torch.equal(one, other)
        assert one.dtype == other.dtype
        assert one.stride() == other.stride()
