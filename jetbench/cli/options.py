"""Options and arguments that several verbs share, and how they are read."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jetbench.cli.app import TORCH_DEVICES, errors
from jetbench.errors import SpecError

if TYPE_CHECKING:
    from jetbench.spec.dataset import DatasetConfig
    from jetbench.study.place import Place
from typing import TYPE_CHECKING

from jetbench.spec.values import parse_seconds

LossOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Train by jetloss, cross-entropy, weighted-cross-entropy, focal, dice, lovasz, or jetloss-released, which "
        "does not learn.",
    ),
]


def dataset_changes(asked: str, own: "DatasetConfig") -> dict[str, Any]:
    """`--dataset` as a change of a sweep or search whose data is `own`: its image size is kept."""
    kind, _, path = asked.partition(":")
    if kind not in ("streets", "camvid") or (kind == "streets" and path):
        raise SpecError(f"--dataset {asked}: expected streets, camvid or camvid:PATH")
    kept = own.model_dump(mode="json") if own.name == kind else {"size": own.size}
    return {"dataset": {**kept, "name": kind, **({"path": path} if path else {})}}


DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device", metavar="NAME", help="Profile on this device, from `jetbench devices`. Default: this machine."
    ),
]
TorchDeviceOption = Annotated[
    str | None,
    typer.Option("--torch-device", metavar="NAME", help="Train on auto, cpu or cuda. Default: as the file says."),
]
PLACES = "Many jobs, many machines"
WAIT = "10min"

JobsOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Trainings side by side on this machine. Default: as its cores or its GPU can. Profiles run alone.",
        rich_help_panel=PLACES,
    ),
]
RayOption = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Run jobs on a Ray cluster: HOST:PORT of its head, auto (it runs here), local (a new one). One of its "
        "machines must hold the profiling device's token, see the README.",
        rich_help_panel=PLACES,
    ),
]
StorageOption = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Keep the Optuna study in this database, given at each run: postgresql://user@host/name, sqlite:////path. "
        "Default: study.db in the folder.",
        rich_help_panel=PLACES,
    ),
]
WaitOption = Annotated[
    str,
    typer.Option(
        metavar="TIME",
        help="How long to wait for a full disk, a storage that is away, or what no machine of the Ray cluster has.",
        rich_help_panel=PLACES,
    ),
]


def read_place(reports: Path, jobs: int | None, ray: str | None, storage: str | None, wait: str) -> "Place":
    """Where a study is kept and its jobs run, checked.

    Raises:
        SpecError: an option's value is none.
    """
    from jetbench.study.place import Place

    try:
        wait_s = parse_seconds(wait)
    except ValueError as error:
        raise SpecError(f"--wait: {error}") from None
    place = Place(reports, jobs, ray, storage, wait_s)
    place.check()
    return place


def device_changes(device: str | None, torch_device: str | None) -> dict[str, Any]:
    """`--device` and `--torch-device` as changes of a sweep or search.

    `--device` used to name the torch device, too; it still does, and says so.

    Raises:
        SpecError: both name a torch device, or there is none of that name.
    """
    changes: dict[str, Any] = {}
    if torch_device is not None and torch_device not in TORCH_DEVICES:
        raise SpecError(f"--torch-device {torch_device}: expected {', '.join(TORCH_DEVICES)}")
    if device in TORCH_DEVICES:
        if torch_device not in (None, device):
            raise SpecError(f"--device {device} and --torch-device {torch_device} contradict each other; give one")
        errors.print(
            f"[yellow]note:[/] --device {device} sets where torch trains: write --torch-device {device}. "
            "--device names the device to profile on.",
            highlight=False,
            soft_wrap=True,
        )
        torch_device, device = device, None
    if device is not None:
        changes["board"] = device
    if torch_device is not None:
        changes["device"] = torch_device
    return changes
