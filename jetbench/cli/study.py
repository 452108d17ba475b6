"""study: work with a study as a whole; `copy` copies its Optuna study to another database."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jetbench.cli.app import app, console
from jetbench.errors import SpecError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

study = typer.Typer(help="Work with a study as a whole.", no_args_is_help=True)
app.add_typer(study, name="study")


@study.callback()
def _studies() -> None:
    pass


@study.command("copy")
def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help="A report folder, or the address of a database.")],
    target: Annotated[
        str, typer.Argument(metavar="TO", help="A report folder, or an address: postgresql://user@host/name.")
    ],
    name: Annotated[str | None, typer.Option("--study", help="The study to copy, if FROM has several.")] = None,
    new_name: Annotated[str | None, typer.Option("--as", help="Name of the copy. Default: the same.")] = None,
) -> None:
    """Copy an Optuna study with all its trials to another database, where Optuna's tools can read it.

    The records of a report folder are not copied: they are the source from which its Optuna study is made.
    """
    from jetbench.reporting.units import counted
    from jetbench.study.storage import copy_study, hide_password

    origin, destination = _address(source), _address(target)
    if origin == destination:
        raise SpecError(f"{source} and {target} are the same; give another target")
    copied, trials = copy_study(origin, destination, name, new_name)
    message = f"{copied}: {counted(trials, 'trial')} copied to {hide_password(destination)}"
    console.print(message, highlight=False, markup=False, soft_wrap=True)


def _address(text: str) -> "URL":
    from jetbench.study.storage import storage_url

    if "://" in text:
        return storage_url(text, Path())
    if not Path(text).is_dir():
        raise SpecError(f"{text}: not a report folder; give one, or an address such as postgresql://user@host/name")
    return storage_url(None, Path(text))
