"""A template's backbone in the final structure, without parameters: where it covers `mini`.

This is Foldry's own; in the paper, templates reach the structure through the pair representation
alone. The structure module of a small network blurs even positions that were exact: where a
template covers the chain, the template's own backbone, superposed on the structure, is nearer to
the truth, and its peptide bonds are intact.

Axes: B batch, N residues, T templates.
"""

from __future__ import annotations

from typing import Final

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from foldry import residues
from foldry.geometry import Rigid, frames_from_three_points
from foldry.model.inputs import TemplateInputs

MIN_COVERED: Final = 20
"""Minimum number of residues that a template covers; fewer say nothing about its place or hand."""
RAMP: Final = 3
"""Residues at the end of a covered segment that are moved less, so that the chain is not torn."""
HALF_SHARE: Final = 4.0
"""Distance in Å between structure and template at which a residue moves half as far."""
PEPTIDE_BOND: Final = 2.0
"""Atoms C and N of a template that are nearer than this belong to consecutive residues, Å."""


def toward_templates(
    frames: Rigid, templates: TemplateInputs, mask: Float[Tensor, "B N"], share: float
) -> Rigid:
    """Return backbone frames [B, N] moved toward those of the templates.

    Each template is superposed on all residues that it covers, at least `MIN_COVERED`. A residue
    moves toward the first template that covers it, by `share` of the way times
    1 / (1 + (d / 4 Å)²), where d is their distance, and less near the end of a covered segment.
    Gradients flow through `frames`, not through the superposition. A residue that no template
    covers keeps its frame.

    Args:
        frames: Backbone frames [B, N], Å.
        templates: The templates, the best one first.
        mask: 1 for residues, 0 for padding.
        share: Share of the template in the result, 0 to 1.
    """
    moved, free = frames, mask > 0
    for index in range(templates.mask.shape[1]):
        atoms = templates.atom_positions[:, index]
        known = templates.atom_mask[:, index] * templates.mask[:, index, None, None]
        backbone = [residues.N, residues.CA, residues.C]
        n, ca, c = atoms[..., backbone, :].unbind(-2)
        covered = (known[..., backbone].prod(-1) > 0) & (mask > 0)
        covered = covered & (covered.sum(-1, keepdim=True) >= MIN_COVERED)
        own = frames_from_three_points(c, ca, n)
        with torch.no_grad():
            there = superposition(ca, frames.translation, covered.to(mask.dtype))
            there = there.unsqueeze(-1).compose(own)
            apart = (there.translation - frames.translation).square().sum(-1)
        deep = depth(covered, bonds(templates, index), mask > 0)
        weight = share * deep / (1 + apart / HALF_SHARE**2)
        mixed = _mixed(frames, there, weight)
        chosen = covered & free
        moved = Rigid(
            torch.where(chosen[..., None, None], mixed.rotation, moved.rotation),
            torch.where(chosen[..., None], mixed.translation, moved.translation),
        )
        free = free & ~covered
    return moved


def bonds(templates: TemplateInputs, index: int) -> Bool[Tensor, "B M"]:
    """Return whether residue i is bonded to residue i + 1 in a template, M = N − 1."""
    atoms = templates.atom_positions[:, index]
    apart = atoms[:, :-1, residues.C] - atoms[:, 1:, residues.N]
    bonded: Tensor = torch.linalg.vector_norm(apart, dim=-1) < PEPTIDE_BOND
    return bonded


def depth(
    covered: Bool[Tensor, "B N"], bonded: Bool[Tensor, "B M"], real: Bool[Tensor, "B N"]
) -> Float[Tensor, "B N"]:
    """Return how deep in a covered segment residues are: 0 outside, 1 from `RAMP` residues on.

    A segment ends next to a residue that is not covered, and where the residues of the template
    are not consecutive. The ends of the chain do not count as ends of a segment.

    Args:
        covered: Residues that the template covers.
        bonded: Whether residue i is bonded to residue i + 1 in the template, M = N − 1.
        real: False for padding.
    """
    inside, total = covered, covered.float()
    for _ in range(RAMP):
        before = F.pad(inside[:, :-1] & bonded, (1, 0), value=True)
        after = F.pad((inside[:, 1:] & bonded) | ~real[:, 1:], (0, 1), value=True)
        inside = inside & before & after
        total = total + inside.float()
    return total / (RAMP + 1)


def superposition(
    mobile: Float[Tensor, "B N 3"], target: Float[Tensor, "B N 3"], weight: Float[Tensor, "B N"]
) -> Rigid:
    """Return the motions [B] of `mobile` with the lowest weighted RMSD to `target` (Kabsch 1976).

    They are never reflections. `foldry.score.superpose` is the same in NumPy; a test holds them
    equal.
    """
    shares = (weight / weight.sum(-1, keepdim=True).clamp(min=1e-6)).double()[..., None]
    mobile, target = mobile.double(), target.double()
    here, there = (shares * mobile).sum(1), (shares * target).sum(1)
    covariance = (shares * (target - there[:, None])).mT @ (mobile - here[:, None])
    u, _, vt = torch.linalg.svd(covariance.nan_to_num())
    sign = torch.linalg.det(u @ vt).sign()
    rotation = torch.cat([u[..., :2], u[..., 2:] * sign[:, None, None]], dim=-1) @ vt
    shift = there - (rotation @ here[..., None])[..., 0]
    return Rigid(rotation.to(weight.dtype), shift.to(weight.dtype))


def _mixed(one: Rigid, other: Rigid, weight: Float[Tensor, "B N"]) -> Rigid:
    """Return frames between two, by the weight of the other: the means of origins and axes."""
    means = [
        torch.lerp(first, second, weight[..., None])
        for first, second in (
            (one.translation, other.translation),
            (one.rotation[..., 0], other.rotation[..., 0]),
            (one.rotation[..., 1], other.rotation[..., 1]),
        )
    ]
    origin, x, y = means
    return frames_from_three_points(origin + x, origin, origin + y)
