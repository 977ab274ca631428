"""lDDT, the local distance difference test (Mariani et al., Bioinformatics 2013, 29, 2722).

Of all distances under 15 Å between atoms of different residues of the reference, the share that
the model keeps within 0.5, 1, 2 and 4 Å, the mean of the four. Distances to atoms that the model
lacks are lost. Distances are rounded to single precision, to about 0.000001 Å.

Axes: N residues, A atoms, G sets of atoms, R rows and K columns of a table of distances.
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
    chain: np.ndarray | None = None,
) -> LDDT:
    """lDDT of any atoms, such as the Cα.

    Args:
        model, reference: Å; every atom of the reference counts.
        known: Which of them the model has; all if left out.
        residue: The residue of each atom, from 0; atom n's is n if left out.
        cutoff: Å; distances of the reference below it are judged.
        chain: The chain of each atom, a name or number; if given, only distances between
            different chains are judged.
    """
    residue = np.arange(len(reference)) if residue is None else residue
    known = np.ones(len(reference), bool) if known is None else known
    everything = np.ones((len(reference), 1), bool)
    kept, total = kept_distances(
        model, reference, known, _groups(residue, chain), everything, cutoff
    )
    return summary(kept[:, 0], total[:, 0], residue, int(residue.max(initial=-1)) + 1)


def lddt_atom37(
    model: Float[np.ndarray, "N 37 3"],
    reference: Float[np.ndarray, "N 37 3"],
    model_mask: Bool[np.ndarray, "N 37"],
    reference_mask: Bool[np.ndarray, "N 37"],
    slots: Sequence[int] = ALL_BUT_OXT,
    chain: np.ndarray | None = None,
) -> LDDT:
    """lDDT of some atoms of each residue, such as `BACKBONE`; all but OXT if left out.

    Args:
        model, reference: Å, in atom37 order.
        model_mask, reference_mask: Which atoms are there.
        slots: The atom37 slots to judge.
        chain: The chain of each residue, a name or number; if given, only distances between
            different chains are judged.
    """
    residue, slot = np.nonzero(reference_mask & np.isin(np.arange(37), slots))
    scored = lddt(
        model[residue, slot],
        reference[residue, slot],
        model_mask[residue, slot],
        residue,
        chain=None if chain is None else chain[residue],
    )
    rest = len(reference) - len(scored.per_residue)
    return LDDT(scored.score, np.append(scored.per_residue, np.full(rest, np.nan)))


def summary(
    kept: Float[np.ndarray, " A"],
    judged: Float[np.ndarray, " A"],
    residue: Int[np.ndarray, " A"],
    num_residues: int,
) -> LDDT:
    """lDDT of what `kept_distances` counts, the atoms' residues given."""
    kept = np.bincount(residue, kept, num_residues) / len(THRESHOLDS)
    total = np.bincount(residue, judged, num_residues)
    score = float(kept.sum() / total.sum()) if total.any() else float("nan")
    return LDDT(score, np.divide(kept, total, out=np.full(num_residues, np.nan), where=total > 0))


def kept_distances(
    model: Float[np.ndarray, "A 3"],
    reference: Float[np.ndarray, "A 3"],
    known: Bool[np.ndarray, " A"],
    group: Int[np.ndarray, " A"],
    sets: Bool[np.ndarray, "A G"],
    cutoff: float = CUTOFF,
) -> Float[np.ndarray, "2 A G"]:
    """How many thresholds the distances of each atom keep, and how many distances it has.

    Args:
        model, reference: Å.
        known: Which atoms the model has.
        group: A number for each atom; distances within a group are not judged.
        sets: Sets of atoms; a distance counts in those that hold both its atoms.
        cutoff: Å; distances of the reference below it are judged.
    """
    order = np.argsort(group, kind="stable")
    group, members = group[order], sets[order].astype(np.float32)
    here = _terms(model[order], known[order])
    there = _terms(reference[order], np.ones(len(order), bool))
    counts = np.zeros((2, *sets.shape))
    for start in range(0, len(order), _BLOCK):
        rows = slice(start, start + _BLOCK)
        end = int(np.searchsorted(group, group[rows][-1], side="right"))
        first = end if group[start] == group[rows][-1] else start
        columns = first + _near(there[:, rows], there[:, first:], cutoff)
        before = _distances(there[:, rows], there[:, columns])
        judged = before < cutoff
        same = int(np.searchsorted(columns, end))
        judged[:, :same] &= group[rows, None] != group[columns[:same]]
        kept = _kept(before, _distances(here[:, rows], here[:, columns]), judged)
        ahead = int(np.searchsorted(columns, start + _BLOCK))
        for count, table in zip(counts, (kept, judged), strict=True):
            numbers = table.astype(np.float32)
            count[rows] += members[rows] * (numbers @ members[columns])
            later = columns[ahead:]
            count[later] += members[later] * (numbers[:, ahead:].T @ members[rows])
    result = np.empty_like(counts)
    result[:, order] = counts
    return result


