"""Backbone frames from a distogram and templates, without parameters.

They are the start of `mini`'s structure module.

This is Foldry's own; in the paper, all frames start at the origin. A small network learns distances
long before its structure module learns to unfold a chain from one common point. Three steps turn
the predicted distances into positions:

1. Classical scaling (Torgerson 1952) gives the exact positions for exact distances, from three
   eigenvectors, but weighs every distance alike and is thrown off by the uncertain ones.
2. Weighted stress majorisation (SMACOF; de Leeuw 1977) improves these positions iteratively by the
   distances that are certain. It needs a good start, because it finds a local minimum.
3. Distances do not distinguish a structure from its mirror image: the image with the handedness of
   the templates is chosen, otherwise the one whose chain turns like a protein.

Templates add distances to those of the distogram, which ends at 22 Å.

Axes: B batch, N residues, T templates, K distance bins.
"""

from __future__ import annotations

from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from foldry.geometry import Rigid, frames_from_three_points, table
from foldry.model.inputs import TemplateInputs
from foldry.model.template_backbone import MIN_COVERED, bonds, depth

NUM_STEPS: Final = 30
BEYOND: Final = 4.0
"""Distance of the open last bin from the last break, Å."""
OPEN_WEIGHT: Final = 0.01
"""Weight of a distance in the open last bin, which any greater distance satisfies as well."""
HAND_ODDS: Final = (2.4, 3.5, 2.7, 1.1, -0.6, -0.9, -1.1, -1.2, -1.2)
"""Log-odds of a right-handed turn of pseudo-beta atoms i to i + 3, for distances from i to i + 3 of
4, 5, … Å: positive for helices, negative for strands. Counted on every fourth training chain of
`mini`."""


@torch.no_grad()
def frames_from_distogram(
    logits: Float[Tensor, "B N N K"],
    mask: Float[Tensor, "B N"],
    first_break: float,
    last_break: float,
    templates: TemplateInputs | None = None,
    template_weight: float = 0.0,
) -> Rigid:
    """Return frames [B, N] in Å at pseudo-beta positions that fit the distogram and the templates.

    The axes of a frame follow the chain. No gradient flows back. A chain of fewer than four
    residues gets frames at the origin, because it has no handedness.

    Args:
        logits: Logits of the distogram, symmetric in the two residues.
        mask: 1 for residues, 0 for padding.
        first_break, last_break: First and last break of the distogram, Å.
        templates: Templates of the whole chain; None for none.
        template_weight: Weight of a template's distance; with 0, templates have no effect.
    """
    if logits.shape[1] < 4:
        return Rigid.identity(*mask.shape, like=mask)
    # The solvers raise an error at NaN; the caller finds and reports NaN in the result.
    distance, weight = median_distances(logits.nan_to_num(), first_break, last_break)
    # The structure module magnifies rounding errors of the points tenfold.
    distance, weight = distance.double(), weight.double()
    used = templates if template_weight else None
    if used is not None:
        distance, weight = with_template_distances(distance, weight, used, mask, template_weight)
    points = right_handed(lay_out(distance, weight, mask.double()).to(mask.dtype), mask)
    return frames_along(points if used is None else handed_as(points, used, mask), mask)


def median_distances(
    logits: Float[Tensor, "B N N K"], first_break: float, last_break: float
) -> tuple[Float[Tensor, "B N N"], Float[Tensor, "B N N"]]:
    """Return median distances in Å and their weights.

    The weight is (1 − 0.99 p_last) / (1 + variance)², where p_last is the probability of the open
    last bin: 1 for a certain distance, 0.01 for one that is certainly in the last bin.
    """
    num_bins = logits.shape[-1]
    width = (last_break - first_break) / (num_bins - 2)
    centers = first_break + width * (torch.arange(num_bins, device=logits.device) - 0.5)
    centers[-1] = last_break + BEYOND
    share = logits.softmax(-1)
    variance = (share * centers.square()).sum(-1) - (share * centers).sum(-1).square()
    median = (share.cumsum(-1) < 0.5).sum(-1).clamp(max=num_bins - 1)
    weight = (1 - (1 - OPEN_WEIGHT) * share[..., -1]) / (1 + variance.clamp(min=0)).square()
    return centers[median], weight


def with_template_distances(
    distance: Float[Tensor, "B N N"],
    weight: Float[Tensor, "B N N"],
    templates: TemplateInputs,
    mask: Float[Tensor, "B N"],
    template_weight: float,
) -> tuple[Float[Tensor, "B N N"], Float[Tensor, "B N N"]]:
    """Return distances in Å and weights that include those of the templates.

    Two terms of the stress with distances d and e and weights v and w differ by a constant from
    one with the distance (v d + w e) / (v + w) and the weight v + w. Near the end of a covered
    segment the weight is lower, so that the chain can close where the template has an insertion.
    """
    for index in range(templates.mask.shape[1]):
        points, known = _pseudo_beta(templates, index)
        deep = depth(known > 0, bonds(templates, index), mask > 0).double()
        added = template_weight * deep[:, :, None] * deep[:, None]
        both = weight + added
        found = torch.cdist(points, points)
        distance = distance + added / both.clamp(min=1e-12) * (found - distance)
        weight = both
    return distance, weight


