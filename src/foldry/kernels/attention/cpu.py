"""Gated attention for processors: a few rows at a time, from the norm to the residual, in cache."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from foldry.kernels.attention.reference import MASKED_LOGIT
from foldry.kernels.chunks import layer_norm, linear, packed, row_slice, slices, split_heads
from foldry.kernels.interface import AttentionWeights


def attention(
    x: Float[Tensor, "B R N C"],
    mask: Float[Tensor, "B R N"],
    bias: Float[Tensor, "B H N N"] | None,
    weights: AttentionWeights,
    keep: Float[Tensor, " B #R #N C"] | None,
    chunk_size: int,
) -> Float[Tensor, "B R N C"]:
    """Add the update of gated self-attention to x in place.

    One product makes queries, keys and values. Two batched products have the bias and the softmax
    in place between them: torch's fused attention is slower on processors.
    """
    heads, length = weights.num_heads, x.shape[2]
    maps = packed(weights.query, weights.key, weights.value)
    width = len(weights.query.weight)
    scale = (width // heads) ** -0.5
    absent = None if bool(mask.all()) else mask == 0
    per_row = max(heads * length, len(maps.weight)) * length
    for member in range(len(x)):
        for part in slices(x.shape[1], per_row, chunk_size):
            rows = x[member, part]
            y = layer_norm(rows, weights.norm)
            query, key, value = (
                split_heads(each, heads).transpose(1, 2).flatten(0, 1).contiguous()
                for each in linear(y, maps).chunk(3, dim=-1)
            )
            logits = torch.bmm(query.mul_(scale), key.transpose(1, 2)).float()
            by_head = torch.unflatten(logits, 0, (-1, heads))
            if bias is not None:
                by_head.add_(bias[member])
            if absent is not None:
                by_head.masked_fill_(absent[member, part, None, None], MASKED_LOGIT)
            torch.softmax(logits, -1, out=logits)
            out = torch.bmm(logits.to(value.dtype), value).view(-1, heads, length, width // heads)
            gate = linear(y, weights.gate).sigmoid_()
            update = linear(gate.mul_(out.transpose(1, 2).flatten(2)), weights.output)
            if keep is not None:
                update.mul_(row_slice(keep[member : member + 1], part)[0])
            rows.add_(update)
    return x
