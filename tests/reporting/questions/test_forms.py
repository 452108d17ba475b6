"""A deployed row has its own mIoU or none, and forms are compared network by network. All figures are made up."""

from pathlib import Path
from typing import Any

import pytest

from jetbench.errors import SpecError
from jetbench.records.deployment import DeployedScore, Deployment, EngineFile, ModelFile, Parity
from jetbench.records.folder import append_records, read_records
from jetbench.records.measurement import Comparison
from jetbench.records.record import FormProfile, Profile, Record
from jetbench.records.scores import ClassCounts
from jetbench.records.verdict import judge
from jetbench.reporting.questions.forms import build_forms, measure_conversion
from jetbench.reporting.sheets.page import describe_study, write_page
from jetbench.reporting.studies import read_study
from jetbench.reporting.tables.columns import BY_NAME, columns_of_layout
from jetbench.reporting.tables.frame import frame
from jetbench.reporting.tables.markdown import to_markdown
from jetbench.reporting.tables.rows import one_per_network, rows_of
from jetbench.reporting.tables.table import build_table
from jetbench.spec.profiling import ProfilingConfig
from tests.made_up import profile, record
from tests.reporting.sheets.test_page import browse

ONNX = ProfilingConfig(backend="onnxruntime")
FILE = ModelFile(
    format="onnx", name="model.onnx", bytes=420_000, sha256="ab" * 32, exporter="made up", opset=13, ir=7, seconds=1.0
)


def counts(miou: float) -> ClassCounts:
    hits = round(1000 * miou)
    return ClassCounts(true_positives=(hits,) * 3, false_positives=(0,) * 3, false_negatives=(1000 - hits,) * 3)


def score(deployed: float, torch: float, half: float = 0.001) -> DeployedScore:
    return DeployedScore(
        split="val",
        dataset="made-up",
        digest="0" * 16,
        images=4,
        deployed=counts(deployed),
        torch=counts(torch),
        changed=10,
        pixels=1000,
        image_change=(deployed - torch, half),
    )


def deployment(**more: Any) -> Deployment:
    fields: dict[str, Any] = {
        "runtime": "onnxruntime 1.0",
        "executes": "CPUExecutionProvider",
        "options": {"threads": "1"},
        "file": FILE,
        "parities": (Parity(on="the reference", images=1, pixels=100, changed=0, largest=0.0, rms=0.0, scale=1.0),),
        "asked": "fp32",
        "convolutions": {"fp32": 7},
    }
    return Deployment(**{**fields, **more})


def deployed_profile(latency_s: float, **more: Any) -> Profile:
    ratio = Comparison(reference="eager", ratios=((0.5,) * 7,), control=((1.0,) * 7,))
    return profile(latency_s, deployment=deployment(**more), comparison=ratio)


def with_form(name: str, miou: float, eager_s: float, deployed_s: float, **more: Any) -> Record:
    form = FormProfile(profiling_config=ONNX, profile=deployed_profile(deployed_s, **more))
    return record(name, miou, eager_s, fingerprint=f"{name:0<12}", forms=(form,))


@pytest.fixture
def study(tmp_path: Path) -> Path:
    append_records(
        tmp_path,
        with_form("a", 0.5, 0.010, 0.008, scores=(score(0.5, 0.5),)),
        with_form("b", 0.6, 0.020, 0.004, scores=(score(0.55, 0.6),)),
        with_form("c", 0.7, 0.040, 0.002),
    )
    return tmp_path


def test_forms_survive_a_folder_and_follow_their_training(study: Path) -> None:
    (study / "twice").mkdir()
    records = read_records(study)
    assert [(each.variant, each.profiling_config.form, each.kind) for each in records] == [
        *((name, "eager", "training") for name in "abc"),
        *((name, "onnxruntime", "profile") for name in "abc"),
    ]
    append_records(study / "twice", *(each for each in records if each.kind == "training"))
    assert read_records(study / "twice") == records
    assert [row.name for row in read_study(study).rows()] == [
        "a",
        "a [onnxruntime]",
        "b",
        "b [onnxruntime]",
        "c",
        "c [onnxruntime]",
    ]


