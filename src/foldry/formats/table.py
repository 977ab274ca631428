"""CSV tables: the cells of each row by the names of their columns."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from foldry.errors import InputError, counted, printable
from foldry.formats.lines import lines, read_bounded_text


class TableRow(NamedTuple):
    """One row.

    Attributes:
        line: Last line of the row in the file, counted from 1.
        cells: Text by column, without surrounding spaces; the last cells may be missing.
    """

    line: int
    cells: dict[str, str]


def read_table(path: Path) -> tuple[list[str], Iterator[TableRow]]:
    """Return the column names in the first row of a CSV file, and an iterator over its other rows.

    Rows are read one at a time; empty rows are skipped.

    Raises:
        InputError: The file cannot be read, is empty, or is not valid CSV, or a row has more cells
            than there are columns. Errors of a row are raised when it is read.
    """
    text = lines(read_bounded_text(path), str(path))
    rows = csv.reader((f"{line}\n" for _, line in text), strict=True)
    cells = _cells(path, rows)
    columns = next((row for row in cells if any(row)), [])
    if not columns:
        raise InputError("is an empty table", "name its columns in the first line", where=path)

    def named() -> Iterator[TableRow]:
        for row in cells:
            if len(row) > len(columns):
                size = counted(len(columns), "column")
                what, where = f"has {len(row)} cells in {size}", rows.line_num
                advice = "remove cells, or enclose those with commas in quotes"
                raise InputError(what, advice, where=f"{path}, line {where}")
            if any(row):
                yield TableRow(rows.line_num, dict(zip(columns, row, strict=False)))

    return columns, named()


def _cells(path: Path, rows: Iterator[list[str]]) -> Iterator[list[str]]:
    """Yield rows of stripped cells; errors of the reader name the line."""
    try:
        for row in rows:
            yield [cell.strip() for cell in row]
    except csv.Error as error:
        where = f"{path}, line {rows.line_num}"  # type: ignore[attr-defined]
        raise InputError(f"is not valid CSV ({error})", "fix the file", where=where) from None


def safe_cell(text: str) -> str:
    r"""Return a text cell that spreadsheets and terminals show as text.

    Spreadsheets take a cell that begins with `=`, `+`, `-` or `@` for a formula; an apostrophe
    before it prevents that. Line breaks, tabs and control characters become escapes like `\x1b`.
    Cells with numbers do not need it.

    Example:
        >>> print(safe_cell("=1+1"), safe_cell("chain\tA"))
        '=1+1 chain\tA
    """
    shown = printable(text)
    return f"'{shown}" if shown.startswith(("=", "+", "-", "@")) else shown
