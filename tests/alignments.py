"""Alignments from arrays in the form of the recorded numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, UInt8

from foldry.query import Alignment, Insertions


def counted(
    headers: Sequence[str],
    letters: UInt8[np.ndarray, "S N"],
    deletions: Int[np.ndarray, "S N"],
) -> Alignment:
    """Return an alignment from numbers of insertions, whose letters are x."""
    row, column = np.nonzero(deletions)
    place, count = row * (letters.shape[1] + 1) + column, deletions[row, column]
    small = (each.astype(np.min_scalar_type(each.max(initial=0))) for each in (place, count))
    insertions = Insertions(*small, np.full(count.sum(), ord("x"), np.uint8))
    return Alignment(tuple(headers), letters, insertions)
