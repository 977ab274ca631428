"""The specification of the outer product mean: plain torch, any device, any dtype.

Axes: B batch, S sequences, N and M residues, C channels, CC channels of the outer product, Z
channels of the result.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def outer_product(
    left: Float[Tensor, "B S N C"],
    right: Float[Tensor, "B S M C"],
    weight: Float[Tensor, "Z CC"],
) -> Float[Tensor, "B N M Z"]:
    """Return the projected sum of outer products (Algorithm 10, lines 3 and 4, without the mean)::

        product_ij = W flatten(Σ_s left_si ⊗ right_sj)

    Args:
        left, right: The masked projections.
        weight: W; its input axis is the flattened (channel of left, channel of right).
    """
    outer = torch.einsum("bsic,bsjd->bijcd", left, right)
    return outer.flatten(-2) @ weight.T
