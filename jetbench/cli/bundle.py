"""bundle: pack networks for a board without jetbench."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jetbench.cli import measuring
from jetbench.cli.app import RUNS, SetOption, console, errors, read_changes, read_size, verb
from jetbench.cli.completion import architectures
from jetbench.cli.data import read_dataset
from jetbench.cli.options import ModelOption, name_model
from jetbench.errors import SpecError
from jetbench.files import file_name
from jetbench.spec.bounds import MOST_COUNT, MOST_PROCESSES
from jetbench.spec.device import load_device
from jetbench.spec.values import parse_seconds, parse_share

if TYPE_CHECKING:
    from jetbench.spec.dataset import DatasetConfig


@verb(RUNS)
def bundle(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="STUDY|NAME...",
            autocompletion=architectures,
            help="A report folder (reports/nano): its trained networks, the first seed of each. Or architectures and "
            ".safetensors files. Default: the device's preset.",
        ),
    ] = None,
    device: Annotated[
        str, typer.Option(help="The board: a name from `jetbench devices`, or a path to a .yaml file.")
    ] = "nano",
    backend: Annotated[
        str,
        typer.Option(
            metavar="NAME,...",
            help="What runs them there: eager (PyTorch, which runs the traced network on a board), tensorrt; with a "
            "number format behind a colon (tensorrt:fp16).",
        ),
    ] = "eager",
    dtype: Annotated[
        str | None,
        typer.Option(
            metavar="TYPE,...", help="Number formats: fp32, fp16, int8. Those that a backend lacks are left out."
        ),
    ] = None,
    cuda_graph: measuring.GraphOption = "off",
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME:PATH",
            help="Calibrate int8 on its train split, and pack val with its labels to score the files on the board. "
            "Default: the data of the study.",
        ),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(min=1, max=MOST_COUNT, help="Pack only this many images of val, evenly spaced. Default: all."),
    ] = None,
    size: measuring.SizeOption = None,
    classes: measuring.ClassesOption = None,
    changes: SetOption = None,
    precision: measuring.PrecisionOption = "2%",
    limit: measuring.LimitOption = "60s",
    processes: Annotated[
        int, typer.Option(min=1, max=MOST_PROCESSES, help="Time in this many fresh processes.")
    ] = measuring.PROCESSES,
    power: Annotated[str, typer.Option(help="Power sensor, as for `jetbench profile`.")] = "auto",
    idle: Annotated[
        str, typer.Option(metavar="TIME", help="Read idle power for this long before and after the load.")
    ] = "10s",
    window: Annotated[str, typer.Option(metavar="TIME", help="Length of each power window under load.")] = "15s",
    power_mode: measuring.PowerModeOption = None,
    jetson_clocks: measuring.JetsonClocksOption = False,
    model_source: ModelOption = None,
    out: Annotated[Path | None, typer.Option(help="Write this folder. Default: bundle-NAME.")] = None,
) -> None:
    """Pack networks for a board that cannot install jetbench (JetPack 4 and 5); the board's own Python measures them.

    Copy the folder to the board and run `python3 -m probe .` in it; if it is ended, the same command goes on. Bring
    result.json back for `jetbench collect`.
    """
    name_model(model_source)
    target = load_device(device)
    effort = {
        "precision": measuring.read_option("--precision", precision, parse_share),
        "max_seconds": measuring.read_option("--limit", limit, parse_seconds),
        "processes": processes,
        "power": power,
        "idle_seconds": measuring.read_option("--idle", idle, parse_seconds),
        "window_seconds": measuring.read_option("--window", window, parse_seconds),
    }
    modes = measuring.read_modes(power_mode, jetson_clocks)
    if images is not None and dataset is None and not _studies(names):
        raise SpecError("--images: are those of --dataset NAME:PATH, or of a study; name one")

    from jetbench.profiling.bundle import settings_for, write_bundle
    from jetbench.profiling.case import CLASSES, list_cases

    settings = settings_for(target, measuring.list_forms(backend, dtype, cuda_graph, **effort))
    chosen, data = networks_named(names or [target.preset])
    measuring.check_saved(list(chosen), size, classes, changes)
    resolution = read_size(size) if size else target.size
    cases = [
        case.model_copy(update={"label": label or case.label})
        for name, label in chosen.items()
        for case in list_cases([name], settings, resolution, classes or CLASSES, read_changes(changes))
    ]
    if dataset is not None:
        data = read_dataset(dataset, None, None, cases[0].input_size)
    folder = out or Path(f"bundle-{file_name(Path(names[0]).stem if names else target.preset)}")
    with errors.status("packing") as status:
        packed = write_bundle(
            folder, cases, target, data, images, modes, jetson_clocks, lambda share, text: status.update(text)
        )
    bytes_ = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    forms = ", ".join(packed[0].forms)
    differences = [each.difference for each in packed if each.difference is not None]
    traced = f"; traced networks differ by at most {max(differences):.1g} of the largest output" if differences else ""
    networks = packed[0].label if len(packed) == 1 else f"{len(packed)} networks"
    console.print(
        f"{folder}: {networks} in {forms}, for {target.title}, {bytes_ / 1e6:.1f} MB{traced}.\n"
        f"On the board, in that folder:  python3 -m probe .\n"
        f"Then here:  jetbench collect {folder / 'result.json'}"
        + (f" --into {_studies(names)[0]}" if _studies(names) else ""),
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def _studies(names: list[str] | None) -> list[str]:
    return [name for name in names or () if Path(name).is_dir()]


def networks_named(names: list[str]) -> "tuple[dict[str, str], DatasetConfig | None]":
    """The networks that are named, with the weights files of studies and what they are called, and the studies' data.

    Raises:
        SpecError: a study has no trained network whose weights are there, or two studies have different data.
    """
    from jetbench.profiling.bundle import networks_of_study

    chosen: dict[str, str] = {}
    data: list[DatasetConfig] = []
    for name in names:
        if not Path(name).is_dir():
            if "/" in name and not Path(name).suffix:
                raise SpecError(f"{name}: no such report folder")
            chosen[name] = ""
            continue
        files, dataset = networks_of_study(Path(name))
        chosen |= files
        data += [dataset] if dataset is not None and dataset not in data else []
    if len(data) > 1:
        raise SpecError(f"{', '.join(_studies(names))}: are of different data; pack one study at a time")
    return chosen, data[0] if data else None
