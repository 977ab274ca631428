"""FASTA, a3m and Stockholm against slow, plain readings of the same text."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import numpy as np
import pytest
from Bio import AlignIO, SeqIO
from hypothesis import given, settings
from hypothesis import strategies as st

from foldry.errors import InputError
from foldry.formats import a3m, fasta
from foldry.formats import stockholm as stockholm_module
from foldry.formats.a3m import parse_a3m
from foldry.formats.fasta import parse_fasta
from foldry.formats.stockholm import (
    deduplicate_stockholm,
    parse_stockholm,
    remove_empty_columns,
    stockholm_to_a3m,
    truncate_stockholm,
)
from foldry.query import Alignment

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


# Plain texts, which are read in large pieces


def outcome(read: Callable[[str, str], Alignment], text: str) -> object:
    """The alignment, or what is wrong."""
    try:
        alignment = read(text, "x")
    except InputError as error:
        return str(error)
    return alignment.headers, alignment.texts


def both_ways(read: Callable[[str, str], Alignment], text: str, piece: int) -> list[object]:
    """The outcomes for a text, read with and without large pieces."""
    found = []
    with pytest.MonkeyPatch.context() as patch:
        for module in (fasta, stockholm_module):
            patch.setattr(module, "PIECE", piece)
        found.append(outcome(read, text))
        patch.setattr(a3m, "_parse_plain", lambda _text, _source: None)
        patch.setattr(stockholm_module, "_plain_rows", lambda _text: {})
        found.append(outcome(read, text))
    return found


ODD = [
    " ",
    "\t",
    "\n",
    "\n\n",
    ">",
    "\n>",
    "#",
    "\n#",
    ";",
    "\0",
    "*",
    ".",
    "_",
    "~",
    "a",
    "A",
    "-",
]
ODD += ["/", "\n/", "//", "\n//\n", "\n# STOCKHOLM 1.0\n", "\n>ss_pred\nC\n", "\n>aa_x\nC\n", "ss_"]
ODD += ["\r", "\x1c", "\x85", "\xa0", "é", "α", "ſ", "?", "1", "\ud800", "q", "\nq A\n", "\n>q\nA"]


@settings(deadline=None, max_examples=400)
@given(
    rows=stockholm_rows(),
    is_stockholm=st.booleans(),
    piece=st.integers(1, 40),
    odd=st.lists(
        st.tuples(st.sampled_from(ODD), st.integers(0, 150), st.integers(0, 2)), max_size=2
    ),
)
def test_large_pieces_change_nothing(
    rows: list[str], is_stockholm: bool, piece: int, odd: list[tuple[str, int, int]]
) -> None:
    text = stockholm(rows) if is_stockholm else stockholm_to_a3m(stockholm(rows))
    for added, place, removed in odd:
        text = text[:place] + added + text[place + removed :]
    one, other = both_ways(parse_stockholm if is_stockholm else parse_a3m, text, piece)
    assert one == other


@pytest.mark.parametrize(
    ("text", "is_plain"),
    [
        (">q x\nMKT\n>r\nM-aT\n", True),
        ("#3\t1\n; c\n> q \nMK\nT\n\n>NP_1\n\nM--", True),
        (">q\nMKT\n#\n>r\nM-T\n", False),
        (">q\nMKT\n>r\nM.-T\n", False),
        (">q\nMKT\n>ss_pred\nCCC\n", False),
        (">q\nMKT\n>r\nM-T\n\0", False),
        (">q\nMKT\n>r\nM-\n", False),
        ("MKT\n", False),
        ("", False),
    ],
)
def test_plain_a3m_is_read_in_large_pieces(text: str, is_plain: bool) -> None:
    assert (a3m._parse_plain(text, "x") is not None) == is_plain


@pytest.mark.parametrize(
    ("text", "is_plain"),
    [
        ("# STOCKHOLM 1.0\n\nq  MK.T*\nr m-A~_\n#=GR r PP 99\n\nq M\nr -\n//\n\n", True),
        ("q MKT\n", True),
        ("q MKT\nq MKT\n", False),
        ("q MKT\n\nq MKT\nr M-T\nr M-T", False),
        ("q\tMKT\n", False),
        ("q MKT \n", False),
        ("q MK1\n", False),
        (" q MKT\n", False),
        ("ss_pred CCC\nq MKT\n", False),
        ("q MKT\n//\nr MKT\n", False),
        ("q MKT\n# STOCKHOLM 1.0\nr MKT\n", False),
        ("q MKT\n/x MKT\n", False),
        ("q MKT\0\n", False),
        ("q\n", False),
        ("", False),
    ],
)
def test_plain_stockholm_is_read_in_large_pieces(text: str, is_plain: bool) -> None:
    assert bool(stockholm_module._plain_rows(text)) == is_plain


def test_bounds_hold_for_large_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, text = ">q\nMKT\n>r\nM-T\n", "q MKT\nr M-T\n"
    for name in ("MAX_LINE", "MAX_LINES", "MAX_ROWS", "MAX_LETTERS"):
        with monkeypatch.context() as patch:
            patch.setattr(a3m, name, 1)
            assert a3m._parse_plain(rows, "x") is None, name
    for name in ("MAX_LINE", "MAX_LINES", "MAX_ROWS"):
        with monkeypatch.context() as patch:
            patch.setattr(stockholm_module, name, 1)
            assert not stockholm_module._plain_rows(text), name
    monkeypatch.setattr(a3m, "MAX_LINE", 17)
    assert a3m._parse_plain(rows, "x") is not None
    assert a3m._parse_plain(f"# {'c' * 20}\n{rows}", "x") is None, "a comment is a line too"
