"""The outer product mean for processors: the products of a few residues at a time, in cache."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from foldry.kernels.chunks import layer_norm, linear, packed, slices
from foldry.kernels.interface import OuterProductWeights
from foldry.kernels.outer_product_mean.reference import EPSILON


def outer_product_mean(
    pair: Float[Tensor, "B N N D"],
    msa: Float[Tensor, "B S N C"],
    mask: Float[Tensor, "B S N"],
    weights: OuterProductWeights,
    chunk_size: int,
) -> Float[Tensor, "B N N D"]:
    """Add the outer product mean of m to z in place."""
    for each in zip(pair, msa, mask, strict=True):
        _update(*each, weights, chunk_size)
    return pair


def _update(
    pair: Float[Tensor, "N N D"],
    msa: Float[Tensor, "S N C"],
    mask: Float[Tensor, "S N"],
    weights: OuterProductWeights,
    chunk_size: int,
) -> None:
    num_rows, length, _ = msa.shape
    maps = packed(weights.left, weights.right)
    width = len(weights.left.weight)
    left = msa.new_empty(length, width, num_rows)
    right = msa.new_empty(num_rows, length, width)
    for part in slices(num_rows, msa.shape[1] * msa.shape[2], chunk_size):
        y = linear(layer_norm(msa[part], weights.norm), maps).mul_(mask[part, :, None])
        left[:, :, part] = y[..., :width].permute(1, 2, 0)
        right[part] = y[..., width:]
    count = mask.t() @ mask + EPSILON
    for part in slices(length, length * width**2, chunk_size):
        outer = torch.mm(left[part].flatten(0, 1), right.flatten(1))
        outer = outer.view(-1, width, length, width)
        update = linear(outer.transpose(1, 2).flatten(2), weights.output)
        pair[part].addcdiv_(update, count[part, :, None])
