"""Log messages about queries before they are folded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from foldry.features.pairing import align_complex
from foldry.formats.a3m import parse_a3m
from foldry.model.config import preset
from foldry.predict.remarks import (
    say_pairing,
    say_tried_templates,
    warn,
    warn_of_nucleic_acids,
    warn_of_single_sequences,
    warn_of_unused_pairing,
    warn_of_unused_settings,
    warn_of_unused_templates,
)
from foldry.predict.settings import Settings
from foldry.query import Chain, Hit, Query

A, B = "MKTAYIAKQR", "MKVLAAGIVG"
HUMAN, MOUSE = "tr|A0A000|A0A000_HUMAN", "tr|A0A001|A0A001_MOUSE"


def chain(name: str, sequence: str, *headers: str) -> Chain:
    """Return a chain with an alignment row for each header; no two rows are equal."""
    rows = [sequence[:k] + "-" + sequence[k + 1 :] for k in range(len(headers))]
    records = zip((name, *headers), (sequence, *rows), strict=True)
    a3m = "".join(f">{header}\n{row}\n" for header, row in records)
    return Chain((name,), sequence, parse_a3m(a3m) if headers else None)


def by_file(query: Query, *, paired: bool) -> Query:
    """Return the query as if its file paired all rows by their number, or no rows."""
    chains = (replace(c, alignment=None, paired=c.alignment) for c in query.chains)
    return replace(query, chains=tuple(chains) if paired else query.chains, paired_by_row=True)


TWO = Query("q", (chain("A", A, HUMAN, MOUSE), chain("B", B, MOUSE)))
CASES = {
    "1 paired row of 1 species; unpaired rows: A 1, B 0": TWO,
    "no rows are paired; unpaired rows: A 1, B 1": Query(
        "q", (chain("A", A, HUMAN), chain("B", B, MOUSE))
    ),
    "no rows are paired, because no header names a species; unpaired rows: A 2, B 1": Query(
        "q", (chain("A", A, "x", "y"), chain("B", B, "z"))
    ),
    "no rows are paired, because no chain has an alignment; unpaired rows: A 0, B 0": Query(
        "q", (chain("A", A), chain("B", B))
    ),
    "the file pairs no rows; unpaired rows: A 2, B 1": by_file(TWO, paired=False),
    "2 paired rows, as in the file; unpaired rows: A 0, B 0": by_file(
        Query("q", (chain("A", A, "x", "y"), chain("B", B, "x", "y"))), paired=True
    ),
    "no rows are paired, because all chains are equal; unpaired rows: A 2": Query(
        "q", (replace(chain("A", A, HUMAN, MOUSE), ids=("A", "B")),)
    ),
}


def test_copies_are_named_by_their_first_chain(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "foldry"):
        say_pairing(COPIES, align_complex(COPIES).report)
    expected = "q (2 × A, 2 × B): 1 paired row of 1 species; unpaired rows: A 0, B 0."
    assert caplog.messages[0] == expected


@pytest.mark.parametrize("said", CASES)
def test_the_pairing_is_reported(said: str, caplog: pytest.LogCaptureFixture) -> None:
    query = CASES[said]
    with caplog.at_level("INFO", "foldry"):
        say_pairing(query, align_complex(query).report)
    kind = "2 × A" if query.num_chains > len(query.chains) else "A, B"
    assert caplog.messages[0] == f"q ({kind}): {said}."


def test_a_chain_without_an_alignment_shares_that_of_an_equal_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    alone, aligned = chain("B", A), chain("A", A, HUMAN)
    warn_of_single_sequences([Query("shared", (aligned, alone))])
    assert caplog.messages == []
    warn_of_single_sequences([Query("q", (aligned, chain("B", B))), Query("r", (alone,))])
    [said] = caplog.messages
    assert said.startswith("'q' and 1 more have no alignment")
    warn_of_single_sequences([Query("chains", (alone,))])
    assert caplog.messages[1].startswith("'chains' has no alignment")


def test_a_pairing_without_effect_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    paired = by_file(TWO, paired=False)
    warn_of_unused_pairing([TWO, paired], "alphafold")
    warn_of_unused_pairing([TWO], "greedy")
    assert caplog.messages == []
    warn_of_unused_pairing([TWO, replace(paired, name="c"), paired], "greedy")
    assert caplog.messages == [
        "`pairing` greedy has no effect on 'c' and 1 more: the file pairs the rows."
    ]


ALONE = Query("alone", (chain("A", A, HUMAN),))


def test_a_search_may_still_find_alignments(caplog: pytest.LogCaptureFixture) -> None:
    query = Query("bare", (chain("A", A),))
    warn([query], Settings(), [])
    assert "'bare' has no alignment" in caplog.text
    caplog.clear()
    warn([query], Settings(), [], are_searched=True)
    assert caplog.text == ""


SINGLE = Query("single", (chain("A", A), chain("B", A)))
APART = Query("apart", (chain("A", A, HUMAN), chain("B", B)))
COPIES = Query("q", (replace(chain("A", A, HUMAN), ids=("A", "C")), chain("B", B), chain("D", B)))
NO_RECYCLES = replace(preset("model_1_ptm"), num_recycles=0)


@pytest.mark.parametrize(
    ("query", "settings", "said"),
    [
        (ALONE, Settings(pairing="greedy"), "`pairing` has no effect: no query has different"),
        (SINGLE, Settings(pairing="none"), "`pairing` has no effect: no query has different"),
        (APART, Settings(pairing="greedy"), "`pairing` has no effect: no query has different"),
        (by_file(TWO, paired=False), Settings(pairing="greedy"), ""),
        (COPIES, Settings(pairing="none"), ""),
        (TWO, Settings(pairing="greedy"), ""),
        (SINGLE, Settings(max_msa=(8, 8)), "`max_msa` has no effect: no query has an alignment."),
        (ALONE, Settings(max_msa=(8, 8)), ""),
        (ALONE, Settings(recycle_tolerance=0.5), "`recycle_tolerance` has no effect: it needs 2"),
        (ALONE, Settings(relax_rounds=1), "`relax_rounds` has no effect: nothing is relaxed"),
        (ALONE, Settings(relax_seconds=9), "`relax_seconds` has no effect: nothing is relaxed"),
        (ALONE, Settings(relax_platform="cpu"), "`relax_platform` has no effect: nothing is"),
        (ALONE, Settings(relax_rounds=1, relax="best"), ""),
        (ALONE, Settings(), ""),
    ],
)
def test_a_setting_without_effect_is_a_warning(
    query: Query, settings: Settings, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    warn_of_unused_settings([query], settings, [NO_RECYCLES])
    assert len(caplog.messages) == bool(said)
    assert caplog.text.count(said)
    caplog.clear()
    if settings.recycle_tolerance:
        warn_of_unused_settings([query], settings, [NO_RECYCLES, preset("model_1_ptm")])
        assert caplog.messages == []


def test_templates_that_no_network_reads_are_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    hits = tuple(Hit(f"{n}abc_A", np.array([[0, 0]])) for n in range(1, 6))
    [one] = ALONE.chains
    many = replace(ALONE, chains=(replace(one, templates=hits),))
    few = replace(ALONE, chains=(replace(one, templates=hits[:4]),))
    warn_of_unused_templates([few, ALONE], [preset("model_1_ptm"), preset("model_3_ptm")])
    searched = tuple(replace(each, how="same chain") for each in hits)
    found = replace(ALONE, chains=(replace(one, templates=(*hits[:4], *searched)),))
    warn_of_unused_templates([found], [preset("model_1_ptm")])
    assert caplog.messages == []
    warn_of_unused_templates([many, few], [preset("model_1_ptm")])
    warn_of_unused_templates([many, few, ALONE], [preset("model_3_ptm")])
    assert caplog.messages == [
        "The networks read 4 templates per chain: others of 'alone' have no effect.",
        "The networks read no templates: those of 'alone' and 1 more have no effect.",
    ]


def test_templates_that_a_network_tries_are_announced(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "foldry")
    hits = tuple(Hit(f"{n}abc_A", np.array([[0, 0]])) for n in range(1, 6))
    [one] = ALONE.chains
    first, few, many = (
        replace(ALONE, name=name, chains=(replace(one, templates=hits[:number]),))
        for name, number in (("first", 1), ("few", 2), ("many", 5))
    )
    mini, official = preset("mini"), preset("model_1_ptm")
    say_tried_templates([first, ALONE], [mini, official])
    say_tried_templates([many, few], [official])
    warn_of_unused_templates([first, few], [mini])
    assert caplog.messages == []
    say_tried_templates([first, few, many], [official, mini])
    warn_of_unused_templates([first, few, many], [mini])
    warn_of_unused_templates([many], [mini, official])
    assert caplog.messages == [
        "mini reads one template per chain: for 'few' and 1 more, it tries each template, at most "
        "4, and the prediction with the highest confidence is kept.",
        "The networks try 4 templates per chain: others of 'many' have no effect.",
        "The networks read 4 templates per chain: others of 'many' have no effect.",
    ]


@pytest.mark.parametrize(("letters", "is_nucleic"), [("ACGT", 1), ("GA", 1), ("A", 0), ("GX", 0)])
def test_repeats_of_one_residue_are_no_nucleic_acid(
    letters: str, is_nucleic: int, caplog: pytest.LogCaptureFixture
) -> None:
    warn_of_nucleic_acids([Query("q", (chain("A", letters * 30),))])
    assert len(caplog.messages) == is_nucleic