def _pseudo_beta(
    templates: TemplateInputs, index: int
) -> tuple[Float[Tensor, "B N 3"], Float[Tensor, "B N"]]:
    """Return the pseudo-beta atoms of one template in float64, Å, and 1 where they are known."""
    known = templates.pseudo_beta_mask[:, index] * templates.mask[:, index, None]
    return templates.pseudo_beta[:, index].double(), known.double()


def lay_out(
    distance: Float[Tensor, "B N N"], weight: Float[Tensor, "B N N"], mask: Float[Tensor, "B N"]
) -> Float[Tensor, "B N 3"]:
    """Return points in Å whose distances fit best, for N ≥ 3.

    They approach a minimum of the stress Σ_ij weight_ij (‖x_i − x_j‖ − distance_ij)².

    The stress has no gradient where points coincide, and gradient descent needs a step size. Each
    step of SMACOF (majorisation) instead minimises a quadratic function that touches the stress
    at the present points and is nowhere below it, so the stress never increases. The minimum is a
    linear system whose matrix, the Laplacian of the weights, is the same in every step: it is
    inverted once, and a step is two matrix products.
    """
    pairs = mask[:, :, None] * mask[:, None]
    others = pairs * (1 - torch.eye(mask.shape[1], device=mask.device))
    length = mask.sum(-1)[:, None, None].clamp(min=1)
    squared = distance.square() * others
    rows = squared.sum(-1, keepdim=True) / length
    product = -0.5 * (squared - rows - rows.mT + rows.sum(1, keepdim=True) / length) * pairs
    values, vectors = torch.linalg.eigh(product)
    points: Tensor = vectors[..., -3:] * values[:, None, -3:].clamp(min=1e-4).sqrt()

    weight = weight * others
    # A Laplacian is singular (all points may move together); the constant on all pairs makes it
    # regular without moving the points.
    regular = torch.diag_embed(weight.sum(-1) + 1 - mask + 1e-4) - weight + pairs / length
    inverse = torch.linalg.inv(regular)
    for _ in range(NUM_STEPS):
        found = (points[:, :, None] - points[:, None]).square().sum(-1).add(1e-6).sqrt()
        ratio = weight * distance / found
        points = inverse @ (ratio.sum(-1, keepdim=True) * points - ratio @ points)
    return points * mask[..., None]


def right_handed(
    points: Float[Tensor, "B N 3"], mask: Float[Tensor, "B N"]
) -> Float[Tensor, "B N 3"]:
    """Return the points or their mirror image, whichever turns like a protein; N ≥ 4.

    Every four consecutive residues vote, weighted by how strongly turns of their length favour one
    hand (`HAND_ODDS`).
    """
    steps = points[:, 1:] - points[:, :-1]
    first, second, third = steps[:, :-2], steps[:, 1:-1], steps[:, 2:]
    turn = (first * torch.linalg.cross(second, third)).sum(-1).sign()
    reach = (first + second + third).norm(dim=-1)
    odds = table(torch.tensor(HAND_ODDS), points)
    votes = odds[(reach - 4).long().clamp(0, len(HAND_ODDS) - 1)]
    left = (turn * votes * mask[:, 3:]).sum(-1) < 0
    return torch.where(left[:, None, None], -points, points)


def handed_as(
    points: Float[Tensor, "B N 3"], templates: TemplateInputs, mask: Float[Tensor, "B N"]
) -> Float[Tensor, "B N 3"]:
    """Return the points or their mirror image, whichever has the handedness of the templates.

    The determinant of the covariance with a template is negative if the mirror image has the lower
    RMSD to it. Each template that covers at least `MIN_COVERED` residues votes with their number;
    without votes the points are returned as they are.
    """
    votes = points.new_zeros(len(points))
    for index in range(templates.mask.shape[1]):
        other, known = _pseudo_beta(templates, index)
        known = known * mask
        count = known.sum(-1)
        shares = (known / count.clamp(min=1)[:, None])[..., None]
        other = other - (shares * other).sum(1, keepdim=True)
        covariance = (shares * other).mT @ points.double()
        sign = torch.linalg.det(covariance).sign()
        votes = votes + (sign * count * (count >= MIN_COVERED)).to(votes.dtype)
    return torch.where((votes < 0)[:, None, None], -points, points)


def frames_along(points: Float[Tensor, "B N 3"], mask: Float[Tensor, "B N"]) -> Rigid:
    """Return frames at the points, for N ≥ 3.

    The x-axis points to the next residue; the previous residue is in the xy-plane. The first and
    the last residue have only one neighbour and take its orientation.
    """
    inner = frames_from_three_points(points[:, 2:], points[:, 1:-1], points[:, :-2]).rotation
    place = torch.arange(points.shape[1], device=points.device) - 1
    last = (mask.sum(-1, keepdim=True).long() - 3).clamp(min=0)
    turned_as = torch.minimum(place.clamp(min=0), last)
    sample = torch.arange(len(points), device=points.device)[:, None]
    return Rigid(inner[sample, turned_as], points)
