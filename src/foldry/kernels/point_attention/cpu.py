"""Invariant point attention for processors: all sums as batched matrix products."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from foldry.kernels.interface import Points
from foldry.kernels.point_attention.reference import MASKED_LOGIT


def point_attention(
    points: Points,
    pair: Float[Tensor, "B N N D"],
    mask: Float[Tensor, "B N"],
    chunk_size: int,
) -> tuple[Float[Tensor, "B N H V"], Float[Tensor, "B N H Q 3"], Float[Tensor, "B N H D"]]:
    """Return the sums of Algorithm 22, lines 7 to 10, points in global coordinates.

    A squared distance is |q|² + |k|² − 2 q · k, which is a matrix product. Its terms are far larger
    than the distances of neighbours, so it is computed in float64. The logits are few, and nothing
    is computed in chunks.
    """
    query, key, value, query_points, key_points, value_points = (
        each.flatten(3).transpose(1, 2) for each in points[:6]
    )
    from_points, to_points = query_points.double(), key_points.double()
    squared = -2 * from_points @ to_points.transpose(2, 3)
    squared += from_points.square().sum(-1, keepdim=True)
    squared += to_points.square().sum(-1)[:, :, None]
    logits = (query @ key.transpose(2, 3)).add_(points.bias)
    logits -= squared.mul_(points.weights.double()[:, None, None])
    logits += MASKED_LOGIT * (1 - mask[:, None, :, None] * mask[:, None, None, :])
    shares = torch.softmax(logits, -1, out=logits)
    sums = (shares @ torch.cat([value, value_points], dim=-1)).transpose(1, 2)
    scalars, sum_points = torch.split(sums, [value.shape[-1], value_points.shape[-1]], dim=-1)
    pairs = torch.bmm(shares.transpose(1, 2).flatten(0, 1), pair.flatten(0, 1))
    sum_points = torch.unflatten(sum_points, -1, (-1, 3))
    return scalars, sum_points, torch.unflatten(pairs, 0, pair.shape[:2])
