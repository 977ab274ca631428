"""Categories → CIF text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Final

import numpy as np
from jaxtyping import UInt8

from foldry.formats.cif_table import Category, Coded, Column, Missing, Numbers, Value
from foldry.formats.digits import digits

_BARE: Final = re.compile(
    r"(?!(data|save|loop|stop|global)_)[A-Za-z0-9(+-][\w.:/+=(),*'-]*", re.I | re.A
)
"""Words that stand without quotation marks; other programs write some more."""
_WIDTH: Final = 80
_BLANK, _END = b" ", b"\n"


def cif_text(name: str, categories: Iterable[Category]) -> str:
    """Return the text of a file with one data block.

    Args:
        name: Name of the block, without spaces.
        categories: Its categories, whose texts are single lines of ASCII, except that a text may
            have line breaks if no line begins with a semicolon.
    """
    parts = [f"data_{name}\n#\n"]
    for category in categories:
        size = len(category)
        tags = [f"{category.name}.{tag}" for tag in category.columns]
        columns = list(category.columns.values())
        if size == 1:
            values = [next(_texts(column)) for column in columns]
            width = max(map(len, tags)) + 1
            parts += [f"{tag:{width}}{value}\n" for tag, value in zip(tags, values, strict=True)]
        elif size:
            parts.append("loop_\n" + "".join(f"{tag}\n" for tag in tags))
            parts.append(_rows(columns))
        parts.append("#\n" if size else "")
    return "".join(parts)


def _rows(columns: Sequence[Column]) -> str:
    if not any(isinstance(column, Numbers | Coded) for column in columns):
        rows = zip(*map(_texts, columns), strict=True)
        return "".join(chain.from_iterable((" ".join(row), "\n") for row in rows))
    pieces = [_codes(column) for column in columns]
    widths = [piece.shape[1] + 1 for piece in pieces]
    table = np.full((len(pieces[0]), sum(widths)), _BLANK[0], np.uint8)
    start = 0
    for piece, width in zip(pieces, widths, strict=True):
        table[:, start : start + width - 1] = piece
        start += width
    table[:, -1] = _END[0]
    return str(table[table != 0].tobytes(), "ascii")


def _texts(column: Column) -> Iterator[str]:
    if isinstance(column, Numbers):
        return (str(row, "ascii") for row in map(bytes, digits(column.values, column.decimals)))
    if isinstance(column, Coded):
        return map([quoted(name) for name in column.names].__getitem__, column.codes.tolist())
    return map(quoted, column)


def _codes(column: Column) -> UInt8[np.ndarray, "R W"]:
    """Return the ASCII codes of a column, with zeros where a value is shorter than the longest."""
    if isinstance(column, Numbers):
        return digits(column.values, column.decimals)
    values: Sequence[Value] = column.names if isinstance(column, Coded) else column
    names = np.array([quoted(value).encode() for value in values])
    found = names.view(np.uint8).reshape(len(names), -1)
    return found[column.codes] if isinstance(column, Coded) else found


@lru_cache(4096)
def quoted(value: Value) -> str:
    r"""Return a value as it stands in a CIF file.

    Example:
        >>> quoted("5'-end"), quoted("data_x"), quoted("")
        ("5'-end", "'data_x'", '?')
    """
    if isinstance(value, Missing):
        return value.value
    text = str(value)
    if _BARE.fullmatch(text):
        return text
    if not text:
        return Missing.UNKNOWN.value
    marks = [mark for mark in "'\"" if mark not in text and "\n" not in text]
    return f"{marks[0]}{text}{marks[0]}" if marks else f"\n;{text}\n;\n"


def wrapped(text: str) -> str:
    """Return a sequence in lines of 80 letters."""
    return "\n".join(text[at : at + _WIDTH] for at in range(0, len(text), _WIDTH))
