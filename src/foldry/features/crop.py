"""Which residues a training sample has: contiguous and spatial crops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int

INTERFACE_DISTANCE: Final = 15.0
"""Å between Cα atoms of two chains, up to which a residue is at an interface."""


def contiguous_crop(
    lengths: Sequence[int], size: int, rng: np.random.Generator
) -> Int[np.ndarray, " C"]:
    """At most `size` residues of some chains, of each chain a run (AF-Multimer SI, Algorithm 1).

    Args:
        lengths: Residues of each chain, which stand one after the other.
        size: Residues wanted.
        rng: What is drawn from.

    Returns:
        Rising indices of residues.
    """
    begins = np.cumsum([0, *lengths])
    left, room, runs = sum(lengths), size, []
    for chain in rng.permutation(len(lengths)):
        left -= lengths[chain]
        longest, shortest = min(room, lengths[chain]), min(lengths[chain], max(0, room - left))
        length = int(rng.integers(shortest, longest + 1))
        start = begins[chain] + int(rng.integers(lengths[chain] - length + 1))
        runs.append(np.arange(start, start + length))
        room -= length
    return np.sort(np.concatenate(runs))


def spatial_crop(
    ca: Float[np.ndarray, "N 3"],
    known: Bool[np.ndarray, " N"],
    asym_id: Int[np.ndarray, " N"],
    size: int,
    rng: np.random.Generator,
) -> Int[np.ndarray, " C"]:
    """The `size` residues nearest to a drawn one (AF-Multimer SI, Algorithm 2).

    It is drawn from those at an interface between chains, or from all where there is none.

    Args:
        ca: Cα atoms, Å.
        known: Which of them are known; residues without are taken last.
        asym_id: The chain of each residue.
        size: Residues wanted.
        rng: What is drawn from.

    Returns:
        Rising indices of residues.
    """
    seen = np.flatnonzero(known)
    between = np.linalg.norm(ca[seen, None] - ca[seen], axis=-1)
    facing = (between <= INTERFACE_DISTANCE) & (asym_id[seen, None] != asym_id[seen])
    middle = rng.choice(seen[facing.any(axis=1)] if facing.any() else seen)
    distance = np.where(known, np.linalg.norm(ca - ca[middle], axis=-1), np.inf)
    return np.sort(np.argsort(distance, kind="stable")[:size])
