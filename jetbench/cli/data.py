"""data: look at a dataset before a training; `check` opens every file, `show` draws images with their masks."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from jetbench.cli.app import EXIT_USER_ERROR, NETWORKS, Verb, app, check_folder, console, errors, read_changes
from jetbench.cli.output import check_target
from jetbench.errors import SpecError

if TYPE_CHECKING:
    from jetbench.data.check import Check
    from jetbench.spec.dataset import DatasetConfig

data = typer.Typer(help="Look at a dataset: check every file, or show images with their masks.", no_args_is_help=True)
app.add_typer(data, name="data", rich_help_panel=NETWORKS)

DatasetArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME:PATH", help="A dataset: folder, camvid, cityscapes, bdd100k, voc or ade20k, and its folder."
    ),
]
ClassesOption = Annotated[
    Path | None,
    typer.Option("--classes", metavar="FILE", help="A classes.yaml elsewhere. Default: the one in the folder."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="A key of the dataset, such as mask_suffix=_gt. Repeatable."),
]


@data.callback()
def _data() -> None:
    pass


@data.command("check", cls=Verb)
def check(
    dataset: DatasetArgument,
    classes: ClassesOption = None,
    settings: SetOption = None,
    write_classes: Annotated[
        Path | None,
        typer.Option("--write-classes", metavar="FILE", help="Write the classes that the masks suggest to this file."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Open every file of a dataset, and print what is in it and what is wrong; ends with 2 if it cannot be used."""
    from jetbench.data.check import check_dataset

    config = read_dataset(dataset, classes, settings)
    if write_classes is not None:
        check_target(write_classes, "--write-classes")
    bar = Progress(
        TextColumn("opening files"), BarColumn(bar_width=28), MofNCompleteColumn(), console=errors, transient=True
    )
    with bar if errors.is_terminal else contextlib.nullcontext():
        task = bar.add_task("", total=None)
        checked = check_dataset(config, lambda done, total: bar.update(task, completed=done, total=total))
    if write_classes is not None:
        if not checked.proposal:
            raise SpecError(
                f"--write-classes {write_classes}: the classes are named already, or the masks suggest none"
            )
        if write_classes.exists():
            raise SpecError(f"--write-classes {write_classes}: exists already; give another name")
        write_classes.write_text(checked.proposal, encoding="utf-8")
    if as_json:
        console.print_json(data=describe(checked))
    else:
        print_check(checked, write_classes)
    if not checked.is_usable:
        raise typer.Exit(EXIT_USER_ERROR)


@data.command("show", cls=Verb)
def show(
    dataset: DatasetArgument,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Write the pictures to this folder.")],
    count: Annotated[int, typer.Option(min=1, max=1000, help="Images of each split.")] = 4,
    classes: ClassesOption = None,
    settings: SetOption = None,
    opacity: Annotated[float, typer.Option(min=0.0, max=1.0, help="Opacity of the colours over the image.")] = 0.55,
) -> None:
    """Write images with their masks laid over, and a legend of the classes in each."""
    import numpy as np
    from PIL import Image

    from jetbench.data.cache import open_source
    from jetbench.data.check import choose
    from jetbench.data.paired import PairedFiles, open_pair
    from jetbench.training.predict import Legend, lay_over
    from jetbench.training.samples import colours_of

    source = open_source(read_dataset(dataset, classes, settings))
    check_folder(out, [], option="--out")
    if isinstance(source, PairedFiles) and out.resolve() in {
        folder for pairs in source.pairs.values() for pair in pairs for folder in pair.image.resolve().parents
    } | {pair.labels.resolve().parent for pairs in source.pairs.values() for pair in pairs}:
        raise SpecError(f"--out {out}: holds the dataset, which the pictures would become part of; give another folder")
    out.mkdir(parents=True, exist_ok=True)
    legend = Legend(source.class_names, colours_of(source.class_names, source.classes))
    written = 0
    for split, images in source.counts.items():
        if isinstance(source, PairedFiles):
            pairs = choose(source.pairs[split], count)
            opened = ((pair.image.stem, *open_pair(pair), pair) for pair in pairs)
            members = ((stem, image, source.read_labels(mask, pair.labels)) for stem, image, mask, pair in opened)
        else:
            drawn = zip(range(min(count, images)), source.samples(split), strict=False)
            members = ((f"{n:03}", Image.fromarray(sample.image), sample.labels) for n, sample in drawn)
        for stem, image, ids in members:
            lay_over(image, np.asarray(ids), legend, opacity).save(out / f"{split}-{stem}.png")
            written += 1
    console.print(f"Written to {out}: {written} pictures.", highlight=False, markup=False, soft_wrap=True)


