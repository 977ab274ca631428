"""The transition for processors: a few rows at a time, from the norm to the residual, in cache."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from foldry.kernels.chunks import layer_norm, linear, slices
from foldry.kernels.interface import TransitionWeights


def transition(
    x: Float[Tensor, "B X Y C"], weights: TransitionWeights, chunk_size: int
) -> Float[Tensor, "B X Y C"]:
    """Add the update of a transition to x in place."""
    per_row = x.shape[2] * len(weights.widen.weight)
    for member in x:
        for part in slices(len(member), per_row, chunk_size):
            rows = member[part]
            wide = linear(layer_norm(rows, weights.norm), weights.widen).relu_()
            rows.add_(linear(wide, weights.narrow))
    return x
