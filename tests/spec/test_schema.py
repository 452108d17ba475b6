import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from jetbench.spec.catalog import FOLDERS, SHELF, Kind, names
from jetbench.spec.schema import KINDS, json_schema
from jetbench.spec.templates import TEMPLATES

jsonschema = pytest.importorskip("jsonschema", reason="the check of schemas needs jsonschema")


def problems(kind: Kind, raw: Any) -> list[str]:
    validator = jsonschema.Draft202012Validator(json_schema(kind))
    return [f"{list(error.path)}: {error.message[:200]}" for error in validator.iter_errors(raw)]


def bundled() -> list[tuple[Kind, Path]]:
    files = [(kind, SHELF / FOLDERS[kind] / f"{name}.yaml") for kind in KINDS for name in names(kind)]
    return [(kind, path) for kind, path in files if kind != "architecture" or path.name.startswith("jetseg")]


@pytest.mark.parametrize(("kind", "path"), bundled(), ids=lambda value: getattr(value, "stem", value))
def test_a_schema_accepts_every_bundled_file(kind: Kind, path: Path) -> None:
    assert problems(kind, yaml.safe_load(path.read_text())) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_schema_accepts_the_template_and_refuses_a_key_that_there_is_not(kind: Kind) -> None:
    raw = yaml.safe_load(TEMPLATES[kind])
    assert problems(kind, raw) == []
    assert problems(kind, {**raw, "learning_rat": 1}) != []


def test_every_key_of_a_sweep_says_what_it_is() -> None:
    schema = json_schema("sweep")
    blank = [name for name, part in schema["properties"].items() if "description" not in part and "$ref" not in part]
    assert set(blank) <= {"name", "description", "dataset", "training", "profiling"}
    assert json.loads(json.dumps(schema)) == schema
