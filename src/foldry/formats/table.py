"""Tables, separated by `,`, `;`, tab, `|` or spaces: the cells of each row by column name."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from foldry.errors import InputError, counted, printable
from foldry.formats.lines import lines, read_bounded_text
from foldry.store.files import plain_name

SUFFIXES: Final = (".csv", ".tsv", ".tab")
_SEPARATORS: Final = ",;\t| "
_STATED: Final = re.compile(r'"?sep=([,;\t|]|\\t)"?\s*', re.IGNORECASE)
_MAX_HEADER: Final = 100_000
"""Letters of the first line that are searched for the separator; `csv` refuses longer cells."""


class TableRow(NamedTuple):
    """One row.

    Attributes:
        line: Last line of the row in the file, counted from 1.
        cells: Text by column, without surrounding spaces; the last cells may be missing.
    """

    line: int
    cells: dict[str, str]


def is_table(path: Path) -> bool:
    """Return whether the name of a file, packed or not, is the name of a table."""
    return plain_name(path).lower().endswith(SUFFIXES)


def read_table(path: Path, needed: Collection[str] = ()) -> tuple[list[str], Iterator[TableRow]]:
    """Return the column names in the first row of a table, and an iterator over its other rows.

    The separator is that of a first line such as `sep=;`, which spreadsheets understand, or follows
    from the column names. Rows are read one at a time; empty rows are skipped.

    Args:
        path: The file.
        needed: Names of columns that the caller knows. Column names equal to one of them except
            for case become this name.

    Raises:
        InputError: The file cannot be read, is empty, or is not a valid table, one of the `needed`
            columns occurs twice, or a row has more cells than there are columns. Errors of a row
            are raised when it is read.
    """
    text = read_bounded_text(path)
    rows = csv.reader(
        (f"{line}\n" for _, line in lines(text, str(path))),
        delimiter=_separator(text, needed),
        skipinitialspace=True,
        strict=True,
    )
    cells = _cells(path, rows)
    columns = next((row for row in cells if any(row) and not row[0].lower().startswith("sep=")), [])
    if not columns:
        raise InputError("is an empty table", "name its columns in the first line", where=path)
    known = {name.casefold(): name for name in needed}
    columns = [known.get(name.casefold(), name) for name in columns]
    twice = next((name for name in needed if columns.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"has two columns named {twice}", "rename one", where=path)

    def named() -> Iterator[TableRow]:
        for row in cells:
            while len(row) > len(columns) and not row[-1]:
                row.pop()
            if len(row) > len(columns):
                size = counted(len(columns), "column")
                what, where = f"has {len(row)} cells in {size}", rows.line_num
                advice = "remove cells, or enclose those with separators in quotes"
                raise InputError(what, advice, where=f"{path}, line {where}")
            if any(row):
                yield TableRow(rows.line_num, dict(zip(columns, row, strict=False)))

    return columns, named()


def _separator(text: str, needed: Collection[str]) -> str:
    """Return the separator: that of a line `sep=;`, or the one that fits the first line best.

    That is the one with the most of the needed columns, and of several the one with most columns;
    spaces, which may stand around other separators, are the last resort.
    """
    line = text.lstrip()[:_MAX_HEADER].partition("\n")[0]
    if stated := _STATED.fullmatch(line):
        return stated[1].replace("\\t", "\t")

    def fit(separator: str) -> tuple[int, int]:
        cells = next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
        names = {cell.strip().casefold() for cell in cells}
        return len(names.intersection(needed)), len(cells) if separator != " " else 0

    return max(_SEPARATORS, key=fit)


def _cells(path: Path, rows: Iterator[list[str]]) -> Iterator[list[str]]:
    """Yield rows of stripped cells; errors of the reader name the line."""
    try:
        for row in rows:
            yield [cell.strip() for cell in row]
    except csv.Error as error:
        where = f"{path}, line {rows.line_num}"  # type: ignore[attr-defined]
        raise InputError(f"is not a valid table ({error})", "fix the file", where=where) from None


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
