"""Records as a data frame, for CSV: one row per record in SI units and fractions; published figures as text."""

from collections.abc import Sequence

import pandas as pd

from jetbench.records.deployment import Deployment
from jetbench.records.record import CounterResult, Record
from jetbench.records.verdict import judge
from jetbench.reporting import units
from jetbench.reporting.tables.columns import counts_of
from jetbench.reporting.tables.published import reported_cell
from jetbench.spec.architecture import AnyArchitecture, Baseline
from jetbench.spec.dataset import SPLITS
from jetbench.spec.published import QUANTITIES


def frame(records: Sequence[Record], quoted: Sequence[Baseline] = ()) -> pd.DataFrame:
    """One row per record in SI units and fractions; a cell is empty if nothing was measured.

    Then follows one row for each baseline with only published figures.
    """
    rows = [_row(record) for record in records]
    rows += [
        {"variant": each.name, "status": "quoted", "reason": "; ".join(each.assumed), **_published(each)}
        for each in quoted
    ]
    table: pd.DataFrame = pd.DataFrame(rows)
    return table


def _published(architecture: AnyArchitecture) -> dict[str, object]:
    """The CSV's columns `reported_...`: published figures as text, because each has its conditions."""
    columns: dict[str, object] = {"fidelity": architecture.fidelity if isinstance(architecture, Baseline) else None}
    for name in QUANTITIES:
        text = reported_cell(architecture, name)
        columns[f"reported_{name}"] = None if text == units.MISSING else text
    return columns


def _row(record: Record) -> dict[str, object]:
    training, profile, dataset, cost = record.training, record.profile, record.dataset, counts_of(record)
    val, test, is_file = record.counts_on("val"), record.counts_on("test"), record.profiling_config.runs_file
    row: dict[str, object] = {
        "variant": record.variant,
        "also_named": "; ".join(record.also_named),
        "status": record.failure.status if record.failure else "ok",
        "reason": record.failure.reason if record.failure else "",
        "parameters": cost.parameters,
        "macs": cost.macs,
        "flops": cost.flops,
        "eq2_flops": cost.eq2_flops,
        "peak_activation_bytes": cost.peak_activation_bytes,
        **{f"macs_{tool}": _counted(profile.counters if profile else (), tool) for tool in ("fvcore", "thop")},
        "val_miou_best": val.miou if val else None,
        "val_best_epoch": training.best.epoch if training else None,
        "val_miou_last": training.last.counts.miou if training and not is_file else None,
        "test_miou": test.miou if test else None,
        "val_miou_constant": dataset.constant_miou["val"] if dataset else None,
        "test_miou_constant": dataset.constant_miou["test"] if dataset else None,
        "steps": training.steps if training else None,
        "epochs": training.epochs if training else None,
        "training_s": training.seconds if training else None,
        "final_loss": training.loss_curve[-1][1] if training and training.loss_curve else None,
        "loss": record.training_config.describe_loss() if record.training_config else None,
        "seed": record.seed,
    }
    for name, latency in (
        ("model", profile and profile.model_latency),
        ("end_to_end", profile and profile.end_to_end_latency),
    ):
        row[f"latency_{name}_median_s"] = latency.median_s if latency else None
        row[f"latency_{name}_p90_s"] = latency.percentile_s(90) if latency else None
        row[f"latency_{name}_p99_s"] = latency.percentile_s(99) if latency else None
        row[f"throughput_{name}_fps"] = latency.throughput_fps if latency else None
        row[f"latency_{name}_samples"] = len(latency.samples_s) if latency else None
        row[f"latency_{name}_processes"] = len(latency.runs) if latency else None
        for end, value in zip(("low", "high"), (latency and latency.interval_s) or (None, None), strict=True):
            row[f"latency_{name}_{end}_s"] = value
    row |= {
        "batch_size": record.profiling_config.batch_size,
        "dtype": record.profiling_config.dtype,
        "backend": record.profiling_config.backend,
        **_deployment(profile.deployment if profile else None),
        "peak_memory_bytes": profile.peak_memory_bytes if profile else None,
        "power_w": profile.power_w if profile else None,
        "energy_j_per_image": profile.energy_j_per_image if profile else None,
        "verdict": judge(profile).level if profile else None,
        "verdict_reasons": "; ".join(judge(profile).reasons) if profile else None,
    }
    if dataset is not None:
        unknown = (None,) * dataset.num_classes
        for split, ious in (
            ("val", val.class_iou if val else unknown),
            ("test", test.class_iou if test else unknown),
        ):
            row |= {f"{split}_iou_{name}": iou for name, iou in zip(dataset.class_names, ious, strict=True)}
    environment = profile.environment if profile else None
    row |= {
        "dataset": dataset.name if dataset else None,
        "dataset_digest": dataset.digest if dataset else None,
        **{f"{split}_images": dataset.images[split] if dataset else None for split in SPLITS},
        "image_height": record.input_size[0],
        "image_width": record.input_size[1],
        "classes": record.num_classes,
        "void_rule": dataset.void_rule if dataset else None,
        "device": environment.device if environment else None,
        "cpu": environment.cpu if environment else None,
        "threads": environment.threads if environment else None,
        "torch": environment.torch if environment else None,
        "load_average": environment.load_average if environment else None,
        "key": record.key,
        "finished": record.finished,
    }
    return row | _published(record.architecture)


def _deployment(deployment: Deployment | None) -> dict[str, object]:
    """The columns of a deployed file: what ran, and how its val score differs from PyTorch's."""
    score = deployment.score_on("val") if deployment else None
    return {
        "runtime": deployment.runtime if deployment else None,
        "convolutions_ran": deployment.ran if deployment else None,
        "file_bytes": deployment.file.bytes if deployment else None,
        "file_sha256": deployment.file.sha256 if deployment else None,
        "val_miou_torch": score.torch.miou if score else None,
        "val_pixels_changed": score.changed / score.pixels if score else None,
    }


def _counted(counters: Sequence[CounterResult], tool: str) -> int | None:
    return next((counter.macs for counter in counters if counter.tool == tool), None)
