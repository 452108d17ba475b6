"""bundle: pack a network for a board without jetbench."""

from pathlib import Path
from typing import Annotated

import typer

from jetbench.cli.app import RUNS, SetOption, console, errors, read_changes, read_size, verb
from jetbench.cli.completion import architectures
from jetbench.cli.measuring import PROCESSES, check_saved, list_settings, read_option
from jetbench.cli.options import ModelOption, name_model
from jetbench.files import file_name
from jetbench.spec.bounds import MOST_CLASSES, MOST_PROCESSES
from jetbench.spec.device import load_device
from jetbench.spec.values import parse_seconds


@verb(RUNS)
def bundle(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            autocompletion=architectures,
            help="An architecture, or a .safetensors file. Default: the device's preset.",
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(help="The board: a name from `jetbench devices`, or a path to a .yaml file.")
    ] = "nano",
    size: Annotated[
        str | None, typer.Option("--size", metavar="HxW", help="Image height and width. Default: the device's.")
    ] = None,
    classes: Annotated[
        int | None, typer.Option("--classes", min=1, max=MOST_CLASSES, help="Number of classes. Default: 11.")
    ] = None,
    changes: SetOption = None,
    processes: Annotated[
        int, typer.Option(min=1, max=MOST_PROCESSES, help="Time in this many fresh processes.")
    ] = PROCESSES,
    power: Annotated[str, typer.Option(help="Power sensor, as for `jetbench profile`.")] = "auto",
    idle: Annotated[
        str, typer.Option(metavar="TIME", help="Read idle power for this long before and after the load.")
    ] = "10s",
    window: Annotated[str, typer.Option(metavar="TIME", help="Length of each power window under load.")] = "15s",
    model_source: ModelOption = None,
    out: Annotated[Path | None, typer.Option(help="Write this folder. Default: bundle-NAME.")] = None,
) -> None:
    """Pack a network for a board that cannot install jetbench (JetPack 4 and 5); the board's own torch measures it.

    It runs in fp32, in which its weights are frozen. Copy the folder to the board, run `python3 -m probe .` in it, and
    bring result.json back for `jetbench collect`.
    """
    name_model(model_source)
    target = load_device(device)
    settings = list_settings(
        processes=processes,
        power=power,
        idle_seconds=read_option("--idle", idle, parse_seconds),
        window_seconds=read_option("--window", window, parse_seconds),
    )
    names = [name or target.preset]
    check_saved(names, size, classes, changes)

    from jetbench.profiling.bundle import write_bundle
    from jetbench.profiling.case import CLASSES, list_cases

    resolution = read_size(size) if size else target.size
    cases = list_cases(names, settings, resolution, classes or CLASSES, read_changes(changes))

    folder = out or Path(f"bundle-{file_name(cases[0].label)}")
    with errors.status("tracing the network"):
        difference = write_bundle(folder, cases[0], target)
    console.print(
        f"{folder}: {cases[0].label} for {target.title}; the traced network differs from the original by "
        f"{difference:.1g} of its largest output.\nOn the board, in that folder:  python3 -m probe .\n"
        f"Then here:  jetbench collect {folder / 'result.json'}",
        highlight=False,
        soft_wrap=True,
    )
