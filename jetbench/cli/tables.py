"""table, compare, claims and plot: studies and their records as tables, verdicts and pictures."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from jetbench.cli.app import EXIT_WORSE, app, check_folder, console, errors
from jetbench.errors import SpecError
from jetbench.textfile import write_whole

if TYPE_CHECKING:
    from jetbench.reporting.studies import Study
    from jetbench.reporting.tables import Table

PER = ("network", "class", "evaluation", "axis", "device", "budget")
FORMATS = ("terminal", "markdown", "latex", "html", "csv")
ENDINGS = {".md": "markdown", ".tex": "latex", ".html": "html", ".htm": "html", ".csv": "csv", ".txt": "markdown"}
StudiesArgument = Annotated[
    list[Path], typer.Argument(metavar="STUDY", help="Report folders, for example reports/nano.")
]
MixedOption = Annotated[
    bool, typer.Option("--mixed", help="Show rows of different protocols in groups, each ranked by itself.")
]
AllOption = Annotated[bool, typer.Option("--all", help="Show rows whose profile is invalid too.")]
FormatOption = Annotated[
    str | None,
    typer.Option(
        "--style", metavar="FORMAT", help="terminal, markdown, latex, html or csv; as --out ends, else terminal."
    ),
]
OutOption = Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write it there instead of printing it.")]


@app.command()
def table(
    folders: StudiesArgument,
    style: Annotated[
        str | None,
        typer.Option(
            help="A layout (brief, paper, wide; training: where its seconds go), a format (terminal, markdown, latex, "
            "html, csv), or both: paper,latex."
        ),
    ] = None,
    columns: Annotated[
        str | None, typer.Option(metavar="NAME,...", help="These columns in this order; 'help' lists them.")
    ] = None,
    per: Annotated[
        str,
        typer.Option(
            help="network; class (IoU of each); evaluation (how they converge); axis (what each value changes); device "
            "(how two rank); budget (how brief trainings and proxies rank, against the first study's longest)."
        ),
    ] = "network",
    each_seed: Annotated[bool, typer.Option("--each-seed", help="A row for each seed, not their mean.")] = False,
    mixed: MixedOption = False,
    show_invalid: AllOption = False,
    out: OutOption = None,
) -> None:
    """Show studies as a table; of one study without options, write its folder's tables and plots again.

    Bold is the best of a column and underlined the second; = marks what cannot be told apart. Rows that were measured
    in different ways are refused, unless --mixed.
    """
    # Each branch imports its own: drawing, which only the plain form does, loads matplotlib.
    from jetbench.reporting.columns import COLUMNS
    from jetbench.reporting.studies import read_studies

    if columns == "help":
        for column in COLUMNS:
            console.print(f"{column.name:20} {column.heading}, {column.kind}", highlight=False)
        return
    layout, form = _read_style(style, out)
    if per not in PER:
        raise SpecError(f"--per {per}: expected one of {', '.join(PER)}")
    studies = read_studies(folders)
    plain = style is None and columns is None and per == "network" and out is None and not each_seed
    if plain and len(studies) == 1:
        from jetbench.reporting.report import write_report

        only = studies[0]
        write_report(console, only.folder, only.records, only.title, show_invalid, only.quoted)
        return
    if form == "csv" and columns is None and per == "network":
        show_text(_csv_of_all(studies), out)
        return
    if per != "network" and (each_seed or (columns is not None and per != "device")):
        raise SpecError(f"--per {per}: has columns and rows of its own; leave out --columns and --each-seed")
    if per == "axis":
        if len(studies) > 1:
            raise SpecError("--per axis: effects are told within one study; give one")
        from jetbench.reporting.effects import build_effects

        show_table(build_effects(studies[0]), form, out)
    elif per == "budget":
        from jetbench.reporting.budgets import build_budgets

        show_table(build_budgets(studies), form, out)
    elif per == "device":
        if len(studies) != 2:
            raise SpecError("--per device: give two studies, of the same networks on two devices")
        from jetbench.reporting.transfer import build_transfer

        show_table(build_transfer(studies[0], studies[1], columns or "latency"), form, out)
    else:
        show_table(_build(studies, layout, columns, per, each_seed, mixed, show_invalid), form, out)


def _read_style(style: str | None, out: Path | None) -> tuple[str, str]:
    """Layout and format; by how `out` ends where that is not said. LaTeX alone is the paper's layout, else brief."""
    from jetbench.reporting.columns import LAYOUTS

    layout = form = None
    for part in (style or "").split(",") if style is not None else ():
        word = part.strip()
        if word in LAYOUTS and layout is None:
            layout = word
        elif word in FORMATS and form is None:
            form = word
        else:
            raise SpecError(
                f"--style {style}: expected one of {', '.join(LAYOUTS)}, or one of {', '.join(FORMATS)}, or both: "
                "paper,latex"
            )
    form = form_of(form, out)
    return layout or ("paper" if form == "latex" else "brief"), form


