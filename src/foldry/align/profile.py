"""Position-specific scores of a query from the rows of its alignment (Altschul et al. 1997)."""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Float, Integer

from foldry.align.pairwise import BLOSUM62
from foldry.align.weights import row_weights
from foldry.residues import UNKNOWN, one_hot

MAX_ROWS: Final = 512
"""If there are more rows, evenly spaced ones are used."""
PSEUDOCOUNTS: Final = 10.0
"""β, the weight of the amino acids that BLOSUM62 expects, as in PSI-BLAST."""
LAMBDA: Final = 0.3176
"""λ, the natural logarithm of the odds of one unit of BLOSUM62: Σ pₐ p_b exp(λ sₐ_b) = 1."""

# Robinson & Robinson 1991, as in BLAST, in the order ARNDCQEGHILKMFPSTWYV.
BACKGROUND: Final = 1e-5 * np.array([
    7805, 5129, 4487, 5364, 1925, 4264, 6295, 7377, 2199, 5142,
    9019, 5744, 2243, 3856, 5203, 7120, 5841, 1330, 3216, 6441,
])  # fmt: skip
"""Frequencies of the 20 amino acids in proteins."""


def profile_scores(msa: Integer[np.ndarray, "M N"]) -> Float[np.ndarray, "N 21"]:
    """Return the score of each amino acid, and X, at each residue of the first row, in half-bits.

    A score is ln(Qₐ/pₐ)/λ. Q mixes the amino acids f of a column, where similar rows count once,
    with those that BLOSUM62 expects in their place, g:

        Qₐ = (α fₐ + β gₐ)/(α + β),   gₐ = Σ_b f_b pₐ exp(λ sₐ_b)

    α + 1 is the effective number of amino acids per column, the exponential of their mean entropy,
    and at most the effective number of rows with an amino acid in the column. For a single row, α
    is 0 and the scores are BLOSUM62's. X scores −1 everywhere, and so does every amino acid in a
    column without a known one.

    Args:
        msa: Codes, 20 for X, 21 for a gap; row 0 is the query.
    """
    if len(msa) > MAX_ROWS:
        msa = msa[np.linspace(0, len(msa) - 1, MAX_ROWS).round().astype(np.int64)]
    weights = row_weights(msa).astype(np.float64)
    counts = np.einsum("m,mnc->nc", weights, one_hot(msa, UNKNOWN))
    scores = np.full((len(counts), UNKNOWN + 1), BLOSUM62[UNKNOWN, UNKNOWN])
    known = counts.any(axis=1)
    depth = counts[known].sum(axis=1, keepdims=True)
    seen = counts[known] / depth
    entropy = -np.sum(seen * np.log(np.where(seen > 0, seen, 1)), axis=1)
    independent = np.clip(depth - 1, 0, np.exp(entropy.sum() / max(len(entropy), 1)) - 1)
    expected = seen @ np.exp(LAMBDA * BLOSUM62[:UNKNOWN, :UNKNOWN])
    odds = independent * seen / BACKGROUND + PSEUDOCOUNTS * expected
    scores[known, :UNKNOWN] = np.log(odds / (independent + PSEUDOCOUNTS)) / LAMBDA
    return scores
