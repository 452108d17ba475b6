"""cache: what lies in the cache, decoded images and counted networks, and its removal."""

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
) -> None:
    """Show the decoded images that are kept for the next run, where they lie and how large they are.

    The folder is ~/.cache/jetbench, or that of JETBENCH_CACHE. Nothing of a study lies there.
    """
    from jetbench.data.cache import cache_folder
    from jetbench.data.caches import clear_cached, count_counted, list_cached
    from jetbench.network.rules import format_size
    from jetbench.reporting import units
    from jetbench.reporting.terminal import print_whole

    if clear:
        freed = clear_cached()
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
    counts = count_counted()
    more = f", and counts of {units.counted(counts, 'network')}" if counts else ""
    hint = "; --clear removes them" if caches or counts else ""
    text = f"{cache_folder()}: {units.counted(len(caches), 'dataset')}, {total}{more}{hint}"
    console.print(text, highlight=False, markup=False, soft_wrap=True)
