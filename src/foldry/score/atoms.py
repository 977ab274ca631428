"""lDDT and FoldScore, the scores of distances between all atoms.

Both scores need nearly the same distances, which take most of the time, so one pass computes both.
They differ in the atoms that they use: lDDT names equivalent side-chain atoms in the model's favour
and may leave atoms out, FoldScore uses the model unchanged. An atom that differs between the two is
therefore listed twice, once for each score. Every distance is computed once and counts in each set
that contains both its atoms.

FoldScore is nanoFold's 0.55 lDDT-Cα + 0.30 lDDT-backbone + 0.15 lDDT-atom14
(github.com/ChrisHayduk/nanoFold-Competition, commit 21d96a3, nanofold/metrics.py). Its lDDT differs
from `foldry.score.lddt`: distances within a residue count too, the mean is over atoms instead of
distances, and equivalent atoms keep their names. nanoFold requires every atom of a model, and gives
0 if there is no distance to judge.

Axes: N residues, A atoms, G sets of atoms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float

from foldry.residues import CA
from foldry.score.lddt import (
    ALL_BUT_OXT,
    BACKBONE,
    THRESHOLDS,
    Atoms,
    kept_distances,
    kept_within_residues,
    summary,
)
from foldry.store.hashes import Content

SETS: Final = np.stack(
    [np.isin(np.arange(37), slots) for slots in ((CA,), BACKBONE, ALL_BUT_OXT)], axis=1
)
"""Masks of atom37 slots: Cα, the backbone, and all atoms."""
WEIGHTS: Final = (0.55, 0.30, 0.15)
"""Weights of `SETS` in FoldScore."""
_BACKBONE: Final = 1
_LDDT: Final = SETS.shape[1]


@dataclass(frozen=True, eq=False)
class AtomScores(Content):
    """Scores of all atoms except OXT, 0–1; NaN if there is no distance to judge.

    Attributes:
        lddt: lDDT, with equivalent side-chain atoms named in the model's favour.
        lddt_per_residue: `lddt` of each residue of the reference.
        lddt_backbone: lDDT of N, CA, C and O.
        ilddt: `lddt` of distances between chains only.
        foldscore: FoldScore, the mean over the reference's chains; chains without two Cα to judge
            are left out, and all atoms keep their names.
    """

    lddt: float
    lddt_per_residue: Float[np.ndarray, " N"]
    lddt_backbone: float
    ilddt: float
    foldscore: float


def score_atoms(model: Atoms, named: Atoms, reference: Atoms, chain: np.ndarray) -> AtomScores:
    """Return the scores of a model whose residue n is residue n of the reference.

    Args:
        model: The model, unchanged.
        named: The model for lDDT of all atoms, with atoms renamed or left out.
        reference: The reference; every atom that it has counts.
        chain: The chain of each residue, as a name or number.
    """
    residue, slot = np.nonzero(reference[1] & SETS.any(axis=1))
    as_is, as_named = ((at[residue, slot], known[residue, slot]) for at, known in (model, named))
    differs = (as_is[0] != as_named[0]).any(axis=1) | (as_is[1] != as_named[1])
    num, again = len(slot), np.flatnonzero(differs)
    order = np.concatenate([np.arange(num), again])
    for_lddt = np.concatenate([~differs, np.ones(len(again), bool)])
    for_foldscore = np.concatenate([SETS[slot], np.zeros((len(again), _LDDT), bool)])
    residue = residue[order]
    points = (
        np.concatenate([as_is[0], as_named[0][again]]),
        reference[0][residue, slot[order]],
        np.concatenate([as_is[1], as_named[1][again]]),
    )
    sets = np.column_stack([for_foldscore, for_lddt])
    atoms = (*points, residue, sets)
    of_chain = np.unique(chain, return_inverse=True)[1][residue]
    within, between = np.zeros((2, 2, *sets.shape))
    foldscores = []
    for number in range(of_chain.max(initial=-1) + 1):
        rows = np.flatnonzero(of_chain == number)
        within[:, rows] = kept_distances(*(each[rows] for each in atoms))
        rows = rows[rows < num]
        counts = within[:, rows] + kept_within_residues(*(each[rows] for each in atoms))
        foldscores.append(float(np.dot(WEIGHTS, atom_means(counts[..., :_LDDT]))))
    if len(foldscores) > 1:
        between = kept_distances(*points, of_chain, sets)
    counts = within + between
    judged = counts[..., _LDDT], counts[..., _BACKBONE], between[..., _LDDT]
    of_all, of_backbone, of_interfaces = (summary(each, residue, len(chain)) for each in judged)
    known = [each for each in foldscores if np.isfinite(each)]
    return AtomScores(
        lddt=of_all.score,
        lddt_per_residue=of_all.per_residue,
        lddt_backbone=of_backbone.score,
        ilddt=of_interfaces.score,
        foldscore=float(np.mean(known)) if known else float("nan"),
    )


def atom_means(counts: Float[np.ndarray, "2 A 3"]) -> Float[np.ndarray, 3]:
    """Return FoldScore's lDDT of the three `SETS`, the mean over atoms; NaN without a distance.

    Args:
        counts: Numbers of thresholds kept and of distances judged, between and within residues.
    """
    kept, judged = counts
    shares = np.divide(kept, len(THRESHOLDS) * judged, out=np.zeros_like(kept), where=judged > 0)
    atoms = (judged > 0).sum(axis=0)
    means = np.full(_LDDT, np.nan)
    np.divide(shares.sum(axis=0), atoms, out=means, where=atoms > 0)
    return means
