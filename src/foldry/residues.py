"""Amino-acid chemistry: atom names, atom37 and atom14, rigid groups, chi angles.

Residues are coded in the order ARNDCQEGHILKMFPSTWYV; any other residue is X, code 20. `atom37` has
one slot for every atom name, the same for all residues; `atom14` has only the atoms of a residue,
without gaps. Tables have 21 rows, the last for X, which has no atoms.

The eight rigid groups of a residue are the backbone, pre-omega, phi, psi and chi1–chi4
(Jumper 2021, SI Table 2). The numbers in residues.json are from the official implementation
(Apache-2.0); bond lengths and angles are from Engh and Huber.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any, Final

import numpy as np
from jaxtyping import Float, Integer

_DATA: Final = json.loads(files("foldry").joinpath("residues.json").read_text("utf-8"))
_RESIDUES: Final[dict[str, dict[str, Any]]] = _DATA["residues"]

RESTYPES: Final = "".join(str(entry["letter"]) for entry in _RESIDUES.values())
RESTYPES_WITH_X: Final = RESTYPES + "X"
RESTYPE_ORDER: Final = {letter: code for code, letter in enumerate(RESTYPES_WITH_X)}
UNKNOWN: Final = 20
GAP: Final = 21
MASKED: Final = 22

RESNAMES: Final = (*_RESIDUES, "UNK")
RESNAME_TO_CODE: Final = {name: code for code, name in enumerate(RESNAMES)}

_VARIANTS: Final = {
    "ARG": "AR0 ARG+ ARGN ARN",
    "ASN": "ASN1",
    "ASP": "AS4 ASH ASP- ASP1 ASPH ASPP",
    "CYS": "CYD CYF CYM CYN CYS1 CYS2 CYSH CYSS CYT CYX CYZ DISU",
    "GLN": "QLN",
    "GLU": "GL4 GLH GLU- GLUH GLUP PGLU",
    "HIS": "H1D H1E H2D H2E HID HIE HIP HIS+ HIS1 HIS2 HISA HISB HISD HISE HISH HISP HIST HSC HSD"
    " HSE HSN HSP",
    "LYS": "LSN LYD LYN LYP LYS+ LYSH",
    "PHE": "PHEH PHEU",
    "SER": "S1P SP1 SP2 SRO",
    "THR": "T1P THO THP1 THP2 TOP",
    "TRP": "TRPH TRPU",
    "TYR": "TP1 TP2 TYD TYM TYO TYP TYRH TYRU Y1P",
}
"""Names of protonation states, disulphides and phosphates in Amber, CHARMM, CYANA, ECEPP, GROMOS,
HADDOCK, OPLS, PDB2PQR, Tinker and Maestro."""
SYNONYMS: Final = {each: name for name, variants in _VARIANTS.items() for each in variants.split()}
"""Standard name of each residue name of a force field; Amber marks ends of a chain by N and C."""
SYNONYMS.update(
    {end + name: SYNONYMS.get(name, name) for end in "NC" for name in (*_RESIDUES, *SYNONYMS)}
)
ATOM_SYNONYMS: Final = {("ILE", "CD"): "CD1"} | {
    (name, f"{stem}{number}"): oxygen
    for name in _RESIDUES
    for stem in ("OT", "OC", "OCT", "O")
    for number, oxygen in ((1, "O"), (2, "OXT"))
}
"""Standard name of each atom that force fields call otherwise, by standard residue name."""

HHBLITS_ORDER: Final = "ACDEFGHIKLMNPQRSTVWYX-"
"""Letters in the order of the HHblits codes, in which the official pipeline stores alignments."""

ATOM37: Final[tuple[str, ...]] = tuple(_DATA["atom37"])
ATOM37_ORDER: Final = {name: index for index, name in enumerate(ATOM37)}
VAN_DER_WAALS_RADIUS: Final[dict[str, float]] = _DATA["van_der_waals_radius"]
"""Van der Waals radius of each element, Å."""

PEPTIDE_BOND: Final[dict[str, tuple[float, float]]] = {
    name: (ideal, deviation) for name, (ideal, deviation) in _DATA["peptide_bond"].items()
}
"""Ideal value and standard deviation of the C–N bond: `length` and `length_before_proline` (Å), and
the cosines `cos_ca_c_n` and `cos_c_n_ca` of its angles."""

N, CA, C, CB, O = (ATOM37_ORDER[name] for name in ("N", "CA", "C", "CB", "O"))  # noqa: E741

ATOM14: Final[tuple[tuple[str, ...], ...]] = (
    *(tuple(entry["atoms"]) for entry in _RESIDUES.values()),
    (),
)
"""The atoms of each amino acid, by code, in atom14 order, without padding."""

CHI_ATOMS: Final[tuple[tuple[tuple[str, ...], ...], ...]] = (
    *(tuple(map(tuple, entry["chis"])) for entry in _RESIDUES.values()),
    (),
)
"""The four atoms of each chi angle, by amino-acid code."""


def _ideals(name: str) -> tuple[dict[tuple[str, ...], tuple[float, float]], ...]:
    return tuple(
        {tuple(atoms.split("-")): (ideal, sd) for atoms, (ideal, sd) in entry[name].items()}
        for entry in _RESIDUES.values()
    )


BOND_LENGTHS: Final = _ideals("bonds")
"""Ideal length and standard deviation (Å) of each bond, by code (Engh and Huber 2001)."""
BOND_ANGLES: Final = _ideals("angles")
"""Ideal value and standard deviation (degrees) of each angle, by code; the apex is second."""


ATOM14_MASK: Final = np.zeros((21, 14), np.float32)
ATOM37_MASK: Final = np.zeros((21, 37), np.float32)
ATOM14_TO_ATOM37: Final = np.zeros((21, 14), np.int64)
ATOM37_TO_ATOM14: Final = np.zeros((21, 37), np.int64)
ATOM14_GROUP: Final = np.zeros((21, 14), np.int64)
ATOM14_POSITION: Final = np.zeros((21, 14, 3), np.float32)
"""Ideal positions in the frame of the atom's rigid group, Å."""
ATOM14_RADIUS: Final = np.zeros((21, 14), np.float32)
"""Van der Waals radii, Å; 0 where the residue has no such atom."""
ATOM14_SWAP: Final = np.tile(np.arange(14), (21, 1))
"""For each atom14 slot, the slot to which a 180° turn of a symmetric side chain maps it."""
CHI_MASK: Final = np.zeros((21, 4), np.float32)
CHI_ATOM_INDICES: Final = np.zeros((21, 4, 4), np.int64)
"""atom37 indices [21, 4, 4] of the four atoms of each chi angle."""
CHI_PI_PERIODIC: Final = np.zeros((21, 4), np.float32)


