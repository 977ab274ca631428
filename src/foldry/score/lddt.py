"""lDDT, the local distance difference test (Mariani et al., Bioinformatics 2013, 29, 2722).

Of all distances under 15 Å between atoms of different residues of the reference, the share that
the model keeps within 0.5, 1, 2 and 4 Å, the mean of the four. Distances to atoms that the model
lacks are lost. Axes: N residues, A atoms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int

from foldry.residues import ATOM37_ORDER, CA, RESNAME_TO_CODE, C, N, O

THRESHOLDS: Final = (0.5, 1.0, 2.0, 4.0)
"""Å."""
CUTOFF: Final = 15.0
"""Å."""
BACKBONE: Final = (N, CA, C, O)
"""atom37 slots."""
ALL_BUT_OXT: Final = tuple(slot for name, slot in ATOM37_ORDER.items() if name != "OXT")
"""atom37 slots; OXT is left out as OpenStructure does: only a chain's last residue has it."""
_BLOCK: Final = 192

_SYMMETRIC: Final = {
    "ARG": (("NH1", "NH2"),),
    "ASP": (("OD1", "OD2"),),
    "GLU": (("OE1", "OE2"),),
    "LEU": (("CD1", "CD2"),),
    "PHE": (("CD1", "CD2"), ("CE1", "CE2")),
    "TYR": (("CD1", "CD2"), ("CE1", "CE2")),
    "VAL": (("CG1", "CG2"),),
}


def _swap_table() -> Int[np.ndarray, "21 37"]:
    table = np.tile(np.arange(37), (21, 1))
    for name, pairs in _SYMMETRIC.items():
        for pair in pairs:
            one, other = (ATOM37_ORDER[atom] for atom in pair)
            table[RESNAME_TO_CODE[name], [one, other]] = other, one
    return table


_SWAP: Final = _swap_table()


@dataclass(frozen=True)
class LDDT:
    """lDDT of a whole structure and of each residue, 0–1.

    Attributes:
        score: Over all distances; NaN where the reference has none to judge by.
        per_residue: Over the distances of each residue, NaN where it has none.
    """

    score: float
    per_residue: Float[np.ndarray, " N"]


def lddt(
    model: Float[np.ndarray, "A 3"],
    reference: Float[np.ndarray, "A 3"],
    known: Bool[np.ndarray, " A"] | None = None,
    residue: Int[np.ndarray, " A"] | None = None,
    cutoff: float = CUTOFF,
) -> LDDT:
    """lDDT of any atoms, such as the Cα.

    Args:
        model, reference: Å; every atom of the reference counts.
        known: Which of them the model has; all if left out.
        residue: The residue of each atom, from 0, never descending; atom n's is n if left out.
        cutoff: Å; distances of the reference below it are judged.
    """
    residue = np.arange(len(reference)) if residue is None else residue
    num_residues = int(residue.max(initial=-1)) + 1
    kept, total = np.zeros(num_residues), np.zeros(num_residues)
    distances = _Distances(model, reference, known)
    atoms = np.arange(len(reference))
    for start in range(0, len(atoms), _BLOCK):
        first, second, share = distances.between(
            atoms[start : start + _BLOCK], atoms[start:], cutoff
        )
        one, other = residue[first], residue[second]
        judged = one < other
        for end in (one[judged], other[judged]):
            kept += np.bincount(end, share[judged], num_residues) / len(THRESHOLDS)
            total += np.bincount(end, minlength=num_residues)
    score = float(kept.sum() / total.sum()) if total.any() else float("nan")
    return LDDT(score, np.divide(kept, total, out=np.full(num_residues, np.nan), where=total > 0))