def kept_within_residues(
    model: Float[np.ndarray, "A 3"],
    reference: Float[np.ndarray, "A 3"],
    known: Bool[np.ndarray, " A"],
    residue: Int[np.ndarray, " A"],
    sets: Bool[np.ndarray, "A G"],
) -> Float[np.ndarray, "2 A G"]:
    """As `kept_distances`, of the distances within residues alone, which lDDT does not judge.

    Args:
        residue: The residue of each atom, ascending.
    """
    place = np.arange(len(residue))
    rest = np.searchsorted(residue, residue, side="right") - place - 1
    one = np.repeat(place, rest)
    other = one + 1 + np.arange(len(one)) - np.repeat(np.cumsum(rest) - rest, rest)
    before, after = (
        np.linalg.norm(points[one] - points[other], axis=1) for points in (reference, model)
    )
    error = np.where(known[one] & known[other], np.abs(after - before), np.inf)
    judged = (before < CUTOFF)[:, None] & sets[one] & sets[other]
    kept = judged * (error[:, None] < THRESHOLDS).sum(axis=1, keepdims=True)
    counts = np.zeros((2, *sets.shape))
    for ends in (one, other):
        for count, table in zip(counts, (kept, judged), strict=True):
            for which, values in enumerate(table.T):
                count[:, which] += np.bincount(ends, values, len(place))
    return counts


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
    swap, own = _SWAP[aatype], np.arange(37)
    here, there = _terms(model, model_mask), _terms(reference, reference_mask)
    residue, slot = np.nonzero(reference_mask & (swap == own))
    fixed_here, fixed_there = here[:, residue, slot], there[:, residue, slot]
    paired, first = np.nonzero(swap > own)
    gain = np.zeros(len(aatype))
    for start in range(0, len(paired), _BLOCK // 2):
        rows, one = paired[start : start + _BLOCK // 2], first[start : start + _BLOCK // 2]
        pair = (rows, one), (rows, swap[rows, one])
        columns = _near(np.hstack([there[:, *atoms] for atoms in pair]), fixed_there, CUTOFF)
        before = [_distances(there[:, *atoms], fixed_there[:, columns]) for atoms in pair]
        after = [_distances(here[:, *atoms], fixed_here[:, columns]) for atoms in pair]
        apart = rows[:, None] != residue[columns]
        more = np.zeros(apart.shape, np.int8)
        for known, as_named, exchanged in zip(before, after, after[::-1], strict=True):
            judged = (known < CUTOFF) & apart
            more += _kept(known, exchanged, judged) - _kept(known, as_named, judged)
        gain += np.bincount(rows, more.sum(axis=1), len(aatype))
    slots = np.where((gain > 0)[:, None], swap, own)
    return (
        np.take_along_axis(model, slots[:, :, None], axis=1),
        np.take_along_axis(model_mask, slots, axis=1),
    )


def _groups(residue: Int[np.ndarray, " A"], chain: np.ndarray | None) -> Int[np.ndarray, " A"]:
    """Numbers that differ where a distance between two atoms is judged."""
    return residue if chain is None else np.unique(chain, return_inverse=True)[1]


def _terms(
    points: Float[np.ndarray, "*any 3"], there: Bool[np.ndarray, "*any"]
) -> Float[np.ndarray, "5 ..."]:
    """x, y, z, x² + y² + z² and 1 of centred points; NaN for atoms that are not there."""
    center = points[there].mean(axis=0, dtype=np.float64) if there.any() else np.zeros(3)
    terms = np.full((5, *there.shape), np.nan)
    terms[:3, there] = (points[there] - center).T
    terms[3] = (terms[:3] ** 2).sum(axis=0)
    terms[4, there] = 1
    return terms


def _near(
    rows: Float[np.ndarray, "5 R"], columns: Float[np.ndarray, "5 K"], cutoff: float
) -> Int[np.ndarray, " M"]:
    """The columns in the box around all rows, `cutoff` Å wider."""
    low = np.fmin.reduce(rows[:3], axis=1)[:, None] - cutoff
    high = np.fmax.reduce(rows[:3], axis=1)[:, None] + cutoff
    inside = (columns[:3] >= low) & (columns[:3] <= high)
    return np.flatnonzero(inside.all(axis=0))


def _distances(
    rows: Float[np.ndarray, "5 R"], columns: Float[np.ndarray, "5 K"]
) -> Float[np.ndarray, "R K"]:
    """|a − b|² = |a|² + |b|² − 2 a·b, a matrix product of the two atoms' terms."""
    x, y, z, square, one = rows
    squared = np.stack([-2 * x, -2 * y, -2 * z, one, square], axis=1) @ columns
    distances: Float[np.ndarray, "R K"] = squared.astype(np.float32)
    np.abs(distances, out=distances)  # of an atom and itself it may be a little below 0
    np.sqrt(distances, out=distances)
    return distances


def _kept(
    before: Float[np.ndarray, "R K"],
    after: Float[np.ndarray, "R K"],
    judged: Bool[np.ndarray, "R K"],
) -> Int[np.ndarray, "R K"]:
    """How many thresholds each judged distance keeps; a distance that is NaN keeps none."""
    error = after - before
    np.abs(error, out=error)
    kept = np.zeros(error.shape, np.int8)
    for threshold in THRESHOLDS:
        kept += (error < threshold).view(np.int8)
    kept *= judged.view(np.int8)
    return kept
