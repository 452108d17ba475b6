"""A table as LaTeX with booktabs, in the largest type that fits a two-column article."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from jetbench.reporting.tables.citations import cite_key
from jetbench.reporting.tables.columns import BY_NAME, Column
from jetbench.reporting.tables.footnotes import NoteLevel, on_one_line
from jetbench.reporting.tables.published import APPROXIMATE
from jetbench.reporting.tables.table import KINDS, TIE, Cell, Section, Table, TableRow

# Widths of a line of text in points: one column and both columns of a two-column article (IEEE, CVPR: 252 and 516).
ONE_COLUMN, BOTH_COLUMNS = 252.0, 516.0
SIZES = (("footnotesize", 8.0), ("scriptsize", 7.0))
COLUMN_GAP = 3.0  # \tabcolsep, on both sides of each column
PROSE_EMS = 40.0  # a column of words wider than this holds sentences
PAGE_LINES = 68  # lines of the small type that fit on a page with a caption
NARROW, WIDE = "iljtfr.,:;|!'()[] ", "mwMW%@ABCDEFGHKNOPQRSUVXYZ"

LAST_LETTER = 0x180  # end of Latin letters with accents
SPECIAL = {
    "\\": r"\textbackslash{}",
    "\N{EM DASH}": "---",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "`": r"\textasciigrave{}",
    APPROXIMATE: r"$\approx$",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{GREEK SMALL LETTER TAU}": r"$\tau$",
    "\N{MINUS SIGN}": "$-$",
    "\N{HORIZONTAL ELLIPSIS}": r"\dots{}",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
}


PAPER_HEADINGS = {
    "parameters": "Params",
    "parameters-m": "Params|(M)",
    "macs": "MACs|(M)",
    "macs-g": "MACs|(G)",
    "flops": "FLOPs|(M)",
    "eq2": "Eq. 2|(M)",
    "eq2-g": "FLOPs,|eq. 2 (G)",
    "val": "Val.|mIoU (%)",
    "val-last": "Last val.|mIoU (%)",
    "test": "Test|mIoU (%)",
    "val-change": "Val. change|(points)",
    "latency": "Latency|(ms)",
    "latency-change": "Latency|change",
    "p90": "90th pct.|(ms)",
    "p99": "99th pct.|(ms)",
    "worst": "Worst|(ms)",
    "fps": "FPS",
    "fps-e2e": "FPS,|end to end",
    "memory": "Memory|(MiB)",
    "power": "Power|(W)",
    "energy": "Energy|(mJ)",
    "estimate": "Est. latency|(ms)",
    "input": "Input",
    "pretrained": "Pretr.",
    "augmentation": "Augm.",
    "verdict": "Verdict",
}
"""Headings as papers spell them; a bar begins a second line."""


@dataclass(frozen=True)
class LatexOptions:
    """How a table looks in a paper.

    Args:
        caption: in place of the title.
        label: the key by which the text refers to it.
        notes: the notes below the table: all essential ones, those of a terminal, or none.
        cites: cite the paper of each baseline behind its name.
    """

    caption: str | None = None
    label: str | None = None
    notes: NoteLevel = "full"
    cites: bool = False


def to_latex(table: Table, options: LatexOptions = LatexOptions()) -> str:
    """The table for a paper (it needs booktabs): essential notes below it, details as comments above it.

    It is set in the largest type that fits one column of a two-column article, else both columns (`table*`). Its first
    comment says which, or by how much the table is too wide.
    """
    sized = _as_cited(table) if options.cites else table
    notes = {"none": (), "short": table.notes.brief or table.notes.essential[:4], "full": table.notes.essential}
    size, width, star = _fit(sized)
    if (trouble := what_does_not_fit(sized)) is not None:
        fit = trouble
    elif star:
        fit = f"some {width:.0f} pt wide, so it spans both columns; one has {ONE_COLUMN:g} pt"
    else:
        fit = f"some {width:.0f} pt wide: fits one column of {ONE_COLUMN:g} pt"
    environment = "table*" if star else "table"
    lines = [
        f"% Needs \\usepackage{{booktabs}}{' and array' * bool(_prose(table))}; {fit}.",
        *(f"% {note}" for note in (*table.notes.details, *table.sources)),
    ]
    letters = _letters(table, size)
    head = [f"  \\{size}", f"  \\setlength{{\\tabcolsep}}{{{COLUMN_GAP:g}pt}}"]
    head += [f"  \\begin{{tabular}}{{l{letters}}}", r"    \toprule", *_kind_lines(table.columns)]
    head.append(
        "    "
        + " & ".join([_tex(table.heading.capitalize()), *(_heading(column) for column in table.columns)])
        + r" \\"
    )
    for number, sections in enumerate(_pages(table, size)):
        if number:
            lines += [r"    \bottomrule", r"  \end{tabular}", f"\\end{{{environment}}}"]
        caption = _tex(f"{table.title}." if options.caption is None else options.caption)
        caption += " (continued)" if number else ""
        lines += [f"\\begin{{{environment}}}", r"  \centering", f"  \\caption{{{caption}}}"]
        lines += [f"  \\label{{{options.label}}}"] if options.label and not number else []
        lines += head
        lines += _body(sections, len(table.columns), options.cites)
    lines += [r"    \bottomrule", r"  \end{tabular}"]
    if below := notes[options.notes]:
        lines += [r"  \par\smallskip", r"  \parbox{\linewidth}{\scriptsize\raggedright"]
        spelt_out = _spelt_out(table.columns) if options.notes == "full" else []
        lines += [*(f"    {_tex(note)}" for note in (*spelt_out, *below)), "  }"]
    lines += [f"\\end{{{environment}}}", ""]
    return "\n".join(lines)


def _as_cited(table: Table) -> Table:
    """The table with room behind the names for their citations: only its width matters."""
    sections = (
        replace(s, rows=tuple(replace(row, name=f"{row.name} [00]") if row.paper else row for row in s.rows))
        for s in table.sections
    )
    return replace(table, sections=tuple(sections))


def _heading(column: Column) -> str:
    """A heading, on two lines where that makes its column narrower."""
    words = _heading_lines(column)
    if len(words) == 1:
        return _tex(words[0])
    return f"\\shortstack[r]{{{_tex(words[0])}\\\\{_tex(words[1])}}}"


def _heading_lines(column: Column) -> list[str]:
    usual = BY_NAME.get(column.name)
    is_usual = usual is not None and usual.heading == column.heading  # a change of a quantity has its name, too
    return PAPER_HEADINGS[column.name].split("|") if is_usual and column.name in PAPER_HEADINGS else [column.brief]


def what_does_not_fit(table: Table) -> str | None:
    """By how much the LaTeX table exceeds both columns of a page; None if it fits."""
    _, width, _ = _fit(table)
    if width <= BOTH_COLUMNS:
        return None
    return f"some {width:.0f} pt wide, which is more than both columns ({BOTH_COLUMNS:g} pt): choose fewer --columns"


def _pages(table: Table, size: str) -> list[tuple[Section, ...]]:
    """The sections of each page: a table of sentences may be longer than a page."""
    prose = _prose(table)
    if not prose:
        return [table.sections]
    widths = dict(zip(prose, _prose_widths(table, size), strict=True))
    points = dict(SIZES)[size]
    pages: list[list[Section]] = [[]]
    left = PAGE_LINES
    for section in table.sections:
        rows: list[TableRow] = []
        for row in section.rows:
            lines = max(1 + int(1.15 * points * _ems(row.cells[at].marked) / width) for at, width in widths.items())
            if lines > left and (rows or pages[-1]):
                pages[-1] += [Section(section.label, tuple(rows))] if rows else []
                pages.append([])
                rows, left = [], PAGE_LINES
            rows.append(row)
            left -= lines
        pages[-1].append(Section(section.label, tuple(rows)))
    return [tuple(page) for page in pages]


def _body(sections: Sequence[Section], columns: int, cites: bool) -> list[str]:
    lines = []
    for section in sections:
        lines.append(r"    \midrule")
        if section.label:
            span = columns + 1
            lines.append(f"    \\multicolumn{{{span}}}{{l}}{{\\emph{{{_tex(section.label)}}}}} \\\\")
        for row in section.rows:
            # Braces: LaTeX would read a name that begins with [ or * as an argument of the \\ before it.
            name = f"\\textbf{{{_tex(row.name)}}}" if row.is_on_front else f"{{{_tex(row.name)}}}"
            name += f"~\\cite{{{cite_key(row.paper)}}}" if cites and row.paper is not None else ""
            lines.append("    " + " & ".join([name, *(_tex_cell(cell) for cell in row.cells)]) + r" \\")
    return lines


def _spelt_out(columns: Sequence[Column]) -> list[str]:
    """A note with the full heading of each short one."""
    headings = [
        f"{column.brief}, {column.heading}"
        for column in columns
        if column.brief != column.heading and column.name not in PAPER_HEADINGS
    ]
    return [f"Columns: {'; '.join(headings)}."] if headings else []


def _kind_lines(columns: Sequence[Column]) -> list[str]:
    """A line above the headings that gives the class of number of each span of columns."""
    cells, rules, at = [""], [], 2
    for kind, members in groupby(columns, key=lambda column: column.kind):
        count = len(list(members))
        cells.append(f"\\multicolumn{{{count}}}{{c}}{{{_tex(KINDS[kind])}}}")
        if KINDS[kind]:
            rules.append(f"\\cmidrule(lr){{{at}-{at + count - 1}}}")
        at += count
    return ["    " + " & ".join(cells) + r" \\", "    " + " ".join(rules)] if rules else []


def _fit(table: Table) -> tuple[str, float, bool]:
    """Type size, width in points, and whether the table spans both columns."""
    if _prose(table):
        return SIZES[-1][0], BOTH_COLUMNS, True  # its sentences wrap
    ems = sum(_widest(table))
    gaps = 2 * COLUMN_GAP * (len(table.columns) + 1)
    widths = [(name, ems * points + gaps) for name, points in SIZES]
    for star, room in ((False, ONE_COLUMN), (True, BOTH_COLUMNS)):
        for name, width in widths:
            if width <= room:
                return name, width, star
    return (*widths[-1], True)


def _widest(table: Table) -> list[float]:
    """The width of each column in em, starting with the names."""
    heads = [_heading_lines(column) for column in table.columns]
    rows = [[table.heading, *(max(lines, key=_ems) for lines in heads)]]
    rows += [[row.name, *(cell.marked for cell in row.cells)] for row in table.rows]
    return [max(_ems(row[at]) for row in rows) for at in range(len(table.columns) + 1)]


def _prose(table: Table) -> list[int]:
    """Numbers of the columns that hold sentences, whose lines must wrap."""
    widths = _widest(table)[1:]
    return [at for at, column in enumerate(table.columns) if not column.is_number and widths[at] > PROSE_EMS]


def _letters(table: Table, size: str) -> str:
    """The alignment of each column: right, left, or a paragraph in the room that the others leave."""
    widths = dict(zip(_prose(table), _prose_widths(table, size), strict=True))
    letters = []
    for at, column in enumerate(table.columns):
        if at in widths:
            # Justified sentences in a narrow column would have wide gaps.
            letters.append(f">{{\\raggedright\\arraybackslash}}p{{{widths[at]:.0f}pt}}")
        else:
            letters.append("r" if column.is_number else "l")
    return "".join(letters)


def _prose_widths(table: Table, size: str) -> list[float]:
    """The width in points of each column of sentences, out of the room that the others leave."""
    prose, widths, points = _prose(table), _widest(table), dict(SIZES)[size]
    gaps = 2 * COLUMN_GAP * (len(table.columns) + 1)
    # Small type is wider in relation to its height.
    left = BOTH_COLUMNS - gaps - 1.1 * points * sum(w for at, w in enumerate(widths) if at - 1 not in prose)
    whole = sum(widths[at + 1] for at in prose)
    return [max(40.0, left * (0.5 / len(prose) + 0.5 * widths[at + 1] / whole)) for at in prose]


def _ems(text: str) -> float:
    """The approximate width of a text in Computer Modern, in em; an upper estimate."""
    return sum(_em(letter) for letter in text)


def _em(letter: str) -> float:
    if letter in NARROW:
        return 0.36
    if letter in WIDE or letter in SPECIAL:
        return 0.85
    return 0.56 if ord(letter) < LAST_LETTER else 3.6


def _tex_cell(cell: Cell) -> str:
    text = re.sub(r"(?<![\w.])-(?=\d)", "$-$", _tex(cell.text))
    tie = f"$^{{{TIE}}}$" if cell.mark and cell.mark.is_tie else ""
    return {"bold": f"\\textbf{{{text}}}", "underlined": f"\\underline{{{text}}}"}.get(cell.weight, text) + tie


def _tex(text: str) -> str:
    # A letter that the plain fonts lack would stop the compilation, so its code is written instead.
    return "".join(
        SPECIAL.get(letter, letter if ord(letter) < LAST_LETTER else f"U+{ord(letter):04X}")
        for letter in on_one_line(text)
    )
