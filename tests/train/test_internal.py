"""Atoms come back from distances and angles to 0.02 Å, whatever is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foldry.errors import InputError
from foldry.residues import ATOM37_MASK, CA, C, N
from foldry.train.internal import KINDS, STEP, Chains, decode, encode
from foldry.train.packs import Library

BOUND = 1.02 * STEP * 3**0.5 / 2


def there_and_back(positions: np.ndarray, chains: Chains) -> np.ndarray:
    start, planes = encode(positions, chains)
    back = decode(start, planes, chains)
    assert not back[~chains.mask].any()
    return np.linalg.norm(back - positions, axis=-1)[chains.mask]


def invent(rng: np.random.Generator, lengths: list[int]) -> tuple[np.ndarray, Chains]:
    """Chains of random atoms about a random walk, many of them missing."""
    size = sum(lengths)
    aatype = rng.integers(0, 21, size)
    mask = (rng.random((size, 37)) < 0.8) & (rng.random((size, 1)) < 0.95)
    mask[:, CA] = True
    ca = np.cumsum(rng.normal(0, 2.2, (size, 3)), axis=0)
    positions = (ca[:, None] + rng.normal(0, 3, (size, 37, 3))) * mask[..., None]
    index = np.cumsum(rng.integers(1, 3, size))
    return positions, Chains(aatype, index, mask, np.cumsum([0, *lengths]))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=4), st.integers(0, 2**32))
def test_random_atoms_come_back(lengths: list[int], seed: int) -> None:
    positions, chains = invent(np.random.default_rng(seed), lengths)
    # Nearer than a few steps to its reference an atom's arcs are short: the bound is looser.
    assert there_and_back(positions, chains).max() < 1.2 * BOUND


def test_errors_do_not_add_up_along_a_chain() -> None:
    rng = np.random.default_rng(1)
    mask = np.zeros((2000, 37), bool)
    mask[:, [N, CA, C]] = True
    positions = np.zeros((2000, 37, 3))
    turn = np.radians(100) * np.arange(2000)[:, None] + np.array([-0.6, 0.0, 0.5])
    radius, rise = np.array([1.6, 2.3, 1.7]), 1.5 * np.arange(2000)[:, None] * 0.05
    helix = np.stack([radius * np.cos(turn), radius * np.sin(turn), turn * 0.86 - rise], axis=-1)
    positions[:, [N, CA, C]] = helix + rng.normal(0, 0.05, helix.shape)
    chains = Chains(np.zeros(2000, int), np.arange(2000), mask, np.array([0, 2000]))
    assert there_and_back(positions, chains).max() < BOUND


def test_atoms_on_a_line_and_on_a_point() -> None:
    mask = np.zeros((6, 37), bool)
    mask[:, [N, CA, C, 3, 4]] = True
    positions = np.zeros((6, 37, 3))
    positions[:, :, 0] = np.arange(6)[:, None] * 3.8 + np.arange(37) * 0.7
    positions[3] = positions[3, CA]
    positions *= mask[..., None]
    chains = Chains(np.zeros(6, int), np.arange(6), mask, np.array([0, 4, 6]))
    assert there_and_back(positions, chains).max() < BOUND


def test_a_chain_torn_too_far_is_refused() -> None:
    mask = np.zeros((2, 37), bool)
    mask[:, CA] = True
    positions = np.zeros((2, 37, 3))
    positions[1, CA] = 1000.0
    chains = Chains(np.zeros(2, int), np.arange(2), mask, np.array([0, 2]))
    with pytest.raises(InputError, match="too far apart"):
        encode(positions, chains)


def test_real_chains_take_few_bits(data_dir: Path) -> None:
    library = Library(data_dir, [])
    known = [library.chain(name) for name in list(library.structures.place)[::200]]
    chains = Chains(
        np.concatenate([chain.aatype for chain in known]),
        np.concatenate([chain.residue_index for chain in known]),
        np.concatenate([chain.mask for chain in known]) > 0,
        np.cumsum([0, *map(len, known)]),
    )
    positions = np.concatenate([chain.positions for chain in known])
    assert there_and_back(positions, chains).max() < BOUND
    _, planes = encode(positions, chains)
    usual = chains.mask & (ATOM37_MASK[chains.aatype] > 0)
    assert sum(planes[kind].shape[2] for kind in KINDS) == chains.mask.sum() - len(known)
    assert planes["other"].shape[2] <= chains.mask.sum() - usual.sum()
    bits = 0.0
    for array in planes.values():
        for plane in array.reshape(6, -1):
            share = np.bincount(plane, minlength=256) / max(len(plane), 1)
            bits -= len(plane) * float((share[share > 0] * np.log2(share[share > 0])).sum())
    assert bits / chains.mask.sum() < 15
