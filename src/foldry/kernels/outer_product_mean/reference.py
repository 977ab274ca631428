"""The specification of the outer product mean: plain torch, any device, any dtype."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def outer_product(
    left: Float[Tensor, "B S N C"],
    right: Float[Tensor, "B S M C"],
    weight: Float[Tensor, "Z CC"],
) -> Float[Tensor, "B N M Z"]:
    """Σₛ left[s, i, c] right[s, j, d] projected to Z channels (Algorithm 10, lines 3 and 4).

    Args:
        left, right: The masked projections.
        weight: Output projection, its input axis the flattened (c, d).
    """
    outer = torch.einsum("bsic,bsjd->bijcd", left, right)
    return outer.flatten(-2) @ weight.T
