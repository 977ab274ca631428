"""Decimal numbers → columns of ASCII codes, for the text of many atoms at once."""

from __future__ import annotations

from typing import Final

import numpy as np
from jaxtyping import Float, Int, UInt8

from foldry.errors import InputError

_ZERO: Final = ord("0")
_MOST: Final = 2**53
"""Limit on the numbers, beyond which a `float` no longer holds every integer."""


def in_units(values: Float[np.ndarray, "*rows"], decimals: int) -> Int[np.ndarray, "*rows"]:
    """Return numbers as integers, in units of the last of some decimals; halves become even.

    Raises:
        InputError: A number is not finite, or too large.

    Example:
        >>> in_units(np.array([1.2345, -0.0004]), 3).tolist()
        [1234, 0]
    """
    scaled = np.rint(np.asarray(values, np.float64) * 10**decimals)
    if not (np.abs(scaled) < _MOST).all():
        what = "A coordinate, a B factor or a pLDDT is not finite, or too large"
        raise InputError(what, "give finite numbers")
    return np.asarray(scaled, np.int64)


def digits(
    values: Int[np.ndarray, " R"], decimals: int = 0, fill: bytes = b"\0"
) -> UInt8[np.ndarray, "R W"]:
    r"""Return decimal numbers as ASCII codes, filled on the left to the width of the widest.

    Args:
        values: The numbers, in units of the last decimal.
        decimals: Number of decimals.
        fill: The byte before a shorter number.

    Example:
        >>> digits(np.array([1234, -5]), 3, b" ").tobytes()
        b' 1.234-0.005'
        >>> digits(np.array([1234, -5]), fill=b" ").tobytes()
        b'1234  -5'
    """
    sizes = np.abs(values)
    number = max(len(str(int(sizes.max(initial=0)))), decimals + 1)
    if number < 10:
        sizes = sizes.astype(np.uint32)  # division is faster
    powers = 10 ** np.arange(number - 1, -1, -1).astype(sizes.dtype)
    found = (sizes[:, None] // powers % 10 + _ZERO).astype(np.uint8)
    num_filled = np.zeros(len(values), np.int64)
    for place in range(number - decimals - 1):
        empty = sizes < powers[place]
        num_filled += empty
        found[empty, place] = fill[0]
    if decimals:
        found = np.insert(found, number - decimals, ord("."), axis=1)
    negative = np.flatnonzero(values < 0)
    if not len(negative):
        return np.asarray(found)
    signed = np.empty((len(found), found.shape[1] + 1), np.uint8)
    signed[:, 0], signed[:, 1:] = fill[0], found
    signed[negative, num_filled[negative]] = ord("-")
    # The widest may be a positive number, which needs no place for a sign.
    return signed if (signed[:, 0] != fill[0]).any() else signed[:, 1:]