def _read_format(style: str | None, out: Path | None) -> str:
    """A format without a layout."""
    if style is not None and style not in FORMATS:
        raise SpecError(f"--style {style}: expected one of {', '.join(FORMATS)}")
    return form_of(style, out)


def form_of(form: str | None, out: Path | None) -> str:
    """The format asked for, or else that of the file's ending.

    Raises:
        SpecError: the ending is of no format, and none was asked for.
    """
    if form is not None or out is None:
        return form or "terminal"
    if out.suffix.lower() not in ENDINGS:
        raise SpecError(f"--out {out}: which format? End its name in {', '.join(ENDINGS)}, or say --style")
    return ENDINGS[out.suffix.lower()]


def _build(
    studies: "list[Study]",
    layout: str,
    columns: str | None,
    per: str,
    each_seed: bool,
    mixed: bool,
    show_invalid: bool,
) -> "Table":
    from jetbench.reporting.columns import LAYOUTS, class_columns, evaluation_columns, find_columns
    from jetbench.reporting.studies import rows_of_studies
    from jetbench.reporting.tables import build_table

    rows = rows_of_studies(studies, not each_seed)
    title = studies[0].title if len(studies) == 1 else " and ".join(study.name for study in studies)
    if per == "class":
        chosen = class_columns(rows)
        title += ", IoU of each class on test (%)"
    elif per == "evaluation":
        chosen = evaluation_columns([row for row in rows if row.records])
        title += ", as the trainings went on"
    else:
        names = LAYOUTS[layout] if columns is None else tuple(name.strip() for name in columns.split(","))
        chosen = find_columns(names)
    return build_table(rows, chosen, title, mixed, show_invalid)


def _csv_of_all(studies: "list[Study]") -> str:
    """Every record of every study, in SI units."""
    import pandas as pd

    from jetbench.reporting.frame import frame

    frames = [frame(study.records, study.quoted).assign(study=study.name) for study in studies]
    return str(pd.concat(frames, ignore_index=True).to_csv(index=False))


def show_table(table: "Table", form: str, out: Path | None) -> None:
    """Print a table in a format, or write it to a file."""
    from jetbench.reporting import formats
    from jetbench.reporting.terminal import print_notes, print_whole

    if form == "terminal" and out is None:
        is_plain = not console.is_terminal
        print_whole(console, formats.terminal(table, is_plain))
        print_notes(console, [*formats.explain_signs(table, is_plain), *table.notes.all])
        return
    if form == "latex" and (trouble := formats.what_does_not_fit(table)):
        errors.print(f"[yellow]note:[/] {escape(trouble)}", highlight=False, soft_wrap=True)
    make = {
        "terminal": formats.markdown,  # a file has no colours
        "markdown": formats.markdown,
        "latex": formats.latex,
        "html": formats.html,
        "csv": formats.csv,
    }
    show_text(make[form](table), out)


def show_text(text: str, out: Path | None) -> None:
    """Print it as it is, or write it to a file."""
    if out is None:
        typer.echo(text, nl=False)
        return
    if out.is_dir() or not out.parent.is_dir():
        raise SpecError(f"--out {out}: is a folder, or in one that is not there; give a file")
    try:
        write_whole(out, text)
    except OSError as error:
        raise SpecError(f"--out {out}: cannot be written to ({error.strerror})") from None
    console.print(f"Written to {out}.", highlight=False, soft_wrap=True, markup=False)


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(metavar="A", help="The report folder to compare with.")],
    after: Annotated[Path, typer.Argument(metavar="B", help="The report folder that may be better or worse.")],
    fail_on: Annotated[
        str | None,
        typer.Option(
            metavar="METRIC:LIMIT,...",
            help="Exit with 4 where a metric is worse than that: latency:3%,miou:1 (points). A tie is never worse.",
        ),
    ] = None,
    style: FormatOption = None,
    show_invalid: AllOption = False,
    out: OutOption = None,
) -> None:
    """Compare two studies variant by variant: what is better, worse or a tie, and by how much.

    What was measured in different ways is not compared, and it says why.
    """
    from jetbench.reporting.comparing import build_comparison, read_limits
    from jetbench.reporting.comparing import compare as compare_studies
    from jetbench.reporting.studies import read_studies

    limits = read_limits(fail_on) if fail_on is not None else []
    form = _read_format(style, out)
    first, second = read_studies([before, after])
    found = compare_studies(first, second, show_invalid)
    if not found.pairs:
        raise SpecError(f"{before} and {after} have no variant in common; they are paired by name")
    if found.is_empty:
        reasons = "\n".join(f"- {reason}" for reason in dict.fromkeys(found.differing.values()))
        raise SpecError(f"{before} and {after} are not comparable:\n{reasons}")
    undecided = [limit for limit in limits if limit.metric in found.differing]
    if undecided:
        metric = undecided[0].metric
        raise SpecError(f"--fail-on {undecided[0].asked}: not comparable: {found.differing[metric]}")
    show_table(build_comparison(found), form, out)
    failures = found.failures(limits)
    for line in failures:
        errors.print(f"[bold red]worse:[/] {escape(line)}", highlight=False, soft_wrap=True)
    if failures:
        raise typer.Exit(EXIT_WORSE)


