from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from jetbench.data.labels import CLASSES_11, COLOURS_11
from jetbench.spec.dataset import ClassSpec
from jetbench.training.samples import (
    COUNT,
    KEY,
    class_names_of,
    colours_of,
    decode_ids,
    encode_ids,
    read_predictions,
    sample_indices,
)


@pytest.mark.parametrize("count", [1, 3, 4, 5, 32, 233])
def test_the_samples_are_different_images_of_the_split(count: int) -> None:
    chosen = sample_indices(count)
    assert len(set(chosen)) == len(chosen) == min(COUNT, count)
    assert all(0 <= number < count for number in chosen)


def test_class_ids_come_back_as_they_were() -> None:
    ids = np.random.default_rng(0).integers(0, 11, (3, 20, 28), dtype=np.uint8)
    assert np.array_equal(decode_ids(encode_ids(ids)), ids)


def test_predictions_are_read_from_a_weights_file_and_what_has_none_gives_none(tmp_path: Path) -> None:
    ids = np.ones((2, 8, 8), np.uint8)
    with_them, without, no_weights = (tmp_path / name for name in ("a.safetensors", "b.safetensors", "c.safetensors"))
    save_file({"w": torch.zeros(2)}, with_them, {KEY: encode_ids(ids), "jetbench": "{}"})
    save_file({"w": torch.zeros(2)}, without)
    no_weights.write_bytes(b"no weights at all")
    found = read_predictions(with_them)
    assert found is not None
    assert np.array_equal(found, ids)
    assert [read_predictions(path) for path in (without, no_weights, tmp_path / "missing")] == [None] * 3


def test_colours_are_camvids_for_its_classes_and_differ_for_others() -> None:
    assert [tuple(row) for row in colours_of(CLASSES_11)[:11]] == list(COLOURS_11)
    assert len({tuple(row) for row in colours_of([f"class {n}" for n in range(19)])[:19]}) == 19
    assert class_names_of(11)[0] == "sky"
    assert class_names_of(19)[3] == "class 3"


def test_other_data_with_as_many_classes_do_not_get_camvids_colours() -> None:
    names = [f"crop {n}" for n in range(11)]
    assert [tuple(row) for row in colours_of(names)[:11]] != list(COLOURS_11)
    own = [ClassSpec(name=name, colour=(n, 2 * n, 3 * n)) for n, name in enumerate(names)]
    assert [tuple(row) for row in colours_of(names, own)[:11]] == [(n, 2 * n, 3 * n) for n in range(11)]
    assert tuple(colours_of(names, own)[255]) == (0, 0, 0)
