"""`evaluate --on`: what a board's engine scores."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import typer

from jetbench.cli.app import console, errors
from jetbench.cli.measuring import read_option
from jetbench.errors import ProfilingError, SpecError
from jetbench.spec.base import parse_spec
from jetbench.spec.dataset import SPLITS, Split
from jetbench.spec.profiling import ProfilingConfig, read_form

if TYPE_CHECKING:
    from jetbench.spec.dataset import DatasetConfig

BRIEF = {"processes": 1, "power": "none", "min_seconds": 0, "min_iterations": 1, "precision": 1, "max_seconds": 5}
"""The shortest profile: only the score is asked for."""


def evaluate_on(
    on: str,
    weights: Path,
    dataset: "Callable[[tuple[int, int]], DatasetConfig]",
    split: str,
    backend: str | None,
    as_json: bool,
) -> None:
    """Score a network's engine on a board by SSH, beside PyTorch here on the same images, and print it.

    Args:
        on: as for ssh.
        weights: a .safetensors file.
        dataset: the data, given the size that the network takes.
        split: train, val or test.
        backend: what runs it there, with a number format behind a colon; default: tensorrt.
        as_json: print JSON.

    Raises:
        SpecError: the file, the data or the backend cannot be used.
        ProfilingError: the board cannot be reached, or could not score.
    """
    from jetbench.profiling.case import list_cases
    from jetbench.profiling.remote import open_remote, profile_on

    chosen = next((each for each in get_args(Split) if each == split), None)
    if chosen is None:
        raise SpecError(f"--split {split}: expected one of {', '.join(SPLITS)}")
    if weights.suffix != ".safetensors":
        raise SpecError(f"{weights}: --on takes a .safetensors file, which is exported for the board")
    name, dtype = read_option("--backend", backend or "tensorrt", read_form)
    setting = parse_spec(ProfilingConfig, {**BRIEF, "backend": name, "dtype": dtype or "fp32"}, "--backend")
    if not setting.runs_file:
        raise SpecError(f"--backend {name}: PyTorch's forms compute what PyTorch computes; give tensorrt")
    remote = open_remote(on)
    device = remote.find_device()
    cases = list_cases([str(weights)], [setting], device.size)
    config = dataset(cases[0].input_size)
    with errors.status("scoring") as status:
        (record,) = profile_on(
            remote, cases, device, config, report=lambda share, text: status.update(text), split=chosen
        )
    deployment = record.measured.deployment
    score = deployment.score_on(chosen) if deployment is not None else None
    if deployment is None or score is None:
        raise ProfilingError(f"{on}: {record.measured.notes.get('latency') or (deployment and deployment.unscored)}")
    if as_json:
        described = {
            "miou": score.deployed.miou,
            "class_iou": score.deployed.class_iou,
            **score.model_dump(mode="json"),
        }
        typer.echo(json.dumps(described, indent=2))
        return
    console.print(
        f"{record.variant} on {device.title}, {deployment.runtime}, {deployment.describe_precision()}: mIoU "
        f"{100 * score.deployed.miou:.2f} % on {chosen} of {score.dataset} ({score.images} images); PyTorch on the "
        f"same {100 * score.torch.miou:.2f} %. {score.changed:,} of {score.pixels:,} pixels have another class.",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    if score.image_change is not None:
        mean, half = (100 * each for each in score.image_change)
        console.print(f"The mIoU of an image changes by {mean:+.2f} \u00b1 {half:.2f} points (95 %).", highlight=False)
