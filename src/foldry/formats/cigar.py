"""Runs of an alignment, as in SAM, MMseqs2 and the packs: `2M1I1M` <-> pairs of residues."""

from __future__ import annotations

import re
from typing import Final

import numpy as np
from jaxtyping import Int

MAX_PAIRS: Final = 10**6
"""Maximum number of aligned residues."""


def pairs_of(
    cigar: str, query_start: int, target_start: int, max_pairs: int = MAX_PAIRS
) -> Int[np.ndarray, "P 2"]:
    """Return the pairs (query residue, target residue), counted from 0, of an alignment's runs.

    Args:
        cigar: Runs of M (both have a residue), I (the query alone) and D (the target alone).
        query_start, target_start: First residues, counted from 0.
        max_pairs: Maximum number of pairs.

    Raises:
        ValueError: No residues are aligned, or more than `max_pairs`.

    Example:
        >>> pairs_of("2M1I1M", 0, 5).tolist()
        [[0, 5], [1, 6], [3, 7]]
    """
    here, there = query_start, target_start
    pairs = []
    for count, kind in re.findall(r"(\d{1,6})([MID])", cigar):
        size = int(count)
        if kind == "M":
            max_pairs -= size
            if max_pairs < 0:
                raise ValueError("a hit aligns more residues than its chains have")
            pairs.append(np.stack([here + np.arange(size), there + np.arange(size)], axis=1))
        here, there = here + size * (kind != "D"), there + size * (kind != "I")
    return np.concatenate(pairs)


def cigar_of(pairs: Int[np.ndarray, "P 2"]) -> str:
    """Return the runs of an alignment, which start at its first pair: the inverse of `pairs_of`.

    Example:
        >>> cigar_of(np.array([[0, 5], [1, 6], [3, 7]]))
        '2M1I1M'
    """
    gaps = np.diff(pairs, axis=0) - 1
    ends = np.flatnonzero(gaps.any(axis=1))
    first, *runs = np.diff([0, *(ends + 1), len(pairs)])
    cigar = f"{first}M"
    for run, (query, target) in zip(runs, gaps[ends], strict=True):
        cigar += f"{query}I" * bool(query) + f"{target}D" * bool(target) + f"{run}M"
    return cigar
