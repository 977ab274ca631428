"""An exponential moving average of the parameters, which is what is kept and shipped."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from foldry.train.distributed import local, whole


class EMA:
    """Average of a network's state with decay min(`decay`, (1 + t) / (10 + t)) at step t.

    The decay grows from 0.1, so that the average forgets the random start (SI 1.11.7 has 0.999
    throughout, too long a memory for short runs).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state: dict[str, Tensor] = {
            name: tensor.detach().float().clone() for name, tensor in model.state_dict().items()
        }

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the parameters after step `step`, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, tensor in model.state_dict().items():
            local(self.state[name]).lerp_(local(tensor).float(), 1 - decay)

    def whole(self) -> dict[str, Tensor]:
        """The average, gathered where it is divided; every worker must ask for it."""
        return {name: whole(tensor) for name, tensor in self.state.items()}
