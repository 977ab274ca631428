"""The rows with which templates are searched."""

from __future__ import annotations

from typing import Final

import numpy as np

from foldry.query import MAX_LETTERS, Alignment

MAX_PROFILE_ROWS: Final = 10_000
"""Maximum number of rows; AlphaFold searches with those of UniRef90, which are no more."""


def template_input(alignment: Alignment) -> Alignment:
    """Return the rows that differ in the columns of the query, as AlphaFold searches with them.

    Of rows that differ in insertions alone, the first is kept. No more than the first
    `MAX_PROFILE_ROWS` are, and fewer if they would have more than `MAX_LETTERS` letters and gaps in
    a file that has columns for all insertions.

    Example:
        >>> template_input(Alignment.of(["q", "a", "b"], ["MKT", "MkKT", "M-T"])).headers
        ('q', 'b')
    """
    seen: dict[bytes, int] = {}
    for number, row in enumerate(alignment.letters):
        seen.setdefault(row.tobytes(), number)
        if len(seen) == MAX_PROFILE_ROWS:
            break
    kept = alignment.rows(list(seen.values()))
    while kept.num_rows > 1 and kept.num_rows * _num_columns(kept) > MAX_LETTERS:
        kept = kept.rows(slice(kept.num_rows // 2))
    return kept


def _num_columns(alignment: Alignment) -> int:
    """Return the number of columns if each insertion has columns of its own."""
    length = alignment.letters.shape[1]
    widths = np.zeros(length + 1, np.int64)
    place = alignment.insertions.place % (length + 1)
    np.maximum.at(widths, place, alignment.insertions.count)
    return int(length + widths.sum())
