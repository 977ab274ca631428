"""Stockholm: the alignments that HMMER writes."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from itertools import compress

import numpy as np

from foldry.errors import InputError
from foldry.formats.a3m import to_a3m
from foldry.query import GAP_LETTER, Alignment, Insertions


def parse_stockholm(text: str, source: str = "the Stockholm text") -> Alignment:
    """The alignment of a Stockholm text to its first row; headers are the rows' names.

    Letters of a row where the first row has a gap are counted as deletions and left out.

    Raises:
        InputError: There is no row, a row has something else than letters and gaps, or the rows
            are not equally long.
    """
    rows = _rows(text, source)
    letters = np.frombuffer("".join(rows.values()).upper().replace(".", "-").encode(), np.uint8)
    letters = letters.reshape(len(rows), -1)
    kept = letters[0] != GAP_LETTER
    row, column = np.nonzero((letters != GAP_LETTER) & ~kept)
    places = row * (kept.sum() + 1) + np.cumsum(kept)[column]
    inserted = letters[row, column] + np.uint8(ord("a") - ord("A"))
    return Alignment(tuple(rows), letters[:, kept], Insertions.of(places, inserted))


def deduplicate_stockholm(text: str, source: str = "the Stockholm text") -> str:
    """The text without rows that repeat another one, insertions to the first row left aside.

    Of the lines that begin with `#` only the format's, the reference's and the kept rows'
    descriptions stay.
    """
    rows = _rows(text, source)
    kept = [letter != "-" for letter in next(iter(rows.values()))]
    # The first of equal rows comes last here, and so its name stays.
    names = {"".join(compress(row, kept)): name for name, row in reversed(rows.items())}
    return _only(text, set(names.values()))


def truncate_stockholm(text: str, max_rows: int, source: str = "the Stockholm text") -> str:
    """The text with its first rows only, lines beginning with `#` as in `deduplicate_stockholm`."""
    return _only(text, set(list(_rows(text, source))[:max_rows]))


def remove_empty_columns(text: str) -> str:
    """The text without columns that are a gap in every row; its last newline goes too.

    A block of rows ends with its `#=GC RF` line, which loses the same columns.
    """
    lines = text.splitlines()
    block: list[int] = []
    for number, line in enumerate(lines):
        if not _is_row(line) and not line.startswith("#=GC RF"):
            continue
        block.append(number)
        if _is_row(line):
            continue
        split = [lines[index].rpartition(" ") for index in block]
        letters = np.array([list(row) for _, _, row in split])
        kept = (letters[:-1] != "-").any(axis=0)
        for index, (name, space, _), row in zip(block, split, letters, strict=True):
            lines[index] = name + space + "".join(row[kept]) if kept.any() else ""
        block = []
    return "\n".join(lines)


def stockholm_to_a3m(
    text: str, max_rows: int | None = None, source: str = "the Stockholm text"
) -> str:
    """The same alignment as a3m, relative to the first row, with the rows' descriptions."""
    descriptions = {}
    for line in text.splitlines():
        if line.startswith("#=GS"):
            _, name, feature, *value = line.split(maxsplit=3)
            if feature == "DE":
                descriptions[name] = "".join(value)
    rows = parse_stockholm(text, source).rows(slice(max_rows))
    headers = tuple(f"{name} {descriptions.get(name, '')}" for name in rows.headers)
    return to_a3m(replace(rows, headers=headers))


def _is_row(line: str) -> bool:
    return bool(line.strip()) and not line.startswith(("#", "//"))


def _rows(text: str, source: str) -> dict[str, str]:
    """The letters of each row by its name, blocks joined."""
    rows: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if _is_row(line):
            name, *parts = line.split()
            if len(parts) != 1 or not re.fullmatch("[A-Za-z.-]+", parts[0]):
                raise InputError(
                    "is not a name and an aligned sequence",
                    "use letters, and '-' or '.' for gaps",
                    where=f"{source}, line {number}",
                )
            rows[name] = rows.get(name, "") + parts[0]
    if not rows:
        raise InputError("has no rows", "give the query, then rows aligned to it", where=source)
    length = len(next(iter(rows.values())))
    for name, row in rows.items():
        if len(row) != length:
            what = f"has a row {name} of {len(row)} columns and a first row of {length}"
            raise InputError(what, "make all rows equally long", where=source)
    return rows


def _only(text: str, names: Collection[str]) -> str:
    """The lines that belong to these rows, and those of the format and the reference."""

    def belongs(line: str) -> bool:
        if line.startswith("#=GS"):
            return line.split(maxsplit=2)[1] in names
        if _is_row(line):
            return line.split(maxsplit=1)[0] in names
        return not line.startswith("#") or line.startswith(("# STOCKHOLM", "#=GC RF"))

    return "\n".join(filter(belongs, text.splitlines())) + "\n"
