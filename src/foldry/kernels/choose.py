"""Which implementation of each operation runs; picked once, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from foldry.kernels.attention import reference as attention_reference
from foldry.kernels.outer_product_mean import reference as outer_reference
from foldry.kernels.triangle_multiplication import reference as triangle_reference


@dataclass(frozen=True)
class Kernels:
    """One implementation of every operation; the signatures are those of the references."""

    name: str
    attention: Callable[..., Tensor]
    triangle_multiplication: Callable[..., Tensor]
    outer_product: Callable[..., Tensor]


REFERENCE = Kernels(
    name="reference",
    attention=attention_reference.attention,
    triangle_multiplication=triangle_reference.triangle_multiplication,
    outer_product=outer_reference.outer_product,
)


def choose(name: str) -> Kernels:
    """The kernels of this name.

    Raises:
        ValueError: There are none.
    """
    if name != REFERENCE.name:
        raise ValueError(f"no kernels are called {name!r}: choose {REFERENCE.name}")
    return REFERENCE
