"""TM-score (Zhang & Skolnick, Proteins 2004, 57, 702) of residues whose pairing is given."""

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
    """TM-score (0–1) and the superposition of the model that gives it."""

    score: float
    superposition: Superposition


def tm_term(distance: np.ndarray, d0: float | np.ndarray) -> np.ndarray:
    """1 / (1 + (d / d₀)²), what one residue at distance d adds to a TM-score."""
    return np.asarray(1 / (1 + (distance / d0) ** 2))


def tm_d0(length: int | np.ndarray, least: float = 0.5) -> np.ndarray:
    """d₀ in Å for a reference of `length` residues: 1.24 (L − 15)^⅓ − 1.8, at least `least`."""
    return np.asarray(np.maximum(1.24 * np.cbrt(np.asarray(length) - 15.0) - 1.8, least))


def search_radius(length: int) -> float:
    """What the TM-score program takes as near, Å: d₀ between 4.5 and 8."""
    return float(np.clip(tm_d0(length), 4.5, 8.0))


def tm_score(search: FitSearch, length: int) -> TMScore:
    """The largest Σ 1 / (1 + (dₙ / d₀)²) / L over the superpositions that the search visits.

    Args:
        search: The search over Cα positions, with `search_radius(length)`.
        length: L, all residues of the reference, those without a partner too.
    """
    d0 = float(tm_d0(length))
    closeness = _closeness(search.fits, d0)
    best = np.argsort(-closeness.sum(axis=1), kind="stable")[:_NUM_REFINED]
    fits, closeness = search.fits.take(best), closeness[best]
    for _ in range(_REFINEMENTS):
        # The derivative of a residue's term by its d² is its square: each step climbs.
        fits = search.fit(closeness**2)
        closeness = _closeness(fits, d0)
    motion = search.superposition(fits, int(closeness.sum(axis=1).argmax()))
    distance = np.linalg.norm(motion.apply(search.model) - search.reference, axis=1)
    return TMScore(float(tm_term(distance, d0).sum() / length), motion)


def _closeness(fits: Fits, d0: float) -> Float[np.ndarray, "S N"]:
    # As `tm_term`, of squares and in place: this is where the time goes.
    terms = fits.squared * np.float32(d0**-2)
    terms += 1
    return np.reciprocal(terms, out=terms)
