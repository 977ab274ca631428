"""Statistics of a whole alignment: column profiles and coevolution of columns.

Only small networks read these (`mini`); AlphaFold's networks learn them from the rows. Axes: M rows
of the alignment, N residues.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Float, Integer

from foldry.align.weights import row_weights
from foldry.features.config import FeatureConfig
from foldry.residues import GAP, UNKNOWN, one_hot

MAX_ROWS: Final = 256
"""If there are more rows, evenly spaced ones are used; networks are trained with this limit."""
RIDGE: Final = 0.5
"""Added to the variance of every amino acid before the covariance is inverted."""
MAX_SCORE: Final = 8.0
"""Limit on the absolute score, in standard deviations."""
LEAST_DEVIATION: Final = 1e-4
"""A smaller standard deviation is a rounding error: no column varies."""
_ROW_BLOCK: Final = 16
"""Residues whose couplings are in memory at the same time."""


def alignment_statistics(
    msa: Integer[np.ndarray, "M N"], config: FeatureConfig
) -> dict[str, np.ndarray]:
    """Return `profile` and `coevolution` of an alignment, if the config asks for them.

    Args:
        msa: Codes in AlphaFold's order, 20 for X, 21 for a gap; row 0 is the query.
        config: Configuration of the features.
    """
    if not (config.profile or config.coevolution):
        return {}
    if len(msa) > MAX_ROWS:
        msa = msa[np.linspace(0, len(msa) - 1, MAX_ROWS).round().astype(np.int64)]
    weights = row_weights(msa)
    found: dict[str, np.ndarray] = {}
    if config.profile:
        found["profile"] = column_profile(msa, weights)
    if config.coevolution:
        found["coevolution"] = coevolution(msa, weights)
    return found


def column_profile(
    msa: Integer[np.ndarray, "M N"], weights: Float[np.ndarray, " M"]
) -> Float[np.ndarray, "N 22"]:
    """Return the weighted frequencies of the 20 amino acids, X and the gap in each column."""
    share = (weights / weights.sum()).astype(np.float32)
    profile: Float[np.ndarray, "N 22"] = np.einsum("m,mnc->nc", share, one_hot(msa, GAP + 1))
    return profile


def coevolution(
    msa: Integer[np.ndarray, "M N"], weights: Float[np.ndarray, " M"]
) -> Float[np.ndarray, "N N 2"]:
    """Return the coupling of each pair of columns, and the depth of the alignment.

    The first channel is the Frobenius norm, over the 20 amino acids, of the inverse of the
    columns' covariance C + λI (Jones et al., Bioinformatics 28, 184 (2012), with a ridge in place
    of the sparse inverse), corrected for the columns' mean (APC: Dunn et al., Bioinformatics 24,
    333 (2008)) and given in standard deviations over all pairs. The second is ln Neff.

    An alignment has fewer rows (M) than letters in its columns (20 N), so the inverse is computed
    from an M × M matrix: (XᵀX + λI)⁻¹ = (I − Xᵀ(XXᵀ + λI)⁻¹X)/λ (Woodbury). The factor 1/λ cancels
    when scores are divided by their standard deviation.
    """
    num_rows, length = msa.shape
    neff = float(weights.sum())
    letters = one_hot(msa, UNKNOWN)
    mean = np.einsum("m,mnc->nc", weights / neff, letters)
    varied = (letters - mean) * np.sqrt(weights / neff)[:, None, None]
    rows = varied.reshape(num_rows, -1).astype(np.float32)
    solved = np.linalg.solve(rows @ rows.T + RIDGE * np.eye(num_rows, dtype=np.float32), rows)
    strength = np.empty((length, length), np.float32)
    # All blocks use the same memory, because new memory costs time.
    blocks = np.empty((_ROW_BLOCK * UNKNOWN, length * UNKNOWN), np.float32)
    for start in range(0, length, _ROW_BLOCK):
        block = slice(start, min(start + _ROW_BLOCK, length))
        some = rows[:, block.start * UNKNOWN : block.stop * UNKNOWN]
        couplings = np.matmul(some.T, solved, out=blocks[: some.shape[1]])
        couplings = couplings.reshape(-1, UNKNOWN, length, UNKNOWN)
        strength[block] = np.sqrt(np.einsum("ichd,ichd->ih", couplings, couplings))
    np.fill_diagonal(strength, 0.0)
    column_mean = strength.sum(axis=0) / max(length - 1, 1)
    corrected = strength - np.outer(column_mean, column_mean) / max(column_mean.mean(), 1e-8)
    np.fill_diagonal(corrected, 0.0)
    score = corrected / max(float(corrected.std()), LEAST_DEVIATION)
    score = np.clip((score + score.T) / 2, -MAX_SCORE, MAX_SCORE)
    return np.stack([score, np.full_like(score, np.log(neff))], axis=-1).astype(np.float32)
