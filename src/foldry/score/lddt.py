"""lDDT, the local distance difference test (Mariani et al., Bioinformatics 2013, 29, 2722).

lDDT is the share of the reference's distances below 15 Å, between atoms of different residues, that
the model keeps within 0.5, 1, 2 and 4 Å, averaged over the four. It needs no superposition.
Special rules:

- Distances to atoms that the model lacks count as lost, so leaving atoms out never pays.
- Side-chain atoms whose names are a convention, such as OD1 and OD2 of Asp, may be exchanged
  (`name_symmetric_atoms`).
- A residue without any distance to judge has no score, rather than 0 or 1.

A table of all distances would not fit into memory for large complexes. The atoms are processed in
blocks of rows, each against the columns in the box around it; every pair is computed once and
counted for both atoms. Distances come from matrix products and are rounded to single precision, to
about 0.000001 Å.

Axes: N residues, A atoms, G sets of atoms, R rows and K columns of a table of distances.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from foldry.residues import ATOM37_ORDER, CA, RESNAME_TO_CODE, C, N, O

Atoms: TypeAlias = tuple[Float[np.ndarray, "N 37 3"], Bool[np.ndarray, "N 37"]]
"""Positions (Å) in atom37 order, and the mask of known atoms."""
THRESHOLDS: Final = (0.5, 1.0, 2.0, 4.0)
"""Largest differences of a kept distance, Å."""
CUTOFF: Final = 15.0
"""Distances of the reference below this are judged, Å."""
BACKBONE: Final = (N, CA, C, O)
"""atom37 slots of the backbone."""
ALL_BUT_OXT: Final = tuple(slot for name, slot in ATOM37_ORDER.items() if name != "OXT")
"""atom37 slots without OXT, which only a chain's last residue has; OpenStructure omits it too."""
_BLOCK: Final = 128
"""Rows of a table of distances: few, so that it stays in the processor's cache."""

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
        score: lDDT over all distances; NaN if the reference has none below 15 Å.
        per_residue: lDDT over the distances of each residue; NaN for a residue without any.
    """

    score: float
    per_residue: Float[np.ndarray, " N"]


def lddt(
    model: Float[np.ndarray, "N 3"],
    reference: Float[np.ndarray, "N 3"],
    known: Bool[np.ndarray, " N"] | None = None,
) -> LDDT:
    """Return the lDDT of one atom per residue, such as Cα.

    Args:
        model, reference: Positions in Å; every atom of the reference counts.
        known: Atoms that the model has. Default: all.

    Example:
        >>> line = np.arange(3.0)[:, None] * [3.8, 0, 0]
        >>> lddt(line + [[0], [0], [1.5]], line).score  # 4, 2 and 2 of 4 thresholds
        0.6666666666666666
    """
    num = len(reference)
    known = np.ones(num, bool) if known is None else known
    residue = np.arange(num)
    counts = kept_distances(model, reference, known, residue, np.ones((num, 1), bool))
    return summary(counts[..., 0], residue, num)


def summary(
    counts: Float[np.ndarray, "2 A"], residue: Int[np.ndarray, " A"], num_residues: int
) -> LDDT:
    """Return lDDT from the counts of `kept_distances`; `residue` is the residue of each atom."""
    kept = np.bincount(residue, counts[0], num_residues) / len(THRESHOLDS)
    total = np.bincount(residue, counts[1], num_residues)
    score = float(kept.sum() / total.sum()) if total.any() else float("nan")
    return LDDT(score, np.divide(kept, total, out=np.full(num_residues, np.nan), where=total > 0))


def kept_distances(
    model: Float[np.ndarray, "A 3"],
    reference: Float[np.ndarray, "A 3"],
    known: Bool[np.ndarray, " A"],
    group: Int[np.ndarray, " A"],
    sets: Bool[np.ndarray, "A G"],
) -> Float[np.ndarray, "2 A G"]:
    """Return, for each atom, the number of thresholds that its distances keep, and of distances.

    Args:
        model, reference: Positions, Å.
        known: Atoms that the model has.
        group: A number for each atom; distances within a group are not judged.
        sets: Sets of atoms; a distance counts in each set that contains both its atoms.
    """
    order = np.argsort(group, kind="stable")
    group, members = group[order], sets[order].astype(np.float32)
    here = _terms(model[order], known[order])
    there = _terms(reference[order], np.ones(len(order), bool))
    factors = _factors(here), _factors(there)
    counts = np.zeros((2, *sets.shape))
    for start in range(0, len(order), _BLOCK):
        rows = slice(start, start + _BLOCK)
        end = int(np.searchsorted(group, group[rows][-1], side="right"))
        first = end if group[start] == group[rows][-1] else start
        columns = first + _near(there[:, rows], there[:, first:])
        before = _distances(factors[1][rows], there[:, columns])
        judged = before < CUTOFF
        same = int(np.searchsorted(columns, end))
        judged[:, :same] &= group[rows, None] != group[columns[:same]]
        kept = _kept(before, _distances(factors[0][rows], here[:, columns]), judged)
        ahead = int(np.searchsorted(columns, start + _BLOCK))
        here_in, there_in, later = members[rows], members[columns], columns[ahead:]
        for count, table in zip(counts, (kept, judged), strict=True):
            numbers = table.astype(np.float32)
            count[rows] += here_in * (numbers @ there_in)
            count[later] += there_in[ahead:] * (numbers[:, ahead:].T @ here_in)
    result = np.empty_like(counts)
    result[:, order] = counts
    return result


def kept_within_residues(
    model: Float[np.ndarray, "A 3"],
    reference: Float[np.ndarray, "A 3"],
    known: Bool[np.ndarray, " A"],
    residue: Int[np.ndarray, " A"],
    sets: Bool[np.ndarray, "A G"],
) -> Num[np.ndarray, "2 A G"]:
    """Return counts as `kept_distances` does, for the distances within residues.

    Args:
        residue: The residue of each atom, ascending.
    """
    num = len(residue)
    later = np.searchsorted(residue, residue, side="right") - np.arange(num) - 1
    one, step = np.nonzero(later[:, None] > np.arange(later.max(initial=0)))
    other = one + 1 + step
    before, after = (
        np.linalg.norm(points[one] - points[other], axis=1) for points in (reference, model)
    )
    error = np.where(known[one] & known[other], np.abs(after - before), np.inf)
    judged = (before < CUTOFF)[:, None] & sets[one] & sets[other]
    kept = judged * (error[:, None] < THRESHOLDS).sum(axis=1, keepdims=True)
    counts = [
        [np.bincount(one, values, num) + np.bincount(other, values, num) for values in table.T]
        for table in (kept, judged)
    ]
    return np.swapaxes(counts, 1, 2)


def name_symmetric_atoms(model: Atoms, reference: Atoms, aatype: Int[np.ndarray, " N"]) -> Atoms:
    """Return the model with equivalent side-chain atoms named in its favour.

    In Arg, Asp, Glu, Leu, Phe, Tyr and Val two atom names may be exchanged. Each residue gets the
    naming with the higher lDDT to the unambiguous atoms of other residues (Mariani 2013), or keeps
    its names if both are equal. Ambiguous atoms are left out of this comparison, because their
    names are not yet decided.
    """
    swap, own = _SWAP[aatype], np.arange(37)
    here, there = _terms(*model), _terms(*reference)
    residue, slot = np.nonzero(reference[1] & (swap == own))
    fixed_here, fixed_there = here[:, residue, slot], there[:, residue, slot]
    paired, first = np.nonzero(swap > own)
    gain = np.zeros(len(aatype))
    for start in range(0, len(paired), _BLOCK // 2):
        rows, one = paired[start : start + _BLOCK // 2], first[start : start + _BLOCK // 2]
        pair = (rows, one), (rows, swap[rows, one])
        columns = _near(np.hstack([there[:, *atoms] for atoms in pair]), fixed_there)
        before, after = (
            [_distances(_factors(points[:, *atoms]), fixed[:, columns]) for atoms in pair]
            for points, fixed in ((there, fixed_there), (here, fixed_here))
        )
        apart = rows[:, None] != residue[columns]
        more = np.zeros(apart.shape, np.int8)
        for known, as_named, exchanged in zip(before, after, after[::-1], strict=True):
            judged = (known < CUTOFF) & apart
            more += _kept(known, exchanged, judged) - _kept(known, as_named, judged)
        gain += np.bincount(rows, more.sum(axis=1), len(aatype))
    slots = np.where((gain > 0)[:, None], swap, own)
    rows = np.arange(len(aatype))[:, None]
    return model[0][rows, slots], model[1][rows, slots]


def _terms(
    points: Float[np.ndarray, "*any 3"], there: Bool[np.ndarray, "*any"]
) -> Float[np.ndarray, "5 ..."]:
    """Return x, y, z, x² + y² + z² and 1 of centred points; NaN for missing atoms."""
    center = points[there].mean(axis=0, dtype=np.float64) if there.any() else np.zeros(3)
    terms = np.full((5, *there.shape), np.nan)
    terms[:3, there] = (points[there] - center).T
    terms[3] = (terms[:3] ** 2).sum(axis=0)
    terms[4, there] = 1
    return terms


def _near(
    rows: Float[np.ndarray, "5 R"], columns: Float[np.ndarray, "5 K"]
) -> Int[np.ndarray, " M"]:
    """Return the columns in the box around all rows, `CUTOFF` wider on each side."""
    low = np.fmin.reduce(rows[:3], axis=1)[:, None] - CUTOFF
    high = np.fmax.reduce(rows[:3], axis=1)[:, None] + CUTOFF
    inside = (columns[:3] >= low) & (columns[:3] <= high)
    return np.flatnonzero(inside.all(axis=0))


def _factors(points: Float[np.ndarray, "5 R"]) -> Float[np.ndarray, "R 5"]:
    """Return the factors of the terms of another point in the squared distance between both."""
    x, y, z, square, one = points
    return np.stack([-2 * x, -2 * y, -2 * z, one, square], axis=1)


def _distances(
    factors: Float[np.ndarray, "R 5"], columns: Float[np.ndarray, "5 K"]
) -> Float[np.ndarray, "R K"]:
    """Return |a − b| from |a|² + |b|² − 2 a·b, a matrix product of the two atoms' terms."""
    distances = np.asarray((factors @ columns).astype(np.float32))
    np.abs(distances, out=distances)  # an atom's distance from itself may be a little below 0
    np.sqrt(distances, out=distances)
    return distances


def _kept(
    before: Float[np.ndarray, "R K"],
    after: Float[np.ndarray, "R K"],
    judged: Bool[np.ndarray, "R K"],
) -> Int[np.ndarray, "R K"]:
    """Return how many thresholds each judged distance keeps; a NaN distance keeps none."""
    error = after - before
    np.abs(error, out=error)
    kept = np.zeros(error.shape, np.int8)
    for threshold in THRESHOLDS:
        kept += (error < threshold).view(np.int8)
    kept *= judged.view(np.int8)
    return kept
