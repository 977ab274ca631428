"""Predicted aligned errors as bytes that zstd compresses to little more than their entropy.

Errors are noisy on every scale, so the mean of four neighbours predicts an error better than any
single one. Every 32nd row and column is kept as it is. Then, for h = 16, 8, 4, 2, 1, the centres of
the squares of side 2h between known errors are predicted from the four corners, and the middles of
their sides from the ends of the side and the two centres next to it:

    o   o       o . o
      .    →    . o .                (beyond the border, the matrix is mirrored)
    o   o       o . o

Only the deviations are kept. Two of them share a byte, which spares zstd's Huffman code fractions
of a bit, and keeps zstd from searching repetitions that noise does not have. A pass of all h needs
some thirty operations on arrays, where predictors that go row by row need several per row.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from jaxtyping import Int, Integer, UInt

MAX_POINT: Final = 10_000
"""The largest number that is kept."""
_COARSEST: Final = 16
_MIDDLE: Final = 7
_LARGE: Final = 14
"""Deviations from −7 to 6 are the digits 0 to 13; this one stands for a number kept apart."""
_MAX_SHIFT: Final = 8
_CORNERS: Final = ((-1, -1), (-1, 1), (1, -1), (1, 1))
_SIDES: Final = ((-1, 0), (1, 0), (0, -1), (0, 1))
_STEPS: Final = (((1, 1), _CORNERS), ((0, 1), _SIDES), ((1, 0), _SIDES))
"""Row and column, in units of h, of what is predicted, and its neighbours."""
_PAIRS: Final = (
    np.stack(np.divmod(np.arange(256), _LARGE + 1), axis=1).astype(np.int16) - np.int16(_MIDDLE)
).view(np.int32)
"""Both deviations of each byte, in one number: looking them up is then twice as fast."""


def encode_pae(points: Integer[np.ndarray, "N N"]) -> tuple[bytes, bytes]:
    """Return a matrix of numbers from 0 to `MAX_POINT` as two byte strings.

    The first holds the deviations without their lowest bits, the second these bits, which are
    random; it is empty for errors in whole Å.

    Example:
        >>> coarse, fine = encode_pae(np.array([[0, 5], [7, 1]]))
        >>> decode_pae(coarse, fine, 2).tolist()
        [[0, 5], [7, 1]]
    """
    known = points.astype(np.int16)
    parts = [known[:: 2 * _COARSEST, :: 2 * _COARSEST].ravel()]
    parts += [(target - predicted).ravel() for target, predicted in _steps(known)]
    deviations = np.concatenate(parts)
    mean = int(np.abs(deviations).sum()) // max(1, deviations.size)
    shift = min(_MAX_SHIFT, max(0, mean.bit_length() - 1))
    coarse = deviations >> shift
    digits = np.full(coarse.size + coarse.size % 2, _MIDDLE, np.uint16)
    np.add(coarse, _MIDDLE, out=digits[: coarse.size].view(np.int16))
    large = coarse[digits[: coarse.size] >= _LARGE].astype("<i2")  # negative ones have wrapped
    digits = np.minimum(digits, _LARGE).astype(np.uint8)
    pairs = digits[::2] * (_LARGE + 1) + digits[1::2]
    fine = deviations & ((1 << shift) - 1) if shift else deviations[:0]
    return bytes([shift]) + pairs.tobytes() + large.tobytes(), fine.astype(np.uint8).tobytes()


def decode_pae(
    coarse: bytes | memoryview, fine: bytes | memoryview, size: int
) -> Int[np.ndarray, "N N"]:
    """Return the matrix of this size from `encode_pae`.

    Raises:
        ValueError: The bytes are not those of such a matrix.
    """
    deviations = _deviations(coarse, fine, size * size)
    known = np.zeros((size, size), np.int16)
    corner = known[:: 2 * _COARSEST, :: 2 * _COARSEST]
    corner[:] = deviations[: corner.size].reshape(corner.shape)
    start = corner.size
    for target, predicted in _steps(known):
        part = deviations[start : start + target.size]
        np.add(part.reshape(target.shape), predicted, out=target)
        start += target.size
    if size and not 0 <= known.min() <= known.max() <= MAX_POINT:
        raise ValueError("an error is out of range")
    return known


def _deviations(
    coarse: bytes | memoryview, fine: bytes | memoryview, number: int
) -> Int[np.ndarray, " M"]:
    half = -(-number // 2)
    if len(coarse) < 1 + half or len(coarse) % 2 != (1 + half) % 2 or coarse[0] > _MAX_SHIFT:
        raise ValueError("the errors do not match the number of residues")
    shift = coarse[0]
    if len(fine) != (number if shift else 0):
        raise ValueError("the errors do not match the number of residues")
    pairs = np.frombuffer(coarse, np.uint8, half, 1)
    deviations = _PAIRS.take(pairs).view(np.int16)[:number]
    is_large = deviations == _LARGE - _MIDDLE
    large = np.frombuffer(coarse, "<i2", offset=1 + half)
    if len(large) != np.count_nonzero(is_large):
        raise ValueError("the number of large errors does not match")
    deviations[is_large] = large
    if shift:
        deviations = (deviations << shift) + np.frombuffer(fine, np.uint8)
    return deviations


def _steps(
    known: Int[np.ndarray, "N N"],
) -> Iterator[tuple[Int[np.ndarray, "R C"], Int[np.ndarray, "R C"]]]:
    """Yield views of the matrix and what known errors predict for them.

    The caller fills each view before it asks for the next.
    """
    h = _COARSEST
    while h:
        grid = known[::h, ::h]
        for (row, column), neighbours in _STEPS:
            target = grid[row::2, column::2]
            if (row, column) != (1, 0):  # nothing that the middles need has changed before it
                mirrored = _mirrored(grid)
            rows, columns = target.shape
            total = np.full(target.shape, 2, np.uint16)
            for down, right in neighbours:
                top, left = row + down + 1, column + right + 1
                total += mirrored[top : top + 2 * rows : 2, left : left + 2 * columns : 2]
            yield target, (total >> 2).view(np.int16)
        h //= 2


def _mirrored(grid: Int[np.ndarray, "R R"]) -> UInt[np.ndarray, "R+2 R+2"]:
    """Return a matrix with a border, in which the row or column next to the last one repeats."""
    size = len(grid)
    mirrored = np.empty((size + 2, size + 2), np.uint16)
    mirrored[1:-1, 1:-1] = grid
    inner = min(1, size - 1)
    for lines in (mirrored, mirrored.T):
        lines[0], lines[-1] = lines[1 + inner], lines[-2 - inner]
    return mirrored