def _fill_tables() -> None:
    for code, entry in enumerate(_RESIDUES.values()):
        names = ATOM14[code]
        for slot, (name, (group, *xyz)) in enumerate(entry["atoms"].items()):
            index = ATOM37_ORDER[name]
            ATOM14_MASK[code, slot] = ATOM37_MASK[code, index] = 1
            ATOM14_TO_ATOM37[code, slot] = index
            ATOM37_TO_ATOM14[code, index] = slot
            ATOM14_GROUP[code, slot] = group
            ATOM14_POSITION[code, slot] = xyz
            ATOM14_RADIUS[code, slot] = VAN_DER_WAALS_RADIUS[name[0]]
        for one, other in entry["swaps"].items():
            first, second = names.index(one), names.index(other)
            ATOM14_SWAP[code, [first, second]] = second, first
        for chi, atoms in enumerate(CHI_ATOMS[code]):
            CHI_MASK[code, chi] = 1
            CHI_ATOM_INDICES[code, chi] = [ATOM37_ORDER[atom] for atom in atoms]
            CHI_PI_PERIODIC[code, chi] = entry["chi_pi_periodic"][chi]


_fill_tables()
ATOM14_AMBIGUOUS: Final = (np.arange(14) != ATOM14_SWAP).astype(np.float32)


