"""Backbone frames from a distogram, without parameters: the start of `mini`'s structure module.

This is Foldry's own; in the paper, all frames start at the origin. A small network learns distances
long before its structure module learns to unfold a chain from one common point. Three steps turn
the predicted distances into positions:

1. Classical scaling (Torgerson 1952) gives the exact positions for exact distances, from three
   eigenvectors, but weighs every distance alike and is thrown off by the uncertain ones.
2. Weighted stress majorisation (SMACOF; de Leeuw 1977) improves these positions iteratively by the
   distances that are certain. It needs a good start, because it finds a local minimum.
3. Distances do not distinguish a structure from its mirror image: the image whose chain turns like
   a protein is chosen.

Axes: B batch, N residues, K distance bins.
"""

from __future__ import annotations

from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from foldry.geometry import Rigid, frames_from_three_points, table

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
) -> Rigid:
    """Return frames [B, N] in Å at pseudo-beta positions that fit the distogram.

    The axes of a frame follow the chain. No gradient flows back. A chain of fewer than four
    residues gets frames at the origin, because it has no handedness.

    Args:
        logits: Logits of the distogram, symmetric in the two residues.
        mask: 1 for residues, 0 for padding.
        first_break, last_break: First and last break of the distogram, Å.
    """
    if logits.shape[1] < 4:
        return Rigid.identity(*mask.shape, like=mask)
    # The solvers raise an error at NaN; the caller finds and reports NaN in the result.
    distance, weight = median_distances(logits.nan_to_num(), first_break, last_break)
    # The structure module magnifies rounding errors of the points tenfold.
    points = lay_out(distance.double(), weight.double(), mask.double()).to(mask.dtype)
    return frames_along(right_handed(points, mask), mask)


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
