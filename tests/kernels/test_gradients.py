"""The gradients of the references: against finite differences, and in mixed precision."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from foldry.kernels.choose import REFERENCE
from tests.kernels.cases import (
    CASES,
    IN_NETWORK_DTYPE,
    Size,
    arrays,
    cast,
    drawn,
    error,
    float64_kept,
    mapped,
    run,
)

DIFFERENT = [name for name in CASES if not name.endswith(("bias", "in all rows"))]
"""One case of each computation; a dropout factor of either shape is the same product."""


def leaves_of(arguments: dict[str, Any]) -> dict[str, Tensor]:
    """Return the arrays that have gradients, by path."""
    return {
        path: array.requires_grad_()
        for path, array in arrays(arguments).items()
        if path not in ("mask", "keep")
    }


@pytest.mark.parametrize("name", DIFFERENT)
def test_gradients_equal_finite_differences(name: str) -> None:
    arguments = drawn(name, Size(3, 2, 2))
    leaves = leaves_of(arguments)

    def results(*given: Tensor) -> tuple[Tensor, ...]:
        changed = dict(zip(leaves, given, strict=True))
        filled = mapped(changed.get, arguments)
        return tuple(run(REFERENCE, name, filled, 10**9))

    with float64_kept():
        assert torch.autograd.gradcheck(results, tuple(leaves.values()))


def values_and_gradients(name: str, arguments: dict[str, Any]) -> list[Tensor]:
    """Return the result of a case and the gradients of its squared sum."""
    leaves = leaves_of(arguments)
    [result] = run(REFERENCE, name, arguments, 10**9)
    gradients = torch.autograd.grad(result.square().sum(), list(leaves.values()))
    return [result.detach(), *gradients]


@pytest.mark.parametrize("name", IN_NETWORK_DTYPE)
def test_mixed_precision_is_as_exact_as_bfloat16(name: str) -> None:
    """With autocast, parameters are float32 and arrays bfloat16."""
    half = cast(drawn(name, Size(7, 5, 3)), torch.bfloat16)
    mixed = mapped(lambda path, array: array.float() if "." in path else array.clone(), half)
    with float64_kept():
        true = values_and_gradients(name, cast(half, torch.float64))
    own = values_and_gradients(name, half)
    with torch.autocast("cpu", torch.bfloat16):
        ours = values_and_gradients(name, mixed)
    for value, theirs, exact in zip(ours, own, true, strict=True):
        assert error([value], [exact]) <= 3 * max(error([theirs], [exact]), 2**-8)
