"""The selection of the most diverse rows of a deep alignment."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int, Integer

from foldry.residues import UNKNOWN


def diverse_rows(msa: Integer[np.ndarray, "M N"], count: int) -> Int[np.ndarray, " K"]:
    """Return the numbers of at most `count` diverse rows, ascending and with the first row.

    Rows are taken greedily: each is the row least similar to its most similar row among those
    already taken. The similarity of two rows is the share of equal letters among the columns in
    which both have an amino acid.

    Args:
        msa: Codes; 20 is X and 21 a gap.
        count: Maximum number of rows, at least 1.
    """
    if len(msa) <= count:
        return np.arange(len(msa))
    known = msa < UNKNOWN
    taken = [0]
    likeness = np.full(len(msa), -1.0)
    while len(taken) < count:
        last = taken[-1]
        both = known & known[last]
        equal = (both & (msa == msa[last])).sum(axis=1)
        likeness = np.maximum(likeness, equal / np.maximum(both.sum(axis=1), 1))
        likeness[last] = np.inf
        taken.append(int(np.argmin(likeness)))
    return np.sort(taken)
