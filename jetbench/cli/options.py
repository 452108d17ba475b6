"""Options that several verbs share, and the functions that read them."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from jetbench.cli.app import TORCH_DEVICES, errors
from jetbench.cli.completion import devices
from jetbench.errors import JetbenchError, SpecError
from jetbench.spec.bounds import MOST_VARIANTS
from jetbench.spec.catalog import Kind
from jetbench.spec.sources import absolute, digest_of_source, is_model, name_source
from jetbench.spec.values import parse_seconds, shorten

if TYPE_CHECKING:
    from jetbench.spec.dataset import DatasetConfig
    from jetbench.study.place import Place

LossOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Loss: jetloss, cross-entropy, weighted-cross-entropy, ohem, focal, dice, lovasz, jetloss-released (which "
        "does not learn), or FILE.py:factory of your own.",
    ),
]


def dataset_changes(asked: str, own: "DatasetConfig") -> dict[str, Any]:
    """`--dataset` (`asked`) as a change of a sweep or search with the data `own`, whose image size is kept."""
    from jetbench.spec.dataset import DATASETS

    kind, _, path = asked.partition(":")
    config = DATASETS.get(kind)
    if config is None or (path and "path" not in config.model_fields):
        names = ", ".join(f"{name}:PATH" for name in DATASETS if name != "streets")
        raise SpecError(f"--dataset {asked}: expected streets, {names}")
    needs_path = "path" in config.model_fields and config.model_fields["path"].is_required()
    if needs_path and not path and own.name != kind:
        raise SpecError(f"--dataset {asked}: give its folder, too: {kind}:PATH")
    kept = own.model_dump(mode="json") if own.name == kind else {"size": own.size}
    return {"dataset": {**kept, "name": kind, **({"path": path} if path else {})}}


DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="NAME",
        autocompletion=devices,
        help="Profile on this device, from `jetbench devices`. Default: this machine.",
    ),
]
TorchDeviceOption = Annotated[
    str | None,
    typer.Option("--torch-device", metavar="NAME", help="Train on auto, cpu or cuda. Default: the file's."),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="SOURCE",
        help="FILE.py:factory or package.module:factory of the network, if it is your own: its code is imported only "
        "if it is named here.",
    ),
]
KIND_NAMES: tuple[Kind, ...] = ("sweep", "search", "space", "architecture")
KindArgument = Annotated[
    str,
    typer.Argument(
        metavar="KIND",
        autocompletion=lambda: [*KIND_NAMES, "model", "dataset"],
        help=f"What file: {', '.join(KIND_NAMES)}; init also: model, dataset.",
    ),
]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="Print the answer in short alone: no progress, no table.")
]
VerboseOption = Annotated[
    bool, typer.Option("--verbose", "-v", help="Print a line for each thing that happens, and all notes.")
]
LogOption = Annotated[
    list[str] | None,
    typer.Option(
        "--log",
        metavar="TRACKER",
        autocompletion=lambda: ["tensorboard", "mlflow"],
        help="Write each row for tensorboard or mlflow, too, in the report folder. Repeatable.",
    ),
]
SeedsOption = Annotated[
    str | None,
    typer.Option(
        "--seeds", metavar="N", help="Train each variant with N seeds (3: 0, 1, 2), or with those of a list: 4,5,6."
    ),
]
PLACES = "Many jobs, many machines"
WAIT = "10min"

JobsOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Trainings to run at once on this machine. Default: as its cores or GPU allow. Profiles run alone.",
        rich_help_panel=PLACES,
    ),
]
RayOption = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Run jobs on a Ray cluster: HOST:PORT of its head, auto (the one that runs here), local (a new one). One "
        "of its machines must hold the token of the profiling device, see the README.",
        rich_help_panel=PLACES,
    ),
]
OnOption = Annotated[
    str | None,
    typer.Option(
        "--on",
        metavar="USER@HOST",
        help="Profile on the board that SSH reaches there; it needs only a Python with torch. Keys and known hosts are "
        "those of ssh.",
        rich_help_panel=PLACES,
    ),
]
ModeOption = Annotated[
    str | None,
    typer.Option(
        "--power-mode",
        metavar="MODE",
        help="Profile in this power mode of a Jetson, by the board's name for it; it is restored after each profile.",
    ),
]
StorageOption = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Keep the Optuna study in this database: postgresql://user@host/name, sqlite:////path. Give it at each "
        "run. Default: study.db in the folder.",
        rich_help_panel=PLACES,
    ),
]
WaitOption = Annotated[
    str,
    typer.Option(
        metavar="TIME",
        help="Wait at most this long while a disk is full, the storage is unavailable, or no machine of the Ray "
        "cluster has what a job needs.",
        rich_help_panel=PLACES,
    ),
]


OPTION_OF = {
    "training.budget": "--budget",
    "seeds": "--seeds",
    "training.loss": "--loss",
    "name": "--name",
    "dataset.size": "--size",
    "limits.parameters": "--max-params",
    "limits.macs": "--max-macs",
    "limits.memory": "--max-memory",
    "limits.latency": "--max-latency",
    "limits.energy": "--max-energy",
    "limits.power": "--max-power",
    "objectives": "--objectives",
    "sampler": "--sampler",
    "seed": "--seed",
    "trainings": "--trainings",
}
"""The option that sets a key of a sweep or search."""


@contextmanager
def blaming_options(changes: Mapping[str, Any], settings: list[str] | None) -> Iterator[None]:
    """Let an error about a key that an option set name that option, and not the file that it changed.

    Args:
        changes: what the options change, by dotted key.
        settings: the values of --set.
    """
    options = {key: OPTION_OF[key] for key in changes if key in OPTION_OF}
    options |= {pair.partition("=")[0]: f"--set {shorten(pair)}" for pair in settings or ()}
    try:
        yield
    except SpecError as error:
        _, *lines = str(error).split("\n")
        blamed = [line for line in map(str.strip, lines) if _key_of(line, options) is not None]
        if not blamed:
            raise
        named = [f"{options[_key_of(line, options) or '']}: {line.partition(': ')[2]}" for line in blamed]
        others = [line for line in lines if line.strip() not in blamed]
        raise SpecError("\n".join([*named, *others])) from None


def _key_of(line: str, options: Mapping[str, str]) -> str | None:
    place = line.partition(":")[0]
    return next((key for key in options if place == key or place.startswith(f"{key}.")), None)


Prepared = TypeVar("Prepared")


def refused_here(prepare: Callable[[], Prepared]) -> Prepared:
    """After a dry run: what would run, or what would keep it from beginning on this machine.

    Raises:
        SpecError: the run would be refused here.
    """
    try:
        return prepare()
    except JetbenchError as error:
        raise SpecError(f"the run would be refused here: {error}") from None


def check_quiet(quiet: bool, verbose: bool) -> None:
    """Raise if both --quiet and --verbose are given.

    Raises:
        SpecError: they contradict each other.
    """
    if quiet and verbose:
        raise SpecError("--quiet and --verbose contradict each other; give one")


def name_model(model: str | None) -> None:
    """Let the code be imported that --model names.

    Raises:
        SpecError: there is no such source.
    """
    if model is None:
        return
    if not is_model(model):
        raise SpecError(f"--model {shorten(model)}: expected FILE.py:factory or package.module:factory")
    place = absolute(model, Path())
    name_source(place, digest_of_source(place))


def read_kind(text: str) -> Kind:
    """The kind of a YAML file.

    Raises:
        SpecError: there is no such kind.
    """
    for kind in KIND_NAMES:
        if text == kind:
            return kind
    raise SpecError(f"{shorten(text)}: expected one of {', '.join(KIND_NAMES)}")


def read_seeds(text: str) -> list[int]:
    """The value of --seeds: so many seeds from 0 on, or a list.

    Raises:
        SpecError: it is neither.
    """
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and len(word) < 10 for word in words) or words == ["0"]:
        raise SpecError(f"--seeds {shorten(text)}: expected a number of seeds, such as 3, or a list such as 4,5,6")
    if len(words) > 1:
        return [int(word) for word in words]
    if int(words[0]) > MOST_VARIANTS:
        raise SpecError(f"--seeds {shorten(text)}: at most {MOST_VARIANTS:,}")
    return list(range(int(words[0])))


def read_place(
    reports: Path, jobs: int | None, ray: str | None, storage: str | None, wait: str, on: str | None = None
) -> "Place":
    """The place where a study is kept and its jobs run, checked.

    Raises:
        SpecError: the value of an option is not valid.
    """
    from jetbench.study.place import Place

    try:
        wait_s = parse_seconds(wait)
    except ValueError as error:
        raise SpecError(f"--wait: {error}") from None
    place = Place(reports, jobs, ray, storage, wait_s, on)
    place.check()
    return place


def board_on(on: str | None, device: str | None) -> str | None:
    """The device that SSH reaches with --on, which must be --device if that is given; --device without --on.

    Raises:
        SpecError: it is another device, or none that we know.
        ProfilingError: it cannot be reached.
    """
    if on is None:
        return device
    from jetbench.profiling.remote import open_remote

    board = open_remote(on).find_device(device or "auto").name
    return device or board  # a device may be a file of the user's


def device_changes(device: str | None, torch_device: str | None) -> dict[str, Any]:
    """`--device` and `--torch-device` as changes of a sweep or search.

    `--device` with the name of a torch device, its old meaning, still works and prints a note.

    Raises:
        SpecError: the two contradict each other, or --torch-device is unknown.
    """
    changes: dict[str, Any] = {}
    if torch_device is not None and torch_device not in TORCH_DEVICES:
        raise SpecError(f"--torch-device {torch_device}: expected {', '.join(TORCH_DEVICES)}")
    if device in TORCH_DEVICES:
        if torch_device not in (None, device):
            raise SpecError(f"--device {device} and --torch-device {torch_device} contradict each other; give one")
        errors.print(
            f"[yellow]note:[/] --device {device} is read as --torch-device {device}, where torch trains; write that "
            "instead. --device names the device to profile on.",
            highlight=False,
            soft_wrap=True,
        )
        torch_device, device = device, None
    if device is not None:
        changes["board"] = device
    if torch_device is not None:
        changes["device"] = torch_device
    return changes
