import numpy as np

from jetbench.data.cache import SegmentationData, load_data
from jetbench.data.labels import CLASSES_11, VOID
from jetbench.data.streets import Streets
from jetbench.spec.dataset import StreetsConfig


def scenes(seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    source = Streets(StreetsConfig(size=(60, 120), train=24, val=4, test=4, seed=seed))
    return [(sample.image, sample.labels) for sample in source.samples("train")]


def test_the_same_seed_gives_the_same_scenes_and_another_seed_others() -> None:
    first, again, other = scenes(), scenes(), scenes(seed=1)
    assert all(np.array_equal(a, b) and np.array_equal(x, y) for (a, x), (b, y) in zip(first, again, strict=True))
    assert not any(np.array_equal(a, b) for (a, _), (b, _) in zip(first, other, strict=True))


def test_splits_do_not_share_scenes() -> None:
    source = Streets(StreetsConfig(size=(60, 120), train=4, val=4, test=4))
    images = [sample.image.tobytes() for split in ("train", "val", "test") for sample in source.samples(split)]
    assert len(set(images)) == 12


def test_every_class_and_void_occur_and_none_rules() -> None:
    labels = np.stack([labels for _, labels in scenes()])
    share = np.bincount(labels.ravel(), minlength=256) / labels.size
    assert (share[: len(CLASSES_11)] > 0.0005).all()
    assert 0 < share[VOID] < 0.1
    assert share.max() < 0.6
    assert share[len(CLASSES_11) : VOID].sum() == 0


def test_colour_alone_does_not_tell_the_classes() -> None:
    # The nearest of the classes' mean colours: a picture whose classes are colours would score near 1 here.
    train, test = scenes(), scenes(seed=5)
    pixels = np.concatenate([image.reshape(-1, 3) for image, _ in train]).astype(float)
    labels = np.concatenate([label.ravel() for _, label in train])
    means = np.stack([pixels[labels == c].mean(axis=0) for c in range(11)])
    ious = []
    for c in range(11):
        hits = union = 0
        for image, label in test:
            guess = ((image[..., None, :] - means) ** 2).sum(-1).argmin(-1)
            known = label != VOID
            hits += int(((guess == c) & (label == c)).sum())
            union += int((((guess == c) & known) | (label == c)).sum())
        ious.append(hits / union)
    assert np.mean(ious) < 0.25


def test_poles_are_thin_and_things_occlude_each_other() -> None:
    widths = []
    for _, labels in scenes():
        for row in labels == CLASSES_11.index("pole"):
            runs = np.diff(np.flatnonzero(np.diff(np.concatenate([[0], row.astype(int), [0]]))))[::2]
            widths += runs.tolist()
    assert np.median(widths) <= 3


def test_scenes_are_cached_with_their_statistics(streets: SegmentationData) -> None:
    assert streets.info.images == {"train": 16, "val": 6, "test": 4}
    assert np.allclose(streets.mean, streets.images["train"].reshape(-1, 3).mean(axis=0))
    assert np.allclose(streets.std, streets.images["train"].reshape(-1, 3).astype(float).std(axis=0))
    assert load_data(StreetsConfig(size=(48, 64), train=16, val=6, test=4)).info == streets.info
