"""Templates in files and pages: search.json, search.html, the report, and lines in the terminal."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import foldry
from foldry.errors import InputError
from foldry.formats.job import parse_jobs
from foldry.formats.template import parse_template, template_mmcif
from foldry.query import Chain, Hit, Query
from foldry.results.search import search_json, write_search
from foldry.results.search_page import search_html
from foldry.results.templates import MAX_LEFT_OUT, tables, template_lines, template_rows
from foldry.search.recipes import HMMSEARCH, Step
from foldry.search.result import FoundTemplates, SearchResult
from foldry.store.files import names
from tests.results.test_report import EVIL, Elements
from tests.search.test_templates import HIT, SEQUENCE, deposited

PAIRS = np.repeat(np.arange(len(SEQUENCE) // 2)[:, None], 2, axis=1)
MADE = Hit("1abc_A", PAIRS, deposited({"A": HIT}).chains["A"])
STRUCTURE = replace(parse_template(template_mmcif(MADE), "1abc")[0], name="1abc_A")
FOUND = Hit(
    "1abc_A", PAIRS, STRUCTURE, 1e-20, None, 0.625, 0.5, "2001-02-03", "realigned by kalign"
)
GIVEN = Hit("mine_B", PAIRS, STRUCTURE)
STEP = Step(HMMSEARCH, ("pdb_seqres", "pdb"), "pdb_hits")


def result(*hits: Hit, left_out: int = 0, name: str = "q") -> SearchResult:
    reasons = tuple(
        (f"{n}abc_A", "was released on 2021-03-01, after 2020-01-01") for n in range(left_out)
    )
    chain = Chain(("A", "B"), SEQUENCE, None, None, hits, True, reasons)
    return SearchResult(
        Query(name, (chain,)),
        "full",
        ((),),
        (FoundTemplates(STEP, 2.5),),
        {"pdb": "12", "pdb_seqres": "34", "other": "56"},
        "2020-01-01",
    )


def test_rows_complete_what_given_templates_lack() -> None:
    found, given = template_rows(result(FOUND, GIVEN).query.chains[0])
    assert (found.entry, found.chain, found.identity, found.coverage) == ("1abc", "A", 0.625, 0.5)
    assert (found.released, found.e_value, found.how) == (
        "2001-02-03",
        1e-20,
        "realigned by kalign",
    )
    equal = [one == other for one, other in zip(SEQUENCE, HIT, strict=True)][: len(PAIRS)]
    assert given.identity == pytest.approx(sum(equal) / len(equal))
    assert given.coverage == pytest.approx(len(PAIRS) / len(SEQUENCE))
    assert (given.entry, given.chain, given.released, given.how) == ("mine", "B", None, "given")
    bare = replace(GIVEN, structure=None)
    assert template_rows(Chain(("A",), SEQUENCE, templates=(bare,)))[0].identity is None


@pytest.mark.parametrize(
    ("made", "line"),
    [
        (result(FOUND), "1 template: 1abc_A (62 % identical, covers 50 %, E-value 1e-20)."),
        (
            result(*[FOUND] * 5, left_out=3),
            "5 templates: "
            + ", ".join(["1abc_A (62 % identical, covers 50 %, E-value 1e-20)"] * 3)
            + " and 2 more.",
        ),
        (
            result(left_out=2),
            "no template; 2 hits left out, all like 0abc_A, which was released on 2021-03-01, "
            "after 2020-01-01.",
        ),
        (
            result(left_out=1),
            "no template; 1 hit left out: 0abc_A, which was released on 2021-03-01, after "
            "2020-01-01.",
        ),
        (result(), "no template."),
    ],
)
def test_a_line_for_each_chain(made: SearchResult, line: str) -> None:
    [chain] = made.query.chains
    bare = Query("q", (Chain(chain.ids, SEQUENCE),))
    assert template_lines(made.query, bare) == [f"q, chains A, B: {line}"]
    assert template_lines(bare, bare) == []


def test_the_most_frequent_reason_is_named() -> None:
    reasons = ["is nearly the whole query itself", "has no chain B in its file"]
    reasons += [f"covers {n} % of the query ({n} of 100 residues)" for n in range(1, 4)]
    chain = Chain(("A",), SEQUENCE, None, None, (), True, tuple(("1abc_A", r) for r in reasons))
    [line] = template_lines(Query("q", (chain,)), Query("q", (Chain(("A",), SEQUENCE),)))
    says = "5 hits left out, 3 like 1abc_A, which covers 1 % of the query (1 of 100 residues)."
    assert line == f"q, chain A: no template; {says}"


def test_what_came_with_the_query_is_not_said_to_be_found() -> None:
    made = result(GIVEN).query
    [line] = template_lines(made, made)
    assert line.startswith("q, chains A, B: 1 template given: mine_B (")
    none = result().query
    assert template_lines(none, none) == [], "an empty list: none is wanted"


def test_the_record_beside_the_query(tmp_path: Path) -> None:
    made = result(FOUND, left_out=1)
    folder = write_search(made, tmp_path)
    record = json.loads((folder / "search.json").read_text())
    assert record["databases"] == [
        {"name": "pdb_seqres", "version": "34"},
        {"name": "pdb", "version": "12"},
    ]
    assert (record["recipe"], record["max_template_date"]) == ("full", "2020-01-01")
    [chain] = record["chains"]
    assert chain["ids"] == ["A", "B"]
    assert chain["template_search"] == {
        "engine": "hmmsearch",
        "databases": ["pdb_seqres", "pdb"],
        "seconds": 2.5,
    }
    [template] = chain["templates"]
    assert template["entry"] == "1abc"
    assert template["how"] == "realigned by kalign"
    assert template["released"] == "2001-02-03"
    [left_out] = chain["left_out"]
    assert left_out["reason"] == "was released on 2021-03-01, after 2020-01-01"
    text = (folder / "q.json").read_text()
    [job] = json.loads(text)["sequences"]
    assert set(job["protein"]) == {"id", "sequence", "unpairedMsa", "pairedMsa", "templates"}
    [template] = job["protein"]["templates"]
    assert set(template) == {"mmcif", "queryIndices", "templateIndices"}
    assert foldry.read_query(folder) == replace(made.query, seeds=(0,)), "no other file is a query"
    [again] = parse_jobs(text, folder / "q.json")
    assert again.chains[0].templates == made.query.chains[0].templates


def test_a_query_may_be_named_like_the_record(tmp_path: Path) -> None:
    for name in ("search", "Search"):
        folder = write_search(result(FOUND, name=name), tmp_path)
        expected = {"a3m", "search.html", f"{name}.json", f"{name}_search.json"}
        assert set(names(folder)) == expected
        assert foldry.read_query(folder).name == name


def test_no_templates_is_not_the_same_as_not_searched_for(tmp_path: Path) -> None:
    folder = write_search(result(), tmp_path)
    assert json.loads((folder / "q.json").read_text())["sequences"][0]["protein"]["templates"] == []
    made = result()
    alone = replace(made.query.chains[0], templates_known=False)
    open_ = replace(made, query=replace(made.query, chains=(alone,)), templates=())
    protein = json.loads((write_search(open_, tmp_path) / "q.json").read_text())["sequences"][0]
    assert "templates" not in protein["protein"]
    assert json.loads(search_json(open_))["chains"][0]["template_search"] is None


def text_of(page: str) -> str:
    return html.unescape(re.sub("<[^>]*>", " ", page))


def test_the_page_lists_templates_and_why_others_are_none() -> None:
    hostile = replace(FOUND, name=f"{EVIL}_A", how="same chain")
    made = result(FOUND, hostile, left_out=MAX_LEFT_OUT + 1)
    shown = search_html(made)
    calm = search_html(result(FOUND, FOUND, left_out=MAX_LEFT_OUT + 1))
    assert Elements(shown).tags == Elements(calm).tags
    said = text_of(shown)
    assert "hmmsearch on pdb_seqres, pdb, 2.5 s for all chains" in said
    assert "realigned by kalign" in said
    assert "2001-02-03" in said
    assert "1e-20" in said
    assert f"Hits left out: the first {MAX_LEFT_OUT} of {MAX_LEFT_OUT + 1}" in said
    assert "was released on 2021-03-01, after 2020-01-01" in said
    assert "No template was found." in text_of(search_html(result()))
    kept = replace(made, templates=(FoundTemplates(STEP),))
    assert "kept from an earlier search" in text_of(search_html(kept))
    came = replace(made, templates=())
    assert "The templates came with the chain." in text_of(search_html(came))


def test_the_tables_of_the_report() -> None:
    made = tables(result(FOUND, GIVEN, left_out=MAX_LEFT_OUT + 1).query)
    [found, given] = made["rows"]  # type: ignore[misc]
    assert found == [
        *("A, B", "1abc", "A", "62 %", "50 %", "2001-02-03", "1e-20", "realigned by kalign"),
    ]
    assert given[4:] == ["50 %", "unknown", "–", "given"]
    assert len(found) == len(made["header"])  # type: ignore[arg-type]
    assert (len(made["leftOut"]), made["numLeftOut"]) == (MAX_LEFT_OUT, MAX_LEFT_OUT + 1)  # type: ignore[arg-type]


def test_the_arguments_in_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOLDRY_SEARCHES", str(tmp_path / "searches"))
    query = "examples/kunitz/1adz.fasta"
    [chain] = foldry.search_query(query, "examples/database", out=tmp_path / "out").chains
    assert chain.templates
    [written] = foldry.read_query(tmp_path / "out/1adz/1adz.json").chains
    assert written.alignment == chain.alignment
    [bare] = foldry.search_query(query, "none").chains
    assert bare.alignment is None
    assert {hit.how for hit in chain.templates} == {"same chain"}
    [chain] = foldry.search_query(query, "examples/database", search_templates=False).chains
    assert (chain.templates, chain.templates_known) == ((), False)
    with pytest.raises(InputError, match="`max_template_date` is 'soon'"):
        foldry.search_query(query, "examples/database", max_template_date="soon")
