"""CSV: rows whose cells have the names of their columns."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from foldry.errors import InputError
from foldry.store.files import read_text


class TableRow(NamedTuple):
    """One row.

    Attributes:
        line: Where in the file it ends, counted from 1.
        cells: Text without spaces around it by column; the last ones may be missing.
    """

    line: int
    cells: dict[str, str]


def read_table(path: Path) -> tuple[list[str], Iterator[TableRow]]:
    """The columns that a CSV file's first row names, and its rows, each read when it is asked for.

    Empty lines count for nothing.

    Raises:
        InputError: The file cannot be read or is no CSV, at once or with the row that is wrong; or
            a row has more cells than there are columns.
    """
    rows = csv.reader(read_text(path).splitlines(keepends=True), strict=True)
    cells = _cells(path, rows)
    columns = next((row for row in cells if any(row)), [])

    def named() -> Iterator[TableRow]:
        for row in cells:
            if len(row) > len(columns):
                what, where = f"has {len(row)} cells in {len(columns)} columns", rows.line_num
                raise InputError(what, "fix it", where=f"{path}, line {where}")
            if any(row):
                yield TableRow(rows.line_num, dict(zip(columns, row, strict=False)))

    return columns, named()


def _cells(path: Path, rows: Iterator[list[str]]) -> Iterator[list[str]]:
    """Rows as stripped cells; errors of the reader name its line."""
    try:
        for row in rows:
            yield [cell.strip() for cell in row]
    except csv.Error as error:
        where = f"{path}, line {rows.line_num}"  # type: ignore[attr-defined]
        raise InputError(f"is not valid CSV ({error})", "fix it", where=where) from None
