"""The typer application: its console, its exit codes, and the options that several verbs share."""

import errno
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment
from typer.core import TyperCommand, TyperGroup

from jetbench import __version__
from jetbench.errors import JetbenchError, SpecError, is_disk_trouble, visible
from jetbench.spec.base import parse_yaml
from jetbench.spec.bounds import MOST_CLASSES
from jetbench.spec.values import parse_size, shorten

Function = TypeVar("Function", bound=Callable[..., Any])
EXIT_USER_ERROR = 2
EXIT_FAILED_ROWS = 3
EXIT_WORSE = 4
EXIT_INTERRUPTED = 130
TORCH_DEVICES = ("auto", "cpu", "cuda")

NETWORKS, RUNS = "Networks (nothing is run)", "Train and measure"
RESULTS, MACHINES = "Results", "Machines and files"
"""The groups of verbs in --help."""

ENVIRONMENT = {
    "JETBENCH_DATA": "folder that holds camvid/",
    "JETBENCH_CACHE": "decoded images (~/.cache/jetbench)",
    "JETBENCH_LOCKS": "locks of the machine (/tmp)",
    "JETBENCH_GATEWAY": "ssh command that reaches a board; JETBENCH_GATEWAY_PYTHON its Python",
    "NO_COLOR": "no colours",
}
"""Environment variables that the commands read."""


class Verb(TyperCommand):
    """A command whose flags are shown without a type."""

    def get_params(self, ctx: Any) -> Any:
        """See `TyperCommand`."""
        return _with_plain_flags(super().get_params(ctx))


class _Verbs(TyperGroup):
    def get_params(self, ctx: Any) -> Any:
        """See `TyperGroup`."""
        return _with_plain_flags(super().get_params(ctx))


def _with_plain_flags(parameters: Sequence[Any]) -> Sequence[Any]:
    for parameter in parameters:
        if getattr(parameter, "is_flag", False) and parameter.metavar is None:
            parameter.metavar = ""
    return parameters


app = typer.Typer(
    help="Compare variants of JetSeg: train each briefly, profile it, and write tables and plots.",
    epilog="Environment: " + "; ".join(f"[bold]{name}[/]: {text}" for name, text in ENVIRONMENT.items()) + ".",
    cls=_Verbs,
    no_args_is_help=True,
    context_settings={"help_option_names": ["--help", "-h"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def verb(group: str, name: str | None = None) -> "Callable[[Function], Function]":
    """Make a function a verb, shown in that group of --help; its name is that of the function by default."""
    return app.command(name, cls=Verb, rich_help_panel=group)


class _PlainConsole(Console):
    """A console on which names and messages cannot steer the terminal."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        for segment in super().render(renderable, options):
            is_text = segment.control is None and not segment.text.isprintable()
            yield Segment(visible(segment.text), segment.style) if is_text else segment


class _SteadyConsole(_PlainConsole):
    """A console that goes on with a sweep when the reader of its pipe (head, less) ends."""

    def on_broken_pipe(self) -> None:
        _discard_output()


console = _SteadyConsole(emoji=False)  # :1234: in an address is a port
errors = _PlainConsole(stderr=True, emoji=False)


def main() -> None:
    """Run the command line; errors that a user can fix are printed without a traceback, with exit code 2."""
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # NVML's order of GPUs; every process of ours inherits it
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that lacks a character shows ? instead of an error
    try:
        _check_arguments(sys.argv[1:])
        sys.argv[1:] = _with_levels(sys.argv[1:])
        app(prog_name="jetbench")
    except SystemExit as end:
        if end.code == EXIT_INTERRUPTED and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            say_stopped("Stopped.")  # before any work began
        raise
    except JetbenchError as error:
        _say_error(str(error))
        sys.exit(EXIT_USER_ERROR)
    except BrokenPipeError:
        # The reader of the pipe (head, less) has ended, which is no error.
        _discard_output()
        sys.exit(0)
    except OSError as error:
        if error.filename is None and not is_disk_trouble(error):
            raise
        where = f"{shorten(str(error.filename))}: " if error.filename is not None else ""
        text = "the disk is full; free some space" if error.errno == errno.ENOSPC else str(error.strerror)
        _say_error(where + text)
        _discard_output()
        sys.exit(EXIT_USER_ERROR)


def _check_arguments(arguments: Sequence[str]) -> None:
    """Refuse arguments with control characters: the messages of the option parser would print them as they are."""
    for argument in arguments:
        if visible(argument) != argument:
            raise SpecError(f"{shorten(argument)}: holds a control character, or is not UTF-8; rename it")


def _with_levels(arguments: Sequence[str]) -> list[str]:
    """The arguments with `--notes` of a table alone as `--notes full`: what follows it may be a report folder."""
    if "table" not in arguments[:2]:
        return list(arguments)
    spelt_out: list[str] = []
    for argument, after in zip(arguments, [*arguments[1:], ""], strict=True):
        spelt_out.append(argument)
        if argument == "--notes" and after not in ("none", "short", "full"):
            spelt_out.append("full")
    return spelt_out


def _say_error(text: str) -> None:
    with suppress(OSError):  # stderr may be on the disk that is full; the exit code still says it
        errors.print(f"[bold red]error:[/] {escape(text)}", highlight=False, soft_wrap=True)


def say_stopped(text: str, where: Console = console) -> None:
    """Print the last message of a stopped command; a further Ctrl-C is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    where.print(text, highlight=False, soft_wrap=True, markup=False)


def _discard_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def read_size(text: str) -> tuple[int, int]:
    """The value of --size as (height, width)."""
    try:
        return parse_size(text)
    except ValueError as error:
        raise SpecError(f"--size: {error}") from None


def read_changes(pairs: list[str] | None) -> dict[str, Any]:
    """`key=value` options as a mapping; values are YAML, so 3 is a number and [3a, 5a] a list."""
    changes: dict[str, Any] = {}
    for pair in pairs or []:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise SpecError(f"--set {shorten(pair)}: expected key=value, for example --set stages.s2.repeats=2")
        changes[key] = parse_yaml(value, f"--set {shorten(pair)}")
    return changes


def check_folder(folder: Path, files: Sequence[str], option: str = "--reports") -> None:
    """Check, before the work begins, that those files can be written to a folder.

    Raises:
        SpecError: a file or folder is in the way, or write permission is missing.
    """
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    in_the_way = [name for name in files if (folder / name).is_dir()]
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK) or in_the_way:
        what = f"{in_the_way[0]} in it is a folder" if in_the_way else f"{existing} is a file or not writable"
        raise SpecError(f"{folder}: cannot be written to: {what}; give another folder with {option}")


SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a field; dotted keys are allowed. Repeatable."),
]
SweepSetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a field, such as training.seed=1. Repeatable."),
]
SizeOption = Annotated[str, typer.Option("--size", metavar="HxW", help="Image height and width in pixels.")]
ClassesOption = Annotated[int, typer.Option("--classes", min=1, max=MOST_CLASSES, help="Number of classes.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"jetbench {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass
