"""All pairs of points that are near each other, found through a grid of cells."""

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
    """Pairs of points nearer than a cutoff: first index, second index, distance (first < second).

    Points are sorted into cubes as wide as the cutoff, so that only those of neighbouring cubes are
    measured: time and memory grow with the number of points and pairs.

    Args:
        points: Å.
        cutoff: Å.
        group: A number for each point; if given, pairs within a group are left out.

    Raises:
        InputError: A coordinate is not a finite number, or the points lie on top of each other.
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
    """An order of the points, and five ranges of it in which the later neighbours of each lie."""
    cells = np.stack([_compressed(np.floor(axis / cutoff)) for axis in points.T])
    _, height, depth = cells.max(axis=1, initial=0) + 2
    keys = (cells[0] * height + cells[1]) * depth + cells[2]
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    # Of the 27 cubes about a point those after its own, three in a row along the last axis.
    columns = np.array(
        [[0], [depth], [(height - 1) * depth], [height * depth], [height * depth + depth]]
    )
    starts = np.searchsorted(keys, keys + columns - 1)
    starts[0] = np.arange(len(keys)) + 1
    return order, starts, np.searchsorted(keys, keys + columns + 1, side="right")


def _compressed(cells: Float[np.ndarray, " A"]) -> Int[np.ndarray, " A"]:
    """Numbers from 1 on for cells along one axis; of any gap between two one empty cell is kept."""
    values, inverse = np.unique(cells, return_inverse=True)
    return np.cumsum(np.minimum(np.diff(values, prepend=values[:1] - 1), 2)).astype(np.int64)[
        inverse
    ]


def _expand(
    starts: Int[np.ndarray, "K A"], ends: Int[np.ndarray, "K A"]
) -> Iterator[Int[np.ndarray, "2 P"]]:
    """The pairs (point, member of its range), in blocks of bounded size."""
    for begin, end in zip(starts, ends, strict=True):
        total = np.cumsum(end - begin)
        cuts = np.searchsorted(total, np.arange(_BLOCK, total[-1:].sum(), _BLOCK))
        bounds = np.unique([0, *cuts, len(total)])
        for low, high in pairwise(bounds):
            counts = (end - begin)[low:high]
            first = np.repeat(np.arange(low, high), counts)
            within = np.arange(len(first)) - np.repeat(np.cumsum(counts) - counts, counts)
            yield np.stack([first, begin[first] + within])
