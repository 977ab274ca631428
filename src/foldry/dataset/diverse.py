"""Which rows of a deep alignment are kept: those that differ most."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int, Integer

from foldry.residues import UNKNOWN


def diverse_rows(msa: Integer[np.ndarray, "M N"], count: int) -> Int[np.ndarray, " K"]:
    """At most `count` rows, each the one least like any taken before it; rising, 0 among them.

    Two rows are alike by the share of equal letters where both have an amino acid.

    Args:
        msa: Codes, 20 for X and 21 for a gap.
        count: Rows wanted, at least 1.
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
