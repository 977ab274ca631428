"""Alignments as Stockholm: every reader finds the rows that were written."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from Bio import AlignIO
from hypothesis import given
from hypothesis import strategies as st

from foldry.features.pairing import species_of
from foldry.formats.a3m import parse_a3m
from foldry.formats.stockholm import (
    parse_stockholm,
    parse_stockholm_all,
    remove_empty_columns,
    stockholm_to_a3m,
    to_stockholm,
)
from foldry.query import Alignment
from tests.conftest import parity_root

LETTERS = "ARNDCQEGHILKMFPSTWYVX"
RECORDED = sorted((parity_root() / "search").glob("*.npz"))


@st.composite
def a3m_rows(draw: st.DrawFn) -> list[str]:
    length = draw(st.integers(1, 6))
    inserted = st.text(LETTERS.lower(), max_size=4)
    rows = [draw(st.text(LETTERS, min_size=length, max_size=length))]
    for _ in range(draw(st.integers(0, 5))):
        row = draw(st.text(f"{LETTERS}-", min_size=length, max_size=length))
        rows.append("".join(draw(inserted) + letter for letter in row) + draw(inserted))
    return rows


def official(text: str) -> list[tuple[str, str, list[int]]]:
    """Name, letters and deletions of each row, by what AlphaFold takes for a gap: `-` alone."""
    query = next(iter(rows(text).values()))
    found = []
    for name, row in rows(text).items():
        kept, deletions, waiting = "", [], 0
        for ours, theirs in zip(query, row, strict=True):
            if ours != "-":
                kept, deletions, waiting = kept + theirs, [*deletions, waiting], 0
            elif theirs != "-":
                waiting += 1
        found.append((name, kept, deletions))
    return found


def rows(text: str) -> dict[str, str]:
    """The letters and gaps of each row by its name."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        if line and not line.startswith(("#", "//")):
            name, letters = line.split()
            found[name] = found.get(name, "") + letters
    return found


@given(a3m_rows())
def test_readers_find_what_was_written(written: list[str]) -> None:
    alignment = Alignment.of([f"row{number}/1-9" for number in range(len(written))], written)
    text = to_stockholm(alignment)
    assert parse_stockholm(text) == alignment
    deletions = alignment.deletions.tolist()
    expected = zip(alignment.headers, alignment.sequences, deletions, strict=True)
    assert official(text) == list(expected)
    records = AlignIO.read(io.StringIO(text), "stockholm")
    letters = [row.replace("-", "").upper() for row in written]
    assert [str(record.seq).replace("-", "") for record in records] == letters
    reference = records.column_annotations["reference_annotation"]
    assert [column == "x" for column in reference] == [a != "-" for a in str(records[0].seq)]
    for number in range(1, len(reference)):  # no column is empty
        assert set(records[:, number]) != {"-"} or reference[number] == "x"


def test_names_are_different_and_are_read_as_names() -> None:
    given = {
        "q": "q",
        "a of the first": "a",
        "a of the second": "a/2",
        "a/2": "a/2/2",
        "a ": "a/3",
        "#a": "6|#a",
        "//": "7|//",
        "": "8|",
        " \tb\x1fc\u2028d": "b",
        "ss_pred": "10|ss_pred",
        "\0e\0f": "e",
        ">g": ">g",
        "/h": "/h",
        "ü": "ü",
    }
    alignment = Alignment.of(list(given), ["MKT", *["MkK-"] * (len(given) - 1)])
    text = to_stockholm(alignment)
    [read] = parse_stockholm_all(text)
    assert read.headers == tuple(given.values())
    assert read.texts == alignment.texts
    assert [name for name, *_ in official(text)] == list(given.values())
    assert "#=GS a/2 DE of the second\n" in text
    assert "#=GS b DE c d\n" in text


def test_a_copy_of_a_name_keeps_its_species() -> None:
    name = "tr|A0A146SKV9|A0A146SKV9_FUNHE/5-90"
    alignment = Alignment.of(["q", name, name, name[:-5], name[:-5]], ["MKT"] * 5)
    read = parse_stockholm(to_stockholm(alignment))
    assert len({*read.headers}) == 5
    assert [species_of(header) for header in read.headers[1:]] == ["FUNHE"] * 4


def test_insertions_of_the_first_row_are_left_out() -> None:
    alignment = Alignment.of(["q", "r"], ["MKTaa", "MkK-w"])
    assert parse_stockholm(to_stockholm(alignment)).texts == ("MKT", "MkK-w")


@pytest.mark.parity
@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_recorded_alignments(path: Path) -> None:
    with np.load(path) as record:
        texts = [
            record[name].tobytes().decode()
            for name in record
            if name.endswith(".sto") and not name.endswith("pdb_hits.sto")  # hmmsearch's
        ]
    for text in filter(None, texts):
        alignment = parse_stockholm(text)
        again = to_stockholm(alignment)
        assert parse_stockholm(again) == alignment
        assert official(again) == official(text)
        # AlphaFold cut these rows from those of jackhmmer, and left the empty columns.
        assert rows(again) == rows(remove_empty_columns(text))


@pytest.mark.parity
@pytest.mark.tools
def test_hmmbuild_makes_the_same_model(parity_dir: Path, tmp_path: Path) -> None:
    """AlphaFold's search for templates begins with it; it needs the columns of `#=GC RF`."""
    if shutil.which("hmmbuild") is None:
        pytest.skip("needs hmmbuild (Debian: apt install hmmer)")
    path = parity_dir / "search" / "reduced_1io2.npz"
    if not path.is_file():
        pytest.skip(f"no recorded run {path}")
    with np.load(path) as record:
        text = record["file/uniref90_hits.sto"].tobytes().decode()

    def model(name: str, text: str) -> list[str]:
        (tmp_path / f"{name}.sto").write_text(text)
        files = [str(tmp_path / f"{name}.{end}") for end in ("hmm", "sto")]
        command = ["hmmbuild", "--hand", "--amino", "-n", "same", *files]
        subprocess.run(command, check=True, capture_output=True)
        lines = (tmp_path / f"{name}.hmm").read_text().splitlines()
        return [line for line in lines if not line.startswith(("DATE", "CKSUM"))]

    # Its sums depend on the order of rows, which begins with those that have a description.
    ours = model("ours", to_stockholm(parse_a3m(stockholm_to_a3m(text))))
    assert len(ours) > 500
    assert ours == model("theirs", remove_empty_columns(text))
