"""Tables as spreadsheets and people write them, and their cells."""

from __future__ import annotations

from pathlib import Path

import pytest

from foldry.errors import InputError
from foldry.formats.table import read_table, safe_cell


@pytest.mark.parametrize("first", "=+-@")
def test_text_that_spreadsheets_take_for_a_formula_gets_an_apostrophe(first: str) -> None:
    assert safe_cell(f"{first}1+1") == f"'{first}1+1"


@pytest.mark.parametrize("first", "\t\r\n\x1b\u2028\u202e")
def test_control_characters_become_escapes(first: str) -> None:
    shown = safe_cell(f"{first}=1")
    assert shown.isprintable() and shown.startswith("\\") and shown.endswith("=1")


@pytest.mark.parametrize("text", ["", "chain A", "a=b", "'", "2-3", " =1", "Å"])
def test_other_text_is_unchanged(text: str) -> None:
    assert safe_cell(text) == text


TABLES = {
    "commas": "id,a,b\nx,P1,P2\n",
    "semicolons": "id;a;b\nx;P1;P2\n",
    "tabs": "id\ta\tb\nx\tP1\tP2\n",
    "capitals and spaces": " ID , A ,B\n x , P1,P2 \n",
    "quotes": '"id", "a", "b"\n"x", "P1", "P2"\n',
    "a separator in quotes": '"a";"b";"note; 1, 2";"id"\nP1;P2;"x; y";x\n',
    "more columns": "score,b,a,my note,id\n0.3,P2,P1,,x\n",
    "columns without a name": "id,a,b,,\nx,P1,P2,,\n\n,,,,\n",
    "more cells than columns, all empty": "id,a,b\nx,P1,P2,,,\n",
    "bars": "id|a|b\nx|P1|P2\n",
    "spaces": "id a b\nx P1 P2\n",
    "columns of spaces and quotes": '"note" "id"  "a"   b\n"in two words" x    P1  P2 \n',
    "spaces in the name of a column": "a b c d e,id,a,b\n,x,P1,P2\n",
    "commas in the name of a column of tabs": "note (a, b)\tid\ta\tb\n1\tx\tP1\tP2\n",
    "decimal commas": "id;a;b;score\nx;P1;P2;0,75\n",
    "a decimal comma in quotes": 'score,id,a,b\n"0,75",x,P1,P2\n',
    "line ends of old Macs": "id,a,b\rx,P1,P2\r",
    "a column of numbers": ",id,a,b\n0,x,P1,P2\n",
    "a hint in quotes": '"sep=;"\nid;a;b\nx;P1;P2\n',
    "a hint for tabs in words": "sep=\\t\nid\ta\tb\nx\tP1\tP2\n",
    "a hint for spreadsheets": "sep=;\nid;a;b\nx;P1;P2\n",
    "a hint for tabs": "SEP=\t\nid\ta\tb\nx\tP1\tP2\n",
    "a spreadsheet's first bytes": "\ufeffid;a;b\r\nx;P1;P2\r\n",
}


@pytest.mark.parametrize("kind", TABLES)
def test_tables_are_read_as_people_write_them(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(TABLES[kind], newline="")
    columns, rows = read_table(path, ("id", "a", "b"))
    assert {"id", "a", "b"} <= set(columns)
    [row] = [row.cells for row in rows]
    assert {name: row[name] for name in ("id", "a", "b")} == {"id": "x", "a": "P1", "b": "P2"}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_unicode_text_of_excel(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "t.tsv"
    mark = "" if encoding == "utf-16" else "\ufeff"
    path.write_bytes(f"{mark}ID\ta\tb\tnote\r\nx\tP1\tP2\tGröße\r\n".encode(encoding))
    columns, rows = read_table(path, ("id", "a", "b"))
    assert columns == ["id", "a", "b", "note"]
    assert [list(row.cells.values()) for row in rows] == [["x", "P1", "P2", "Größe"]]


def test_a_long_first_line_is_not_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("x" * 200_000 + "\n1\n")
    with pytest.raises(InputError, match="is not a valid table"):
        read_table(path, ("id",))


def test_a_known_column_occurs_once(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b,A\n1,2,3\n")
    with pytest.raises(InputError, match=r"t\.csv has two columns named a: rename one"):
        read_table(path, ("a", "b"))
    path.write_text("a,b,note,Note\n1,2,3,4\n")
    assert len(list(read_table(path, ("a", "b"))[1])) == 1, "others may"
