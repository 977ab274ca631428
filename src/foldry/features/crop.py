"""Contiguous and spatial crops: the residues of a training sample."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int

INTERFACE_DISTANCE: Final = 15.0
"""Maximum distance (Å) between Cα atoms of two chains for a residue at an interface."""


def contiguous_crop(
    lengths: Sequence[int], size: int, rng: np.random.Generator
) -> Int[np.ndarray, " C"]:
    """Return at most `size` residues: one run in each chain (AF-Multimer SI, Algorithm 1).

    Args:
        lengths: Residues of each chain, in the order of the chains.
        size: Number of residues.
        rng: Random generator.

    Returns:
        Ascending indices of residues.
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
    """Return the `size` residues nearest to a random one (AF-Multimer SI, Algorithm 2).

    The random residue is at an interface between chains, if there is one.

    Args:
        ca: Cα atoms, Å.
        known: Whether each Cα is known; residues without a known Cα are taken last.
        asym_id: The chain of each residue.
        size: Number of residues.
        rng: Random generator.

    Returns:
        Ascending indices of residues.
    """
    seen = np.flatnonzero(known)
    between = np.linalg.norm(ca[seen, None] - ca[seen], axis=-1)
    facing = (between <= INTERFACE_DISTANCE) & (asym_id[seen, None] != asym_id[seen])
    middle = rng.choice(seen[facing.any(axis=1)] if facing.any() else seen)
    distance = np.where(known, np.linalg.norm(ca - ca[middle], axis=-1), np.inf)
    return np.sort(np.argsort(distance, kind="stable")[:size])
