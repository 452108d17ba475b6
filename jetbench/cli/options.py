"""Options and arguments that several verbs share, and how they are read."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jetbench.cli.app import (
    check_threads,
)
from jetbench.errors import SpecError

if TYPE_CHECKING:
    from jetbench.execution.executor import Executor
    from jetbench.spec.dataset import DatasetConfig
    from jetbench.spec.search import Search
    from jetbench.spec.sweep import Sweep
from collections.abc import Callable
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


def check_storage(address: str | None) -> None:
    """Refuse an address that is none, before anything runs."""
    if address is not None:
        from jetbench.study.storage import storage_url

        storage_url(address, Path())


def read_wait(text: str) -> float:
    """The value of --wait in seconds."""
    try:
        return parse_seconds(text)
    except ValueError as error:
        raise SpecError(f"--wait: {error}") from None


def open_place(
    asked: "Sweep | Search", threads: int, jobs: int | None, ray: str | None, wait_s: float
) -> "tuple[str, Callable[[], Executor]]":
    """The torch device of the trainings, and what makes an executor: on this machine, or on a cluster of Ray.

    Args:
        asked: what will run.
        threads: of one training, at most.
        jobs: trainings side by side on this machine, where a person says so.
        ray: the cluster's address.
        wait_s: how long a job may wait for what no machine of the cluster has.

    Raises:
        SpecError: there is no such device, or no such cluster, or this machine is not the board that is asked for.
    """
    from jetbench.execution.executor import token_of

    token = token_of(asked.board)
    if ray is not None:
        return _open_cluster(ray, asked.device, threads, token, wait_s, jobs)
    from jetbench.execution.local import LocalExecutor, choose_device, local_slots

    check_threads("training.threads", threads)
    device = choose_device(asked.device)
    slots = local_slots(device, threads, jobs, token)
    width = slots["gpu"] if device == "cuda" else slots["cpu"] // threads
    return device, lambda: LocalExecutor(slots, width).prepare()


def _open_cluster(
    address: str, wanted: str, threads: int, token: str, wait_s: float, jobs: int | None
) -> "tuple[str, Callable[[], Executor]]":
    if jobs is not None:
        raise SpecError("--jobs: with --ray, the cluster's CPUs and GPUs say how many trainings run; leave it out")
    from jetbench.execution.ray import RayExecutor, connect

    has_gpu = connect(address, token).get("GPU", 0) > 0
    if wanted == "cuda" and not has_gpu:
        raise SpecError(f"--device cuda: no machine of the cluster {address} offers Ray a GPU")
    device = "cuda" if has_gpu and wanted != "cpu" else "cpu"
    training = {"gpu": 1} if device == "cuda" else {"cpu": threads}
    return device, lambda: RayExecutor(training, token, wait_s)
