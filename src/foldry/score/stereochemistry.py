"""Stereochemistry of a structure: bonds, angles, clashes, chirality, peptide planes.

Bonds, angles and clashes follow Jumper 2021, SI 1.9.11, with Engh and Huber's ideal values: a
deviation of more than 12 standard deviations, or an overlap of more than 1.5 Å, is a violation.
lDDT's stereochemistry check (Mariani et al., Bioinformatics 2013, 29, 2722) has the same limits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int

from foldry import residues
from foldry.residues import CA, CB, PEPTIDE_BOND, C, N, O
from foldry.score.neighbours import near_pairs
from foldry.score.torsions import TorsionAngles, bonded_to_next, structure_torsions
from foldry.structure import Structure

NUM_DEVIATIONS: Final = 12.0
"""Largest allowed deviation of bonds and angles, in standard deviations."""
OVERLAP: Final = 1.5
"""Largest allowed overlap of the van der Waals spheres of atoms that are not bonded, Å."""
BROKEN: Final = 3.80209737096 + 1.5
"""Largest distance between the Cα of consecutive residues of an unbroken chain, Å."""
CIS: Final = 30.0
TRANS: Final = 150.0
"""A peptide bond is cis if |omega| is below `CIS`, trans if it is above `TRANS`, otherwise twisted;
degrees (Williams et al., Protein Sci. 2018, 27, 293)."""

_SULPHUR: Final = residues.ATOM37_ORDER["SG"]
_CYSTEINE, _PROLINE = (residues.RESTYPE_ORDER[letter] for letter in "CP")
_RADIUS: Final = np.array([residues.VAN_DER_WAALS_RADIUS[name[0]] for name in residues.ATOM37])
_BACKBONE: Final = np.isin(np.arange(37), (N, CA, C, O))
_ONE, _OTHER = np.triu_indices(14, 1)
_BOND, _ANGLE, _CONTACT = range(3)


@dataclass(frozen=True)
class Violations:
    """Violations of a structure's stereochemistry.

    Attributes:
        num_bonds, num_angles: Numbers of wrong bond lengths and bond angles. An angle within one
            residue is judged by the distance of its ends, an angle at the peptide bond by its
            cosine.
        num_clashes: Number of pairs of atoms that are not bonded and overlap too much.
        atoms: Atoms of any such bond, angle or clash.
        bonds, angles, clashes: Residues with such an atom.
        chirality: Residues whose Cα does not have the L configuration.
        cis: Residues other than proline after a cis peptide bond (|omega| < 30°).
        twisted: Residues after a peptide bond that is neither cis nor trans (|omega| 30–150°).
        breaks: Residues whose Cα is more than 5.3 Å from the Cα of the previous residue.
    """

    num_bonds: int
    num_angles: int
    num_clashes: int
    atoms: Bool[np.ndarray, "N 37"]
    bonds: Bool[np.ndarray, " N"]
    angles: Bool[np.ndarray, " N"]
    clashes: Bool[np.ndarray, " N"]
    chirality: Bool[np.ndarray, " N"]
    cis: Bool[np.ndarray, " N"]
    twisted: Bool[np.ndarray, " N"]
    breaks: Bool[np.ndarray, " N"]


@dataclass(frozen=True)
class Excess:
    """Groups of atoms, and how far each group exceeds its limit.

    Attributes:
        residue, slot: Residue and atom37 slot of each atom.
        amount: Excess above 0: in Å, or a difference of cosines for angles at a peptide bond.
        kind: 0 for a bond, 1 for an angle, 2 for a clash.
    """

    residue: Int[np.ndarray, "M k"]
    slot: Int[np.ndarray, "M k"]
    amount: Float[np.ndarray, " M"]
    kind: Int[np.ndarray, " M"]


def find_violations(structure: Structure, torsions: TorsionAngles | None = None) -> Violations:
    """Return all violations of a structure.

    Args:
        structure: The structure.
        torsions: Its torsion angles, if they are already known.

    Raises:
        InputError: A coordinate is not a finite number, or the atoms lie on top of each other.

    Example:
        >>> from foldry import read_structure
        >>> find_violations(read_structure("examples/kunitz/1adz.cif")).num_bonds
        0
    """
    atoms = np.zeros((3, len(structure), 37), bool)
    counts = np.zeros(3, np.int64)
    for found in (
        clashes_between_residues(structure),
        faults_within_residues(structure),
        *faults_of_peptide_bonds(structure),
    ):
        atoms[found.kind[:, None], found.residue, found.slot] = True
        counts += np.bincount(found.kind, minlength=3)
    bonds, angles, clashes = np.asarray(atoms.any(axis=2))
    omega = np.abs((torsions or structure_torsions(structure)).omega)
    num_bonds, num_angles, num_clashes = counts.tolist()
    return Violations(
        num_bonds=num_bonds,
        num_angles=num_angles,
        num_clashes=num_clashes,
        atoms=np.asarray(atoms.any(axis=0)),
        bonds=bonds,
        angles=angles,
        clashes=clashes,
        chirality=_is_not_left_handed(structure),
        cis=(omega < CIS) & (structure.aatype != _PROLINE),
        twisted=(omega >= CIS) & (omega <= TRANS),
        breaks=_is_broken_before(structure),
    )


def keep_mask(structure: Structure, violations: Violations) -> Bool[np.ndarray, "N 37"]:
    """Return the atoms that lDDT's stereochemistry check keeps.

    As in OpenStructure, a residue with a violation at N, CA, C or O loses all atoms, and one with a
    violation elsewhere loses its side chain.
    """
    bad_backbone = (violations.atoms & _BACKBONE).any(axis=1, keepdims=True)
    bad_side_chain = violations.atoms.any(axis=1, keepdims=True)
    return np.asarray(structure.atom_mask & ~bad_backbone & (_BACKBONE | ~bad_side_chain))


def clashes_between_residues(structure: Structure) -> Excess:
    """Return overlaps of more than 1.5 Å between atoms of different residues.

    The C–N bond of consecutive residues and the SG atoms of two cysteines, which may be a disulfide
    bond, are left out.

    Raises:
        InputError: As for `find_violations`.
    """
    residue, slot = np.nonzero(structure.atom_mask)
    points = structure.atom_positions[residue, slot]
    first, second, distance = near_pairs(points, 2 * _RADIUS.max() - OVERLAP)
    amount = _RADIUS[slot[first]] + _RADIUS[slot[second]] - OVERLAP - distance
    one, other = residue[first], residue[second]
    next_in_chain = (other == one + 1) & (structure.chain_id[one] == structure.chain_id[other])
    peptide = next_in_chain & (slot[first] == C) & (slot[second] == N)
    sulphur = (slot == _SULPHUR) & (structure.aatype[residue] == _CYSTEINE)
    clash = (amount > 0) & (one != other) & ~peptide & ~(sulphur[first] & sulphur[second])
    pairs = np.stack([first, second], axis=1)[clash]
    return Excess(residue[pairs], slot[pairs], amount[clash], np.full(len(pairs), _CONTACT))


def faults_within_residues(structure: Structure) -> Excess:
    """Return distances between two atoms of one residue that are out of bounds."""
    slots = residues.ATOM14_TO_ATOM37[structure.aatype]
    rows = np.arange(len(structure))[:, None]
    known = structure.atom_mask[rows, slots] & (residues.ATOM14_MASK[structure.aatype] > 0)
    xyz = structure.atom_positions[rows, slots].astype(np.float64)
    distance = np.linalg.norm(xyz[:, _ONE] - xyz[:, _OTHER], axis=2)
    lower, upper = (bound[structure.aatype] for bound in _BOUNDS)
    amount = np.maximum(np.maximum(lower - distance, distance - upper), 0)
    row, pair = np.nonzero((amount > 0) & known[:, _ONE] & known[:, _OTHER])
    atoms = np.stack([slots[row, _ONE[pair]], slots[row, _OTHER[pair]]], axis=1)
    kind = _KIND[structure.aatype[row], pair]
    return Excess(np.stack([row, row], axis=1), atoms, amount[row, pair], kind)


def faults_of_peptide_bonds(structure: Structure) -> tuple[Excess, Excess, Excess]:
    """Return wrong C–N bonds, CA–C–N angles and C–N–CA angles."""
    xyz, mask = structure.atom_positions.astype(np.float64), structure.atom_mask
    row = np.flatnonzero(bonded_to_next(structure) & mask[:-1, C] & mask[1:, N])
    ca, c, n, ca_after = xyz[row, CA], xyz[row, C], xyz[row + 1, N], xyz[row + 1, CA]
    before_proline = (structure.aatype[row + 1] == _PROLINE)[:, None]
    ideal = np.where(before_proline, PEPTIDE_BOND["length_before_proline"], PEPTIDE_BOND["length"])
    bond = _beyond(np.linalg.norm(n - c, axis=1), *ideal.T)
    ca_c_n = _beyond(_cosine(ca - c, n - c), *PEPTIDE_BOND["cos_ca_c_n"])
    c_n_ca = _beyond(_cosine(c - n, ca_after - n), *PEPTIDE_BOND["cos_c_n_ca"])
    return (
        _excess(row, ((0, C), (1, N)), bond, _BOND),
        _excess(row, ((0, CA), (0, C), (1, N)), np.where(mask[row, CA], ca_c_n, 0), _ANGLE),
        _excess(row, ((0, C), (1, N), (1, CA)), np.where(mask[row + 1, CA], c_n_ca, 0), _ANGLE),
    )


def _excess(
    row: Int[np.ndarray, " M"],
    atoms: tuple[tuple[int, int], ...],
    amount: Float[np.ndarray, " M"],
    kind: int,
) -> Excess:
    """Return the groups with an amount above 0; `atoms` are pairs (residues after `row`, slot)."""
    row, amount = row[amount > 0], amount[amount > 0]
    after, slots = np.array(atoms).T
    slot = np.tile(slots, (len(row), 1))
    return Excess(row[:, None] + after, slot, amount, np.full(len(row), kind))


def _beyond(
    value: Float[np.ndarray, " M"],
    ideal: Float[np.ndarray, " M"] | float,
    deviation: Float[np.ndarray, " M"] | float,
) -> Float[np.ndarray, " M"]:
    return np.maximum(np.abs(value - ideal) - NUM_DEVIATIONS * deviation, 0)


def _cosine(
    one: Float[np.ndarray, "M 3"], other: Float[np.ndarray, "M 3"]
) -> Float[np.ndarray, " M"]:
    """Return the cosine of the angle between two vectors; 0 if one has no length."""
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return np.asarray((one * other).sum(axis=1) / np.where(lengths > 0, lengths, 1))


def _is_not_left_handed(structure: Structure) -> Bool[np.ndarray, " N"]:
    xyz = structure.atom_positions.astype(np.float64)
    n, c, cb = (xyz[:, atom] - xyz[:, CA] for atom in (N, C, CB))
    known = structure.atom_mask[:, [N, CA, C, CB]].all(axis=1)
    return np.asarray(known & ((n * np.cross(c, cb)).sum(axis=1) <= 0))


def _is_broken_before(structure: Structure) -> Bool[np.ndarray, " N"]:
    known = structure.atom_mask[:, CA]
    step = np.linalg.norm(np.diff(structure.atom_positions[:, CA], axis=0), axis=1)
    broken = bonded_to_next(structure) & known[1:] & known[:-1] & (step > BROKEN)
    return np.append(np.zeros(min(len(structure), 1), bool), broken)


def _pair_tables() -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Return the bounds and the kind of each pair of a residue's atoms, by amino-acid code."""
    kind = np.full((21, 14, 14), _CONTACT)
    for code in range(residues.UNKNOWN):
        names = residues.ATOM14[code]
        for table, number in ((residues.BOND_LENGTHS, _BOND), (residues.BOND_ANGLES, _ANGLE)):
            for atoms in table[code]:
                one, other = names.index(atoms[0]), names.index(atoms[-1])
                kind[code, [one, other], [other, one]] = number
    lower, upper = residues.atom14_distance_bounds(OVERLAP, NUM_DEVIATIONS)
    return (lower[:, _ONE, _OTHER], upper[:, _ONE, _OTHER]), kind[:, _ONE, _OTHER]


_BOUNDS, _KIND = _pair_tables()
