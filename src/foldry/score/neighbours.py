"""All pairs of points that are near each other, found with a grid of cells.

Computing all distances takes time and memory with the square of the number of atoms. Points nearer
than a cutoff lie in the same or in neighbouring cubes of that width, so only these are compared.

The cubes are never stored. Each gets a key that counts along the last axis first, and the points
are sorted by key. Three neighbouring cubes in a row have consecutive keys, so their points form one
range of the sorted array. Each pair is found once, from its earlier point, whose later neighbours
lie in five ranges instead of 13 cubes. Distant atoms would make the keys overflow, so most empty
cubes between atoms are removed first.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Final

import numpy as np
from jaxtyping import Float, Int

from foldry.errors import InputError

_MAX_CANDIDATES: Final = 5 * 10**7
_BLOCK: Final = 2 * 10**6


def near_pairs(
    points: Float[np.ndarray, "A 3"],
    cutoff: float,
    group: Int[np.ndarray, " A"] | None = None,
) -> tuple[Int[np.ndarray, " P"], Int[np.ndarray, " P"], Float[np.ndarray, " P"]]:
    """Return the pairs of points nearer than a cutoff.

    Time and memory grow with the number of points and pairs.

    Args:
        points: Positions, Å.
        cutoff: Distance, Å.
        group: A number for each point; if given, pairs within a group are left out.

    Returns:
        First index, second index (first < second) and distance (Å) of each pair.

    Raises:
        InputError: A coordinate is not a finite number, or the points lie on top of each other.

    Example:
        >>> first, second, distance = near_pairs(np.array([[0.0, 0, 0], [9, 0, 0], [0, 3, 0]]), 5)
        >>> first, second, distance
        (array([0]), array([2]), array([3.]))
    """
    points = np.asarray(points, np.float64)
    if not np.isfinite(points).all():
        raise InputError("A coordinate is not a finite number", "fix the structure")
    order, starts, ends = _candidates(points, cutoff)
    if (ends - starts).sum() > _MAX_CANDIDATES:
        raise InputError(
            f"Too many of the {len(points)} atoms lie on top of each other", "fix the structure"
        )
    points, group = points[order], None if group is None else group[order]
    found = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))]
    for candidates in _expand(starts, ends):
        pairs = candidates
        if group is not None:
            pairs = pairs[:, group[pairs[0]] != group[pairs[1]]]
        gap = points[pairs[0]] - points[pairs[1]]
        distance = np.sqrt(np.einsum("pi,pi->p", gap, gap))
        near = distance < cutoff
        found.append((*pairs[:, near], distance[near]))
    one, other, distance = (np.concatenate(parts) for parts in zip(*found, strict=True))
    one, other = order[one], order[other]
    return np.minimum(one, other), np.maximum(one, other), distance


def _candidates(
    points: Float[np.ndarray, "A 3"], cutoff: float
) -> tuple[Int[np.ndarray, " A"], Int[np.ndarray, "5 A"], Int[np.ndarray, "5 A"]]:
    """Return an order of the points, and for each point the five ranges of its later neighbours."""
    cells = np.stack([_compressed(np.floor(axis / cutoff)) for axis in points.T])
    _, height, depth = cells.max(axis=1, initial=0) + 2
    keys = (cells[0] * height + cells[1]) * depth + cells[2]
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    # First range: the rest of the point's own cube and the next one. Then three cubes each.
    columns = np.array(
        [[0], [depth], [(height - 1) * depth], [height * depth], [height * depth + depth]]
    )
    starts = np.searchsorted(keys, keys + columns - 1)
    starts[0] = np.arange(len(keys)) + 1
    return order, starts, np.searchsorted(keys, keys + columns + 1, side="right")


def _compressed(cells: Float[np.ndarray, " A"]) -> Int[np.ndarray, " A"]:
    """Number the cells along one axis from 1, keeping one empty cell of each gap."""
    values, inverse = np.unique(cells, return_inverse=True)
    return np.cumsum(np.minimum(np.diff(values, prepend=values[:1] - 1), 2)).astype(np.int64)[
        inverse
    ]


def _expand(
    starts: Int[np.ndarray, "K A"], ends: Int[np.ndarray, "K A"]
) -> Iterator[Int[np.ndarray, "2 P"]]:
    """Yield the pairs (point, member of its range), in blocks of bounded size."""
    for begin, end in zip(starts, ends, strict=True):
        total = np.cumsum(end - begin)
        cuts = np.searchsorted(total, np.arange(_BLOCK, total[-1:].sum(), _BLOCK))
        bounds = sorted({0, *cuts.tolist(), len(total)})
        for low, high in pairwise(bounds):
            counts = (end - begin)[low:high]
            first = np.repeat(np.arange(low, high), counts)
            within = np.arange(len(first)) - np.repeat(np.cumsum(counts) - counts, counts)
            yield np.stack([first, begin[first] + within])