@app.command()
def claims(
    folders: Annotated[
        list[Path] | None, typer.Argument(metavar="[STUDY...]", help="Report folders whose records are evidence.")
    ] = None,
    style: FormatOption = None,
    out: OutOption = None,
) -> None:
    """What the JetSeg paper claims: reproduced, not reproduced, contradicting itself, or untestable here, and why.

    Without a study only what can be counted is decided.
    """
    from jetbench.reporting.claims import build_claims, judge_claims
    from jetbench.reporting.studies import read_studies
    from jetbench.reporting.terminal import print_notes

    form = _read_format(style, out)
    studies = read_studies(folders or ())
    rulings = judge_claims(studies)
    table = build_claims(rulings, studies)
    if form != "terminal" or out is not None:
        show_table(table, form, out)
        return
    colours = {"reproduced": "green", "not reproduced": "red", "contradicts itself": "magenta"}
    for ruling in rulings:
        colour = colours.get(ruling.verdict, "yellow")
        says = f"[bold]{escape(ruling.claim.says)}[/]: [{colour}]{ruling.verdict}[/]"
        console.print(f"\n{says} [dim]({ruling.claim.name})[/]", highlight=False)
        for label, text in (("evidence", ruling.evidence), ("missing", ruling.missing)):
            if text:
                console.print(f"  [dim]{label}:[/] {escape(text)}", highlight=False)
    console.print()
    print_notes(console, table.notes.all)


@app.command()
def plot(
    folders: StudiesArgument,
    pictures: Annotated[
        str | None, typer.Option("--picture", metavar="NAME,...", help="Only these; 'help' lists them.")
    ] = None,
    each_seed: Annotated[bool, typer.Option("--each-seed", help="A point for each seed, not their mean.")] = False,
    show_invalid: AllOption = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write there; the study's folder by default.")
    ] = None,
) -> None:
    """Draw studies as PNG, SVG and PDF, one column of a paper wide: accuracy against cost, latencies, learning curves.

    Rows that were measured in different ways are refused.
    """
    from jetbench.reporting.columns import find_columns
    from jetbench.reporting.plots import PICTURES, write_plots
    from jetbench.reporting.studies import read_studies, rows_of_studies
    from jetbench.reporting.tables import believed, build_table

    names = PICTURES if pictures is None else tuple(name.strip() for name in pictures.split(","))
    if names == ("help",):
        console.print("\n".join(PICTURES), highlight=False)
        return
    if unknown := [name for name in names if name not in PICTURES]:
        raise SpecError(f"--picture {', '.join(unknown)}: there are {', '.join(PICTURES)}")
    studies = read_studies(folders)
    if out is None and len(studies) > 1:
        raise SpecError("of several studies: say with --out where the pictures go")
    rows = rows_of_studies(studies, not each_seed)
    kept = rows if show_invalid else believed(rows)
    title = " and ".join(study.name for study in studies)
    build_table(kept, find_columns(["val", "latency", "macs"]), title, show_invalid=True)  # refuses what differs
    folder = out or studies[0].folder
    check_folder(folder, [], option="--out")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written = write_plots(folder, kept, title, names)
    except OSError as error:
        raise SpecError(f"--out {folder}: cannot be written to ({error.strerror})") from None
    if not written:
        raise SpecError(f"{', '.join(map(str, folders))}: no row has what these pictures show")
    console.print(f"Written to {folder}: {', '.join(path.name for path in written)}", highlight=False, soft_wrap=True)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="STUDY", help="A report folder, for example reports/nano.")],
    show_invalid: AllOption = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Where to write it; STUDY/report.html by default.")
    ] = None,
) -> None:
    """Write a study as one HTML file that needs no network: table, plots, and a page for each variant.

    What the networks see comes from their weights files, the images and the truth from the dataset where it is here.
    """
    from jetbench.reporting.page import write_page
    from jetbench.reporting.studies import read_study

    study, path = read_study(folder), out or folder / "report.html"
    if path.is_dir() or not path.parent.is_dir():
        raise SpecError(f"--out {path}: is a folder, or in one that is not there; give a file")
    try:
        size = write_page(path, study, show_invalid).stat().st_size
    except OSError as error:
        raise SpecError(f"{path}: cannot be written to ({error.strerror}); say where with --out") from None
    console.print(f"Written to {path} ({size / 2**20:.1f} MiB).", highlight=False, soft_wrap=True, markup=False)
