"""The violation loss: how far predicted atoms violate chemistry, differentiably (SI 1.9.11).

Bounds come from `residues`: bonds between residues, clashes between residues, and distances within
a residue. `score` counts the same violations in NumPy. Axes: B batch, N residues, M = N − 1 bonds.
Coordinates are in Å.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from foldry import residues
from foldry.model.inputs import Inputs
from foldry.residues import PEPTIDE_BOND

OVERLAP_TOLERANCE: Final = 1.5
"""Å by which atoms that are not bonded may overlap (SI equation 46)."""
NUM_DEVIATIONS: Final = 12.0
"""Standard deviations by which a bond or an angle may differ from its ideal value."""
SLOT_N, SLOT_CA, SLOT_C, SLOT_SG = 0, 1, 2, 5
PROLINE: Final = residues.RESTYPE_ORDER["P"]


@dataclass(frozen=True)
class Tables:
    """Chemistry by amino-acid code, kept on a device, because each copy to it would stall it.

    Attributes:
        exists: 1 where the amino acid has the atom.
        radius: Van der Waals radii, Å.
        lower, upper: `atom14_distance_bounds`, Å.
    """

    exists: Float[Tensor, "21 14"]
    radius: Float[Tensor, "21 14"]
    lower: Float[Tensor, "21 14 14"]
    upper: Float[Tensor, "21 14 14"]


@cache
def tables(device: torch.device) -> Tables:
    """Return the tables on a device."""
    bounds = residues.atom14_distance_bounds(OVERLAP_TOLERANCE, NUM_DEVIATIONS)
    arrays = (residues.ATOM14_MASK, residues.ATOM14_RADIUS, *bounds)
    return Tables(*(torch.tensor(array, device=device) for array in arrays))


def violation_loss(
    atom14: Float[Tensor, "B N 14 3"], inputs: Inputs, cos_ca_c_n_deviation: float
) -> Float[Tensor, " B"]:
    """Return all violations of a sample (SI 1.9.11, equations 44 to 47).

    L = Σ_k mean_i b_ki + Σ_a (c_a + w_a) / (number of atoms), with b the errors of each kind k of
    peptide-bond geometry, c the clashes and w the distances out of bounds of each atom a.

    Args:
        atom14: Predicted atoms.
        inputs: Residues; those with `seq_mask` 0 do not count.
        cos_ca_c_n_deviation: Standard deviation of the cosine of the angle CA–C–N.
    """
    exists = tables(atom14.device).exists[inputs.aatype] * inputs.seq_mask[..., None]
    errors, known = peptide_bond_errors(
        atom14, exists, inputs.aatype, inputs.residue_index, cos_ca_c_n_deviation
    )
    bonds = ((errors * known).sum(-1) / (known.sum(-1) + 1e-6)).sum(0)
    overlaps = clashes(atom14, exists, inputs)
    outside = out_of_bounds(atom14, exists, inputs.aatype)
    per_atom = (overlaps + outside).sum((-1, -2)) / (exists.sum((-1, -2)) + 1e-6)
    loss: Tensor = bonds + per_atom
    return loss


def peptide_bond_errors(
    atom14: Float[Tensor, "B N 14 3"],
    exists: Float[Tensor, "B N 14"],
    aatype: Int[Tensor, "B N"],
    residue_index: Int[Tensor, "B N"],
    cos_ca_c_n_deviation: float,
) -> tuple[Float[Tensor, "3 B M"], Float[Tensor, "3 B M"]]:
    """Return b = max(|x − x₀| − 12 σ, 0) for each peptide bond (SI equations 44 and 45).

    Returns:
        Errors of the length C–N (Å) and of the cosines of CA–C–N and C–N–CA; and 1 where the
        residues are neighbours and the atoms exist.
    """
    ca, c = atom14[:, :-1, SLOT_CA], atom14[:, :-1, SLOT_C]
    next_n, next_ca = atom14[:, 1:, SLOT_N], atom14[:, 1:, SLOT_CA]
    bond, to_ca, onward = next_n - c, ca - c, next_ca - next_n
    length = _length(bond)
    bond = bond / length[..., None]
    cos_ca_c_n = (to_ca / _length(to_ca)[..., None] * bond).sum(-1)
    cos_c_n_ca = -(onward / _length(onward)[..., None] * bond).sum(-1)

    usual, proline = PEPTIDE_BOND["length"], PEPTIDE_BOND["length_before_proline"]
    before_proline = (aatype[:, 1:] == PROLINE).to(atom14.dtype)
    ideal, deviation = (
        before_proline * special + (1 - before_proline) * general
        for general, special in zip(usual, proline, strict=True)
    )
    errors = [
        _beyond(length - ideal, deviation),
        _beyond(cos_ca_c_n - PEPTIDE_BOND["cos_ca_c_n"][0], cos_ca_c_n_deviation),
        _beyond(cos_c_n_ca - PEPTIDE_BOND["cos_c_n_ca"][0], PEPTIDE_BOND["cos_c_n_ca"][1]),
    ]
    joined = (residue_index[:, 1:] - residue_index[:, :-1] == 1).to(atom14.dtype)
    known = joined * exists[:, :-1, SLOT_C] * exists[:, 1:, SLOT_N]
    masks = [known, known * exists[:, :-1, SLOT_CA], known * exists[:, 1:, SLOT_CA]]
    return torch.stack(errors), torch.stack(masks)


def clashes(
    atom14: Float[Tensor, "B N 14 3"], exists: Float[Tensor, "B N 14"], inputs: Inputs
) -> Float[Tensor, "B N 14"]:
    """Return c_a = Σ_b max(r_a + r_b − 1.5 Å − d_ab, 0) over other residues (SI equation 46).

    The peptide bond C–N is not a clash. As in the official code, two atoms in slot 5 of their
    residues, the slot of the sulphur of cysteine, do not clash either.
    """
    # The faster distances by a matrix product have errors of 1e-3 Å.
    atoms = atom14.flatten(1, 2)
    distances = torch.cdist(atoms, atoms, compute_mode="donot_use_mm_for_euclid_dist")
    overlaps = torch.relu(_nearest_allowed(exists, inputs).view_as(distances) - distances)
    return overlaps.sum(-1).view_as(exists)


@torch.no_grad()
def _nearest_allowed(
    exists: Float[Tensor, "B N 14"], inputs: Inputs
) -> Float[Tensor, "B N 14 N 14"]:
    """Return the minimum distance of atoms of two residues; 0 or less if any is allowed."""
    # Atoms that do not exist get a negative radius, so that no distance is too short.
    radius = torch.where(exists > 0, tables(exists.device).radius[inputs.aatype], -10.0)
    nearest = radius[:, :, :, None, None] + radius[:, None, None] - OVERLAP_TOLERANCE
    nearest.diagonal(dim1=1, dim2=3).zero_()
    nearest[:, :, SLOT_SG, :, SLOT_SG] = 0
    index, chain = inputs.residue_index, inputs.asym_id
    bonded = (index[:, :, None] + 1 == index[:, None]) & (chain[:, :, None] == chain[:, None])
    nearest[:, :, SLOT_C, :, SLOT_N].masked_fill_(bonded, 0)
    nearest[:, :, SLOT_N, :, SLOT_C].masked_fill_(bonded.mT, 0)
    return nearest


def out_of_bounds(
    atom14: Float[Tensor, "B N 14 3"],
    exists: Float[Tensor, "B N 14"],
    aatype: Int[Tensor, "B N"],
) -> Float[Tensor, "B N 14"]:
    """Return w_a = 2 Σ_b (max(l_ab − d_ab, 0) + max(d_ab − u_ab, 0)) within each residue.

    l and u are the bounds of `residues.atom14_distance_bounds`; the factor 2 follows the
    official code.
    """
    chemistry = tables(atom14.device)
    lower, upper = chemistry.lower[aatype], chemistry.upper[aatype]
    distances = torch.cdist(atom14, atom14, compute_mode="donot_use_mm_for_euclid_dist")
    off = torch.relu(lower - distances) + torch.relu(distances - upper)
    return 2 * (off * exists[..., None, :]).sum(-1) * exists


def _length(vector: Float[Tensor, "*B 3"]) -> Float[Tensor, " *B"]:
    return (vector.square().sum(-1) + 1e-6).sqrt()


def _beyond(error: Tensor, deviation: Tensor | float) -> Tensor:
    """Return by how much an error exceeds the tolerance; 0 within it."""
    return torch.relu((error.square() + 1e-6).sqrt() - NUM_DEVIATIONS * deviation)
