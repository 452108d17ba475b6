"""`evaluate --stream`: networks at a camera's rate."""

import contextlib
import json
from pathlib import Path

import typer
from rich.progress import BarColumn, Progress, TextColumn

from jetbench.cli.app import check_folder, console, errors
from jetbench.cli.data import read_dataset
from jetbench.cli.measuring import read_list
from jetbench.errors import SpecError
from jetbench.spec.values import parse_short_seconds

FASTEST = 1000.0


def show_stream(
    source: Path,
    dataset: str,
    rate: float,
    latency: str | None,
    speed: float,
    show_invalid: bool,
    out: Path | None,
    as_json: bool,
) -> None:
    """Print the mIoU of the latest finished answers at a rate.

    Args:
        source: a weights file, or a report folder with weights and measured latencies.
        dataset: as NAME:PATH.
        rate: frames a second.
        latency: entered ones, with commas.
        speed: metres a second of the camera in generated streets.
        show_invalid: take the latencies of invalid profiles, too.
        out: a folder for the picture and the table.
        as_json: print JSON.

    Raises:
        SpecError: the source, the data or an option cannot be used.
    """
    from jetbench.data.sequences import load_sequence
    from jetbench.models.weights import load_weights
    from jetbench.reporting.questions.streaming import build_streaming, entered, of_study, stream
    from jetbench.reporting.studies import read_study
    from jetbench.reporting.tables.markdown import to_markdown
    from jetbench.reporting.tables.terminal import show_on_terminal

    if not 0 < rate <= FASTEST:
        raise SpecError(f"--stream {rate:g}: expected frames a second, above 0 and at most {FASTEST:g}")
    if not 0 <= speed <= 100:
        raise SpecError(f"--speed {speed:g}: expected metres a second, from 0 to 100")
    latencies = read_list("--latency", latency, parse_short_seconds) if latency is not None else []
    if source.is_dir():
        if latencies:
            raise SpecError("--latency: a study has measured ones; give a weights file, or leave it out")
        candidates = of_study(read_study(source), show_invalid)
    elif source.suffix == ".safetensors":
        candidates = entered(source, latencies, rate)
    else:
        raise SpecError(f"{source}: --stream takes a .safetensors file, or a report folder with measured latencies")
    _, saved = load_weights(candidates[0].weights)
    config = read_dataset(dataset, None, None, size=saved.input_size)
    if out is not None:
        check_folder(out, [], option="--out")
    bar = Progress(TextColumn("{task.description}"), BarColumn(bar_width=28), console=errors, transient=True)
    with bar if errors.is_terminal else contextlib.nullcontext():
        task = bar.add_task("drawing the frames", total=1)
        frames = load_sequence(config, rate, speed)
        results = stream(candidates, frames, lambda share, text: bar.update(task, completed=share, description=text))
    table = build_streaming(results, frames)
    if as_json:
        typer.echo(json.dumps({"frames": frames.describe, "results": [each.to_json() for each in results]}, indent=2))
    else:
        show_on_terminal(console, table.condensed(), notes="full")
    if out is None:
        return
    from jetbench.reporting.pictures.streaming import draw_streaming

    out.mkdir(parents=True, exist_ok=True)
    written = draw_streaming(out / "streaming", results, table.title)
    (out / "streaming.md").write_text(to_markdown(table), encoding="utf-8")
    if not as_json:
        names = ", ".join([*(path.name for path in written), "streaming.md"])
        console.print(f"Written to {out}: {names}.", highlight=False, markup=False, soft_wrap=True)
