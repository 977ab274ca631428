"""The rows with which templates are searched: those of AlphaFold, within limits."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foldry.formats.stockholm import (
    deduplicate_stockholm,
    parse_stockholm,
    remove_empty_columns,
    stockholm_rows,
    to_stockholm,
    truncate_stockholm,
)
from foldry.query import Alignment
from foldry.search import template_input as module
from foldry.search.template_input import template_input
from tests.search.mmseqs_databases import protein, relative
from tests.search.template_world import JACKHMMER, need, run

FAR = "".join(random.Random(5).choices("ARNDCQEGHILKMFPSTWYV", k=80))


def columns(text: str) -> list[tuple[str, str]]:
    """Name and letters of each row, and the line that marks the query's columns."""
    rows, _ = stockholm_rows(text)
    marks = [line.split()[-1] for line in text.splitlines() if line.startswith("#=GC RF")]
    return [*rows.items(), ("RF", "".join(marks))]


@pytest.mark.tools
@pytest.mark.parametrize("most", [7, 60, 10_000])
def test_the_rows_and_columns_are_alphafolds(most: int, tmp_path: Path) -> None:
    need("jackhmmer")
    chance = random.Random(4)
    rows = [relative(chance, FAR, chance.choice([0, 0.01, 0.2, 0.5])) for _ in range(80)]
    rows += [row[:40] + protein(chance, 30) + row[40:] for row in rows[:3]]
    fasta = "".join(f">r{number} of many\n{row}\n" for number, row in enumerate(rows))
    (tmp_path / "a.fasta").write_text(fasta)
    (tmp_path / "q.fasta").write_text(f">query\n{FAR}\n")
    out = tmp_path / "out.sto"
    run(JACKHMMER, out=out, query=tmp_path / "q.fasta", database=tmp_path / "a.fasta")
    cut = truncate_stockholm(out.read_text(), most)
    expected = columns(remove_empty_columns(deduplicate_stockholm(cut)))
    ours = template_input(parse_stockholm(cut))
    assert columns(to_stockholm(ours)) == expected
    assert ours.num_rows < parse_stockholm(cut).num_rows or most == 7


@given(
    st.lists(st.text("MK-", min_size=3, max_size=3), max_size=12),
    st.lists(st.text("ac", max_size=2), min_size=13, max_size=13),
)
def test_rows_that_differ_in_insertions_alone_count_once(
    rows: list[str], inserted: list[str]
) -> None:
    rows = ["MKT", *rows]
    texts = [row[:2] + more + row[2:] for row, more in zip(rows, ["", *inserted], strict=False)]
    found = template_input(Alignment.of([str(number) for number in range(len(rows))], texts))
    first = {row: number for number, row in reversed(list(enumerate(rows)))}
    assert found.texts == tuple(texts[number] for number in sorted(first.values()))
    assert found.headers == tuple(map(str, sorted(first.values())))


def test_rows_and_columns_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [f"M{'ac'[number % 2] * number}{letter}" for number, letter in enumerate("KTAVSGLI")]
    alignment = Alignment.of(["r"] * 8, rows)
    assert template_input(alignment) == alignment
    monkeypatch.setattr(module, "MAX_PROFILE_ROWS", 5)
    assert template_input(alignment) == alignment.rows(slice(5))
    monkeypatch.setattr(module, "MAX_LETTERS", 6)  # two rows of two columns and one inserted
    assert template_input(alignment) == alignment.rows(slice(2))
    monkeypatch.setattr(module, "MAX_LETTERS", 1)
    assert template_input(alignment) == alignment.rows([0])
