"""Which residues a training sample has: contiguous and spatial crops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from jaxtyping import Bool, Float, Int

from foldry.features.features import Features

INTERFACE_DISTANCE: Final = 15.0
"""Å between Cα atoms of two chains, up to which a residue is at an interface."""


def crop_features(features: Features, start: int, length: int) -> Features:
    """The residues start … start + length − 1; they keep their residue indices (SI 1.2.8).

    A window that reaches past the chain's end is cut off there.
    """
    window = slice(start, start + length)
    templates = features.templates
    if templates is not None:
        whole = vars(templates)
        templates = replace(
            templates, **{name: whole[name][:, window] for name in whole if name != "mask"}
        )
    profile, pairs, covered = features.profile, features.coevolution, features.covered
    return replace(
        features,
        aatype=features.aatype[window],
        target_feat=features.target_feat[window],
        residue_index=features.residue_index[window],
        asym_id=features.asym_id[window],
        entity_id=features.entity_id[window],
        sym_id=features.sym_id[window],
        seq_mask=features.seq_mask[window],
        msa=features.msa[:, window],
        deletion_matrix=features.deletion_matrix[:, window],
        templates=templates,
        profile=None if profile is None else profile[window],
        coevolution=None if pairs is None else pairs[window, window],
        covered=None if covered is None else covered[:, window],
    )


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