def read_dataset(
    text: str, classes: Path | None, settings: list[str] | None, size: tuple[int, int] | None = None
) -> "DatasetConfig":
    """The dataset that NAME:PATH names, with the keys of --set; `size` is that of its images unless a key says another.

    Raises:
        SpecError: there is no such dataset, or a key does not fit it.
    """
    from jetbench.data.folder import read_class_file
    from jetbench.spec.base import parse_spec
    from jetbench.spec.dataset import DATASETS

    name, _, path = text.partition(":")
    kind = DATASETS.get(name)
    if kind is None:
        hint = f"; for a folder of your own write folder:{text}" if Path(text).is_dir() else ""
        raise SpecError(f"{text}: expected NAME:PATH with NAME one of {', '.join(DATASETS)}{hint}")
    raw: dict[str, Any] = {"name": name, **({"path": path} if path else {}), **read_changes(settings)}
    if size is not None:
        raw.setdefault("size", size)
    if classes is not None:
        if name != "folder":
            raise SpecError(f"--classes: {name} has its own classes; only folder takes them")
        named = read_class_file(classes)
        raw |= {
            "classes": [each.model_dump() for each in named.classes],
            "ignore": list(named.ignored),
            "mask_values": named.mask_values,
        }
    return parse_spec(kind, raw, text)


def print_check(checked: "Check", written: Path | None) -> None:
    """Print what was found: counts, sizes, the share of each class in each split, and what is wrong."""
    from rich.table import Table

    from jetbench.reporting.tables.footnotes import on_one_line
    from jetbench.reporting.terminal import print_whole

    counts = " / ".join(f"{count} {split}" for split, count in checked.counts.items())
    console.print(
        f"[bold]{escape(checked.name)}[/] in {escape(str(checked.root))}: {counts}", highlight=False, soft_wrap=True
    )
    for line in checked.how:
        console.print(f"  {escape(line)}", highlight=False, soft_wrap=True)
    sizes = list(checked.sizes.items())
    shown = ", ".join(f"{height}x{width} ({count})" for (height, width), count in sizes[:4])
    more = f" and {len(sizes) - 4} more" if len(sizes) > 4 else ""
    console.print(f"  sizes (HxW): {shown}{more}", highlight=False, soft_wrap=True)
    if checked.class_names:
        splits = [split for split, count in checked.counts.items() if count]
        table = Table(box=None, pad_edge=False, title="\nShare of the pixels (%)", title_justify="left")
        table.add_column("class", overflow="fold")
        for split in splits:
            table.add_column(split, justify="right", no_wrap=True)
        wholes = {split: max(1, sum(checked.pixels[split]) + checked.void[split]) for split in splits}
        for number, name in enumerate(checked.class_names):
            shares = (100 * checked.pixels[split][number] / wholes[split] for split in splits)
            table.add_row(escape(name), *(_percent(share) for share in shares))
        table.add_row("[dim]no class[/]", *(_percent(100 * checked.void[split] / wholes[split]) for split in splits))
        print_whole(console, table)
    for problem in checked.problems:
        style = "bold red" if problem.is_refused else "yellow"
        noun = problem.what if problem.count == 1 else _plural(problem.what)
        console.print(f"\n[{style}]{problem.count} {escape(noun)}[/]", highlight=False, soft_wrap=True)
        for example in problem.examples:
            console.print(f"  {escape(on_one_line(example))}", highlight=False, soft_wrap=True)
        if problem.count > len(problem.examples):
            console.print(f"  and {problem.count - len(problem.examples)} more", highlight=False)
        console.print(f"  [dim]way out: {escape(problem.way_out)}[/]", highlight=False, soft_wrap=True)
    if checked.proposal:
        console.print(
            f"\nNothing names the classes. The masks suggest this {checked.root / 'classes.yaml'}:\n", soft_wrap=True
        )
        console.print(checked.proposal, highlight=False, markup=False, soft_wrap=True)
        if written is None:
            console.print("`--write-classes FILE` writes it.", highlight=False)
        else:
            console.print(f"Written to {written}; give the classes their names there.", highlight=False, markup=False)
    elif not checked.class_names:
        console.print("\n[bold red]Nothing names the classes, and the masks hold too many values to be class ids.[/]")
    elif checked.is_usable:
        console.print("\n[green]The data can be used.[/]", highlight=False)


def _percent(share: float) -> str:
    return "0" if not share else f"{share:.1f}" if share >= 0.05 else "<0.1"


def _plural(text: str) -> str:
    """`files without their partner` of `file without its partner`."""
    noun, space, rest = text.partition(" ")
    noun = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{noun}{space}{rest.replace('its partner', 'their partner')}"


def describe(checked: "Check") -> dict[str, Any]:
    """A check as plain data."""
    return {
        "name": checked.name,
        "path": str(checked.root),
        "how": list(checked.how),
        "images": checked.counts,
        "sizes": {f"{height}x{width}": count for (height, width), count in checked.sizes.items()},
        "classes": list(checked.class_names),
        "pixels": {split: list(counted) for split, counted in checked.pixels.items()},
        "pixels_without_class": checked.void,
        "problems": [
            {
                "what": problem.what,
                "count": problem.count,
                "examples": problem.examples,
                "way_out": problem.way_out,
                "is_refused": problem.is_refused,
            }
            for problem in checked.problems
        ],
        "proposal": checked.proposal,
        "is_usable": checked.is_usable,
    }
