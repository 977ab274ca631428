"""FoldScore, one number for the Cα, the backbone and all atoms, as nanoFold first defined it.

0.55 lDDT-Cα + 0.30 lDDT-backbone + 0.15 lDDT-atom14, each under 15 Å at 0.5, 1, 2 and 4 Å
(github.com/ChrisHayduk/nanoFold-Competition, commit 21d96a3, nanofold/metrics.py). Its lDDT differs
from `foldry.score.lddt`: distances within a residue count too, the mean is over atoms instead of
distances, and equivalent atoms of a side chain keep the names that they have. A benchmark's score
is the mean over its chains, all with the same weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float

from foldry.residues import CA
from foldry.score.lddt import (
    ALL_BUT_OXT,
    BACKBONE,
    THRESHOLDS,
    kept_distances,
    kept_within_residues,
)

WEIGHTS: Final = (0.55, 0.30, 0.15)
"""Of the Cα, the backbone and all atoms."""
SETS: Final = np.stack(
    [np.isin(np.arange(37), slots) for slots in ((CA,), BACKBONE, ALL_BUT_OXT)], axis=1
)
"""Which atom37 slots are Cα, backbone and any of the atoms."""


@dataclass(frozen=True)
class FoldScore:
    """lDDT of three sets of atoms, each the mean over atoms, 0–1; NaN without a distance.

    Attributes:
        ca, backbone, atom14: Of the Cα, of N, CA, C and O, and of all atoms but OXT.
    """

    ca: float
    backbone: float
    atom14: float

    @property
    def score(self) -> float:
        """The weighted mean of the three, 0–1."""
        return float(np.dot(WEIGHTS, (self.ca, self.backbone, self.atom14)))


def foldscore(
    model: Float[np.ndarray, "N 37 3"],
    reference: Float[np.ndarray, "N 37 3"],
    model_mask: Bool[np.ndarray, "N 37"],
    reference_mask: Bool[np.ndarray, "N 37"],
) -> FoldScore:
    """FoldScore of one chain; what the model lacks of the reference counts as wrong.

    nanoFold asks for every atom of a model, and gives 0 where there is no distance to judge by.

    Args:
        model, reference: Å, in atom37 order; residue n of one is residue n of the other.
        model_mask, reference_mask: Which atoms are there.
    """
    residue, slot = np.nonzero(reference_mask & SETS.any(axis=1))
    atoms = (
        model[residue, slot],
        reference[residue, slot],
        model_mask[residue, slot],
        residue,
        SETS[slot],
    )
    return mean_over_atoms(kept_distances(*atoms) + kept_within_residues(*atoms))


def mean_over_atoms(counts: Float[np.ndarray, "2 A 3"]) -> FoldScore:
    """FoldScore of `kept_distances` between and within residues in the three `SETS`."""
    kept, judged = counts
    shares = np.divide(kept, len(THRESHOLDS) * judged, out=np.zeros_like(kept), where=judged > 0)
    atoms = (judged > 0).sum(axis=0)
    means = np.divide(shares.sum(axis=0), atoms, out=np.full(3, np.nan), where=atoms > 0)
    return FoldScore(*means.tolist())
