"""Stockholm: the alignments that HMMER writes."""

from __future__ import annotations

import re
from collections.abc import Collection

import numpy as np

from foldry.errors import InputError
from foldry.query import Alignment


def parse_stockholm(text: str, source: str = "the Stockholm text") -> Alignment:
    """The alignment of a Stockholm text to its first row; headers are the rows' names.

    Letters of a row where the first row has a gap are counted as deletions and left out.

    Raises:
        InputError: There is no row, a row has something else than letters and gaps, or the rows
            are not equally long.
    """
    rows = _rows(text, source)
    letters = np.array([list(row.upper()) for row in rows.values()])
    letters[letters == "."] = "-"
    kept = letters[0] != "-"
    inserted = np.cumsum((letters != "-") & ~kept, axis=1, dtype=np.int32)[:, kept]
    return Alignment(
        headers=tuple(rows),
        sequences=tuple("".join(row) for row in letters[:, kept]),
        deletions=np.diff(inserted, axis=1, prepend=np.int32(0)),
    )


def deduplicate_stockholm(text: str, source: str = "the Stockholm text") -> str:
    """The text without rows that repeat another one, insertions to the first row left aside.

    Of the lines that begin with `#` only the format's, the reference's and the kept rows'
    descriptions stay.
    """
    rows = _rows(text, source)
    columns = [index for index, letter in enumerate(next(iter(rows.values()))) if letter != "-"]
    first: dict[str, str] = {}
    for name, row in rows.items():
        first.setdefault("".join(row[index] for index in columns), name)
    return _only(text, set(first.values()))


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
    rows = dict(list(_rows(text, source).items())[:max_rows])
    descriptions = {}
    for line in text.splitlines():
        if line.startswith("#=GS"):
            _, name, feature, *value = line.split(maxsplit=3)
            if feature == "DE":
                descriptions[name] = value[0] if value else ""
    query = next(iter(rows.values()))
    lines = []
    for name, row in rows.items():
        pairs = zip(query, row, strict=True)
        letters = (b if a != "-" else b.lower().replace("-", "") for a, b in pairs)
        lines += [f">{name} {descriptions.get(name, '')}", "".join(letters)]
    return "\n".join(lines) + "\n"


def _is_row(line: str) -> bool:
    return bool(line.strip()) and not line.startswith(("#", "//"))


def _rows(text: str, source: str) -> dict[str, str]:
    """The letters of each row by its name, blocks joined."""
    rows: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if _is_row(line):
            name, *letters = line.split()
            if len(letters) != 1:
                raise InputError(
                    "is not a name and an aligned sequence",
                    "write the alignment again",
                    where=f"{source}, line {number}",
                )
            strange = re.search(r"[^A-Za-z.-]", letters[0])
            if strange is not None:
                raise InputError(
                    f"is a row with {strange[0]!r}",
                    "use letters, and '-' or '.' for gaps",
                    where=f"{source}, line {number}",
                )
            rows[name] = rows.get(name, "") + letters[0]
    if not rows:
        raise InputError(
            "has no rows", "give the query first, then the rows aligned to it", where=source
        )
    length = len(next(iter(rows.values())))
    for name, row in rows.items():
        if len(row) != length:
            raise InputError(
                f"has a row {name} of {len(row)} columns and a first row of {length}",
                "make all rows equally long",
                where=source,
            )
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
