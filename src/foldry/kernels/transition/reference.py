"""The specification of the transition: plain torch, any device, any dtype."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from foldry.kernels.chunks import by_rows, layer_norm, linear
from foldry.kernels.interface import TransitionWeights


def transition(
    x: Float[Tensor, "B X Y C"], weights: TransitionWeights, chunk_size: int
) -> Float[Tensor, "B X Y C"]:
    """Return x with the update of a transition (Algorithms 9 and 15)::

    x_ij + Linear(relu(Linear(LayerNorm(x_ij))))
    """

    def rows(x: Tensor) -> Tensor:
        wide = torch.relu(linear(layer_norm(x, weights.norm), weights.widen))
        return linear(wide, weights.narrow)

    per_row = len(x) * x.shape[2] * len(weights.widen.weight)
    return x + by_rows(rows, per_row, chunk_size, x)
