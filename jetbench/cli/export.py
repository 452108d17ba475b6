"""export: a network as files for other runtimes, compared with PyTorch."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jetbench.cli.app import EXIT_FAILED_ROWS, RUNS, console, errors, read_size, verb
from jetbench.cli.completion import architectures
from jetbench.cli.data import read_dataset
from jetbench.cli.measuring import check_saved, choice_of, read_list
from jetbench.cli.options import ModelOption, name_model
from jetbench.spec.bounds import MOST_CLASSES

if TYPE_CHECKING:
    from jetbench.deploy.export import Included
    from jetbench.records.deployment import Format

BATCHES = 1024
FORMATS: "dict[str, Format]" = {"onnx": "onnx", "torchscript": "torchscript"}
INCLUDED: "dict[str, Included]" = {"normalise": "normalise", "argmax": "argmax"}


@verb(RUNS)
def export(
    network: Annotated[
        str,
        typer.Argument(
            metavar="NAME", autocompletion=architectures, help="An architecture, or a .safetensors file of jetbench."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Write this folder, which must not exist.")],
    to: Annotated[str, typer.Option("--to", metavar="FORMAT,...", help="onnx, torchscript.")] = "onnx",
    opset: Annotated[int, typer.Option(help="Opset of the ONNX file; TensorRT 8.2 reads none after 13.")] = 13,
    include: Annotated[
        str,
        typer.Option(metavar="WHAT,...", help="Put into the file, too: normalise (the input), argmax (the output)."),
    ] = "",
    batch: Annotated[int, typer.Option(min=1, max=BATCHES, help="Images per pass; fixed in the file.")] = 1,
    size: Annotated[
        str | None, typer.Option("--size", metavar="HxW", help="Image height and width. Default: 512x512.")
    ] = None,
    classes: Annotated[
        int | None, typer.Option("--classes", min=2, max=MOST_CLASSES, help="Number of classes. Default: 11.")
    ] = None,
    dataset: Annotated[
        str, typer.Option(metavar="NAME:PATH", help="Compare on images of its val split. Default: generated streets.")
    ] = "streets",
    images: Annotated[int, typer.Option(min=1, max=10_000, help="How many images of val to compare on.")] = 8,
    model_source: ModelOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: the files, and how they compare.")] = False,
) -> None:
    """Export a network to ONNX or TorchScript, and check that the file computes what PyTorch computes.

    The folder holds the files, a manifest, a reference, and a README that says how to feed them.

    Exit code 3: a file differs, in RMS by over 0.1 % of the largest output, or in the class of over 0.1 % of pixels.
    """
    name_model(model_source)
    check_saved([network], size, classes, None)
    formats = read_list("--to", to, choice_of(FORMATS))
    included = read_list("--include", include, choice_of(INCLUDED)) if include else []

    from jetbench.deploy.pack import export_network, request_export

    wanted = read_size(size) if size else (512, 512)
    request = request_export(network, formats, opset, included, batch, wanted, classes or 11, images)
    if dataset != "streets":
        config = read_dataset(dataset, None, None, request.saved.input_size)
        request = request.model_copy(update={"dataset": config})
    with errors.status("exporting, and comparing with PyTorch"):
        exported = export_network(request, out)
    if as_json:
        console.print_json(data=exported.model_dump(mode="json"))
    else:
        for each in exported.files:
            file = each.file
            form = f"opset {file.opset}, IR {file.ir}" if file.format == "onnx" else "TorchScript"
            console.print(
                f"[bold]{out / file.name}[/]: {file.bytes / 1e6:.2f} MB, {form}, by {each.runtime}: "
                + ("[green]passes[/]" if each.passes else "[bold red]differs from PyTorch[/]"),
                highlight=False, soft_wrap=True,
            )  # fmt: skip
            for parity in each.parities:
                console.print(f"  {parity.describe()}", highlight=False, soft_wrap=True)
            if each.differs:
                console.print(f"  first difference: {each.differs}", highlight=False, markup=False, soft_wrap=True)
        console.print(f"How to feed it: {out / 'README.md'}", highlight=False, markup=False, soft_wrap=True)
    if not exported.passes:
        raise typer.Exit(EXIT_FAILED_ROWS)
