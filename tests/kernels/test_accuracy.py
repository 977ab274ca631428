"""Every operation in every dtype is as exact as plain torch, in chunks and any layout."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from foldry.kernels.choose import CPU, REFERENCE, Kernels
from foldry.kernels.triangle_multiplication import cpu as triangle_cpu
from tests.kernels.cases import (
    CASES,
    IN_NETWORK_DTYPE,
    Size,
    arrays,
    both_kernels,
    cast,
    drawn,
    error,
    exact,
    mapped,
    run,
)

SIZES = [Size(1, 1, 1), Size(2, 5, 3), Size(7, 1, 3), Size(7, 0, 3), Size(33, 5, 1)]
CHUNK_SIZES = (1, 50, 1000, 10**9)
WRITTEN = ("attention", "global_attention", "transition", "outer_product_mean")
WRITTEN += ("triangle_multiplication",)
"""The operations that write their result into the first argument."""


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triangle_cpu, "BLOCK", 5)


@pytest.fixture(autouse=True)
def _fill_new_arrays_with_nan() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    with torch.no_grad():
        assert torch.ones(1).new_empty(3).isnan().all()
        yield
    torch.use_deterministic_algorithms(False)


def transposed(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return equal arguments whose second and third axes are exchanged in memory."""

    def one(path: str, array: Tensor) -> Tensor:
        if "." in path or array.dim() < 3:
            return array
        return array.transpose(1, 2).contiguous().transpose(1, 2)

    return mapped(one, arguments)


@both_kernels
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, torch.float32) for name in CASES]
    + [(name, torch.bfloat16) for name in IN_NETWORK_DTYPE],
    ids=str,
)
def test_the_error_is_that_of_plain_torch(
    name: str, dtype: torch.dtype, size: Size, kernels: Kernels
) -> None:
    """House rule 9; half of the last digit is allowed where plain torch has less error."""
    arguments = cast(drawn(name, size), dtype)
    true = exact(name, arguments)
    own = error(run(REFERENCE, name, cast(arguments, dtype), 10**9), true)
    allowed = 3 * max(own, torch.finfo(dtype).eps / 2)
    for chunk_size, lay_out in product(CHUNK_SIZES, (dict, transposed)):
        ours = run(kernels, name, lay_out(cast(arguments, dtype)), chunk_size)
        assert {each.dtype for each in ours} == {dtype}
        assert error(ours, true) <= allowed, f"chunk_size {chunk_size}, {lay_out.__name__}"


@both_kernels
@pytest.mark.parametrize("name", CASES)
def test_only_the_first_argument_is_written(name: str, kernels: Kernels) -> None:
    """The references change nothing; the others save the memory of a second representation."""
    arguments = cast(drawn(name, Size(7, 5, 3)), torch.float32)
    before = arrays(cast(arguments, torch.float32))
    [result, *_] = run(kernels, name, arguments, 50)
    first = arguments[next(iter(arguments))]
    in_place = kernels is CPU and CASES[name][0] in WRITTEN
    if in_place:
        assert (result.data_ptr(), result.stride()) == (first.data_ptr(), first.stride())
    for path, array in arrays(arguments).items():
        assert torch.equal(array, before[path]) != (in_place and array is first), path


class Largest(TorchDispatchMode):
    """The number of elements of the largest array that an operation returns while it is active."""

    numel = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **(kwargs or {}))
        if isinstance(result, Tensor) and not result._is_view():
            self.numel = max(self.numel, result.numel())
        return result


@both_kernels
@pytest.mark.parametrize("name", ["attention, bias", "transition", "outer product mean"])
def test_chunks_bound_temporary_arrays(name: str, kernels: Kernels) -> None:
    """No array is larger than the chunk or the largest input, whichever is larger."""
    arguments = cast(drawn(name, Size(33, 5, 3)), torch.float32)
    whole = max(array.numel() for array in arrays(arguments).values())

    def largest(chunk_size: int) -> int:
        with Largest() as mode:
            run(kernels, name, arguments, chunk_size)
        return mode.numel

    assert max(largest(1), largest(whole)) <= whole < largest(10**9)