def lddt_atom37(
    model: Float[np.ndarray, "N 37 3"],
    reference: Float[np.ndarray, "N 37 3"],
    model_mask: Bool[np.ndarray, "N 37"],
    reference_mask: Bool[np.ndarray, "N 37"],
    slots: Sequence[int] = ALL_BUT_OXT,
) -> LDDT:
    """lDDT of some atoms of each residue, such as `BACKBONE`; all but OXT if left out.

    Args:
        model, reference: Å, in atom37 order.
        model_mask, reference_mask: Which atoms are there.
        slots: The atom37 slots to judge.
    """
    chosen = np.zeros(37, bool)
    chosen[list(slots)] = True
    residue, slot = np.nonzero(reference_mask & chosen)
    scored = lddt(
        model[residue, slot], reference[residue, slot], model_mask[residue, slot], residue
    )
    per_residue = np.full(len(reference), np.nan)
    per_residue[: len(scored.per_residue)] = scored.per_residue
    return LDDT(scored.score, per_residue)


def name_symmetric_atoms(
    model: Float[np.ndarray, "N 37 3"],
    reference: Float[np.ndarray, "N 37 3"],
    model_mask: Bool[np.ndarray, "N 37"],
    reference_mask: Bool[np.ndarray, "N 37"],
    aatype: Int[np.ndarray, " N"],
) -> tuple[Float[np.ndarray, "N 37 3"], Bool[np.ndarray, "N 37"]]:
    """The model's atoms and mask with the equivalent atoms of a side chain named for the best.

    In Arg, Asp, Glu, Leu, Phe, Tyr and Val two names of atoms may be exchanged. Of the two namings
    the one with the higher lDDT to all atoms of other residues that have only one is taken
    (Mariani 2013); between equal ones the model's own.
    """
    swap = _SWAP[aatype]
    ambiguous = swap != np.arange(37)
    residue, slot = np.nonzero(reference_mask)
    rows = np.flatnonzero(ambiguous[residue, slot])
    columns = np.flatnonzero(~ambiguous[residue, slot])
    there = reference[residue, slot]
    gain = np.zeros(len(aatype))
    for sign, slots in ((-1, slot), (1, swap[residue, slot])):
        distances = _Distances(model[residue, slots], there, model_mask[residue, slots])
        for start in range(0, len(rows), _BLOCK):
            first, second, share = distances.between(rows[start : start + _BLOCK], columns, CUTOFF)
            others = residue[first] != residue[second]
            gain += sign * np.bincount(residue[first[others]], share[others], len(aatype))
    slots = np.where((gain > 0)[:, None], swap, np.arange(37))
    return (
        np.take_along_axis(model, slots[:, :, None], axis=1),
        np.take_along_axis(model_mask, slots, axis=1),
    )


class _Distances:
    """Distances between atoms of the reference, and how well the model keeps them."""

    def __init__(self, model: np.ndarray, reference: np.ndarray, known: np.ndarray | None) -> None:
        self._reference = np.asarray(reference, np.float64)
        self._known = np.ones(len(reference), bool) if known is None else known
        self._factors = [_factors(self._reference), _factors(np.asarray(model, np.float64))]

    def between(
        self, rows: Int[np.ndarray, " R"], columns: Int[np.ndarray, " K"], cutoff: float
    ) -> tuple[Int[np.ndarray, " D"], Int[np.ndarray, " D"], Int[np.ndarray, " D"]]:
        """The pairs of a row and a column below `cutoff` Å, and how many thresholds each keeps."""
        low = self._reference[rows].min(axis=0) - cutoff
        high = self._reference[rows].max(axis=0) + cutoff
        points = self._reference[columns]
        columns = columns[((points >= low) & (points <= high)).all(axis=1)]
        reference, model = (left[rows] @ right[columns].T for left, right in self._factors)
        inside = np.flatnonzero(reference < cutoff**2)
        row, column = np.divmod(inside, len(columns))
        first, second = rows[row], columns[column]
        before, after = (
            np.sqrt(np.maximum(squared.ravel()[inside], 0)) for squared in (reference, model)
        )
        error = np.abs(after - before)
        kept = sum((error < threshold).astype(np.int8) for threshold in THRESHOLDS)
        return first, second, kept * (self._known[first] & self._known[second])


def _factors(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two matrices of which the rows' products are squared distances."""
    points = points - points.mean(axis=0) if len(points) else points
    norms = (points**2).sum(axis=1, keepdims=True)
    ones = np.ones_like(norms)
    return np.hstack([-2 * points, norms, ones]), np.hstack([points, ones, norms])
