"""An exponential moving average of the parameters: the weights that a run delivers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from foldry.train.distributed import local, whole


class EMA:
    """Average of a network's state: a ← d a + (1 − d) θ, with d = min(decay, (1 + t) / (10 + t)).

    The decay d grows from 0.1 at step t = 0, so that the average forgets the random start. SI
    1.11.7 uses 0.999 throughout, which is too long a memory for short runs.

    Args:
        model: The network with parameters θ.
        decay: Maximum of the decay.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state: dict[str, Tensor] = {
            name: tensor.detach().float().clone() for name, tensor in model.state_dict().items()
        }

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Update the average with the parameters after a step, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, tensor in model.state_dict().items():
            local(self.state[name]).lerp_(local(tensor).float(), 1 - decay)

    def whole(self) -> dict[str, Tensor]:
        """Return the average, gathered from all workers, which must all call this."""
        return {name: whole(tensor) for name, tensor in self.state.items()}
