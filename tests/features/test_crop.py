"""Crops have the requested size and stay inside their chains; any residue can be in one."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from foldry.features.crop import contiguous_crop, spatial_crop

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=5)


@settings(deadline=None)
@given(LENGTHS, st.integers(1, 100), st.integers(0, 2**32))
def test_a_contiguous_crop_is_one_run_of_each_chain(
    lengths: list[int], size: int, seed: int
) -> None:
    crop = contiguous_crop(lengths, size, np.random.default_rng(seed))
    assert len(crop) == min(size, sum(lengths))
    assert (np.diff(crop) > 0).all()
    ends = np.cumsum(lengths)
    assert crop[0] >= 0
    assert crop[-1] < ends[-1]
    chain = np.searchsorted(ends, crop, side="right")
    for number in set(chain.tolist()):
        assert (np.diff(crop[chain == number]) == 1).all()


def test_every_start_of_a_contiguous_crop_comes_equally_often() -> None:
    rng = np.random.default_rng(0)
    starts = [contiguous_crop([12], 8, rng)[0] for _ in range(900)]
    assert np.bincount(starts).min() > 130
    shares = [int((contiguous_crop([10, 10], 10, rng) < 10).sum()) for _ in range(1000)]
    assert set(shares) == set(range(11))
    assert abs(np.mean(shares) - 5) < 0.5


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 2**32))
def test_a_spatial_crop_is_a_ball(length: int, size: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    ca = rng.normal(0, 20, (length, 3))
    known = rng.random(length) < 0.8
    known[0] = True
    crop = spatial_crop(ca, known, np.zeros(length, int), size, rng)
    assert len(crop) == min(size, length)
    assert (np.diff(crop) > 0).all()
    inside, outside = np.intersect1d(crop, np.flatnonzero(known)), np.setdiff1d(range(length), crop)
    if known[outside].any():
        assert len(inside) == len(crop)
        # Some residue of the crop is its centre: nearer to all of the crop than to other residues.
        distance = np.linalg.norm(ca[inside, None] - ca, axis=-1)
        far = distance[:, outside[known[outside]]].min(axis=1)
        assert (distance[:, inside].max(axis=1) <= far).any()


def test_the_centre_is_at_an_interface_if_there_is_one() -> None:
    ca = np.zeros((60, 3))
    ca[:, 0] = 3.8 * np.arange(60)
    ca[30:] += [50.0, 14.0, 0.0]
    ca[45:, 0] -= 3.8 * 15 + 50 + 5 * 3.8
    chain = np.repeat([0, 1], 30)
    facing = np.linalg.norm(ca[:30, None] - ca[None, 30:], axis=-1) <= 15
    at_interface = {*np.flatnonzero(facing.any(1)), *(30 + np.flatnonzero(facing.any(0)))}
    assert 0 < len(at_interface) < 60
    rng = np.random.default_rng(1)
    known = np.ones(60, bool)
    middles = {int(spatial_crop(ca, known, chain, 1, rng)[0]) for _ in range(600)}
    assert middles == at_interface
    alone = {int(spatial_crop(ca, known, np.zeros(60, int), 1, rng)[0]) for _ in range(900)}
    assert alone == set(range(60))
