"""Tables of annotations, read row by row: domains, residues, AlphaMissense, collections."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias, TypeVar

from foldry.errors import InputError, counted
from foldry.formats.lines import stream_lines

BATCH: Final = 500
"""Number of records that are imported in one transaction."""
_SEPARATORS: Final = "\t,;"
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Annotated:
    """What the import of one file did.

    Attributes:
        path: The file.
        kind: Its kind (see `kind_of`).
        num_new: Number of records that changed the database.
        num_same: Number of records that the database had.
        num_unknown: Number of records about proteins without an entry.
    """

    path: Path
    kind: str
    num_new: int = 0
    num_same: int = 0
    num_unknown: int = 0


Outcome: TypeAlias = Annotated | InputError


def done(new: int = 0, same: int = 0, unknown: int = 0) -> Annotated:
    """Return what the import of one batch did; the file is added in the end."""
    return Annotated(Path(), "", new, same, unknown)


def batches(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    """Yield lists of `BATCH` items."""
    source = iter(items)
    while batch := list(islice(source, BATCH)):
        yield batch


class Row(NamedTuple):
    """One row of a table.

    Attributes:
        where: File and line.
        cells: Text by column, without surrounding spaces; missing cells are left out.
    """

    where: str
    cells: dict[str, str]

    def error(self, what: str, advice: str = "correct the row") -> InputError:
        """Return the error for this row."""
        return InputError(what, advice, where=self.where)


def kind_of(path: Path) -> str:
    """Return the kind of a file of annotations from its first line.

    Returns:
        `uniprot`, `fasta`, `alphamissense`, `collections`, `residues` or `domains`.

    Raises:
        InputError: The file cannot be read, or is of another kind.
    """
    first = next((line for _, line in stream_lines(path) if _is_row(line)), "")
    if first.startswith("ID   "):
        return "uniprot"
    if first.startswith(">"):
        return "fasta"
    columns = set(_cells(first, _separator(first)))
    needed = {
        "alphamissense": {"protein_variant", "am_pathogenicity", "am_class"},
        "collections": {"collection", "id"},
        "residues": {"id", "position", "letter"},
        "domains": {"id", "start", "end"},
    }
    for kind, names in needed.items():
        if names <= columns:
            return kind
    what = "is neither a file of UniProt nor a table with the columns of annotations"
    known = "; ".join(", ".join(sorted(names)) for names in needed.values())
    raise InputError(what, f"name columns in its first line: {known}", where=path)


def rows(path: Path) -> Iterator[Row | InputError]:
    """Yield the rows of a table after that of its columns, and an error for each bad one.

    The cells are separated by tabs, commas or semicolons, whichever the first line has most of.
    Empty lines and comments (`#`) are skipped. The file may be of any size.

    Raises:
        InputError: The file cannot be read.
    """
    columns: Sequence[str] = ()
    separator = ""
    for number, line in stream_lines(path):
        if not _is_row(line):
            continue
        where = f"{path}, line {number}"
        if not columns:
            separator = _separator(line)
            columns = _cells(line, separator)
            continue
        cells = _cells(line, separator)
        if len(cells) > len(columns):
            what = f"has {len(cells)} cells in {counted(len(columns), 'column')}"
            yield InputError(what, "correct the row", where=where)
        else:
            filled = {name: cell for name, cell in zip(columns, cells, strict=False) if cell}
            yield Row(where, filled)


def _is_row(line: str) -> bool:
    return bool(line.strip()) and not line.startswith("#")


def _separator(line: str) -> str:
    return max(_SEPARATORS, key=line.count)


def _cells(line: str, separator: str) -> Sequence[str]:
    try:
        found = next(csv.reader([line.removeprefix("\ufeff")], delimiter=separator), [])
    except csv.Error:  # a cell longer than the reader allows
        found = line.split(separator)
    return [cell.strip() for cell in found]
