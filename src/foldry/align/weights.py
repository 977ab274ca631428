"""Weights of the rows of an alignment, whose sum (Neff) is its effective depth."""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Float, Integer

from foldry.residues import GAP, UNKNOWN, one_hot

LIKE: Final = 0.8
"""Identity from which two rows count as similar."""


def row_weights(msa: Integer[np.ndarray, "M N"]) -> Float[np.ndarray, " M"]:
    """Return, for each row, one over the number of rows similar to it, itself included.

    The weights sum to Neff. Rows with only gaps, which occur in crops, have weight 0, except the
    first row (the query).
    """
    letters = one_hot(msa, UNKNOWN + 1).reshape(len(msa), -1)
    known = (msa != GAP).sum(axis=1)
    shorter = np.maximum(np.minimum(known[:, None], known), 1)
    alike = letters @ letters.T >= LIKE * shorter
    counts = known > 0
    counts[0] = True
    weights: Float[np.ndarray, " M"] = counts / np.maximum(alike.sum(axis=1), 1).astype(np.float32)
    return weights
