"""Losses on the realised shape of the chain that are not contracted where distances are unsure.

They are Foldry's own. FAPE and a loss on all distances have their optimum at a contracted chain
while distances are unsure: the mean of unsure places is nearer than any of them. Axes: B batch,
N residues, K bins. Coordinates are in Å; d is a predicted and d* a true distance.
"""

from __future__ import annotations

from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from foldry import residues
from foldry.model.config import HeadsConfig
from foldry.model.distance_geometry import median_distances
from foldry.model.inputs import Inputs
from foldry.train.targets import Targets

CONTACT: Final = 8.0
"""Å: pseudo-beta atoms that are nearer than this are in contact."""
CONTACT_SOFTNESS: Final = 1.5
"""Å by which a distance changes if the odds of a contact change by a factor of e."""
CONTACT_OFFSET: Final = 6
"""Smallest offset in the sequence of a pair that may be a contact."""
EXTENDED: Final = 8.8
"""Å: least Cα distance from i to i + 3 in a strand; 10 in an ideal one, 5 in a helix."""
PAIRED: Final = 6.5
"""Å: greatest distance of paired Cα atoms of two strands."""
SHEET: Final = 13.0
"""Å: greatest distance of two Cα atoms whose distance the loss of strands compares."""
MAX_ERROR: Final = 10.0
"""Å up to which the error of a distance in a sheet grows; also the unit of the losses."""
BETA_SLOT: Final = 4
"""Slot of Cβ in atom14."""


def nearness(true_ca: Float[Tensor, "B N 3"], reach: float) -> Float[Tensor, "B N N"]:
    """Return 1 / (1 + (d*_ij / reach)²), the weight of a pair in FAPE; 1 without a reach.

    The place of a far atom as seen from a frame is unsure, and the mean of unsure places is nearer
    than any of them: far pairs contract the chain, although clamped.
    """
    distance = distances(true_ca)
    return 1 / (1 + (distance / reach).square()) if reach else torch.ones_like(distance)


def certainty(logits: Float[Tensor, "B N N K"], heads: HeadsConfig) -> Float[Tensor, "B N N"]:
    """Return the weights with which the layout trusts the distances of a distogram.

    They are about 1 for a certain distance and 0 for an unsure one, without a gradient.
    """
    first, last = heads.distogram_first_break, heads.distogram_last_break
    return median_distances(logits.detach(), first, last)[1]


def certain_distance_loss(
    ca: Float[Tensor, "B N 3"],
    true_ca: Float[Tensor, "B N 3"],
    mask: Float[Tensor, "B N"],
    weight: Float[Tensor, "B N N"],
) -> Float[Tensor, " B"]:
    """Return Σ w_ij smooth-L1(d_ij, d*_ij) / Σ w_ij / 10 Å over pairs of known residues.

    The median of an unsure distance is nearer than the far half of its values, so that a loss on
    all distances contracts the chain; w is the certainty of the distogram.
    """
    errors = F.smooth_l1_loss(distances(ca), distances(true_ca), reduction="none")
    return masked_mean(errors, weight * pair_mask(mask), 2) / MAX_ERROR


def contact_loss(
    beta: Float[Tensor, "B N 3"], truth: Targets, inputs: Inputs
) -> Float[Tensor, " B"]:
    """Return the cross-entropy of contacts, −Σ log p_ij(truth), for each known residue.

    p_ij = sigmoid((8 Å − d_ij) / 1.5 Å) is the probability that the realised distance d of
    pseudo-beta atoms gives to a contact. Its optimum for an unsure pair is the distance with the
    pair's odds: beyond 8 Å unless a contact is likelier than none, and the farther the less likely.

    Args:
        beta: Predicted pseudo-beta atoms, Å.
        truth: The true structures.
        inputs: Amino acids and numbers of the residues; pairs with an offset below 6 are left out.
    """
    true_beta = pseudo_beta14(truth.atom14, inputs.aatype)
    offset = (inputs.residue_index[:, :, None] - inputs.residue_index[:, None]).abs()
    pairs = pairs_of(truth.pseudo_beta_mask) * (offset >= CONTACT_OFFSET)
    logits = (CONTACT - distances(beta)) / CONTACT_SOFTNESS
    is_contact = (distances(true_beta) < CONTACT).to(logits.dtype)
    errors = F.binary_cross_entropy_with_logits(logits, is_contact, reduction="none")
    return (errors * pairs).sum((-2, -1)) / truth.pseudo_beta_mask.sum(-1).clamp(min=1)


