"""Global column attention for processors: two passes over the rows, a few rows at a time."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from foldry.kernels.attention.reference import MASKED_LOGIT
from foldry.kernels.chunks import layer_norm, linear, packed, slices, split_heads
from foldry.kernels.interface import AttentionWeights


def global_attention(
    msa: Float[Tensor, "B S N C"],
    mask: Float[Tensor, "B S N"],
    weights: AttentionWeights,
    chunk_size: int,
) -> Float[Tensor, "B S N C"]:
    """Add the update of global column attention to m in place.

    The first pass sums the rows and keeps their keys and values, which have few channels; the
    second applies the gates. The norm is computed twice, because keeping it takes as much memory
    as m itself.
    """
    for rows, rows_mask in zip(msa, mask, strict=True):
        _update(rows, rows_mask, weights, chunk_size)
    return msa


def _update(
    msa: Float[Tensor, "S N C"],
    mask: Float[Tensor, "S N"],
    weights: AttentionWeights,
    chunk_size: int,
) -> None:
    num_rows, length, channels = msa.shape
    parts = list(slices(num_rows, length * channels, chunk_size))
    maps = packed(weights.key, weights.value)
    weight = mask[..., None]
    total = msa.new_zeros(length, channels, dtype=torch.float32)
    key_value = msa.new_empty(num_rows, length, len(maps.weight))
    for part in parts:
        y = layer_norm(msa[part], weights.norm)
        key_value[part] = linear(y, maps)
        total += y.mul_(weight[part]).sum(0)
    mean = (total / (weight.sum(0) + 1e-10)).to(msa.dtype)
    query = split_heads(linear(mean, weights.query), weights.num_heads)
    key, value = key_value.chunk(2, dim=-1)
    logits = torch.bmm(query * query.shape[-1] ** -0.5, key.permute(1, 2, 0)).float()
    logits.masked_fill_((mask.t() == 0)[:, None], MASKED_LOGIT)
    shares = torch.softmax(logits, -1, out=logits).to(msa.dtype)
    average = torch.bmm(shares, value.transpose(0, 1)).flatten(1)
    for part in parts:
        gate = linear(layer_norm(msa[part], weights.norm), weights.gate).sigmoid_()
        msa[part].add_(linear(gate.mul_(average), weights.output))
