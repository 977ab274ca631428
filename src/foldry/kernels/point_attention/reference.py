"""The specification of invariant point attention: plain torch, any device, any dtype.

Axes: B batch, N residues, H heads, P and Q points, C channels, D channels of the pair
representation.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from foldry.kernels.chunks import by_rows
from foldry.kernels.interface import Points

MASKED_LOGIT = -1e5


def point_attention(
    points: Points,
    pair: Float[Tensor, "B N N D"],
    mask: Float[Tensor, "B N"],
    chunk_size: int,
) -> tuple[Float[Tensor, "B N H V"], Float[Tensor, "B N H Q 3"], Float[Tensor, "B N H D"]]:
    """Return the sums of Algorithm 22, lines 7 to 10, points in global coordinates::

    a_ij^h = softmax_j(q_i^h · k_j^h + b_ij^h − w^h Σ_p ‖q_i^hp − k_j^hp‖²)
    Σ_j a_ij^h v_j^h;  Σ_j a_ij^h v_j^hp;  Σ_j a_ij^h z_ij
    """

    def squared_distances(queries: Tensor) -> Tensor:
        return (queries[:, :, None] - points.key_points[:, None]).square().sum((-1, -2))

    batch, length, heads, num_points, _ = points.key_points.shape
    per_row = batch * length * heads * num_points * 3
    squared = by_rows(squared_distances, per_row, chunk_size, points.query_points)
    logits = torch.einsum("bqhc,bkhc->bhqk", points.query, points.key)
    logits = logits - (points.weights * squared).permute(0, 3, 1, 2)
    logits = logits + points.bias
    mask_2d = (mask[:, :, None] * mask[:, None])[:, None]
    attention = (logits + MASKED_LOGIT * (1 - mask_2d)).softmax(-1)
    return (
        torch.einsum("bhqk,bkhc->bqhc", attention, points.value),
        torch.einsum("bhqk,bkhpx->bqhpx", attention, points.value_points),
        torch.einsum("bhqk,bqkd->bqhd", attention, pair),
    )
