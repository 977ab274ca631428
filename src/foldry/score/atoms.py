"""All scores that judge the distances between all atoms; a distance that they share is taken once.

lDDT names the equivalent atoms of side chains for the best, and may leave some out; FoldScore takes
the model as it is. An atom about which they differ stands twice in the list of atoms, once for
each: distances count in the sets of atoms that hold both their ends.

Axes: N residues, A atoms, G sets of atoms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int

from foldry.score.foldscore import SETS, mean_over_atoms
from foldry.score.lddt import LDDT, kept_distances, kept_within_residues, summary

Atoms: TypeAlias = tuple[Float[np.ndarray, "N 37 3"], Bool[np.ndarray, "N 37"]]
"""Positions (Å) in atom37 order, and which are there."""
_BACKBONE: Final = 1
_LDDT: Final = SETS.shape[1]


class _Atoms(NamedTuple):
    """What `kept_distances` takes."""

    model: Float[np.ndarray, "A 3"]
    reference: Float[np.ndarray, "A 3"]
    known: Bool[np.ndarray, " A"]
    group: Int[np.ndarray, " A"]
    sets: Bool[np.ndarray, "A G"]

    def take(self, rows: np.ndarray) -> _Atoms:
        return _Atoms(*(each[rows] for each in self))


@dataclass(frozen=True)
class AtomScores:
    """Scores of all atoms but OXT, 0–1; NaN where there is no distance to judge by.

    Attributes:
        lddt: Of the atoms as they are named for lDDT.
        lddt_backbone: Of N, CA, C and O.
        ilddt: As `lddt`, of distances between chains alone.
        foldscore: The mean over the chains; one without any two Cα to judge by is left out.
    """

    lddt: LDDT
    lddt_backbone: float
    ilddt: float
    foldscore: float


def score_atoms(model: Atoms, named: Atoms, reference: Atoms, chain: np.ndarray) -> AtomScores:
    """Scores of a model; residue n of it is residue n of the reference.

    Args:
        model: As it is.
        named: As lDDT of all atoms takes it, by other names or without some atoms.
        reference: What it should be; every atom that is there counts.
        chain: The chain of each residue, a name or number.
    """
    residue, slot = np.nonzero(reference[1] & SETS.any(axis=1))
    as_is, as_named = ((at[residue, slot], known[residue, slot]) for at, known in (model, named))
    differs = (as_is[0] != as_named[0]).any(axis=1) | (as_is[1] != as_named[1])
    once, again = np.arange(len(slot)), np.flatnonzero(differs)
    order = np.concatenate([once, again])
    for_lddt = np.concatenate([~differs, np.ones(len(again), bool)])
    for_foldscore = np.concatenate([SETS[slot], np.zeros((len(again), 3), bool)])
    atoms = _Atoms(
        np.concatenate([as_is[0], as_named[0][again]]),
        reference[0][residue, slot][order],
        np.concatenate([as_is[1], as_named[1][again]]),
        residue[order],
        np.column_stack([for_foldscore, for_lddt]),
    )
    of_chain = np.unique(chain, return_inverse=True)[1][atoms.group]
    within, between = np.zeros((2, 2, *atoms.sets.shape))
    foldscores = []
    for number in range(of_chain.max(initial=-1) + 1):
        rows = np.flatnonzero(of_chain == number)
        within[:, rows] = kept_distances(*atoms.take(rows))
        rows = rows[rows < len(once)]
        everything = within[:, rows] + kept_within_residues(*atoms.take(rows))
        foldscores.append(mean_over_atoms(everything[..., :_LDDT]).score)
    if len(foldscores) > 1:
        between = kept_distances(*atoms._replace(group=of_chain))
    of_all, of_backbone, of_interfaces = (
        summary(kept, judged, atoms.group, len(chain))
        for kept, judged in (
            (within + between)[..., _LDDT],
            (within + between)[..., _BACKBONE],
            between[..., _LDDT],
        )
    )
    return AtomScores(of_all, of_backbone.score, of_interfaces.score, _mean_known(foldscores))


def _mean_known(values: list[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")
