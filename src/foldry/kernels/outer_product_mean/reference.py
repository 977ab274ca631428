"""The specification of the outer product mean: plain torch, any device, any dtype.

Axes: B batch, S sequences, N residues, C channels, D channels of the pair representation.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from foldry.kernels.chunks import by_rows, layer_norm, linear
from foldry.kernels.interface import OuterProductWeights

EPSILON = 1e-3


def outer_product_mean(
    pair: Float[Tensor, "B N N D"],
    msa: Float[Tensor, "B S N C"],
    mask: Float[Tensor, "B S N"],
    weights: OuterProductWeights,
    chunk_size: int,
) -> Float[Tensor, "B N N D"]:
    """Return z with the outer product mean of m (Algorithm 10)::

    y = LayerNorm(m);  a_si, b_si = mask_si Linear(y_si)
    z_ij + Linear(flatten(Σ_s a_si ⊗ b_sj)) / (ε + Σ_s mask_si mask_sj)
    """
    y = layer_norm(msa, weights.norm)
    weight = mask[..., None]
    right = weight * linear(y, weights.right)

    def rows(left: Tensor, rows_mask: Tensor) -> Tensor:
        outer = torch.einsum("bisc,bsjd->bijcd", left, right).flatten(-2)
        count = torch.einsum("bis,bsj->bij", rows_mask, mask)
        return linear(outer, weights.output) / (EPSILON + count[..., None])

    left = (weight * linear(y, weights.left)).transpose(1, 2)
    per_row = len(pair) * pair.shape[2] * weights.output.weight.shape[1]
    return pair + by_rows(rows, per_row, chunk_size, left, mask.transpose(1, 2))
