"""FASTA, a3m and Stockholm against slow, plain readings of the same text."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from Bio import AlignIO, SeqIO
from hypothesis import given, settings
from hypothesis import strategies as st

from foldry.errors import InputError
from foldry.formats.a3m import parse_a3m
from foldry.formats.fasta import parse_fasta
from foldry.formats.stockholm import (
    deduplicate_stockholm,
    parse_stockholm,
    remove_empty_columns,
    stockholm_to_a3m,
    truncate_stockholm,
)

LETTERS = "ACDEFGHIKLMNPQRSTVWY"


@st.composite
def stockholm_rows(draw: st.DrawFn) -> list[str]:
    """Rows of equal length; the first has at least one letter."""
    length = draw(st.integers(1, 12))
    row = st.text(alphabet=LETTERS + "--..", min_size=length, max_size=length)
    rows = draw(st.lists(row, min_size=1, max_size=6))
    return ["A" + rows[0][1:], *rows[1:]]


def stockholm(rows: list[str], block: int = 5) -> str:
    """The rows in blocks of so many columns."""
    lines = ["# STOCKHOLM 1.0", ""]
    lines += [f"#=GS s{i} DE row {i}" for i in range(len(rows))]
    for start in range(0, len(rows[0]), block):
        lines += ["", *(f"s{i} {row[start : start + block]}" for i, row in enumerate(rows))]
        lines += ["#=GC RF " + "x" * len(rows[0][start : start + block])]
    return "\n".join([*lines, "//", ""])


@settings(deadline=None)
@given(st.lists(st.tuples(st.text(LETTERS, min_size=1), st.text(LETTERS)), max_size=5))
def test_fasta_agrees_with_biopython(records: list[tuple[str, str]]) -> None:
    text = "".join(f"> {name} x\r\n{seq[:3]}\r\n\r\n{seq[3:]}\r\n" for name, seq in records)
    ours = parse_fasta(text.replace("\r\n", "\n"))
    theirs = list(SeqIO.parse(io.StringIO(text.replace("> ", ">")), "fasta"))
    assert [(r.header, r.sequence) for r in ours] == [(r.description, str(r.seq)) for r in theirs]


def test_fasta_counts_lines() -> None:
    assert [record.line for record in parse_fasta("\n>a\nMK\n\nT\n>b\n")] == [2, 6]


@settings(deadline=None)
@given(stockholm_rows())
def test_stockholm_agrees_with_biopython_and_counts_deletions(rows: list[str]) -> None:
    text = stockholm(rows)
    alignment = parse_stockholm(text)
    records = AlignIO.read(io.StringIO(text), "stockholm")
    theirs = [str(record.seq).replace(".", "-") for record in records]
    columns = [index for index, letter in enumerate(theirs[0]) if letter != "-"]
    assert list(alignment.sequences) == ["".join(row[i] for i in columns) for row in theirs]
    for row, deletions in zip(theirs, alignment.deletions, strict=True):
        starts = [0, *(index + 1 for index in columns[:-1])]
        gaps = [row[a:b] for a, b in zip(starts, columns, strict=True)]
        assert [len(gap) - gap.count("-") for gap in gaps] == deletions.tolist()


@settings(deadline=None)
@given(stockholm_rows())
def test_a3m_of_a_stockholm_text_is_the_same_alignment(rows: list[str]) -> None:
    one = parse_stockholm(stockholm(rows))
    two = parse_a3m(stockholm_to_a3m(stockholm(rows)))
    assert one.sequences == two.sequences
    np.testing.assert_array_equal(one.deletions, two.deletions)
    assert two.headers == tuple(f"s{i} row {i}" for i in range(len(rows)))


@settings(deadline=None)
@given(stockholm_rows(), st.integers(1, 6))
def test_texts_keep_the_alignment(rows: list[str], number: int) -> None:
    text = stockholm(rows)
    whole = parse_stockholm(text)
    once = parse_stockholm(deduplicate_stockholm(text))
    assert once.sequences == tuple(dict.fromkeys(whole.sequences))
    assert parse_stockholm(truncate_stockholm(text, number)).sequences == whole.sequences[:number]
    dense = parse_stockholm(remove_empty_columns(text))
    assert dense.sequences == whole.sequences
    np.testing.assert_array_equal(dense.deletions, whole.deletions)


def test_a_dot_is_a_gap_in_stockholm() -> None:
    points = parse_stockholm("q MK..TA\nr .KaAT.\n//\n")
    assert points == parse_stockholm("q MK--TA\nr -KAAT-\n//\n")
    assert points.texts == ("MKTA", "-KaaT-")


@pytest.mark.parametrize("end", ["\n", " \t\n"])
def test_a_name_occurs_once_in_a_block_of_stockholm(end: str) -> None:
    twice = "# STOCKHOLM 1.0\nq MK\nr M-\n# a comment\n#=GC RF xx\nq TA\nr TA\n//\n"
    with pytest.raises(InputError, match=r"x\.sto, line 6, has the name 'q' for the second time"):
        parse_stockholm(twice, "x.sto")
    apart = parse_stockholm(twice.replace("xx\n", f"xx\n{end}"), "x.sto")
    assert apart.sequences == ("MKTA", "M-TA")


def test_annotations_without_values_are_ignored() -> None:
    text = "# STOCKHOLM 1.0\n#=GS\n#=GS q\n#=GS q DE\nq MK\nr M-\n//\n"
    assert stockholm_to_a3m(text) == ">q \nMK\n>r \nM-\n"
    assert parse_stockholm(truncate_stockholm(text, 1)).sequences == ("MK",)


def test_remove_empty_columns() -> None:
    text = "# STOCKHOLM 1.0\na A--C\nb -G-C\n#=GC RF x.xx\n//\n"
    assert remove_empty_columns(text) == "# STOCKHOLM 1.0\na A-C\nb -GC\n#=GC RF x.x\n//"


@settings(deadline=None)
@given(st.lists(st.text(LETTERS + LETTERS.lower() + "-.", min_size=0), min_size=1, max_size=5))
def test_any_text_is_an_alignment_or_bad_input(rows: list[str]) -> None:
    text = "".join(f">r{i}\n{row}\n" for i, row in enumerate(rows))
    try:
        alignment = parse_a3m(text)
    except InputError as error:
        assert str(error).endswith(".")
        return
    for row, sequence, deletions in zip(
        rows, alignment.sequences, alignment.deletions, strict=True
    ):
        assert sequence == re.sub("[a-z.]", "", row)
        parts = re.split("[A-Z-]", row.replace(".", ""))
        assert [len(part) for part in parts[:-1]] == deletions.tolist()


def test_a3m_errors_name_the_line() -> None:
    with pytest.raises(InputError, match=r"x\.a3m, line 4, has 3 .* has 2"):
        parse_a3m(">q\nMK\n\n>r\nM-K\n", "x.a3m")
