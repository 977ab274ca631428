"""From a distogram to backbone frames, without parameters: where `mini`'s structure module starts.

A small network learns distances long before its structure module can lay residues out from one
common origin. Here the distances are laid out for it: classical scaling (Torgerson 1952), then
weighted stress majorisation (SMACOF; de Leeuw 1977), then the hand that proteins have.

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
"""Å past the last break that stand for the open last bin."""
OPEN_WEIGHT: Final = 0.01
"""Of a distance in the open last bin, which may be any greater one."""
HAND_ODDS: Final = (2.4, 3.5, 2.7, 1.1, -0.6, -0.9, -1.1, -1.2, -1.2)
"""Log-odds that pseudo-beta atoms i to i + 3 turn to the right, by the distance from i to i + 3 in
whole Å from 4, counted on every fourth training chain of `mini`: helices do, strands do not."""


@torch.no_grad()
def frames_from_distogram(
    logits: Float[Tensor, "B N N K"],
    mask: Float[Tensor, "B N"],
    first_break: float,
    last_break: float,
) -> Rigid:
    """Frames [B, N] in Å: pseudo-beta positions that fit the distances, turned along the chain.

    No gradient flows back. A chain of less than four residues has its frames at the origin.

    Args:
        logits: Symmetric.
        mask: 1 where there is a residue.
        first_break, last_break: The distogram's, Å.
    """
    if logits.shape[1] < 4:  # no three dimensions, and no hand
        return Rigid.identity(*mask.shape, like=mask)
    # The solvers stop the program at a NaN; elsewhere it is found and reported.
    distance, weight = median_distances(logits.nan_to_num(), first_break, last_break)
    points = lay_out(distance, weight, mask)
    return frames_along(right_handed(points, mask), mask)


def median_distances(
    logits: Float[Tensor, "B N N K"], first_break: float, last_break: float
) -> tuple[Float[Tensor, "B N N"], Float[Tensor, "B N N"]]:
    """Median distances in Å and their weights: 1 where sure, 0.01 in the open last bin."""
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
    """Points (Å) whose distances fit best: least weight · (found − wanted)², N ≥ 3."""
    pairs = mask[:, :, None] * mask[:, None]
    others = pairs * (1 - torch.eye(mask.shape[1], device=mask.device))
    length = mask.sum(-1)[:, None, None].clamp(min=1)
    squared = distance.square() * others
    rows = squared.sum(-1, keepdim=True) / length
    product = -0.5 * (squared - rows - rows.mT + rows.sum(1, keepdim=True) / length) * pairs
    values, vectors = torch.linalg.eigh(product)
    points: Tensor = vectors[..., -3:] * values[:, None, -3:].clamp(min=1e-4).sqrt()

    weight = weight * others
    # The constant on all pairs makes the Laplacian regular and moves nothing.
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
    """The points or their mirror image, by which way every four neighbours turn; N ≥ 4."""
    steps = points[:, 1:] - points[:, :-1]
    first, second, third = steps[:, :-2], steps[:, 1:-1], steps[:, 2:]
    turn = (first * torch.linalg.cross(second, third)).sum(-1).sign()
    reach = (first + second + third).norm(dim=-1)
    odds = table(torch.tensor(HAND_ODDS), points)
    votes = odds[(reach - 4).long().clamp(0, len(HAND_ODDS) - 1)]
    left = (turn * votes * mask[:, 3:]).sum(-1) < 0
    return torch.where(left[:, None, None], -points, points)


def frames_along(points: Float[Tensor, "B N 3"], mask: Float[Tensor, "B N"]) -> Rigid:
    """Frames at the points: the x-axis to the next residue, the last one in the xy-plane.

    The first and the last residue, which lack a neighbour, are turned as theirs is; N ≥ 3.
    """
    inner = frames_from_three_points(points[:, 2:], points[:, 1:-1], points[:, :-2]).rotation
    place = torch.arange(points.shape[1], device=points.device) - 1
    last = (mask.sum(-1, keepdim=True).long() - 3).clamp(min=0)
    turned_as = torch.minimum(place.clamp(min=0), last)
    sample = torch.arange(len(points), device=points.device)[:, None]
    return Rigid(inner[sample, turned_as], points)
