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
    places = np.repeat(row * (letters.shape[1] + 1) + column, deletions[row, column])
    insertions = Insertions.of(places, np.full(len(places), ord("x"), np.uint8))
    return Alignment(tuple(headers), letters, insertions)
