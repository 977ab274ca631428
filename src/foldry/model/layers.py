"""The layers that all modules share: linear maps with AlphaFold's initialisation, norm, dropout.

Axes: B batch, C input channels, D output channels, H heads.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

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

    Shapes: [..., C] → the same. Mean and variance lose too much in bfloat16, so the norm is always
    computed in float32; the result has the input's dtype.
    """

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.float()).to(input.dtype)


class SharedDropout(Layer):
    """Dropout whose mask is shared along one axis (SI 1.11.6)::

        y = x ⊙ keep / (1 − rate),  keep ~ Bernoulli(1 − rate), the same along `axis`

    Shapes: any → the same. It is the identity outside training. The supplement's DropoutRowwise is
    axis 1, DropoutColumnwise axis 2, of [B, S, N, C] or [B, N, N, C].
    """

    def __init__(self, rate: float, axis: int) -> None:
        super().__init__()
        self.rate = rate
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        shape = list(x.shape)
        shape[self.axis] = 1
        keep = torch.rand(shape, device=x.device) >= self.rate
        return x * (keep / (1 - self.rate)).to(x.dtype)


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """Return x with its last axis split in two, heads and channels of a head: [..., H, C/H]."""
    return x.reshape(*x.shape[:-1], num_heads, x.shape[-1] // num_heads)


def by_rows(function: Callable[..., Tensor], size: int, *arrays: Tensor) -> Tensor:
    """Return `function(*arrays)`, computed on slices of `size` along axis 1.

    The rows of axis 1 must not depend on each other. A module's temporary arrays (logits, outer
    products, widened channels) are far larger than its input and output. With slices, only those of
    one slice exist at a time, which bounds the memory, and a slice that fits a processor's cache is
    several times as fast. When gradients are recorded, every temporary array is kept anyway, so
    slicing would save nothing and the function is called once.
    """
    if torch.is_grad_enabled() or arrays[0].shape[1] <= size:
        return function(*arrays)
    slices = zip(*(torch.split(array, size, dim=1) for array in arrays), strict=True)
    return torch.cat([function(*each) for each in slices], dim=1)
