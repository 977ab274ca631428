"""The layers that all modules share: linear maps with AlphaFold's initialisation, norm, dropout.

Axes: B batch, C input channels, D output channels, H heads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from foldry.kernels.chunks import layer_norm
from foldry.kernels.interface import Affine

Init = Literal["default", "relu", "zero", "gate", "glorot"]


class Layer(nn.Module):
    """A module whose `forward` returns one tensor; torch's annotation does not say so."""

    __call__: Callable[..., Tensor]


class Linear(Layer, nn.Linear):
    """A linear map, initialised for its purpose (SI 1.11.4): y = W x + b.

    Shapes: [..., C] → [..., D].

    Args:
        c_in, c_out: Input and output channels.
        bias: Whether there is a b; without it, the supplement writes LinearNoBias.
        init: `default` is LeCun's truncated normal, variance 1/c_in; `relu` is He's, variance
            2/c_in, before a relu; `glorot` is Glorot's uniform distribution, for queries, keys and
            values; `zero` makes the last map of a residual branch start without effect; `gate`
            (W = 0, b = 1) makes a sigmoid gate start open. All other biases are 0.
    """

    def __init__(self, c_in: int, c_out: int, *, bias: bool = True, init: Init = "default") -> None:
        self.init_kind = init
        super().__init__(c_in, c_out, bias=bias)

    @property
    def affine(self) -> Affine:
        """The parameters."""
        return Affine(self.weight, self.bias)

    def reset_parameters(self) -> None:
        if self.bias is not None:
            nn.init.constant_(self.bias, 1.0 if self.init_kind == "gate" else 0.0)
        if self.init_kind in ("zero", "gate"):
            nn.init.zeros_(self.weight)
        elif self.init_kind == "glorot":
            nn.init.xavier_uniform_(self.weight)
        else:
            scale = 2.0 if self.init_kind == "relu" else 1.0
            # 0.8796 is the standard deviation of a unit normal distribution truncated at ±2.
            deviation = math.sqrt(scale / self.in_features) / 0.87962566
            nn.init.trunc_normal_(self.weight, std=deviation, a=-2 * deviation, b=2 * deviation)


class LayerNorm(Layer, nn.LayerNorm):
    """Layer norm over the channels: y = γ ⊙ (x − mean(x)) / √(var(x) + 1e-5) + β.

    Shapes: [..., C] → the same. See `foldry.kernels.chunks.layer_norm`.
    """

    @property
    def affine(self) -> Affine:
        """The parameters."""
        return Affine(self.weight, self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return layer_norm(input, self.affine)


class SharedDropout(nn.Module):
    """The factor of an update by dropout whose mask is shared along one axis (SI 1.11.6)::

        factor = keep / (1 − rate),  keep ~ Bernoulli(1 − rate), the same along `axis`

    Shapes: [B, X, Y, C] → the same with length 1 along `axis`. Outside training it is None, which
    stands for 1. The supplement's DropoutRowwise is axis 1, DropoutColumnwise axis 2.
    """

    __call__: Callable[..., Tensor | None]

    def __init__(self, rate: float, axis: int) -> None:
        super().__init__()
        self.rate = rate
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor | None:
        if not self.training or self.rate == 0:
            return None
        shape = list(x.shape)
        shape[self.axis] = 1
        keep = torch.rand(shape, device=x.device) >= self.rate
        return (keep / (1 - self.rate)).to(x.dtype)


def add_to_first_row(x: Tensor, update: Tensor) -> Tensor:
    """Return x with an update of the first row of axis 1; written into x without gradients."""
    if torch.is_grad_enabled():
        return torch.cat([x[:, :1] + update[:, None], x[:, 1:]], dim=1)
    x[:, 0] += update
    return x
