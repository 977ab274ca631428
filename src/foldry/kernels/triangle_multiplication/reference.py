"""The specification of the triangle multiplication: plain torch, any device, any dtype."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def triangle_multiplication(
    left: Float[Tensor, "B N N C"], right: Float[Tensor, "B N N C"], outgoing: bool
) -> Float[Tensor, "B N N C"]:
    """Σₖ left[i, k] right[j, k] for outgoing edges, Σₖ left[k, j] right[k, i] for incoming ones.

    One matrix product per channel (Algorithms 11 and 12, line 4).
    """
    left, right = left.permute(0, 3, 1, 2), right.permute(0, 3, 1, 2)
    product = left @ right.transpose(-1, -2) if outgoing else right.transpose(-1, -2) @ left
    return product.permute(0, 2, 3, 1)
