"""Triangle multiplication for processors: channel-major, a few rows at a time.

The rows of incoming edges are the columns of the pair representation: for z'_ij = z_ji the sum over
incoming edges is that over outgoing edges. One of the two factors is kept whole, the other and the
product only for the rows at hand; so the largest temporary array has the size of one pair
representation, and rows that are written are not read again.
"""

from __future__ import annotations

from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from foldry.kernels.chunks import layer_norm, linear, packed, row_slice, slices
from foldry.kernels.interface import Affine, TriangleWeights

BLOCK: Final = 48
"""Rows of one batched product: with fewer, it waits for the factor that is kept whole."""


def triangle_multiplication(
    pair: Float[Tensor, "B N N D"],
    mask: Float[Tensor, "B N N"],
    weights: TriangleWeights,
    keep: Float[Tensor, " B #N #N D"] | None,
    chunk_size: int,
    *,
    outgoing: bool,
) -> Float[Tensor, "B N N D"]:
    """Add the update of a triangle multiplication to z in place."""
    edges = pair if outgoing else pair.transpose(1, 2)
    edges_mask = mask if outgoing else mask.transpose(1, 2).contiguous()
    if keep is not None and not outgoing:
        keep = keep.transpose(1, 2)
    for member in range(len(pair)):
        of_member = None if keep is None else keep[member : member + 1]
        _update(edges[member], edges_mask[member], weights, of_member, chunk_size)
    return pair


def _update(
    pair: Float[Tensor, "N N D"],
    mask: Float[Tensor, "N N"],
    weights: TriangleWeights,
    keep: Float[Tensor, " B #N #N D"] | None,
    chunk_size: int,
) -> None:
    length, width = len(pair), len(weights.left.weight)
    left_maps = packed(weights.left, weights.left_gate)
    right_maps = packed(weights.right, weights.right_gate)

    right = pair.new_empty(width, length, length)
    for part in slices(length, 2 * length * width, chunk_size):
        _gated(layer_norm(pair[part], weights.norm), mask[part], right_maps, right[:, part])
    right = right.transpose(1, 2)
    for start in range(0, length, BLOCK):
        of_block = slice(start, start + BLOCK)
        rows, rows_mask = pair[of_block], mask[of_block]
        parts = list(slices(len(rows), 2 * length * width, chunk_size))
        left = pair.new_empty(width, len(rows), length)
        for part in parts:
            _gated(layer_norm(rows[part], weights.norm), rows_mask[part], left_maps, left[:, part])
        product = torch.bmm(left, right)
        for part in parts:
            of_rows = product[:, part].permute(1, 2, 0).contiguous()
            update = linear(layer_norm(of_rows, weights.norm_product), weights.output)
            gate = linear(layer_norm(rows[part], weights.norm), weights.gate)
            update.mul_(gate.sigmoid_())
            if keep is not None:
                update.mul_(row_slice(row_slice(keep, of_block), part)[0])
            rows[part].add_(update)


def _gated(
    y: Float[Tensor, "R N D"],
    mask: Float[Tensor, "R N"],
    maps: Affine,
    out: Float[Tensor, "C R N"],
) -> None:
    """Write mask ⊙ sigmoid(Linear(y)) ⊙ Linear(y), channels first, to `out`."""
    assert maps.bias is not None
    both = torch.mm(maps.weight, y.flatten(0, 1).t()).add_(maps.bias[:, None])
    value, gate = both.view(-1, *mask.shape).chunk(2)
    torch.mul(value, gate.sigmoid_().mul_(mask), out=out)
