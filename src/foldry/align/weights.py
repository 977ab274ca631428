"""How much each row of an alignment counts, and so how deep the alignment is."""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Float, Integer

from foldry.residues import GAP, UNKNOWN, one_hot

LIKE: Final = 0.8
"""Rows that agree in this share of their residues count as one together."""


def row_weights(msa: Integer[np.ndarray, "M N"]) -> Float[np.ndarray, " M"]:
    """One over the number of rows like each row, itself counted; they sum to Neff.

    A row of gaps alone, as crops of an alignment have them, counts for nothing, the query's apart.
    """
    letters = one_hot(msa, UNKNOWN + 1).reshape(len(msa), -1)
    known = (msa != GAP).sum(axis=1)
    shorter = np.maximum(np.minimum(known[:, None], known), 1)
    alike = letters @ letters.T >= LIKE * shorter
    counts = known > 0
    counts[0] = True
    weights: Float[np.ndarray, " M"] = counts / np.maximum(alike.sum(axis=1), 1).astype(np.float32)
    return weights
