"""export: a network as files for other runtimes, compared with PyTorch."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table as RichTable

from jetbench.cli.app import EXIT_FAILED_ROWS, RUNS, console, errors, read_size, verb
from jetbench.cli.completion import architectures
from jetbench.cli.data import read_dataset
from jetbench.cli.measuring import check_saved, choice_of, read_list
from jetbench.cli.options import ModelOption, name_model
from jetbench.errors import SpecError
from jetbench.spec.bounds import MOST_CLASSES
from jetbench.spec.profiling import DType

if TYPE_CHECKING:
    from jetbench.deploy.export import Included
    from jetbench.deploy.pack import Exported, ExportedFile
    from jetbench.records.deployment import Format

BATCHES = 1024
MOST_PARTS = 8
FORMATS: "dict[str, Format]" = {"onnx": "onnx", "openvino": "openvino", "torchscript": "torchscript"}
PRECISIONS: dict[str, DType] = {"fp32": "fp32", "fp16": "fp16", "int8": "int8"}
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
    to: Annotated[str, typer.Option("--to", metavar="FORMAT,...", help="onnx, openvino, torchscript.")] = "onnx",
    opset: Annotated[int, typer.Option(help="Opset of the ONNX file; TensorRT 8.2 reads none after 13.")] = 13,
    dtype: Annotated[
        str,
        typer.Option(
            metavar="FORMAT,...", help="Number format: fp32, fp16, int8; each of several in a folder of its own."
        ),
    ] = "fp32",
    calibrate: Annotated[
        int, typer.Option(min=1, max=10_000, help="How many images of train int8 is calibrated on.")
    ] = 100,
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
        str,
        typer.Option(
            metavar="NAME:PATH",
            help="Compare on images of its val split, and calibrate on those of train. Default: generated streets.",
        ),
    ] = "streets",
    images: Annotated[int, typer.Option(min=1, max=10_000, help="How many images of val to compare on.")] = 8,
    model_source: ModelOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: the files, and how they compare.")] = False,
) -> None:
    """Export a network to ONNX, OpenVINO or TorchScript, and check that the file computes what PyTorch computes.

    The folder holds the files, a manifest, a reference, and a README that says how to feed them.

    Exit code 3: a file in fp32 differs, in RMS by over 0.1 % of the largest output, or in the class of over 0.1 % of
    pixels.
    """
    name_model(model_source)
    check_saved([network], size, classes, None)
    formats = read_list("--to", to, choice_of(FORMATS))
    precisions = read_list("--dtype", dtype, choice_of(PRECISIONS))
    included = read_list("--include", include, choice_of(INCLUDED)) if include else []

    from jetbench.deploy.pack import export_network, request_export

    wanted = read_size(size) if size else (512, 512)
    requests = [
        request_export(
            network, formats, opset, included, batch, wanted, classes or 11, images, precision=each,
            calibrate=calibrate,
        )
        for each in precisions
    ]  # fmt: skip
    if dataset != "streets":
        config = read_dataset(dataset, None, None, requests[0].saved.input_size)
        requests = [request.model_copy(update={"dataset": config}) for request in requests]
    if len(requests) > 1 and out.exists():
        raise SpecError(f"--out {out}: already exists; choose another folder, or remove it")
    made: list[Exported] = []
    try:
        for request in requests:
            folder = out if len(requests) == 1 else out / request.precision
            with errors.status(f"exporting in {request.precision}, and comparing with PyTorch"):
                made.append(export_network(request, folder))
            if not as_json:
                _print_exported(made[-1], folder)
    except BaseException:
        if len(requests) > 1:  # as with one: nothing is left, and the same command can be run again
            shutil.rmtree(out, ignore_errors=True)
        raise
    if as_json:
        every = [exported.model_dump(mode="json") for exported in made]
        console.print_json(data=every if len(every) > 1 else every[0])
    if not all(exported.passes for exported in made):
        raise typer.Exit(EXIT_FAILED_ROWS)


def _print_exported(exported: "Exported", folder: Path) -> None:
    """The files of a folder, each with how it compares."""
    from jetbench.deploy.pack import describe_format

    for each in exported.files:
        file = each.file
        verdict = "[green]passes[/]" if each.passes else "[bold red]differs from PyTorch[/]"
        console.print(
            f"[bold]{folder / file.name}[/]: {file.bytes / 1e6:.2f} MB, {describe_format(each)}, by {each.runtime}: "
            + (verdict if each.precision == "fp32" else each.verdict),
            highlight=False, soft_wrap=True,
        )  # fmt: skip
        for parity in each.parities:
            console.print(f"  {parity.describe()}", highlight=False, soft_wrap=True)
        if each.calibration is not None:
            _print_int8(each)
        if each.differs:
            console.print(f"  first difference: {each.differs}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"How to feed it: {folder / 'README.md'}", highlight=False, markup=False, soft_wrap=True)


def _print_int8(each: "ExportedFile") -> None:
    """What an int8 file was made of, and which parts of the network hurt."""
    from jetbench.reporting.units import counted

    assert each.calibration
    floats = f"; {counted(len(each.in_float), 'convolution')} left in float" if each.in_float else ""
    console.print(f"  calibrated on {each.calibration.describe()}{floats}", highlight=False, soft_wrap=True)
    if not each.part_errors:
        return
    table = RichTable(box=None, pad_edge=False, title="  RMS error of the output with one part in int8")
    table.add_column("  part")
    table.add_column("nodes", justify="right")
    table.add_column("error", justify="right")
    for part in each.part_errors[:MOST_PARTS]:
        table.add_row(f"  {escape(part.part)}", str(part.quantised), f"{100 * part.error:.2f} %")
    console.print(table)
    if (left := len(each.part_errors) - MOST_PARTS) > 0:
        console.print(f"  and {counted(left, 'part')} with less", highlight=False)
