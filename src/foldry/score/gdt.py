"""Global distance test (Zemla, Nucleic Acids Res. 2003, 31, 3370): GDT_TS and GDT_HA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float

from foldry.score.best_fit import Fits, FitSearch, count, near, unseen
from foldry.score.superpose import Superposition

CUTOFFS: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Cutoffs of GDT_HA and GDT_TS, Å."""
_SHRINK: Final = (1.8, 1.6, 1.4, 1.2, 1.1, 1.0)
_NUM_REFINED: Final = 100


@dataclass(frozen=True)
class GDT:
    """Fractions of the reference's residues within each of `CUTOFFS`.

    Attributes:
        fractions: The fraction for each cutoff, 0–1.
        superpositions: The motion of the model that gives each fraction.
    """

    fractions: tuple[float, ...]
    superpositions: tuple[Superposition, ...]

    @property
    def ts(self) -> float:
        """GDT_TS, the mean over 1, 2, 4 and 8 Å."""
        return float(np.mean(self.fractions[1:]))

    @property
    def ha(self) -> float:
        """GDT_HA, the mean over 0.5, 1, 2 and 4 Å."""
        return float(np.mean(self.fractions[:4]))


def gdt(search: FitSearch, length: int) -> GDT:
    """Return the largest fraction of residues within each cutoff, over all superpositions.

    Starting from the best superpositions of the search, the residues within 1.8 times the cutoff
    are superposed, then those within 1.6 times, and so on down to the cutoff itself.

    Args:
        search: The search over Cα positions, with `search_radius(length)`.
        length: Number of residues of the reference, including those without a partner.

    Example:
        >>> from foldry.score.tm import search_radius
        >>> line = np.arange(30.0)[:, None] * [3.8, 0, 0]
        >>> bent = line + np.where(line > 57, [0, 3.0, 0], 0)
        >>> gdt(FitSearch(bent, line, search_radius(30)), 30).fractions[-1]
        1.0
    """
    best = _best_motions(search)
    moved = np.stack([motion.apply(search.model) for motion in best])
    within = np.linalg.norm(moved - search.reference, axis=2) <= np.array(CUTOFFS)[:, None, None]
    # The best superposition for a narrow cutoff may also be the best for a wider one.
    counts = within.sum(axis=2)
    return GDT(
        tuple(float(count) / length for count in counts.max(axis=1)),
        tuple(best[index] for index in counts.argmax(axis=1)),
    )


def _best_motions(search: FitSearch) -> list[Superposition]:
    """Return for each cutoff the motion that brings most residues within it, all in one pass."""
    visited = [_counts(search.fits, cutoff) for cutoff in CUTOFFS]
    tops = [np.argsort(-counts, kind="stable")[:_NUM_REFINED] for counts in visited]
    best = [search.superposition(search.fits, int(top[0])) for top in tops]
    most = [int(counts.max()) for counts in visited]
    fits = search.fits.take(np.concatenate(tops))
    group = np.repeat(np.arange(len(CUTOFFS)), len(tops[0]))
    cutoffs = np.array(CUTOFFS)[:, None]
    for factor in _SHRINK:
        selected = near(fits, factor * cutoffs[group])
        rows = unseen(np.hstack([selected, group[:, None] == np.arange(len(CUTOFFS))]), set())
        group, fits = group[rows], search.fit(selected[rows])
        counts = _counts(fits, cutoffs[group])
        for index in range(len(CUTOFFS)):
            row = int(np.where(group == index, counts, -1).argmax())
            if counts[row] > most[index]:
                best[index], most[index] = search.superposition(fits, row), int(counts[row])
    return best


def _counts(fits: Fits, cutoff: float | Float[np.ndarray, "S 1"]) -> Float[np.ndarray, " S"]:
    return count(fits.squared <= np.float32(cutoff) ** 2)
