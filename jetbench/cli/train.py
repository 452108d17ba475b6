"""train: train one network on one dataset; its weights, curve and record are kept as a study of one row."""

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from jetbench.cli.app import RUNS, console, read_changes, read_size, verb
from jetbench.cli.completion import architectures
from jetbench.cli.data import ClassesOption, read_dataset
from jetbench.cli.options import LossOption, TorchDeviceOption, blaming_options, device_changes
from jetbench.cli.sweep import follow


@verb(RUNS)
def train(
    network: Annotated[
        str,
        typer.Argument(
            metavar="NAME", autocompletion=architectures, help="An architecture from `jetbench list`, or a .yaml file."
        ),
    ],
    dataset: Annotated[
        str,
        typer.Option(metavar="NAME:PATH", help="The dataset: streets, camvid:PATH, folder:PATH, cityscapes:PATH ..."),
    ],
    budget: Annotated[str, typer.Option(help="Train for this long: 300steps, 20epochs, 60s or 2min.")],
    size: Annotated[str | None, typer.Option(metavar="HxW", help="Resize images to this height and width.")] = None,
    classes: ClassesOption = None,
    loss: LossOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the weights and of the order of images.")] = 0,
    init: Annotated[
        Path | None, typer.Option("--init", metavar="FILE", help="Begin from these weights, tensor by tensor.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A key of the training, such as optimizer=sgd, or of the data: dataset.mask_values=ids. Repeatable.",
        ),
    ] = None,
    study: Annotated[str | None, typer.Option("--name", help="Name of the report folder. Default: train-NAME.")] = None,
    reports: Annotated[Path, typer.Option(help="Folder that holds the report folders.")] = Path("reports"),
    torch_device: TorchDeviceOption = None,
) -> None:
    """Train one network, and print where its weights are. The same command continues a training that was stopped.

    It writes a report folder like that of a sweep, so that `table`, `plot`, `report` and `evaluate` take its results.
    """
    from jetbench.spec.architecture import Foreign
    from jetbench.spec.base import override, parse_spec
    from jetbench.spec.sweep import Sweep
    from jetbench.study.place import Place
    from jetbench.study.run import prepare_sweep

    own = read_changes(settings)
    of_data = [pair.removeprefix("dataset.") for pair in settings or () if pair.startswith("dataset.")]
    data = read_dataset(dataset, classes, of_data, size=None if size is None else read_size(size))
    given: dict[str, Any] = {"budget": budget, "seed": seed, "loss": loss, "init": None if init is None else str(init)}
    changes = {
        **{f"training.{key}": value for key, value in given.items() if value is not None},
        **{
            key if key.startswith("training.") else f"training.{key}": value
            for key, value in own.items()
            if not key.startswith("dataset.")
        },
        **device_changes(None, torch_device),
    }
    if init is not None:
        from jetbench.training.beginning import read_tensors

        read_tensors(init)  # before anything runs
    name = study or f"train-{Path(network).stem}"
    raw = {"name": name, "base": network, "profile": False, "dataset": data.model_dump(mode="json")}
    with blaming_options(changes, settings):
        prepared = prepare_sweep(parse_spec(Sweep, override(raw, changes), f"train {network}"), Place(reports))
    finished = follow(prepared)
    (record,) = finished.records
    if record.training is not None:
        weights = finished.folder / "weights" / record.training.weights_file
        console.print(f"\nWeights: {weights}", highlight=False, markup=False, soft_wrap=True)
        words = ["jetbench", "evaluate", str(weights), "--dataset", dataset]
        words += [] if classes is None else ["--classes", str(classes)]
        words += [word for pair in of_data for word in ("--set", pair)]
        words += ["--model", record.architecture.model] if isinstance(record.architecture, Foreign) else []
        console.print(f"next  {shlex.join(words)}", highlight=False, markup=False, soft_wrap=True)
