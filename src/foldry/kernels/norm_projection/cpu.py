"""The attention bias for processors: a few rows at a time, heads first."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from foldry.kernels.chunks import layer_norm, linear, slices
from foldry.kernels.interface import Affine


def norm_projection(
    pair: Float[Tensor, "B N N D"], norm: Affine, projection: Affine, chunk_size: int
) -> Float[Tensor, "B H N N"]:
    """Return the bias of every head as a contiguous array."""
    batch, length, width, channels = pair.shape
    bias = pair.new_empty(batch, len(projection.weight), length, width)
    for member in range(batch):
        for part in slices(length, width * channels, chunk_size):
            y = linear(layer_norm(pair[member, part], norm), projection)
            bias[member, :, part] = y.permute(2, 0, 1)
    return bias
