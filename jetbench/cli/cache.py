"""cache: what lies in the cache, decoded images, counted networks and exported files, and its removal."""

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table as RichTable

from jetbench.cli.app import MACHINES, console, verb


@verb(MACHINES)
def cache(
    clear: Annotated[
        bool, typer.Option("--clear", help="Remove all of it; it is made anew when it is needed.")
    ] = False,
    clear_retired: Annotated[
        bool,
        typer.Option(
            "--clear-retired",
            help="Remove only exported files that another version of torch, of a runtime or of jetbench made.",
        ),
    ] = False,
) -> None:
    """Show what is kept for the next run, decoded images and exported files: where it lies and how large it is.

    The folder is ~/.cache/jetbench, or that of JETBENCH_CACHE. Nothing of a study lies there.
    """
    from jetbench.data.cache import cache_folder
    from jetbench.data.caches import clear_cached, count_counted, list_cached
    from jetbench.network.rules import format_size
    from jetbench.reporting import units
    from jetbench.reporting.terminal import print_whole

    if clear or clear_retired:
        if clear:
            freed = clear_cached()
        else:
            from jetbench.deploy.artefact import clear_retired as clear_artefacts

            freed = clear_artefacts()
        console.print(f"{cache_folder()}: {units.MEBIBYTES.describe(freed)} freed", highlight=False, markup=False)
        return
    caches = list_cached()
    if caches:
        table = RichTable(box=None, pad_edge=False)
        for heading in ("data", "size", "images", "MiB", "folder"):
            table.add_column(heading, justify="right" if heading in ("images", "MiB") else "left")
        for each in caches:
            info = each.info
            images = f"{sum(info.images.values()):,}" if info else units.MISSING
            table.add_row(
                escape(info.name if info else "of another version, or damaged"),
                format_size(info.size) if info else units.MISSING,
                images,
                units.mebibytes(each.bytes),
                escape(each.folder.name),
            )
        print_whole(console, table)
    total = units.MEBIBYTES.describe(sum(each.bytes for each in caches))
    counts, files = count_counted(), _describe_artefacts()
    more = f", counts of {units.counted(counts, 'network')}" if counts else ""
    more += f", {files}" if files else ""
    hint = "; --clear removes them" if caches or counts or files else ""
    text = f"{cache_folder()}: {units.counted(len(caches), 'dataset')}, {total}{more}{hint}"
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _describe_artefacts() -> str:
    """`3 exported files of 1.2 MiB, 1 of them retired`; empty without any."""
    from jetbench.data.cache import ARTEFACTS, cache_folder
    from jetbench.reporting import units

    if not (cache_folder() / ARTEFACTS).is_dir():
        return ""
    from jetbench.deploy.artefact import list_artefacts

    kept = list(list_artefacts())
    retired = sum(each.is_retired for each in kept)
    text = (
        f"{units.counted(len(kept), 'exported file')} of {units.MEBIBYTES.describe(sum(each.bytes for each in kept))}"
    )
    return text + (f", {retired} of them retired" if retired else "") if kept else ""
