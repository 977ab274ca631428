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
    """TM-score (0–1), its d₀ in Å and the superposition of the model that gives it."""

    score: float
    d0: float
    superposition: Superposition


def tm_term(distance: np.ndarray, d0: float | np.ndarray) -> np.ndarray:
    """1 / (1 + (d / d₀)²), what one residue at distance d adds to a TM-score."""
    term: np.ndarray = 1 / (1 + (distance / d0) ** 2)
    return term


def tm_d0(length: float | np.ndarray, least: float = 0.5) -> np.ndarray:
    """d₀ in Å for a reference of `length` residues: 1.24 (L − 15)^⅓ − 1.8, at least `least`."""
    d0: np.ndarray = np.maximum(1.24 * np.cbrt(np.asarray(length) - 15.0) - 1.8, least)
    return d0


def search_radius(length: int) -> float:
    """What the TM-score program takes as near, Å: d₀ between 4.5 and 8."""
    return float(np.clip(tm_d0(length), 4.5, 8.0))


def tm_score(
    model: Float[np.ndarray, "N 3"],
    reference: Float[np.ndarray, "N 3"],
    length: int | None = None,
    search: FitSearch | None = None,
) -> TMScore:
    """The largest Σ 1 / (1 + (dₙ / d₀)²) / L over the superpositions that the search visits.

    Args:
        model, reference: Cα positions, Å; residue n of one belongs to residue n of the other.
        length: L, all residues of the reference, those without a partner too; N if left out.
        search: A search over the same points, to share it with `gdt`.
    """
    length = len(reference) if length is None else length
    search = search or FitSearch(model, reference, search_radius(length))
    d0 = float(tm_d0(length))
    closeness = _closeness(search.fits, d0)
    best = np.argsort(-closeness.sum(axis=1), kind="stable")[:_NUM_REFINED]
    fits, closeness = search.fits.take(best), closeness[best]
    for _ in range(_REFINEMENTS):
        # The derivative of a residue's term by its d² is its square: each step climbs.
        fits = search.fit(closeness**2)
        closeness = _closeness(fits, d0)
    motion = search.superposition(fits, int(closeness.sum(axis=1).argmax()))
    distance = np.linalg.norm(motion.apply(model) - reference, axis=1)
    return TMScore(float(tm_term(distance, d0).sum() / length), d0, motion)


def _closeness(fits: Fits, d0: float) -> Float[np.ndarray, "S N"]:
    # As `tm_term`, of squares and in place: this is where the time goes.
    terms = fits.squared * np.float32(d0**-2)
    terms += 1
    return np.reciprocal(terms, out=terms)
