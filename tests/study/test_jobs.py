import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from jetbench import load_architecture, plan_architecture
from jetbench.network.plan import _described, plan_network
from jetbench.network.plan import later as later_in_a_plan
from jetbench.network.variants import Variant
from jetbench.records.folder import keep_sweep, read_landed
from jetbench.spec.base import later, parse_spec, read_yaml
from jetbench.spec.sweep import Sweep
from jetbench.spec.training import TrainingConfig
from jetbench.study.jobs import variant_key
from tests.kept import FOLDERS

# A new kept report changes these two; nothing else may.
COUNT, KEYS = 1671, "a43b6be53ded3741"
FORMED: dict[str, tuple[str, ...]] = {
    "deployment": ("onnxruntime", "openvino", "openvino bf16"),
    "int8": ("onnxruntime", "onnxruntime int8", "openvino", "openvino int8"),
}
"""Studies with forms, whose keys hold them: each is compared with its own sweep."""


def test_keys_and_fingerprints_of_every_kept_record_do_not_move() -> None:
    """Their keys, computed anew: a folder that was begun by any version since records have version 2 goes on."""
    digest, count = hashlib.sha256(), 0
    for folder in sorted(FOLDERS, key=lambda folder: folder.name):
        if folder.name in FORMED:
            continue
        for record in read_landed(folder):
            plan = plan_network(record.architecture, record.num_classes, record.input_size)
            assert plan.fingerprint == record.fingerprint
            variant = Variant(record.variant, record.changes, record.architecture, record.recipe, plan)
            asked = Sweep(name="a", base=record.architecture.name, profiling=record.profiling_config)
            digest.update(variant_key(variant, asked, record.data, "cpu").encode())
            count += 1
    assert (count, digest.hexdigest()[:16]) == (COUNT, KEYS)


@pytest.mark.parametrize("name", FORMED)
def test_the_keys_of_a_study_with_forms_are_those_of_its_sweep(name: str) -> None:
    (folder,) = (each for each in FOLDERS if each.name == name)
    asked = parse_spec(Sweep, read_yaml(folder / "sweep.yaml"), "sweep.yaml")
    assert tuple(form.replace(":", " ") for form in asked.forms) == FORMED[name]
    records = read_landed(folder)
    assert records
    for record in records:
        assert tuple(form.profiling_config.form for form in record.forms) == FORMED[name]
        plan = plan_network(record.architecture, record.num_classes, record.input_size)
        variant = Variant(record.variant, record.changes, record.architecture, record.recipe, plan)
        assert variant_key(variant, asked, record.data, "cpu") == record.key
        without = asked.model_copy(update={"forms": ()})
        assert variant_key(variant, without, record.data, "cpu") != record.key


class GrownTraining(TrainingConfig):
    """A recipe of a later version."""

    warmth: float = later(0.0)


class GrownSweep(Sweep):
    """A sweep of a later version."""

    training: GrownTraining = GrownTraining()
    rooms: tuple[str, ...] = later(())


def test_a_field_that_is_added_later_moves_no_key_while_it_has_its_default(tmp_path: Path) -> None:
    assert GrownTraining().identity == TrainingConfig().identity
    assert GrownTraining(warmth=1.0).identity != TrainingConfig().identity
    assert "warmth" not in json.loads(GrownTraining().model_dump_json())
    raw = {"name": "a", "base": "jetseg-nano"}
    keep_sweep(tmp_path, Sweep.model_validate(raw))
    begun = (tmp_path / "sweep.yaml").read_text()
    keep_sweep(tmp_path, GrownSweep.model_validate(raw))  # the same sweep: it goes on
    assert (tmp_path / "sweep.yaml").read_text() == begun
    assert parse_spec(GrownSweep, read_yaml(tmp_path / "sweep.yaml"), "sweep.yaml").rooms == ()


def test_a_field_that_is_added_to_plans_later_moves_no_fingerprint_while_it_has_its_default() -> None:
    plan = plan_architecture(load_architecture("jetseg-nano"), 11, (64, 96))

    @dataclass(frozen=True)
    class Grown(type(plan)):  # type: ignore[misc]
        gate: str = later_in_a_plan("none")

    grown = Grown(plan.input_size, plan.activation, plan.blocks, plan.decoder)
    assert _described(grown) == _described(plan)
    assert _described(replace(grown, gate="soft")) != _described(plan)
