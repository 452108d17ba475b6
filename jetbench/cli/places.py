"""Options of the verbs that run jobs: where they run, where the study is kept, how long trouble is waited for."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from jetbench.errors import SpecError
from jetbench.spec import parse_seconds

if TYPE_CHECKING:
    from jetbench.execution.executor import Executor
    from jetbench.experiment import Search, Sweep

PLACES = "Many jobs, many machines"
WAIT = "10min"

JobsOption = Annotated[
    int | None,
    typer.Option(min=1, help="Trainings side by side; profiles always run alone.", rich_help_panel=PLACES),
]
StorageOption = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Keep the Optuna study in this database: postgresql://user@host/name. Default: study.db in the folder.",
        rich_help_panel=PLACES,
    ),
]
WaitOption = Annotated[
    str,
    typer.Option(
        metavar="TIME",
        help="How long to wait for a full disk, a storage that is away, or something that no machine of Ray has.",
        rich_help_panel=PLACES,
    ),
]


def read_wait(text: str) -> float:
    """The value of --wait in seconds."""
    try:
        return parse_seconds(text)
    except ValueError as error:
        raise SpecError(f"--wait: {error}") from None


def open_place(asked: "Sweep | Search", jobs: int | None) -> "tuple[str, Callable[[], Executor]]":
    """The torch device of the trainings, and what makes an executor: on this machine.

    Raises:
        SpecError: there is no such device.
    """
    from jetbench.execution.executor import PROFILER
    from jetbench.execution.local import LocalExecutor, choose_device, local_slots

    device, threads = choose_device(asked.device), asked.training.threads
    slots = local_slots(device, threads, jobs, asked.board or PROFILER)
    width = slots["gpu"] if device == "cuda" else slots["cpu"] // threads
    return device, lambda: LocalExecutor(slots, width)
