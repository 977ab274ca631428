"""The specification of global column attention: plain torch, any device, any dtype.

Axes: B batch, S sequences, N residues, C channels.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from foldry.kernels.attention.reference import MASKED_LOGIT
from foldry.kernels.chunks import layer_norm, linear, split_heads
from foldry.kernels.interface import AttentionWeights


def global_attention(
    msa: Float[Tensor, "B S N C"],
    mask: Float[Tensor, "B S N"],
    weights: AttentionWeights,
    chunk_size: int,
) -> Float[Tensor, "B S N C"]:
    """Return m with the update of global column attention (Algorithm 19)::

        y = LayerNorm(m);  q_i^h = LinearNoBias(mean_s y_si);  k_si, v_si = LinearNoBias(y_si)
        a_ti^h = softmax_t(q_i^h · k_ti / √c);  g_si^h = sigmoid(Linear(y_si))
        m_si + Linear(concat_h(g_si^h ⊙ Σ_t a_ti^h v_ti))

    Masked places are left out of the mean and of the softmax. No temporary array is larger than m,
    so nothing is computed in chunks.
    """
    y = layer_norm(msa, weights.norm)
    weight = mask[..., None]
    mean = (y * weight).sum(1) / (weight.sum(1) + 1e-10)
    query = split_heads(linear(mean, weights.query), weights.num_heads)
    query = query * query.shape[-1] ** -0.5
    logits = torch.einsum("bnhc,bsnc->bnhs", query, linear(y, weights.key)).float()
    logits = logits.masked_fill(mask.transpose(1, 2)[:, :, None] == 0, MASKED_LOGIT)
    shares = logits.softmax(-1).to(y.dtype)
    average = torch.einsum("bnhs,bsnc->bnhc", shares, linear(y, weights.value))
    gate = torch.sigmoid(linear(y, weights.gate))
    return msa + linear(gate * average.flatten(-2)[:, None], weights.output)
