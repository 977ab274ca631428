"""How far a predicted structure breaks the rules of chemistry, differentiably (SI 1.9.11).

The bounds are those of `residues`: bonds between residues, clashes between residues, distances
within a residue. `score` counts the same in NumPy. Axes: B batch, N residues; Å.
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
"""Å by which atoms that are not bonded may come nearer than the sum of their radii."""
NUM_DEVIATIONS: Final = 12.0
"""Standard deviations by which a bond or an angle may be off."""
SLOT_N, SLOT_CA, SLOT_C, SLOT_SG = 0, 1, 2, 5
PROLINE: Final = residues.RESTYPE_ORDER["P"]


@dataclass(frozen=True)
class Tables:
    """Chemistry by amino-acid code, kept on a device: copying it there stops the device.

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
    """The tables on a device."""
    bounds = residues.atom14_distance_bounds(OVERLAP_TOLERANCE, NUM_DEVIATIONS)
    arrays = (residues.ATOM14_MASK, residues.ATOM14_RADIUS, *bounds)
    return Tables(*(torch.tensor(array, device=device) for array in arrays))


def violation_loss(
    atom14: Float[Tensor, "B N 14 3"], inputs: Inputs, cos_ca_c_n_deviation: float
) -> Float[Tensor, " B"]:
    """All violations of a sample (SI 1.9.11, equations 44 to 47).

    The means of each kind of peptide-bond error, and clashes and bounds within residues summed
    and divided by the number of atoms.

    Args:
        atom14: Predicted atoms.
        inputs: What the residues are; those that `seq_mask` leaves out count for nothing.
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
    """What each residue's bond to the next (M = N − 1) is off beyond the tolerance.

    Returns:
        The errors of the length C–N (Å) and of the cosines of CA–C–N and C–N–CA, and 1 where the
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
    """How much each atom overlaps with atoms of other residues, beyond the tolerance.

    The C–N bond to the next residue of a chain is none, and neither, as in the official code, is
    any pair of atoms that are the sixth of their residue, which the sulphurs of cysteines are.
    """
    # The faster way by a matrix product is off by 1e-3 Å.
    atoms = atom14.flatten(1, 2)
    distances = torch.cdist(atoms, atoms, compute_mode="donot_use_mm_for_euclid_dist")
    overlaps = torch.relu(_nearest_allowed(exists, inputs).view_as(distances) - distances)
    return overlaps.sum(-1).view_as(exists)


@torch.no_grad()
def _nearest_allowed(
    exists: Float[Tensor, "B N 14"], inputs: Inputs
) -> Float[Tensor, "B N 14 N 14"]:
    """The least distance of atoms of two residues; 0 or less where any is allowed."""
    # Atoms that do not exist are taken to be so small that they are never too near.
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
    """How far each atom's distances within its residue are out of `atom14_distance_bounds`.

    Each atom has twice the sum over its pairs, as in the official code.
    """
    chemistry = tables(atom14.device)
    lower, upper = chemistry.lower[aatype], chemistry.upper[aatype]
    distances = torch.cdist(atom14, atom14, compute_mode="donot_use_mm_for_euclid_dist")
    off = torch.relu(lower - distances) + torch.relu(distances - upper)
    return 2 * (off * exists[..., None, :]).sum(-1) * exists


def _length(vector: Float[Tensor, "*B 3"]) -> Float[Tensor, " *B"]:
    return (vector.square().sum(-1) + 1e-6).sqrt()


def _beyond(error: Tensor, deviation: Tensor | float) -> Tensor:
    """What of the error's size is more than the tolerance."""
    return torch.relu((error.square() + 1e-6).sqrt() - NUM_DEVIATIONS * deviation)