def _frame(x_axis: np.ndarray, y_direction: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """Return the 4×4 transform from a frame with this x-axis, xy-plane and origin to its parent."""
    x = x_axis / np.linalg.norm(x_axis)
    y = y_direction - (y_direction @ x) * x
    y /= np.linalg.norm(y)
    frame = np.eye(4)
    frame[:3] = np.stack([x, y, np.cross(x, y), origin], axis=1)
    return frame


def _default_frames() -> np.ndarray:
    """Return transforms [21, 8, 4, 4] from each rigid group to its parent at torsion angle zero.

    The parent of chi2, chi3 and chi4 is the chi angle before it; the parent of every other group is
    the backbone. Groups that a residue lacks are zero, as in the official tables.
    """
    frames = np.zeros((21, 8, 4, 4))
    for code, entry in enumerate(_RESIDUES.values()):
        frames[code, :2] = np.eye(4)
        xyz = {name: np.array(atom[1:]) for name, atom in entry["atoms"].items()}
        frames[code, 2] = _frame(xyz["N"] - xyz["CA"], np.array([1.0, 0, 0]), xyz["N"])
        frames[code, 3] = _frame(xyz["C"] - xyz["CA"], xyz["CA"] - xyz["N"], xyz["C"])
        for chi, (before, second, third, _) in enumerate(CHI_ATOMS[code]):
            x_axis, y_direction = xyz[third], np.array([-1.0, 0, 0])
            if chi == 0:
                x_axis, y_direction = xyz[third] - xyz[second], xyz[before] - xyz[second]
            frames[code, 4 + chi] = _frame(x_axis, y_direction, xyz[third])
    return frames.astype(np.float32)


DEFAULT_FRAMES: Final = _default_frames()


def atom14_distance_bounds(
    overlap_tolerance: float = 1.5, num_deviations: float = 12.0
) -> tuple[Float[np.ndarray, "21 14 14"], Float[np.ndarray, "21 14 14"]]:
    """Return the least and greatest distance (Å) allowed for atoms of a residue (SI 1.9.11).

    Atoms one or two bonds apart may deviate from their ideal distance by `num_deviations` standard
    deviations, which for two bonds are propagated from both lengths and the angle. Other atoms may
    overlap by `overlap_tolerance` Å, and their greatest distance is 1e10. Both bounds are 0 if the
    residue lacks one of the atoms.
    """
    pairs = ATOM14_MASK[:, :, None] * ATOM14_MASK[:, None] * (1 - np.eye(14))
    lower = pairs * (ATOM14_RADIUS[:, :, None] + ATOM14_RADIUS[:, None] - overlap_tolerance)
    upper = pairs * 1e10
    for code, bonds in enumerate(BOND_LENGTHS):
        ideals = dict(bonds)
        for (first, apex, last), (degrees, deviation) in BOND_ANGLES[code].items():
            left, right = (
                bonds.get(pair) or bonds[pair[::-1]] for pair in ((first, apex), (apex, last))
            )
            ideals[first, last] = _third_side(left, right, (degrees, deviation))
        for (first, last), (length, deviation) in ideals.items():
            one, other = ATOM14[code].index(first), ATOM14[code].index(last)
            slack = num_deviations * deviation
            lower[code, [one, other], [other, one]] = length - slack
            upper[code, [one, other], [other, one]] = length + slack
    return lower.astype(np.float32), upper.astype(np.float32)


def _third_side(
    left: tuple[float, float], right: tuple[float, float], angle: tuple[float, float]
) -> tuple[float, float]:
    """Return length and deviation of the side opposite an angle (degrees), by the cosine rule."""
    (a, deviation_a), (b, deviation_b) = left, right
    gamma, deviation_gamma = np.radians(angle)
    length = np.sqrt(a * a + b * b - 2 * a * b * np.cos(gamma))
    slopes = np.array([a - b * np.cos(gamma), b - a * np.cos(gamma), a * b * np.sin(gamma)])
    deviations = np.array([deviation_a, deviation_b, deviation_gamma])
    return float(length), float(np.linalg.norm(slopes * deviations) / length)


def encode_sequence(sequence: str) -> np.ndarray:
    """Return amino-acid codes [N] of one-letter codes; any letter but the 20 becomes X (20).

    Example:
        >>> encode_sequence("ARX").tolist()
        [0, 1, 20]
    """
    return np.array([RESTYPE_ORDER.get(letter, UNKNOWN) for letter in sequence], np.int64)


def one_hot(msa: Integer[np.ndarray, "M N"], count: int) -> Float[np.ndarray, "M N K"]:
    """Return the one-hot encoding of letters; codes of `count` and above become zeros."""
    table = np.eye(GAP + 1, count, dtype=np.float32)
    letters: Float[np.ndarray, "M N K"] = table[msa]
    return letters
