"""latency: learn the latencies of a space on a device, and predict those of networks that were never measured."""

import json
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from jetbench.cli import completion, measuring
from jetbench.cli.app import (
    RUNS,
    JsonOption,
    SetOption,
    Verb,
    app,
    check_folder,
    console,
    errors,
    read_changes,
    read_size,
)
from jetbench.cli.progress_bar import measure_with_bar
from jetbench.errors import SpecError
from jetbench.files import write_whole
from jetbench.reporting.sheets.latency import describe_model, print_model, print_predictions
from jetbench.spec.device import load_device

latency = typer.Typer(
    help="Learn the latencies of a space on a device, and predict them for networks that were never measured.",
    no_args_is_help=True,
)
app.add_typer(latency, name="latency", rich_help_panel=RUNS)
STOPPED = "\nStopped. What was measured is kept: the same command goes on."


@latency.command("learn", cls=Verb)
def learn_latencies(
    name: Annotated[
        str, typer.Argument(metavar="SPACE|SWEEP|SEARCH", help="Where the networks are drawn from: a name or a path.")
    ],
    device: Annotated[str, typer.Option(autocompletion=completion.devices, help="Device: this machine.")] = "auto",
    networks: Annotated[int, typer.Option(min=12, max=5000, help="Learn from this many networks.")] = 60,
    held_out: Annotated[
        int, typer.Option(min=0, max=5000, help="Measure this many more, which the model never sees, to test it.")
    ] = 0,
    backend: Annotated[
        str, typer.Option(metavar="NAME", help="What runs them: eager, onnxruntime, openvino, tensorrt; one of them.")
    ] = "eager",
    dtype: measuring.DtypeOption = None,
    threads: measuring.ThreadsOption = "1",
    size: measuring.SizeOption = None,
    classes: measuring.ClassesOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the choice of networks.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Write this file. Default: DEVICE.latency.json.")] = None,
    reports: measuring.ReportsOption = Path("reports"),
    study: measuring.FolderOption = None,
    as_json: JsonOption = False,
) -> None:
    """Learn the latencies of a space: measure a sample of its networks, and fit what each kernel costs.

    Each network is timed beside the standard network, in two processes; ended in the middle, the same command goes on.
    The errors that are printed are those of networks that the fit never saw.
    """
    settings = measuring.list_settings(dtype=dtype, backend=backend, threads=threads)
    if len(settings) != 1:
        raise SpecError("latency learn: a model is of one setting; give one value of --backend, --dtype and --threads")
    load_device(device) if device != "auto" else None

    from jetbench.profiling.case import CLASSES
    from jetbench.profiling.host import find_site
    from jetbench.search.learning import (
        CANDIDATES,
        cases_of,
        choose_networks,
        draw_members,
        fit_model,
        learning_config,
        measure,
    )

    site = find_site(device)
    if site.torch_device is None:
        raise SpecError(f"--device {device}: {site.remark}; learning measures, so run it there")
    resolution = read_size(size) if size else site.device.size
    config = learning_config(measuring.with_dtype_of(settings, site.device, dtype)[0])
    path = out or Path(f"{site.device.name}.latency.json")
    title, candidates = draw_members(
        name, resolution, classes or CLASSES, max(CANDIDATES, 3 * (networks + held_out)), seed
    )
    chosen, tested = choose_networks(candidates, networks, held_out)
    folder = measuring.folder_of(reports, study or f"latency-{title}-{site.device.name}", site.device)
    check_folder(folder, ("records.jsonl",))
    check_folder(path.parent, (path.name,), option="--out")
    cases = [*cases_of(chosen, "network", config), *cases_of(tested, "held-out", config)]
    records = measure_with_bar(partial(measure, cases, site, folder), STOPPED)
    with errors.status("fitting"):
        model = fit_model(title, records[: len(chosen)], records[len(chosen) :])
    write_whole(path, model.model_dump_json(indent=1))
    if as_json:
        typer.echo(json.dumps(describe_model(model), indent=2))
        return
    print_model(console, model)
    console.print(f"[dim]{path}; the records are in {folder}[/]", highlight=False, soft_wrap=True)


@latency.command("predict", cls=Verb)
def predict_latencies(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME...", autocompletion=completion.architectures, help="Architectures, or paths of YAML files."
        ),
    ],
    with_file: Annotated[Path, typer.Option("--with", help="The file that `latency learn` wrote.")],
    device: Annotated[
        str | None, typer.Option(autocompletion=completion.devices, help="Refuse a model of another device.")
    ] = None,
    size: measuring.SizeOption = None,
    classes: measuring.ClassesOption = None,
    changes: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Predict latencies with a model. A network outside of what was learnt is named as such and gets no number."""
    from jetbench.profiling.latency_predict import predict_networks, read_model

    model = read_model(with_file)
    if device is not None and device != model.device:
        raise SpecError(
            f"--device {device}: {with_file} was learnt on {model.device}; a model holds for its own device"
        )
    predictions = predict_networks(
        model, names, read_size(size) if size else model.input_size, classes or model.num_classes, read_changes(changes)
    )
    if as_json:
        typer.echo(json.dumps([each.describe() for each in predictions], indent=2))
        return
    print_predictions(console, model, predictions)
