"""study: work with a study as a whole; `copy` copies its Optuna study, `merge` joins the rows of two machines."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jetbench.cli.app import MACHINES, Verb, app, console
from jetbench.cli.completion import studies
from jetbench.errors import SpecError

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

study = typer.Typer(
    help="Work with a study as a whole: copy its database, or merge the rows of two machines.", no_args_is_help=True
)
app.add_typer(study, name="study", rich_help_panel=MACHINES)


@study.callback()
def _studies() -> None:
    pass


@study.command("copy", cls=Verb)
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


@study.command("merge", cls=Verb)
def merge(
    first: Annotated[Path, typer.Argument(metavar="A", autocompletion=studies, help="A report folder.")],
    second: Annotated[
        Path, typer.Argument(metavar="B", autocompletion=studies, help="One of the same sweep, from another machine.")
    ],
    into: Annotated[Path, typer.Option("--into", metavar="C", help="The new report folder.")],
) -> None:
    """Write the rows and weights of two report folders of one sweep to a new one, in which the sweep can continue.

    The sweeps may differ in their variants, seeds and budgets. Of a row that both have, that of A is kept.
    """
    from jetbench.reporting.units import counted
    from jetbench.study.merge import merge_studies

    merged = merge_studies(first, second, into)
    text = f"{into}: {counted(merged.first, 'row')} of {first}, {merged.second} of {second}"
    if merged.repeated:
        names = "; ".join(merged.repeated[:6]) + ("; ..." if len(merged.repeated) > 6 else "")
        text += f"; {counted(len(merged.repeated), 'row')} in both, of which those of {first} are kept: {names}"
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _address(text: str) -> "URL":
    from jetbench.study.storage import storage_url

    if "://" in text:
        return storage_url(text, Path())
    if not Path(text).is_dir():
        raise SpecError(f"{text}: not a report folder; give one, or an address such as postgresql://user@host/name")
    return storage_url(None, Path(text))
