"""Categories of a data block → rows of texts."""

from __future__ import annotations

import re
from typing import Final

import gemmi
from gemmi.cif import as_string

_WHOLE: Final = re.compile(r"-?\d{1,9}", re.ASCII)


def rows(block: gemmi.cif.Block, category: str, *tags: str) -> list[tuple[str, ...]]:
    """Return some columns of a category; "" for values and columns that are missing.

    Example:
        >>> block = gemmi.cif.read_string("data_x _software.name 'a b' _software.version ?")[0]
        >>> rows(block, "_software", "name", "version", "date")
        [('a b', '', '')]
    """
    columns = [list(map(as_string, block.find_values(f"{category}.{tag}"))) for tag in tags]
    size = max(map(len, columns))
    return list(zip(*(column or [""] * size for column in columns), strict=True))


def keyed(block: gemmi.cif.Block, category: str, *tags: str) -> dict[str, tuple[str, ...]]:
    """Return rows by their first value; among equal ones, the first counts."""
    return {row[0]: row[1:] for row in reversed(rows(block, category, *tags))}


def first(block: gemmi.cif.Block, category: str, tag: str) -> str:
    """Return the first value of a column, or ""."""
    return next((value for (value,) in rows(block, category, tag)), "")


def whole(text: str) -> int | None:
    """Return a whole number of at most nine digits, or None."""
    return int(text) if _WHOLE.fullmatch(text) else None


def one_line(text: str) -> str:
    """Return a text without line breaks."""
    return " ".join(text.split())
