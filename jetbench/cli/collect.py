"""collect: read the results that a bundle's probe measured on a board."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jetbench.cli import completion
from jetbench.cli.app import EXIT_FAILED_ROWS, RUNS, check_folder, console, verb
from jetbench.cli.measuring import DTYPES, choice_of, folder_of, keep_profiles, read_list
from jetbench.cli.options import ModelOption, name_model
from jetbench.errors import SpecError
from jetbench.reporting.sheets.profile import FILES, print_profile, print_summary
from jetbench.spec.device import load_device

if TYPE_CHECKING:
    from jetbench.records.record import Record
    from jetbench.spec.device import Device

TRTEXEC = "Times that trtexec wrote"


@verb(RUNS)
def collect(
    results: Annotated[
        list[Path] | None, typer.Argument(metavar="RESULT.JSON...", help="Files that the probe wrote on boards.")
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option(
            "--into",
            metavar="STUDY",
            autocompletion=completion.studies,
            help="Join the profiles with the trainings of this report folder, by the digest of their weights.",
        ),
    ] = None,
    trtexec: Annotated[
        Path | None,
        typer.Option(
            "--trtexec",
            metavar="TIMES.JSON",
            help="Read what `trtexec --exportTimes` wrote: the GPU's compute time, which is no latency of ours.",
            rich_help_panel=TRTEXEC,
        ),
    ] = None,
    log: Annotated[
        Path | None,
        typer.Option("--log", metavar="FILE", help="What trtexec printed, with PASSED.", rich_help_panel=TRTEXEC),
    ] = None,
    onnx: Annotated[
        Path | None,
        typer.Option(
            "--onnx", metavar="FILE", help="The file that it ran: the times become a row.", rich_help_panel=TRTEXEC
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Where it ran: a name from `jetbench devices`.", rich_help_panel=TRTEXEC)
    ] = None,
    dtype: Annotated[
        str | None,
        typer.Option(
            help="The number format it was asked for: fp32, fp16, int8. Default: the log's, else fp32.",
            rich_help_panel=TRTEXEC,
        ),
    ] = None,
    model_source: ModelOption = None,
    reports: Annotated[Path, typer.Option(help="Folder that holds the report folders.")] = Path("reports"),
    study: Annotated[
        str | None, typer.Option("--name", help="Name of the report folder. Default: profile-DEVICE.")
    ] = None,
) -> None:
    """Read results from a bundle's probe; prints the same figures and verdict as `jetbench profile`, and keeps them.

    With --into, one table then has the mIoU of a study beside the latency, memory and joules of its boards.
    """
    name_model(model_source)
    if into is not None and study is not None:
        raise SpecError("--into and --name: a profile is kept in one folder; leave one of them out")

    if (trtexec is None) == (not results):
        raise SpecError("give result.json files of probes, or --trtexec TIMES.JSON")
    if trtexec is not None:
        _collect_trtexec(trtexec, log, onnx, device, dtype, into, reports, study)
        return
    if log is not None or onnx is not None or device is not None:
        raise SpecError("--log, --onnx and --device: belong to --trtexec TIMES.JSON")

    from jetbench.profiling.collect import collect as read_result

    read = [read_result(result) for result in results or ()]  # all of them, so that an error comes before any row
    if into is not None:
        _join(into, read)
        return
    for records, target in read:
        _show(records, target, folder_of(reports, study, target))


def _show(records: "list[Record]", device: "Device", folder: Path) -> None:
    """Print profiles and keep them in a folder of their own."""
    check_folder(folder, FILES)
    for record in records:
        print_profile(console, record, device)
        console.print()
    if len(records) > 1:
        print_summary(console, records)
    written = keep_profiles(folder, records, device)
    if not written:
        raise typer.Exit(EXIT_FAILED_ROWS)
    console.print(f"[dim]{', '.join(str(path) for path in written)}[/]", highlight=False, soft_wrap=True)


def _collect_trtexec(
    times: Path,
    log: Path | None,
    onnx: Path | None,
    device: str | None,
    dtype: str | None,
    into: Path | None,
    reports: Path,
    study: str | None,
) -> None:
    """Print what trtexec measured; with the ONNX file that it ran, keep it as a row."""
    from jetbench.profiling.by_trtexec import dtype_of, read_trtexec, record_of

    timed = read_trtexec(times, log)
    console.print(
        f"{times}: GPU compute {timed.times.median_s * 1e3:.4g} ms, {timed.times.describe()}.",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    if not timed.has_log:
        console.print("Without --log FILE it is not known that trtexec passed, nor its version.", highlight=False)
    if onnx is None:
        console.print("Not kept: --onnx FILE names the network, --device where it ran.", highlight=False)
        return
    if device is None:
        raise SpecError("--device: say where trtexec ran, by a name of `jetbench devices`")
    target = load_device(device)
    asked = read_list("--dtype", dtype, choice_of(DTYPES))[0] if dtype is not None else None
    record = record_of(timed, onnx, target, dtype_of(timed, onnx, asked))
    if into is not None:
        _join(into, [([record], target)])
    else:
        _show([record], target, folder_of(reports, study, target))


def _join(folder: Path, read: "list[tuple[list[Record], Device]]") -> None:
    """Append profiles to a study, and write and print its tables.

    Raises:
        SpecError: a profile is of weights that the study did not train; nothing is written then.
    """
    from jetbench.records.folder import add_profiles, read_landed
    from jetbench.reporting.report import print_study, print_written, write_files
    from jetbench.reporting.studies import read_study
    from jetbench.reporting.units import counted

    trained = {record.weights for record in read_landed(folder) if record.weights is not None}
    records = [record for each, _ in read for record in each]
    strange = dict.fromkeys(record.variant for record in records if record.weights not in trained)
    if strange:
        raise SpecError(
            f"{folder}: did not train {', '.join(strange)} (no training has the digest of these weights); "
            "collect without --into"
        )
    try:
        added = add_profiles(folder, records)
    except OSError as error:
        raise SpecError(f"{folder}: cannot be written ({error.strerror})") from None
    study = read_study(folder)
    paths = write_files(study, show_invalid=False)
    print_study(console, study, False, "short", None)
    there = f"; {len(records) - added} were there" if added < len(records) else ""
    console.print(f"\n{counted(added, 'profile')} added{there}.", highlight=False)
    print_written(console, folder, paths)
