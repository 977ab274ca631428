"""The specification of triangle multiplication: plain torch, any device, any dtype.

Axes: B batch, N residues, D channels.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from foldry.kernels.chunks import layer_norm, linear
from foldry.kernels.interface import TriangleWeights


def triangle_multiplication(
    pair: Float[Tensor, "B N N D"],
    mask: Float[Tensor, "B N N"],
    weights: TriangleWeights,
    keep: Float[Tensor, " B #N #N D"] | None,
    chunk_size: int,
    *,
    outgoing: bool,
) -> Float[Tensor, "B N N D"]:
    """Return z with the update of a triangle multiplication (Algorithms 11 and 12)::

        y = LayerNorm(z);  left, right = mask ⊙ sigmoid(Linear(y)) ⊙ Linear(y)
        outgoing: product_ij = Σ_k left_ik ⊙ right_jk
        incoming: product_ij = Σ_k left_kj ⊙ right_ki
        z_ij + keep ⊙ sigmoid(Linear(y_ij)) ⊙ Linear(LayerNorm(product_ij))

    The sum is one matrix product per channel, which needs whole arrays: nothing is computed in
    chunks.
    """
    y = layer_norm(pair, weights.norm)
    left, right = (
        mask[..., None] * linear(y, maps) * torch.sigmoid(linear(y, gate))
        for maps, gate in (
            (weights.left, weights.left_gate),
            (weights.right, weights.right_gate),
        )
    )
    # For contiguous factors, the product of all channels is one call, and so is its gradient.
    left, right = (each.permute(0, 3, 1, 2).contiguous() for each in (left, right))
    product = left @ right.transpose(-1, -2) if outgoing else right.transpose(-1, -2) @ left
    product = layer_norm(product.permute(0, 2, 3, 1), weights.norm_product)
    update = linear(product, weights.output) * torch.sigmoid(linear(y, weights.gate))
    return pair + (update if keep is None else update * keep)
