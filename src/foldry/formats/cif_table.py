"""The content of a CIF file: categories of columns, before text or BinaryCIF is made of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import Final, TypeAlias
from unicodedata import combining, normalize

import numpy as np
from jaxtyping import Int

from foldry.formats.coordinates import is_date

_ASCII: Final = str.maketrans("αβ–−", "ab--")


class Missing(Enum):
    """A value that a file lacks."""

    UNKNOWN = "?"
    INAPPLICABLE = "."


UNKNOWN: Final = Missing.UNKNOWN
INAPPLICABLE: Final = Missing.INAPPLICABLE

Value: TypeAlias = str | int | Missing
"""One value; an empty text is written as unknown."""


@dataclass(frozen=True, eq=False)
class Numbers:
    """A column of decimal numbers.

    Attributes:
        values: The numbers, in units of the last decimal.
        decimals: Number of decimals.
    """

    values: Int[np.ndarray, " R"]
    decimals: int = 0

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, eq=False)
class Coded:
    """A column in which few distinct values occur in many rows.

    Attributes:
        names: The distinct values.
        codes: Index of the value of each row.
    """

    names: Sequence[str | Missing]
    codes: Int[np.ndarray, " R"]

    def __len__(self) -> int:
        return len(self.codes)


Column: TypeAlias = Sequence[Value] | Numbers | Coded


@dataclass(frozen=True, eq=False)
class Category:
    """A table of a CIF file.

    Attributes:
        name: Name with its underscore, e.g. `_atom_site`.
        columns: Columns of equal length by their names, at least one.
    """

    name: str
    columns: Mapping[str, Column]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))


@dataclass
class Rows:
    """A category that is collected row by row; without a row, it is not written."""

    name: str
    columns: dict[str, list[Value]] = field(default_factory=dict)

    def add(self, **values: Value) -> int:
        """Add a row, with the same columns in every call, and return its number, from 1."""
        for name, value in values.items():
            self.columns.setdefault(name, []).append(value)
        return len(self)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def category(self) -> Iterator[Category]:
        """Yield the category, unless there is no row."""
        if self.columns:
            yield Category(self.name, self.columns)


def single_row(category: str, /, **values: Value) -> Category:
    """Return a category with one row."""
    return Category(category, {tag: [value] for tag, value in values.items()})


@lru_cache(4096)
def plain(text: str) -> str:
    """Return a text as one line of printable ASCII, in which CIF is written.

    Example:
        >>> plain("Cα  of β-lactamase, by Žídek")
        'Ca of b-lactamase, by Zidek'
    """
    letters = [each for each in normalize("NFKD", text.translate(_ASCII)) if not combining(each)]
    visible = "".join(each if each.isprintable() else " " for each in letters)
    return " ".join(visible.encode("ascii", "replace").decode().split())


def known_date(text: str) -> str | Missing:
    """Return a date, e.g. `2020-05-14`; inapplicable for anything else."""
    return text if is_date(text) else INAPPLICABLE
