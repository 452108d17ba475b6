"""study: what is done with a study as a whole; copy moves its Optuna side to another database."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jetbench.cli.app import app, console
from jetbench.errors import SpecError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

study = typer.Typer(help="Do something with a study as a whole.", no_args_is_help=True)
app.add_typer(study, name="study")


@study.callback()
def _studies() -> None:
    pass


@study.command("copy")
def copy(
    source: Annotated[str, typer.Argument(metavar="FROM", help="A report folder, or a database's address.")],
    target: Annotated[
        str, typer.Argument(metavar="TO", help="A report folder or a database's address: postgresql://user@host/name.")
    ],
    name: Annotated[str | None, typer.Option("--study", help="Which study, where FROM has several.")] = None,
    new_name: Annotated[str | None, typer.Option("--as", help="Another name for the copy.")] = None,
) -> None:
    """Copy a study with all its trials to another database, for Optuna's tools to read there.

    A report folder's records stay where they are: they are the truth, and its study follows from them.
    """
    from jetbench.study.storage import copy_study, hide_password

    there, here = _address(source), _address(target)
    if there == here:
        raise SpecError(f"{source} and {target} are the same")
    copied, trials = copy_study(there, here, name, new_name)
    told = f"{copied}: {trials} trials copied to {hide_password(here)}"
    console.print(told, highlight=False, markup=False, soft_wrap=True)


def _address(told: str) -> "URL":
    from jetbench.study.storage import storage_url

    if "://" in told:
        return storage_url(told, Path())
    if not Path(told).is_dir():
        raise SpecError(f"{told}: is neither a report folder nor an address such as postgresql://user@host/name")
    return storage_url(None, Path(told))
