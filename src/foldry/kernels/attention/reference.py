"""The specification of attention: plain torch, any device, any dtype.

Axes: B batch, R rows, Q queries, K keys, H heads, C channels, V channels of a value.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

MASKED_LOGIT = -1e9


def attention(
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
