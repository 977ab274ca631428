"""Text formats bound what they make, not only the bytes that they read."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import pytest

from foldry.errors import InputError
from foldry.formats import lines as module
from foldry.formats.a3m import parse_a3m
from foldry.formats.hhr import parse_hhr
from foldry.formats.lines import lines
from foldry.formats.sequence import clean_sequence
from foldry.inputs.pairs import read_screen
from foldry.inputs.queries import read_queries
from foldry.query import MAX_INSERTED, MAX_RESIDUES, MAX_ROWS, Alignment, Query

# Each is a few kB after compression: the name, the beginning, what is repeated, how often.
BOMBS = {
    "records": ("q.fasta", ">q\nMKTAYIA\n", ">x\nA\n", 300_000, "has more than 200000 chains"),
    "chains": ("q.fasta", "", f">q\n{'A:' * 900}A\n", 300, "has more than 200000 chains"),
    "newlines": ("q.fasta", ">q\nMKTAYIA\n", "\n", 10_000_001, "has more than 10000000 lines"),
    "line ends": ("q.fasta", ">q\nMKTAYIA\n", "\r", 10_000_001, "has more than 10000000 lines"),
    "row": ("q.fasta", ">q\n", "A", 10_000_001, "line 2, has more than 10000000 characters"),
    "header": ("q.fasta", ">", "A", 10_000_001, "line 1, has more than 10000000 characters"),
    "lines of a row": ("q.fasta", ">q\n", "AAAA\n", 60_000, "line 1, has more than 100000"),
    "rows": ("q.a3m", ">q\nA\n", ">\nA\n", MAX_ROWS, "is beyond 1000000 records"),
    "insertions": ("q.a3m", ">q\nA\n>r\nA\n", f"{'a' * 99}\n", 210_000, "20000000 inserted"),
    "first line": ("q.a3m", "#", "1", 10_000, "first row, has no sequence|no rows"),
    "rows of Stockholm": ("q.sto", "", "q A\n", 1000, "line 2, has the name 'q' for the second"),
    "values": ("q.json", "[", "[],", 2_500_001, "has more than 5000000 values"),
    "copies": (
        "q.json",
        "[",
        '{"name": "x", "sequences": [{"proteinChain": {"sequence": "MK", "count": 1000}}]},',
        201,
        "has more than 200000 chains",
    ),
    "rows in JSON": (
        "q.json",
        '{"name": "x", "sequences": [{"protein": {"id": "A", "sequence": "A", "unpairedMsa": "',
        r">\nA\n",
        MAX_ROWS + 1,
        "sequence 1 unpairedMsa, line 2000001, is beyond 1000000 records",
    ),
}
ENDS = {"values": "[]]", "copies": "0]", "rows in JSON": '"}}]}'}


def read_bomb(path: Path, start: str, unit: str, times: int, end: str = "") -> list[Query]:
    path.write_bytes(gzip.compress(f"{start}{unit * times}{end}".encode(), 1))
    return read_queries([path])


@pytest.mark.parametrize("case", BOMBS)
def test_a_small_file_does_not_become_a_large_one(case: str, tmp_path: Path) -> None:
    name, start, unit, times, says = BOMBS[case]
    with pytest.raises(InputError, match=says):
        read_bomb(tmp_path / f"{name}.gz", start, unit, times, ENDS.get(case, ""))


@pytest.mark.parametrize("unit", ["\n", "\x0b", ","])
def test_a_table_does_not_become_a_large_one(
    unit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_LINES", 1000)
    monkeypatch.setattr(module, "MAX_LINE", 1000)
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + unit * 1001)
    with pytest.raises(InputError, match=r"t\.csv.* has more than 1000 (lines|characters)"):
        read_screen([path])


def test_the_size_of_a_text_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TEXT", 10)
    with pytest.raises(InputError, match=r"q\.fasta\.gz holds more than"):
        read_bomb(tmp_path / "q.fasta.gz", ">q\n", "A", 8)
    assert read_bomb(tmp_path / "q.fasta.gz", ">q\n", "A", 7)


def test_lines_are_made_one_at_a_time() -> None:
    text = "ab\n" * 100_000
    tracemalloc.start()
    assert sum(1 for _ in lines(text, "here")) == 100_000
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()
    assert list(lines("\na\n\nb", "here")) == [(1, ""), (2, "a"), (3, ""), (4, "b")]


def test_input_within_the_bounds_is_read() -> None:
    assert len(clean_sequence("A" * MAX_RESIDUES, "here")) == MAX_RESIDUES
    with pytest.raises(InputError, match=f"here has {MAX_RESIDUES + 1} residues"):
        clean_sequence("A" * (MAX_RESIDUES + 1), "here")
    rows = 100_000
    assert parse_a3m(">q\nMKTA\n" + ">r\nM-aTA\n" * (rows - 1)).num_rows == rows
    alignment = Alignment.of(["", ""], ["A", "A" + "a" * (MAX_INSERTED // 4)])
    assert alignment.insertions.count.tolist() == [MAX_INSERTED // 4]
    with pytest.raises(InputError, match="row 1 of the alignment begins an alignment of 3 rows"):
        Alignment.of([""] * 3, ["A" * 70_000_000] * 3)


def test_lines_and_hits_of_hhr_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"x\.hhr, line 2, has more than 20000 characters"):
        parse_hhr("No 1\n" + "Aligned_cols=1 Identities=1% " * 1000, "x.hhr")
    monkeypatch.setattr("foldry.formats.hhr.MAX_HITS", 3)
    with pytest.raises(InputError, match=r"x\.hhr has more than 3 hits"):
        parse_hhr("No 1\n" * 4, "x.hhr")
