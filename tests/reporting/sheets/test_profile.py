from pathlib import Path

from jetbench import read_study
from jetbench.records.folder import append_records
from jetbench.records.record import Record
from jetbench.reporting.sheets.profile import write_profiles
from jetbench.reporting.tables.columns import find_columns
from jetbench.reporting.tables.csv import to_csv
from jetbench.reporting.tables.html import to_html
from jetbench.reporting.tables.latex import to_latex
from jetbench.reporting.tables.table import build_table
from jetbench.spec.device import load_device
from jetbench.spec.profiling import ProfilingConfig
from tests.made_up import profile, record


def measured_again(of: Record, latency_s: float, threads: int) -> Record:
    """A profile of the weights of a training, in another setting, as `jetbench profile WEIGHTS` has it."""
    return of.model_copy(
        update={
            "key": f"{of.key}, {threads} threads",
            "kind": "profile",
            "training": None,
            "training_config": None,
            "profile": profile(latency_s, num_classes=3),
            "profiling_config": ProfilingConfig(threads=threads),
        }
    )


def latency_of(record: Record) -> float:
    assert record.measured.model_latency
    return record.measured.model_latency.median_s


def test_one_training_can_have_several_profiles_and_a_study_shows_each(tmp_path: Path) -> None:
    trained = record("a", weights="1" * 64)
    append_records(tmp_path, trained)
    write_profiles(tmp_path, [measured_again(trained, 0.004, 2)], load_device("cpu"))
    write_profiles(tmp_path, [measured_again(trained, 0.003, 4)], load_device("cpu"))
    rows = read_study(tmp_path).records
    assert [latency_of(each) for each in rows] == [0.01, 0.004, 0.003]
    assert all(each.training == trained.training for each in rows)  # joined by the digest of the weights
    assert [each.recipe for each in rows] == [trained.recipe] * 3


def test_a_profile_of_other_weights_is_a_row_without_a_training(tmp_path: Path) -> None:
    trained = record("a", weights="1" * 64)
    append_records(tmp_path, trained)
    other = measured_again(trained, 0.004, 2).model_copy(update={"weights": "2" * 64})
    write_profiles(tmp_path, [other], load_device("cpu"))
    first, alone = read_study(tmp_path).records
    assert first.training is not None
    assert alone.training is None
    assert latency_of(alone) == 0.004


def test_a_folder_of_profiles_alone_is_a_study_with_tables_in_every_format(tmp_path: Path) -> None:
    write_profiles(tmp_path, [measured_again(record("a"), 0.004, 2)], load_device("cpu"))
    study = read_study(tmp_path)
    table = build_table(study.rows(), find_columns(["parameters", "latency"]), study.title)
    for text in (to_csv(table), to_html(table), to_latex(table)):
        assert "4.00" in text  # ms
    for name in ("profiles.md", "profiles.tex", "profiles.html"):
        assert "4.00 ms" in (tmp_path / name).read_text()
    assert list(study.to_frame()["latency_model_median_s"]) == [0.004]


def test_a_second_profile_joins_the_sheets_and_the_same_one_is_kept_once(tmp_path: Path) -> None:
    first, second = (record(name, fingerprint=name) for name in "ab")
    made = [measured_again(first, 0.004, 2), measured_again(second, 0.003, 4)]
    for each in (made[0], made[1], made[1]):
        write_profiles(tmp_path, [each], load_device("cpu"))
    assert len((tmp_path / "records.jsonl").read_text().splitlines()) == 2
    for name in ("figures.csv", "profiles.md", "profiles.tex", "profiles.html"):
        text = (tmp_path / name).read_text()
        assert "2 threads" in text
        assert "4 threads" in text
