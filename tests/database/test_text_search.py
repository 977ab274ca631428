"""Search for words: what is found, in which order, in pages, with filters and facets."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foldry.database import text_search
from foldry.database.database import Database
from foldry.database.entry import Entry, Facts
from foldry.database.filters import Filter
from foldry.database.text_search import ORDERS, Facets, TextPage, TextQuery, facets, search_text
from foldry.errors import InputError
from tests.database.deposits import deposit, sequence, stored_model

MOUSE = Facts(
    description="Tyrosine-protein kinase ABL1",
    uniprot_id="ABL1_MOUSE",
    gene="Abl1",
    organism="Mus musculus",
    organism_names=("House mouse",),
    tax_id=10090,
    is_reviewed=True,
    keywords=("ATP-binding", "Nucleus"),
    full_names=("Abelson murine leukemia viral oncogene homolog 1",),
)
YEAST = Facts(
    description="Iso-1-cytochrome c",
    gene="CYC1",
    organism="Saccharomyces cerevisiae",
    tax_id=559292,
    keywords=("Electron transport", "Transport"),
    functions=("Electron carrier protein, not phosphorylated by any kinase.",),
)


def publish(database: Database, facts: Facts, number: int, **fields: Any) -> str:
    """Publish a prediction of a protein; return the id of its entry."""
    length = fields.pop("length", 30)
    made = deposit(
        sequence(number, length), seed=number, name=f"lab-{number}", facts=facts, **fields
    )
    [published] = database.publish([made])
    return published.entry_id


def page(database: Database, text: str = "", **query: Any) -> TextPage:
    with database.reading() as connection:
        return search_text(connection, TextQuery(text=text, **query))


def found(database: Database, text: str = "", **query: Any) -> list[str]:
    """Return the ids of the first entries that a search finds."""
    return [entry.entry_id for entry in database.load(page(database, text, **query).keys)]


def counts(database: Database, text: str = "", chosen: Filter | None = None) -> Facets:
    with database.reading() as connection:
        return facets(connection, text, chosen or Filter())


@pytest.fixture
def pair(database: Database) -> tuple[str, str]:
    """A kinase of the mouse and a cytochrome of yeast."""
    return (
        publish(database, MOUSE, 1, accession="P00520"),
        publish(database, YEAST, 2, tool="AlphaFold", provider="Another Lab", length=50),
    )


WORDS = [
    ("P00520", "mouse"),
    ("p00520", "mouse"),
    ("AF-P00520-F1", "mouse"),
    ("af-p00520-f1", "mouse"),
    ("ABL1_MOUSE", "mouse"),
    ("abl1", "mouse"),
    ("musculus", "mouse"),
    ("house mouse", "mouse"),
    ("tyrosine kinases", "mouse"),  # another form of the word
    ("oncogene", "mouse"),
    ("atp binding", "mouse"),
    ("lab-1", "mouse"),
    ("cyc1", "yeast"),
    ("electron carrier", "yeast"),
    ('"electron transport"', "yeast"),
    ("cerevis*", "yeast"),
    ("kinase", "mouse yeast"),  # the name of a protein counts more than its function
    ("kin*", "mouse yeast"),
    ("kinase yeast", ""),
    ('"kinase tyrosine"', ""),
    ("cerevis", ""),
    ("", "yeast mouse"),  # the newest first
]


def test_words_find_entries(database: Database, pair: tuple[str, str]) -> None:
    names = dict(zip(pair, ("mouse", "yeast"), strict=True))
    results = [(text, " ".join(names[each] for each in found(database, text))) for text, _ in WORDS]
    assert results == WORDS


def test_an_exact_gene_or_accession_comes_first(database: Database) -> None:
    others = [
        publish(database, Facts(description="ABL1 ABL1 ABL1 binding", keywords=("ABL1",)), number)
        for number in range(3)
    ]
    gene = publish(database, replace(MOUSE, description="x " * 300), 9)
    assert found(database, "Abl1")[0] == gene
    assert set(found(database, "Abl1")) == {gene, *others}
    named = publish(database, Facts(description="Interacts with ABL1"), 10, accession="P12345")
    mention = publish(database, Facts(description="P12345 P12345", gene="P12345"), 11)
    assert found(database, "P12345") == [named, mention]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.text(max_size=40) | st.text("\"*-():^+ANDORNEAR{}\\';%_ a1", max_size=30))
def test_no_text_is_a_syntax_error(database: Database, text: str) -> None:
    if not database.num_entries:
        publish(database, MOUSE, 1)
    try:
        result = found(database, text)
    except InputError:
        assert len(text.split()) > text_search.MAX_WORDS or not re.search(r"[^\W_]", text)
        return
    if not text.strip():
        assert len(result) == 1, "every entry"


FILTERS = [
    (Filter(organism="Mus musculus"), "mouse"),
    (Filter(organism="mus musculus"), "mouse"),
    (Filter(organism="Mus"), ""),
    (Filter(tax_id=559292), "yeast"),
    (Filter(min_length=31), "yeast"),
    (Filter(max_length=30), "mouse"),
    (Filter(min_length=30, max_length=50), "mouse yeast"),
    (Filter(tool="AlphaFold"), "yeast"),
    (Filter(provider="Another Lab"), "yeast"),
    (Filter(is_reviewed=True), "mouse"),
    (Filter(is_complex=True), ""),
    (Filter(is_complex=False, since="2026-11-30", until="2026-11-30"), "mouse yeast"),
    (Filter(since="2026-12-01"), ""),
    (Filter(until="2026-11-29"), ""),
    (Filter(tags=("good",)), "mouse"),
    (Filter(tags=("good", "bad")), ""),
    (Filter(collection="none"), ""),
]


def test_filters(database: Database, pair: tuple[str, str]) -> None:
    database.tag(pair[0], add=["good"])
    names = dict(zip(pair, ("mouse", "yeast"), strict=True))
    for chosen, expected in FILTERS:
        wanted = {*expected.split()}
        for text in ("", "kinase"):
            assert {names[each] for each in found(database, text, chosen=chosen)} == wanted, chosen
        assert counts(database, "kinase", chosen).total == len(wanted)
        assert {names[each.entry_id] for each in database.entries(chosen=chosen)} == wanted


def test_confidence_filters(database: Database) -> None:
    names = {}
    for number in range(6):
        model = stored_model(((sequence(number), 1),), seed=number)
        names[publish(database, MOUSE, number)] = float(model.record.plddt.mean())
    values = sorted(database.entry(each).latest.mean_plddt for each in names)
    chosen = Filter(min_plddt=values[2], max_plddt=values[4])
    expected = {
        each for each in names if values[2] <= database.entry(each).latest.mean_plddt <= values[4]
    }
    assert len(expected) == 3
    assert {*found(database, "kinase", chosen=chosen)} == expected


@pytest.mark.parametrize(
    "values",
    [
        {"since": "2026-13-01"},
        {"until": "20260101"},
        {"min_length": 10, "max_length": 9},
        {"since": "2026-02-01", "until": "2026-01-01"},
    ],
)
def test_impossible_filters(values: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Filter(**values)


def test_what_changes_is_found_at_once(database: Database, pair: tuple[str, str]) -> None:
    mouse, _ = pair
    database.tag(mouse, add=["favourite"])
    assert found(database, "favourite") == [mouse]
    database.tag(mouse, remove=["favourite"])
    assert found(database, "favourite") == []
    database.withdraw(mouse, "the sample was mixed up")
    assert found(database, "P00520") == []
    assert mouse not in found(database)
    assert found(database, "P00520", chosen=Filter(with_withdrawn=True)) == [mouse]
    database.restore(mouse)
    assert found(database, "P00520") == [mouse]


def many(database: Database, number: int) -> None:
    facts = [
        Facts(
            description=f"Kinase {'of a long name ' * (k % 4)}",
            gene="ABL1" if k % 5 == 0 else f"gene{k}",
            organism=("Mus musculus", "Homo sapiens")[k % 2],
        )
        for k in range(number)
    ]
    database.publish(
        [
            deposit(sequence(k, 20 + k % 7), seed=k, name=f"lab-{k}", facts=each)
            for k, each in enumerate(facts)
        ]
    )


def all_pages(database: Database, text: str, limit: int, **query: Any) -> list[Sequence[int]]:
    pages = [page(database, text, limit=limit, **query)]
    while pages[-1].cursor:
        pages.append(page(database, text, limit=limit, cursor=pages[-1].cursor, **query))
    return [each.keys for each in pages]


@pytest.mark.parametrize("max_ranked", [text_search.MAX_RANKED, 10])
def test_pages_are_the_whole(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch, max_ranked: int
) -> None:
    monkeypatch.setattr(text_search, "MAX_RANKED", max_ranked)
    many(sqlite_database, 40)
    for text in ("", "kinase", "abl1", "kinase long"):
        for order in ("", "plddt", "-length", "-name", "organism"):
            [whole] = all_pages(sqlite_database, text, 1000, order=order)
            pages = all_pages(sqlite_database, text, 7, order=order)
            assert [key for each in pages for key in each] == [*whole]
            assert len({*whole}) == len(whole) > 0
            assert all(len(each) == 7 for each in pages[:-1])


def test_pages_in_every_kind_of_database(database: Database) -> None:
    many(database, 23)
    for text, order in (("kinase", ""), ("abl1", ""), ("", ""), ("kinase", "-plddt"), ("", "name")):
        [whole] = all_pages(database, text, 1000, order=order)
        pages = all_pages(database, text, 4, order=order)
        assert [key for each in pages for key in each] == [*whole]
        assert len(whole) == (5 if text == "abl1" else 23)


def test_later_entries_do_not_shift_pages(database: Database) -> None:
    many(database, 12)
    first = page(database, "", limit=5)
    publish(database, MOUSE, 99)
    second = page(database, "", limit=5, cursor=first.cursor)
    third = page(database, "", limit=5, cursor=second.cursor)
    assert [*first.keys, *second.keys, *third.keys] == list(range(12, 0, -1))
    assert not third.cursor


def test_orders(sqlite_database: Database) -> None:
    many(sqlite_database, 15)
    values: dict[str, Callable[[Entry], Any]] = {
        "entry_id": lambda e: e.entry_id,
        "name": lambda e: e.name,
        "organism": lambda e: e.facts.organism,
        "length": lambda e: e.num_residues,
        "plddt": lambda e: e.latest.mean_plddt,
        "created": lambda e: e.latest.created,
    }
    assert values.keys() == ORDERS.keys()
    for name, value in values.items():
        for order, is_reverse in ((name, False), (f"-{name}", True)):
            entries = sqlite_database.load(page(sqlite_database, "kinase", order=order).keys)
            assert len(entries) == 15
            shown = [value(each) for each in entries]
            assert shown == sorted(shown, reverse=is_reverse)


def test_facets(database: Database, pair: tuple[str, str]) -> None:
    database.tag(pair[0], add=["good", "new"])
    database.tag(pair[1], add=["new"])
    publish(database, MOUSE, 3)
    publish(database, Facts(), 4)
    result = counts(database, "kinase")
    assert result.total == 3
    assert list(result.organisms.items()) == [("Mus musculus", 2), ("Saccharomyces cerevisiae", 1)]
    assert result.providers == {"Example Lab": 2, "Another Lab": 1}
    assert result.tools == {"Foldry": 2, "AlphaFold": 1}
    assert result.tags == {"new": 2, "good": 1}
    means = [each.latest.mean_plddt for each in database.entries()]
    assert sum(result.plddt.values()) == 3
    assert list(result.plddt) == ["0–50", "50–70", "70–90", "90–100"]
    every = counts(database)
    assert every.total == 4
    assert every.plddt["50–70"] == sum(50 <= mean < 70 for mean in means)
    assert "" not in every.organisms


@pytest.mark.parametrize("cursor", ["x", "é", "bnVsbA", "WzEsMiwzXQ", "W10", "A" * 100_000])
def test_a_wrong_cursor_is_refused(sqlite_database: Database, cursor: str) -> None:
    with pytest.raises(InputError, match="not a cursor of this search"):
        page(sqlite_database, "kinase", cursor=cursor)


def test_a_cursor_belongs_to_its_search(sqlite_database: Database) -> None:
    many(sqlite_database, 10)
    cursor = page(sqlite_database, "kinase", limit=3).cursor
    for text, query in (("abl1", {}), ("kinase", {"order": "name"})):
        with pytest.raises(InputError, match="not a cursor of this search"):
            page(sqlite_database, text, cursor=cursor, **query)


@pytest.mark.parametrize(
    "values", [{"order": "size"}, {"order": "--name"}, {"limit": 0}, {"limit": 10**6}]
)
def test_impossible_queries(values: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        TextQuery(**values)