def test_a_later_profile_in_the_same_form_replaces_the_earlier_one(study: Path) -> None:
    append_records(study, with_form("a", 0.5, 0.011, 0.009))
    latest = {(r.variant, r.profiling_config.form): r.measured.model_latency for r in read_records(study)}
    assert {key: value.median_s for key, value in latest.items() if value and key[0] == "a"} == {
        ("a", "eager"): 0.011,
        ("a", "onnxruntime"): 0.009,
    }


def test_a_deployed_row_never_shows_the_miou_of_pytorch(study: Path) -> None:
    rows = {row.name: row for row in read_study(study).rows()}
    values = {name: BY_NAME["val"].cell(row) for name, row in rows.items()}
    assert values == {
        "a": "50.0",
        "a [onnxruntime]": "50.0",
        "b": "60.0",
        "b [onnxruntime]": "55.0",
        "c": "70.0",
        "c [onnxruntime]": "—",
    }
    assert BY_NAME["val-last"].cell(rows["b [onnxruntime]"]) == "—"
    assert BY_NAME["test"].cell(rows["b [onnxruntime]"]) == "—"
    assert BY_NAME["conversion"].cell(rows["a [onnxruntime]"]) == "+0.00 ="
    assert BY_NAME["conversion"].cell(rows["b [onnxruntime]"]) == "-5.00"
    assert BY_NAME["ratio"].cell(rows["b [onnxruntime]"]) == "0.50"
    assert BY_NAME["file"].cell(rows["b [onnxruntime]"]) == "0.42"
    table = frame(read_records(study))
    own = table[(table.variant == "b") & (table.backend == "onnxruntime")].iloc[0]
    assert (own.val_miou_best, own.val_miou_torch, own.val_iou_road) == (0.55, 0.6, 0.55)


def test_one_section_holds_all_forms_with_their_backend(study: Path) -> None:
    rows = read_study(study).rows()
    table = build_table(rows, columns_of_layout("brief", rows), "forms")
    assert len(table.sections) == 1
    text = to_markdown(table.condensed())
    assert "| c [onnxruntime] | onnxruntime |" in text
    assert "Conversion: its val mIoU less PyTorch's" in text
    alone = rows_of([record("x"), record("y")])
    assert not {"backend", "ratio"} & {column.name for column in columns_of_layout("brief", alone)}


def test_what_is_published_of_a_network_is_told_once_for_all_its_forms(study: Path) -> None:
    assert [row.name for row in one_per_network(read_study(study).rows())] == ["a", "b", "c"]


def test_layouts_are_told_with_the_most_convolutions_first() -> None:
    ran = deployment(layouts={"channels first": 3, "blocked": 57})
    assert ran.describe_layouts() == "blocked 57 of 60, channels first 3 of 60"
    assert deployment().describe_layouts() == ""


def test_a_conversion_is_told_by_change_order_and_pairs_that_flip(study: Path) -> None:
    conversion = measure_conversion(read_study(study), "eager", "onnxruntime")
    assert conversion.tau == -1.0
    assert set(conversion.flips) == {("a", "b"), ("a", "c"), ("b", "c")}
    text = to_markdown(build_forms(read_study(study), ["eager", "onnxruntime"]))
    assert "a is the fastest eager; c onnxruntime" in text
    assert (
        "1 of 2 networks loses accuracy against PyTorch (95 %, paired images); the largest loss -5.00 points (b)"
        in text
    )
    assert "3 pairs in the opposite order" in text
    with pytest.raises(SpecError, match="has no row of openvino; it has eager, onnxruntime"):
        measure_conversion(read_study(study), "eager", "openvino")


