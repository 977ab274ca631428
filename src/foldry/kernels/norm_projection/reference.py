"""The specification of the attention bias: plain torch, any device, any dtype."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from foldry.kernels.chunks import by_rows, layer_norm, linear
from foldry.kernels.interface import Affine


def norm_projection(
    pair: Float[Tensor, "B N N D"], norm: Affine, projection: Affine, chunk_size: int
) -> Float[Tensor, "B H N N"]:
    """Return the bias of every head (Algorithms 7 and 13)::

    b_ij^h = LinearNoBias(LayerNorm(z_ij))
    """

    def rows(pair: Tensor) -> Tensor:
        return linear(layer_norm(pair, norm), projection)

    per_row = len(pair) * pair.shape[2] * pair.shape[3]
    return by_rows(rows, per_row, chunk_size, pair).permute(0, 3, 1, 2)
