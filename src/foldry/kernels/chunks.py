"""What the implementations share: norms and maps, and slices that bound temporary arrays.

Axes: C input channels, D output channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from foldry.kernels.interface import Affine


def linear(x: Float[Tensor, "*B C"], maps: Affine) -> Float[Tensor, "*B D"]:
    """Return W x + b."""
    return F.linear(x, maps.weight, maps.bias)


def layer_norm(x: Float[Tensor, "*B C"], norm: Affine) -> Float[Tensor, "*B C"]:
    """Return γ ⊙ (x − mean(x)) / √(var(x) + 1e-5) + β over the channels.

    Mean and variance lose too much in bfloat16, so the norm is always computed in float32; the
    result has the dtype of x.
    """
    return F.layer_norm(x.float(), norm.weight.shape, norm.weight, norm.bias).to(x.dtype)


def packed(*maps: Affine) -> Affine:
    """Return linear maps, all with or all without a bias, as one: one matrix product for all."""
    biases = [each.bias for each in maps if each.bias is not None]
    weight = torch.cat([each.weight for each in maps])
    return Affine(weight, torch.cat(biases) if biases else None)


def slices(length: int, numbers_per_row: int, chunk_size: int) -> Iterator[slice]:
    """Return slices of an axis: as many rows as have `chunk_size` numbers, at least one."""
    size = max(chunk_size // max(numbers_per_row, 1), 1)
    return (slice(start, start + size) for start in range(0, length, size))


def by_rows(
    function: Callable[..., Tensor], numbers_per_row: int, chunk_size: int, *arrays: Tensor
) -> Tensor:
    """Return `function(*arrays)`, computed on slices along axis 1.

    The rows of axis 1 must not depend on each other. A module's temporary arrays (logits, outer
    products, widened channels) are far larger than its input and output. With slices, only those of
    one slice exist at a time, which bounds the memory, and a slice that fits a processor's cache is
    several times as fast. When gradients are recorded, every temporary array is kept anyway, so
    slicing would save nothing and the function is called once.

    Args:
        function: Returns rows of the result.
        numbers_per_row: Numbers of the largest temporary array for one row.
        chunk_size: Numbers that it may have.
        arrays: The inputs.
    """
    parts = list(slices(arrays[0].shape[1], numbers_per_row, chunk_size))
    if torch.is_grad_enabled() or len(parts) <= 1:
        return function(*arrays)
    first, *others = parts
    rows = function(*(array[:, first] for array in arrays))
    result = rows.new_empty(len(rows), arrays[0].shape[1], *rows.shape[2:])
    result[:, first] = rows
    for part in others:
        result[:, part] = function(*(array[:, part] for array in arrays))
    return result


def add_by_rows(
    function: Callable[..., Tensor],
    numbers_per_row: int,
    chunk_size: int,
    x: Tensor,
    *arrays: Tensor,
) -> Tensor:
    """Return `x + function(x, *arrays)`, as by `by_rows`, but written into x without gradients."""
    if torch.is_grad_enabled():
        return x + function(x, *arrays)
    for part in slices(x.shape[1], numbers_per_row, chunk_size):
        x[:, part] += function(x[:, part], *(array[:, part] for array in arrays))
    return x


def row_slice(array: Tensor, part: slice) -> Tensor:
    """Return a slice along axis 1, or the whole array if that axis has length 1."""
    return array if array.shape[1] == 1 else array[:, part]


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """Return x with its last axis split in two, heads and channels of a head: [..., H, C/H]."""
    return torch.unflatten(x, -1, (num_heads, -1))
