"""BibTeX entries of the networks in a table, and the keys by which LaTeX cites them."""

import re
import unicodedata
from collections.abc import Sequence

from jetbench.spec.published import Paper

SMALL_WORDS = {"a", "an", "the", "on", "of", "for", "in", "towards", "rethinking"}


def cite_key(paper: Paper) -> str:
    """A key made of the first author, the year and the first word of the title: `chaurasia2017linknet`."""
    words = [word for word in re.findall(r"[a-z0-9]+", _plain(paper.title)) if word not in SMALL_WORDS]
    author = "".join(re.findall(r"[a-z]+", _plain(paper.authors.split()[0]))) if paper.authors.split() else "anonymous"
    return f"{author}{paper.year}{words[0] if words else ''}"


def to_bibtex(papers: Sequence[Paper], before: str = "") -> str:
    """An entry for each paper, sorted by its key, behind the text of a .bib, whose entries stay as they are.

    `et al.` becomes `and others`, as BibTeX writes it.
    """
    there = set(re.findall(r"@\w+\s*[{(]\s*([^,\s]+)\s*,", before))
    entries = {key: paper for paper in papers if (key := cite_key(paper)) not in there}
    fresh = [_entry(key, entries[key]) for key in sorted(entries)]
    return "\n".join([before.rstrip("\n") + "\n", *fresh] if before.strip() else fresh)


def _entry(key: str, paper: Paper) -> str:
    authors = re.sub(r",?\s+et al\.?$", " and others", paper.authors)
    fields = {"title": f"{{{paper.title}}}", "author": authors, "year": str(paper.year)}
    fields |= {"note": paper.venue} if paper.venue else {}
    fields["url"] = paper.link
    lines = [f"  {name:6} = {{{_escaped(value) if name != 'url' else value}}}," for name, value in fields.items()]
    return "\n".join([f"@misc{{{key},", *lines, "}", ""])


def _plain(text: str) -> str:
    """Lower case without accents."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()


def _escaped(text: str) -> str:
    return re.sub(r"(?<!\\)([&%$#_])", r"\\\1", text)