def test_the_page_says_what_ships(study: Path) -> None:
    shipped = describe_study(read_study(study))["forms"]
    (section,) = shipped["sections"]
    assert section["label"] == "eager → onnxruntime"
    ratio, change = (shipped["columns"].index(name) for name in ("ratio", "change"))
    cells = {row["name"]: row["cells"] for row in section["rows"]}
    assert (cells["b (?)"][ratio][0], cells["b (?)"][change][0]) == ("0.50", "-5.00")
    assert any("3 pairs in the opposite order" in note for note in shipped["notes"])


def test_the_page_of_a_study_in_one_form_has_no_such_section(tmp_path: Path) -> None:
    append_records(tmp_path, record("a"), record("b"))
    assert describe_study(read_study(tmp_path))["forms"] is None


@pytest.mark.browser
def test_a_browser_shows_what_ships(study: Path) -> None:
    dom, complaints = browse(write_page(study / "report.html", read_study(study)))
    assert complaints == ""
    shown = dom.split('id="conversions"')[1].split("</table>")[0]
    assert shown.count("<tr") == 5  # a heading, a form, three networks
    assert "-5.00" in shown


def test_verdicts_name_what_ran_otherwise_and_what_was_lost() -> None:
    other = judge(profile(0.01, deployment=deployment(asked="fp16", convolutions={"bf16": 7})))
    assert (other.level, other.reasons) == ("suspect", ("fp16 was asked for, and the convolutions ran in bf16 7",))
    lost = judge(profile(0.01, deployment=deployment(scores=(score(0.5, 0.6),))))
    assert lost.reasons == ("the file's val mIoU is 10.0 points below PyTorch's",)
    assert judge(profile(0.01, deployment=deployment(scores=(score(0.5, 0.6, half=0.2),)))).level == "valid"
    wrong = Parity(on="the reference", images=1, pixels=100, changed=50, largest=1.0, rms=0.5, scale=1.0)
    assert (
        "does not compute what PyTorch computes"
        in judge(profile(0.01, deployment=deployment(parities=(wrong,)))).reasons[0]
    )
    half = deployment(asked="int8", convolutions={"int8": 5, "fp32": 4})
    assert half.is_as_asked
    assert half.describe_precision() == "int8 in 5 of 9"
    assert not deployment(asked="int8", convolutions={"int8": 3, "fp32": 4}).is_as_asked
    engine = EngineFile(
        tensorrt="10.3.0", gpu="made up", capability="8.7", dtype="fp16", seconds=12.0, peak_bytes=2**30, bytes=1,
        sha256="", workspace_mib=1024, skipped_tactics=2,
    )  # fmt: skip
    assert not deployment(asked="fp16", convolutions={"fp16": 6, "fp32": 1}).is_as_asked
    assert deployment(asked="fp16", convolutions={"fp16": 6, "fp32": 1}, engine=engine).is_as_asked
    assert not deployment(asked="fp32", convolutions={}, engine=engine).is_as_asked  # nothing says what ran
    assert (
        deployment(asked="int8", convolutions={}, engine=engine).describe_precision()
        == "int8 \N{RIGHTWARDS ARROW} unknown"
    )
    assert engine.describe() == "built in 12.0 s with at most 1024 MiB; 2 tactics skipped for want of memory"


def test_effects_and_budgets_take_a_variant_once(study: Path) -> None:
    from jetbench.reporting.questions.effects import list_effects

    records = read_records(study)
    assert [each.is_form for each in records] == [False] * 3 + [True] * 3
    alone = [each for each in records if not each.is_form]
    assert list_effects(records) == list_effects(alone)


def test_merged_folders_hold_each_form_once(study: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    from jetbench.study.merge import merge_studies

    other, into = tmp_path_factory.mktemp("other"), tmp_path_factory.mktemp("into") / "both"
    append_records(other, with_form("d", 0.5, 0.01, 0.02))
    for folder in (study, other):
        (folder / "sweep.yaml").write_text("name: x\nbase: jetseg-nano\n")
    merge_studies(study, other, into)
    forms = [(each.variant, each.profiling_config.form) for each in read_records(into)]
    assert sorted(forms) == sorted((name, form) for name in "abcd" for form in ("eager", "onnxruntime"))
