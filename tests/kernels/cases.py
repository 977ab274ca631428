"""Every operation with random arguments: two batch members, masked rows, columns and places."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from foldry.kernels.choose import CPU, REFERENCE, Kernels
from foldry.kernels.interface import (
    Affine,
    AttentionWeights,
    OuterProductWeights,
    Points,
    TransitionWeights,
    TriangleWeights,
)

BATCH, C, D = 2, 6, 5
"""Members, channels of an MSA, channels of a pair representation."""

both_kernels = pytest.mark.parametrize("kernels", [REFERENCE, CPU], ids=["reference", "cpu"])


class Size(NamedTuple):
    """Residues, sequences and heads."""

    length: int
    rows: int
    heads: int


class Draw:
    """Random arrays in float64."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator, dtype=torch.float64)

    def some(self, *shape: int, rate: float = 0.3) -> Tensor:
        """Return 0 with this rate, otherwise 1."""
        return (torch.rand(shape, generator=self.generator) > rate).double()

    def mask(self, rows: int, columns: int) -> Tensor:
        """Return a mask of each member; the first has a row and a column without any place."""
        mask = self.some(BATCH, rows, columns)
        mask[0, -1:] = 0
        mask[0, :, -1] = 0
        return mask

    def keep(self, shared: int | None, *shape: int) -> Tensor | None:
        """Return a dropout factor that is shared along an axis, if any."""
        if shared is None:
            return None
        lengths = [1 if axis == shared else size for axis, size in enumerate(shape)]
        return self.some(*lengths, rate=0.25) / 0.75

    def norm(self, width: int) -> Affine:
        return Affine(1 + 0.3 * self.normal(width), 0.3 * self.normal(width))

    def linear(self, c_in: int, c_out: int, *, bias: bool = True) -> Affine:
        return Affine(
            self.normal(c_out, c_in) / c_in**0.5, 0.5 * self.normal(c_out) if bias else None
        )

    def attention(self, heads: int, *, shared_key: bool = False) -> AttentionWeights:
        width = 4 * heads
        of_key = 4 if shared_key else width
        query, key, value = (self.linear(C, each, bias=False) for each in (width, of_key, of_key))
        maps = (query, key, value, self.linear(C, width), self.linear(width, C))
        return AttentionWeights(self.norm(C), *maps, heads)


def attention(draw: Draw, size: Size, shared: int | None = None, *, bias: bool) -> dict[str, Any]:
    length, rows, heads = size
    shape = (BATCH, rows, length, C)
    return {
        "x": draw.normal(*shape),
        "mask": draw.mask(rows, length),
        "bias": draw.normal(BATCH, heads, length, length) if bias else None,
        "weights": draw.attention(heads),
        "keep": draw.keep(shared, *shape),
    }


def global_attention(draw: Draw, size: Size) -> dict[str, Any]:
    return {
        "msa": draw.normal(BATCH, size.rows, size.length, C),
        "mask": draw.mask(size.rows, size.length),
        "weights": draw.attention(size.heads, shared_key=True),
    }


def transition(draw: Draw, size: Size) -> dict[str, Any]:
    maps = (draw.norm(C), draw.linear(C, 4 * C), draw.linear(4 * C, C))
    x = draw.normal(BATCH, size.rows, size.length, C)
    return {"x": x, "weights": TransitionWeights(*maps)}


def outer_product_mean(draw: Draw, size: Size) -> dict[str, Any]:
    maps = (draw.norm(C), draw.linear(C, 5), draw.linear(C, 5), draw.linear(25, D))
    return {
        "pair": draw.normal(BATCH, size.length, size.length, D),
        "msa": draw.normal(BATCH, size.rows, size.length, C),
        "mask": draw.mask(size.rows, size.length),
        "weights": OuterProductWeights(*maps),
    }


def triangle_multiplication(
    draw: Draw, size: Size, shared: int | None = None, *, outgoing: bool
) -> dict[str, Any]:
    shape = (BATCH, size.length, size.length, D)
    factors = [draw.linear(D, 4) for _ in range(4)]
    after = (draw.norm(4), draw.linear(4, D), draw.linear(D, D))
    return {
        "pair": draw.normal(*shape),
        "mask": draw.mask(size.length, size.length),
        "weights": TriangleWeights(draw.norm(D), *factors, *after),
        "keep": draw.keep(shared, *shape),
        "outgoing": outgoing,
    }


def norm_projection(draw: Draw, size: Size) -> dict[str, Any]:
    return {
        "pair": draw.normal(BATCH, size.length, size.length, D),
        "norm": draw.norm(D),
        "projection": draw.linear(D, size.heads, bias=False),
    }


