"""The specification of attention: plain torch, any device, any dtype."""

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
    """softmax(q·k/√C + bias) v within each row, over the keys that the mask keeps.

    Softmax runs in float32. A row without any key gives the mean of its values, as the official
    implementation does.

    Args:
        query: Queries, not yet scaled.
        key, value: Keys and values.
        mask: 1 where a key is kept.
        bias: Added to the logits of every row.
    """
    query = query * query.shape[-1] ** -0.5
    logits = torch.einsum("brqhc,brkhc->brhqk", query, key).float()
    if bias is not None:
        logits = logits + bias[:, None].float()
    logits = logits.masked_fill(mask[:, :, None, None, :] == 0, MASKED_LOGIT)
    return torch.einsum("brhqk,brkhc->brqhc", logits.softmax(-1).to(value.dtype), value)
