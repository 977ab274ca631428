"""Torsion angles of a structure, and their agreement between two structures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int

from foldry.features.known_atoms import torsion_angles, torsion_sin_cos
from foldry.residues import CA, CHI_PI_PERIODIC, C, N
from foldry.structure import Structure

_NO_BOND: Final = 2.0
"""Largest distance in Å of a bonded C and N whose residue numbers are not consecutive."""
_SAME_ROTAMER: Final = 40.0
_SAME_BACKBONE: Final = 30.0


@dataclass(frozen=True)
class TorsionAngles:
    """Torsion angles in degrees, from −180 to 180; NaN if an atom or a neighbour is missing.

    Attributes:
        omega: CA–C–N–CA of the peptide bond before the residue.
        phi: C–N–CA–C, beginning in the previous residue.
        psi: N–CA–C–N, ending in the next residue.
        chi: chi1–chi4.
    """

    omega: Float[np.ndarray, " N"]
    phi: Float[np.ndarray, " N"]
    psi: Float[np.ndarray, " N"]
    chi: Float[np.ndarray, "N 4"]


def bonded_to_next(structure: Structure) -> Bool[np.ndarray, " links"]:
    """Return whether residue n + 1 follows residue n in its chain.

    Residues of one chain are consecutive if the number stays the same (with another insertion code)
    or rises by one, whatever their distance, or if C and N are nearer than 2 Å, whatever the
    numbers.
    """
    step = np.diff(structure.residue_number)
    atoms, mask = structure.atom_positions, structure.atom_mask
    near = np.linalg.norm(atoms[1:, N] - atoms[:-1, C], axis=1) < _NO_BOND
    near &= mask[1:, N] & mask[:-1, C]
    same_chain = structure.chain_id[1:] == structure.chain_id[:-1]
    return np.asarray(same_chain & ((step == 0) | (step == 1) | near))


def structure_torsions(structure: Structure) -> TorsionAngles:
    """Return all torsion angles (IUPAC–IUB 1970) of a structure.

    Example:
        >>> from foldry import read_structure
        >>> structure_torsions(read_structure("examples/kunitz/1adz.cif")).psi[1:3].round(1)
        array([149.5, 106.6])
    """
    xyz = structure.atom_positions.astype(np.float64)
    mask = structure.atom_mask
    found = torsion_angles(structure.aatype, xyz, mask)
    angles = _degrees(found.sin_cos)
    angles[found.mask == 0] = np.nan
    bonded = bonded_to_next(structure)
    angles[:1, :2] = np.nan
    angles[1:, :2][~bonded] = np.nan
    psi = np.full(len(structure), np.nan)
    known = bonded & mask[:-1, [N, CA, C]].all(axis=1) & mask[1:, N]
    here = np.flatnonzero(known)
    atoms = np.concatenate([xyz[here][:, [N, CA, C]], xyz[here + 1][:, [N]]], axis=1)
    psi[here] = _degrees(torsion_sin_cos(atoms))
    return TorsionAngles(omega=angles[:, 0], phi=angles[:, 1], psi=psi, chi=angles[:, 3:])


def _degrees(sin_cos: Float[np.ndarray, "*dims 2"]) -> Float[np.ndarray, "*dims"]:
    return np.asarray(np.degrees(np.arctan2(sin_cos[..., 0], sin_cos[..., 1])))


@dataclass(frozen=True)
class TorsionAgreement:
    """Agreement of a model's torsion angles with those of a reference.

    All values are shares (0–1) of the residues whose angles the reference has, NaN without such
    residues. Angles that the model lacks count as wrong.

    Attributes:
        chi1: Share with chi1 within 40°.
        chi1_2: Share with chi1 and chi2 within 40°.
        phi_psi: Share with phi and psi within 30°.
    """

    chi1: float
    chi1_2: float
    phi_psi: float


def torsion_agreement(
    model: TorsionAngles,
    reference: TorsionAngles,
    pairs: Int[np.ndarray, "M 2"],
    aatype: Int[np.ndarray, " N"],
) -> TorsionAgreement:
    """Return the agreement of the torsion angles of matched residues.

    Two rotamers are the same if their angles differ by at most 40° (Krivov et al., Proteins 2009,
    77, 778). If half a turn gives the same side chain, as for chi2 of Asp, Phe and Tyr, the nearer
    of both angles counts.

    Args:
        model, reference: Torsion angles of the two structures.
        pairs: Pairs (model residue, reference residue).
        aatype: Amino-acid codes of the reference.
    """
    here, there = pairs.T
    chi = angle_difference(model.chi[here], reference.chi[there])
    chi = np.where(CHI_PI_PERIODIC[aatype[there]] > 0, np.minimum(chi, 180 - chi), chi)
    right = np.zeros((len(aatype), 6), bool)
    right[there, :4] = chi <= _SAME_ROTAMER
    right[there, 4] = angle_difference(model.phi[here], reference.phi[there]) <= _SAME_BACKBONE
    right[there, 5] = angle_difference(model.psi[here], reference.psi[there]) <= _SAME_BACKBONE
    known = np.isfinite(np.column_stack([reference.chi, reference.phi, reference.psi]))

    def share(judged_by: list[int], angles: list[int]) -> float:
        judged = right[known[:, judged_by].all(axis=1)][:, angles]
        return float(np.mean(judged.all(axis=1))) if len(judged) else float("nan")

    # A residue without N has chi2 but no chi1: it counts as wrong in chi1_2.
    return TorsionAgreement(
        chi1=share([0], [0]), chi1_2=share([1], [0, 1]), phi_psi=share([4, 5], [4, 5])
    )


def angle_difference(
    one: Float[np.ndarray, "*dims"], other: Float[np.ndarray, "*dims"]
) -> Float[np.ndarray, "*dims"]:
    """Return the angle between two directions, all in degrees; 0–180.

    Example:
        >>> float(angle_difference(np.array(175.0), np.array(-175.0)))
        10.0
    """
    return np.asarray(np.abs((one - other + 180) % 360 - 180))
