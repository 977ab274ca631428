"""TM-score (Zhang & Skolnick, Proteins 2004, 57, 702) of matched residues."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float

from foldry.score.best_fit import Fits, FitSearch
from foldry.score.superpose import Superposition

_NUM_REFINED: Final = 50
_REFINEMENTS: Final = 8


@dataclass(frozen=True)
class TMScore:
    """TM-score and its superposition.

    Attributes:
        score: The TM-score, 0–1.
        superposition: The motion of the model that gives it.
    """

    score: float
    superposition: Superposition


def tm_term(distance: np.ndarray, d0: float | np.ndarray) -> np.ndarray:
    """Return 1 / (1 + (d / d₀)²), the term of a residue at distance d in the TM-score."""
    return np.asarray(1 / (1 + (distance / d0) ** 2))


def tm_d0(length: int | np.ndarray, least: float = 0.5) -> np.ndarray:
    """Return d₀ in Å for a reference of L residues: 1.24 (L − 15)^⅓ − 1.8, at least `least`.

    Example:
        >>> round(float(tm_d0(100)), 3)
        3.652
    """
    return np.asarray(np.maximum(1.24 * np.cbrt(np.asarray(length) - 15.0) - 1.8, least))


def search_radius(length: int) -> float:
    """Return the search radius of the TM-score program, Å: d₀, limited to 4.5–8."""
    return float(np.clip(tm_d0(length), 4.5, 8.0))


def tm_score(search: FitSearch, length: int) -> TMScore:
    """Return the largest Σ 1 / (1 + (dₙ / d₀)²) / L over the superpositions of the search.

    The best superpositions are refined by weighted superposition.

    Args:
        search: The search over Cα positions, with `search_radius(length)`.
        length: L, the number of residues of the reference, including those without a partner.

    Example:
        >>> line = np.arange(30.0)[:, None] * [3.8, 0, 0]
        >>> half = FitSearch(line[:15] + 5, line[:15], search_radius(30))
        >>> round(tm_score(half, 30).score, 3)
        0.5
    """
    d0 = float(tm_d0(length))
    closeness = _closeness(search.fits, d0)
    best = np.argsort(-closeness.sum(axis=1), kind="stable")[:_NUM_REFINED]
    fits, closeness = search.fits.take(best), closeness[best]
    for _ in range(_REFINEMENTS):
        # A term's derivative with respect to d² is proportional to its square: each step climbs.
        fits = search.fit(closeness**2)
        closeness = _closeness(fits, d0)
    motion = search.superposition(fits, int(closeness.sum(axis=1).argmax()))
    distance = np.linalg.norm(motion.apply(search.model) - search.reference, axis=1)
    return TMScore(float(tm_term(distance, d0).sum() / length), motion)


def _closeness(fits: Fits, d0: float) -> Float[np.ndarray, "S N"]:
    # `tm_term` of squares, in place: most of the time is spent here.
    terms = fits.squared * np.float32(d0**-2)
    terms += 1
    return np.reciprocal(terms, out=terms)