def pseudo_beta14(
    atom14: Float[Tensor, "B N 14 3"], aatype: Int[Tensor, "B N"]
) -> Float[Tensor, "B N 3"]:
    """Return the position of Cβ, or of Cα for glycine, in Å."""
    glycine = (aatype == residues.RESTYPE_ORDER["G"])[..., None]
    return torch.where(glycine, atom14[..., residues.CA, :], atom14[..., BETA_SLOT, :])


def gyration_loss(
    ca: Float[Tensor, "B N 3"], true_ca: Float[Tensor, "B N 3"], mask: Float[Tensor, "B N"]
) -> Float[Tensor, " B"]:
    """Return (log Rg − log Rg*)² of the known Cα atoms, Rg the radius of gyration."""

    def log_radius(points: Tensor) -> Float[Tensor, " B"]:
        known = mask[..., None]
        center = (points * known).sum(1, keepdim=True) / known.sum(1, keepdim=True).clamp(min=1)
        return masked_mean((points - center).square().sum(-1), mask, 1).clamp(min=1e-2).log() / 2

    return (log_radius(ca) - log_radius(true_ca)).square()


def strand_loss(
    ca: Float[Tensor, "B N 3"], true_ca: Float[Tensor, "B N 3"], mask: Float[Tensor, "B N"]
) -> Float[Tensor, " B"]:
    """Return mean min(|d − d*|, 10 Å) / 10 Å over pairs of strand residues with d* < 13 Å.

    Strand residues are the inner two of four extended ones (d*(i, i + 3) ≥ 8.8 Å) that are paired:
    within 6.5 Å of another such residue at least 4 away. The pairs cover a residue's own strand
    and its neighbours in the sheet; 0 for a chain without strands.
    """
    true, predicted = distances(true_ca), distances(ca)
    with torch.no_grad():
        pairs = pair_mask(mask)
        four = (true.diagonal(3, 1, 2) >= EXTENDED) * pairs.diagonal(3, 1, 2)
        extended = torch.maximum(F.pad(four, (1, 2)), F.pad(four, (2, 1))) * mask
        number = torch.arange(ca.shape[1], device=ca.device)
        apart = (number[:, None] - number).abs() >= 4
        ladders = (true < PAIRED) * apart * pairs_of(extended)
        strands = ladders.amax(-1)
        sheet = (true < SHEET) * pairs_of(strands) * pairs
    errors = (predicted - true).abs().clamp(max=MAX_ERROR)
    return masked_mean(errors, sheet, 2) / MAX_ERROR


def masked_mean(values: Tensor, mask: Tensor, num_axes: int) -> Tensor:
    """Return the mean over the last `num_axes` axes where `mask` is 1; 0 if it is 0 everywhere."""
    axes = tuple(range(-num_axes, 0))
    mean: Tensor = (values * mask).sum(axes) / (mask.sum(axes) + 1e-8)
    return mean


def distances(points: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N N"]:
    delta = points[:, :, None] - points[:, None]
    return (delta.square().sum(-1) + 1e-10).sqrt()


def pairs_of(mask: Float[Tensor, "B N"]) -> Float[Tensor, "B N N"]:
    """Return 1 for pairs of known residues, a residue with itself included."""
    return mask[:, :, None] * mask[:, None]


def pair_mask(mask: Float[Tensor, "B N"]) -> Float[Tensor, "B N N"]:
    """Return 1 for pairs of different known residues."""
    return pairs_of(mask) * (1 - torch.eye(mask.shape[1], device=mask.device))
