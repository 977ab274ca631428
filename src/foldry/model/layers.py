"""The layers that all modules share: linear maps with AlphaFold's initialisation, norm, dropout."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

Init = Literal["default", "relu", "zero", "gate", "glorot"]


class Layer(nn.Module):
    """A module whose `forward` returns one tensor, which torch does not let type checkers know."""

    __call__: Callable[..., Tensor]


class Linear(Layer, nn.Linear):
    """A linear map, initialised by its purpose (SI 1.11.4).

    `default` is LeCun's and `relu` He's truncated normal, `glorot` uniform for queries, keys and
    values, `zero` for maps that end a residual branch, `gate` gives sigmoid gates that are open.
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
            # 0.8796 is the standard deviation of a unit normal cut off at two of them.
            deviation = math.sqrt(scale / self.in_features) / 0.87962566
            nn.init.trunc_normal_(self.weight, std=deviation, a=-2 * deviation, b=2 * deviation)


class LayerNorm(Layer, nn.LayerNorm):
    """Layer norm over the channels that computes in float32, whatever it is given and gives."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.float()).to(input.dtype)


class SharedDropout(Layer):
    """Dropout whose mask is shared along one axis (SI 1.11.6)."""

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
    """The last axis as two: heads, and the channels of each."""
    return x.reshape(*x.shape[:-1], num_heads, x.shape[-1] // num_heads)


def by_rows(function: Callable[..., Tensor], size: int, *arrays: Tensor) -> Tensor:
    """`function` applied to slices of `size` along axis 1 and joined, which bounds its memory.

    With gradients, or when one slice is all, it is applied once.
    """
    if torch.is_grad_enabled() or arrays[0].shape[1] <= size:
        return function(*arrays)
    slices = zip(*(torch.split(array, size, dim=1) for array in arrays), strict=True)
    return torch.cat([function(*each) for each in slices], dim=1)
