"""The choice of an implementation for each operation, made once, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from foldry.kernels.attention import reference as attention_reference
from foldry.kernels.outer_product_mean import reference as outer_reference
from foldry.kernels.triangle_multiplication import reference as triangle_reference


@dataclass(frozen=True)
class Kernels:
    """One implementation of every operation, with the signatures of the references."""

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
    """Return the kernels of this name.

    Raises:
        ValueError: There are no kernels of this name.
    """
    if name != REFERENCE.name:
        raise ValueError(f"there are no kernels {name!r}: choose {REFERENCE.name}")
    return REFERENCE