def point_attention(draw: Draw, size: Size) -> dict[str, Any]:
    length, _, heads = size
    scalars = [draw.normal(BATCH, length, heads, width) for width in (4, 4, 3)]
    # Neighbours that are far from the origin.
    points = [30 + draw.normal(BATCH, length, heads, count, 3) for count in (2, 2, 5)]
    weights = 0.1 + draw.normal(heads).square()
    mask = draw.some(BATCH, length)
    mask[0, -1] = 0
    return {
        "points": Points(*scalars, *points, weights, draw.normal(BATCH, heads, length, length)),
        "pair": draw.normal(BATCH, length, length, D),
        "mask": mask,
    }


CASES: dict[str, tuple[str, Callable[[Draw, Size], dict[str, Any]]]] = {
    "attention": ("attention", lambda *of: attention(*of, bias=False)),
    "attention, bias": ("attention", lambda *of: attention(*of, bias=True)),
    "attention, dropped in all rows": ("attention", lambda *of: attention(*of, 1, bias=True)),
    "attention, dropped rows": ("attention", lambda *of: attention(*of, 2, bias=True)),
    "global attention": ("global_attention", global_attention),
    "transition": ("transition", transition),
    "outer product mean": ("outer_product_mean", outer_product_mean),
    **{
        f"triangle multiplication, {edges}, {dropped}": (
            "triangle_multiplication",
            lambda draw, size, axis=axis, outgoing=outgoing: triangle_multiplication(
                draw, size, axis, outgoing=outgoing
            ),
        )
        for edges, outgoing in (("outgoing", True), ("incoming", False))
        for dropped, axis in (("kept", None), ("dropped in all rows", 1), ("dropped rows", 2))
    },
    "norm projection": ("norm_projection", norm_projection),
    "point attention": ("point_attention", point_attention),
}
"""The operation, and a function that draws its arguments but for the chunk size."""

IN_NETWORK_DTYPE = [name for name in CASES if name != "point attention"]
"""The operations of the Evoformer; the structure module computes in float32 alone."""


def drawn(name: str, size: Size) -> dict[str, Any]:
    """Return random arguments of a case, in float64."""
    return CASES[name][1](Draw(seed=size.length + 10 * size.rows), size)


def run(kernels: Kernels, name: str, arguments: dict[str, Any], chunk_size: int) -> list[Tensor]:
    """Return the results of a case's operation."""
    result = getattr(kernels, CASES[name][0])(**arguments, chunk_size=chunk_size)
    return list(result) if isinstance(result, tuple) else [result]


def mapped(function: Callable[[str, Tensor], Tensor], value: Any, path: str = "") -> Any:
    """Return the arguments with every array replaced by `function(path, array)`."""
    if isinstance(value, Tensor):
        return function(path, value)
    if isinstance(value, dict):
        return {name: mapped(function, each, name) for name, each in value.items()}
    if isinstance(value, tuple):
        names = [f"{path}.{name}" for name in type(value)._fields]
        return type(value)(*(mapped(function, *each) for each in zip(value, names, strict=True)))
    return value


def arrays(arguments: dict[str, Any]) -> dict[str, Tensor]:
    """Return all arrays of the arguments by their paths, such as `weights.norm.bias`."""
    found: dict[str, Tensor] = {}
    mapped(found.setdefault, arguments)
    return found


def cast(arguments: dict[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """Return a copy of the arguments in a dtype; as in the network, norms are never narrower."""

    def one(path: str, array: Tensor) -> Tensor:
        is_norm = "norm" in path
        wide = torch.promote_types(dtype, torch.float32) if is_norm else dtype
        return array.to(wide, copy=True)

    return mapped(one, arguments)


@contextmanager
def float64_kept() -> Iterator[None]:
    """Let the references compute in float64 throughout: `Tensor.float` leaves it as it is."""

    def at_least_float(array: Tensor) -> Tensor:
        return array.to(torch.promote_types(array.dtype, torch.float32))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tensor, "float", at_least_float)
        yield


def exact(name: str, arguments: dict[str, Any]) -> list[Tensor]:
    """Return the reference's results in float64."""
    with float64_kept():
        return run(REFERENCE, name, cast(arguments, torch.float64), 10**9)


def error(ours: list[Tensor], true: list[Tensor]) -> float:
    """Return the largest relative error of some arrays, by root mean square."""
    assert [each.shape for each in ours] == [each.shape for each in true]
    pairs = [(a.double(), b) for a, b in zip(ours, true, strict=True) if b.numel()]
    errors = [(a - b).norm() / b.norm().clamp(min=1e-30) for a, b in pairs]
    return torch.stack(errors).nan_to_num(nan=torch.inf).max().item() if errors else 0.0
