"""The specification of gated attention: plain torch, any device, any dtype.

Axes: B batch, R rows, Q queries, K keys, H heads, C channels, V channels of a value, N residues.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from foldry.kernels.chunks import by_rows, layer_norm, linear, split_heads
from foldry.kernels.interface import AttentionWeights

MASKED_LOGIT = -1e9


def attend(
    query: Float[Tensor, "B R Q H C"],
    key: Float[Tensor, "B R K H C"],
    value: Float[Tensor, "B R K H V"],
    mask: Float[Tensor, "B R K"],
    bias: Float[Tensor, "B H Q K"] | None = None,
) -> Float[Tensor, "B R Q H V"]:
    """Return the attention of every head within each row (Algorithm 7, lines 5 and 6)::

        o_rq^h = Σ_k softmax_k(q_rq^h · k_rk^h / √C + bias_qk^h) v_rk^h

    The softmax is over the keys that the mask keeps and is computed in float32. A row without any
    key returns the mean of its values, as the official implementation does.

    Args:
        query: Queries, not yet scaled.
        key, value: Keys and values.
        mask: 1 for keys to keep, 0 for others.
        bias: Added to the logits of every row.
    """
    query = query * query.shape[-1] ** -0.5
    logits = torch.einsum("brqhc,brkhc->brhqk", query, key).float()
    if bias is not None:
        logits = logits + bias[:, None].float()
    logits = logits.masked_fill(mask[:, :, None, None, :] == 0, MASKED_LOGIT)
    return torch.einsum("brhqk,brkhc->brqhc", logits.softmax(-1).to(value.dtype), value)


def attention(
    x: Float[Tensor, "B R N C"],
    mask: Float[Tensor, "B R N"],
    bias: Float[Tensor, "B H N N"] | None,
    weights: AttentionWeights,
    keep: Float[Tensor, " B #R #N C"] | None,
    chunk_size: int,
) -> Float[Tensor, "B R N C"]:
    """Return x with the update of gated self-attention within each row::

    y = LayerNorm(x);  q, k, v = LinearNoBias(y);  g = sigmoid(Linear(y))
    x + keep ⊙ Linear(concat_h(g^h ⊙ attend(q, k, v)^h))
    """
    heads = weights.num_heads

    def rows(x: Tensor, mask: Tensor) -> Tensor:
        y = layer_norm(x, weights.norm)
        query, key, value = (
            split_heads(linear(y, each), heads)
            for each in (weights.query, weights.key, weights.value)
        )
        out = attend(query, key, value, mask, bias).flatten(-2)
        return linear(out * torch.sigmoid(linear(y, weights.gate)), weights.output)

    per_row = len(x) * heads * x.shape[2] ** 2
    update = by_rows(rows, per_row, chunk_size, x, mask)
    return x + (update if keep is None else update * keep)
