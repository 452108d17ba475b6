"""screen: count all networks of a space and keep those within the limits, without building or training."""

from pathlib import Path
from typing import Annotated, Any

import typer

from jetbench.cli.app import (
    EXIT_FAILED_ROWS,
    EXIT_INTERRUPTED,
    NETWORKS,
    check_folder,
    console,
    read_size,
    say_stopped,
    verb,
)
from jetbench.cli.completion import spaces
from jetbench.cli.measuring import read_option
from jetbench.errors import SpecError
from jetbench.probe.machine import cores
from jetbench.profiling.latency_predict import read_model
from jetbench.search.screen import (
    COUNTED_QUANTITIES,
    MOST,
    SAMPLES,
    CountedQuantity,
    count_variants,
    read_space,
    screen,
)
from jetbench.spec.bounds import MOST_CLASSES, MOST_SAMPLES, MOST_THREADS
from jetbench.spec.values import parse_bytes, parse_count, parse_short_seconds

SWEPT = 12


@verb(NETWORKS, "screen")
def screen_space(
    name: Annotated[
        str,
        typer.Argument(
            metavar="SPACE", autocompletion=spaces, help="A space from `jetbench list`, or a path to a .yaml file."
        ),
    ],
    max_params: Annotated[str | None, typer.Option(metavar="COUNT", help="Most parameters, such as 40k.")] = None,
    max_macs: Annotated[str | None, typer.Option(metavar="COUNT", help="Most MACs, such as 1.2G.")] = None,
    max_eq2: Annotated[
        str | None, typer.Option(metavar="COUNT", help="Most FLOPs by the paper's equation 2, such as 1.1G.")
    ] = None,
    max_memory: Annotated[
        str | None, typer.Option(metavar="BYTES", help="Most memory for weights and peak activations, such as 64MiB.")
    ] = None,
    max_latency: Annotated[
        str | None, typer.Option(metavar="TIME", help="Longest predicted latency, such as 33ms; with --latency-model.")
    ] = None,
    latency_model: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Predict latencies with this file, which `jetbench latency learn` wrote."),
    ] = None,
    top: Annotated[int | None, typer.Option(min=1, help="Keep this many survivors. Default: all.")] = None,
    by: Annotated[str, typer.Option(help="Order survivors by parameters, macs, eq2, memory or latency.")] = "macs",
    largest: Annotated[
        bool, typer.Option("--largest", help="Order the largest first instead of the smallest.")
    ] = False,
    samples: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MOST_SAMPLES,
            help=f"Count this many random variants. Default: all, or {SAMPLES:,} if there are over {MOST:,}.",
        ),
    ] = None,
    whole: Annotated[bool, typer.Option("--all", help="Count all variants, however many there are.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the sample.")] = 0,
    size: Annotated[str | None, typer.Option(metavar="HxW", help="Image size. Default: the space's.")] = None,
    classes: Annotated[
        int | None, typer.Option(min=2, max=MOST_CLASSES, help="Number of classes. Default: the space's.")
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, max=MOST_THREADS, help="Number of processes. Default: one per core.")
    ] = None,
    reports: Annotated[Path, typer.Option(help="Folder that holds the report folders.")] = Path("reports"),
) -> None:
    """Count every variant of a space in closed form, keep those within the limits, and write them as a sweep.

    No network is built, so each core counts thousands of variants per second. Writes reports/screen-SPACE.
    """
    from jetbench.search.screening import ScreenBar, write_screening

    if by not in COUNTED_QUANTITIES:
        raise SpecError(f"--by {by}: expected one of {', '.join(COUNTED_QUANTITIES)}")
    if whole and samples is not None:
        raise SpecError("--all and --samples contradict each other; give one of them")
    if by == "latency" and latency_model is None:
        raise SpecError("--by latency: is predicted by a model; give it with --latency-model FILE")
    changes: dict[str, Any] = {}
    model = None
    if latency_model is not None:
        model = read_model(latency_model)
        changes |= {"size": model.input_size, "classes": model.num_classes}
    if size is not None:
        changes["size"] = read_size(size)
    if classes is not None:
        changes["classes"] = classes
    space = read_space(name, changes)
    limits = _read_limits(max_params, max_macs, max_eq2, max_memory)
    if max_latency is not None:
        limits["latency"] = read_option("--max-latency", max_latency, parse_short_seconds)
    if samples is None and not whole and count_variants(space) > MOST:
        samples = SAMPLES
    folder = reports / f"screen-{space.name}"
    check_folder(folder, ("survivors.csv", "survivors.yaml", "screening.json"))
    bar = ScreenBar(console)
    try:
        with bar:
            result = screen(space, limits, samples, seed, jobs or cores(), bar.report, model)
    except KeyboardInterrupt:
        say_stopped("\nStopped. Nothing was written.")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    if result.unbuildable == result.looked_at:
        raise SpecError(
            f"{name}: none of its variants can be built; the most common reason: {result.reasons.most_common(1)[0][0]}"
        )
    write_screening(console, folder, result, by, largest, top, min(top or SWEPT, SWEPT))
    if not len(result.survivors):
        raise typer.Exit(EXIT_FAILED_ROWS)


def _read_limits(
    max_params: str | None, max_macs: str | None, max_eq2: str | None, max_memory: str | None
) -> dict[CountedQuantity, float]:
    limits: dict[CountedQuantity, float] = {}
    given: tuple[tuple[str, CountedQuantity, str | None], ...] = (
        ("--max-params", "parameters", max_params),
        ("--max-macs", "macs", max_macs),
        ("--max-eq2", "eq2", max_eq2),
        ("--max-memory", "memory", max_memory),
    )
    for option, quantity, text in given:
        if text is not None:
            try:
                limits[quantity] = parse_bytes(text) if quantity == "memory" else parse_count(text)
            except ValueError as error:
                raise SpecError(f"{option}: {error}") from None
    return limits
