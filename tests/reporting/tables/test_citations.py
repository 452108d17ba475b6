import re

from jetbench.reporting.tables.citations import cite_key, to_bibtex
from jetbench.spec.architecture import Baseline
from jetbench.spec.catalog import names, read_architecture
from jetbench.spec.published import Paper


def paper(**more: object) -> Paper:
    fields = {"title": "LinkNet: A & B", "authors": "Chaurasia and Culurciello", "year": 2017, "link": "https://x/y_z"}
    return Paper.model_validate({**fields, **more})


def test_a_key_has_the_first_author_the_year_and_the_first_word_of_the_title() -> None:
    assert cite_key(paper()) == "chaurasia2017linknet"
    assert cite_key(paper(authors="López-Montiel et al.", title="The Rethinking of Nets")) == "lopezmontiel2017nets"


def test_an_entry_is_escaped_and_names_the_others() -> None:
    text = to_bibtex([paper(authors="Wu et al.", venue="R&D"), paper(authors="Wu et al.", venue="R&D")])
    assert text.count("@misc{wu2017linknet,") == 1
    assert "author = {Wu and others}" in text
    assert r"title  = {{LinkNet: A \& B}}" in text
    assert "url    = {https://x/y_z}" in text
    assert text.count("{") == text.count("}")


def test_a_bib_keeps_what_is_in_it() -> None:
    mine = "@misc{mine,\n  title = {Mine},\n}\n@Article{ chaurasia2017linknet ,\n  title = {mended by hand},\n}\n"
    text = to_bibtex([paper(), paper(authors="Wu et al.")], mine)
    assert text.startswith(mine)
    assert text.count("chaurasia2017linknet") == 1
    assert "@misc{wu2017linknet," in text
    assert to_bibtex([paper(), paper(authors="Wu et al.")], text) == text


def test_every_bundled_baseline_has_a_key_of_its_own() -> None:
    papers = {b.paper for name in names("architecture") if isinstance(b := read_architecture(name, {}), Baseline)}
    keys = [cite_key(each) for each in papers]
    assert len(set(keys)) == len(keys)
    assert all(re.fullmatch(r"[a-z]+\d{4}[a-z0-9]+", key) for key in keys)
