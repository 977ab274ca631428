"""The specification of triangle multiplication: plain torch, any device, any dtype.

Axes: B batch, N residues, C channels.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def triangle_multiplication(
    left: Float[Tensor, "B N N C"], right: Float[Tensor, "B N N C"], outgoing: bool
) -> Float[Tensor, "B N N C"]:
    """Return the sum over the third residue (Algorithms 11 and 12, line 4), ⊙ per channel::

        outgoing: product_ij = Σ_k left_ik ⊙ right_jk
        incoming: product_ij = Σ_k left_kj ⊙ right_ki

    It is one matrix product per channel.

    Args:
        left, right: The masked, gated projections.
        outgoing: Whether edges lead out of residues i and j, or into them.
    """
    left, right = left.permute(0, 3, 1, 2), right.permute(0, 3, 1, 2)
    product = left @ right.transpose(-1, -2) if outgoing else right.transpose(-1, -2) @ left
    return product.permute(0, 2, 3, 1)
