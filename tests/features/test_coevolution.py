"""Profiles and coevolution of whole alignments."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from foldry.features.coevolution import (
    MAX_ROWS,
    MAX_SCORE,
    RIDGE,
    alignment_statistics,
    coevolution,
    column_profile,
    row_weights,
)
from foldry.features.config import FeatureConfig
from foldry.features.pipeline import make_features
from foldry.query import Alignment, Chain, Query
from foldry.residues import GAP, RESTYPES, UNKNOWN

BOTH = FeatureConfig(num_msa=8, num_extra_msa=0, num_templates=0, profile=True, coevolution=True)


def random_msa(rows: int, length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, GAP + 1, (rows, length))


def test_similar_rows_share_one_weight() -> None:
    msa = np.zeros((4, 10), np.int64)
    msa[1, :2] = 5  # 80 % as rows 0 and 2
    msa[3] = 7
    np.testing.assert_allclose(row_weights(msa), [1 / 3, 1 / 3, 1 / 3, 1.0])
    msa[1, 2] = 5
    np.testing.assert_allclose(row_weights(msa), [1 / 2, 1.0, 1 / 2, 1.0])


def test_similarity_is_relative_to_the_shorter_row() -> None:
    msa = np.zeros((2, 10), np.int64)
    msa[1, 3:] = GAP
    np.testing.assert_allclose(row_weights(msa), [0.5, 0.5])


def test_rows_of_only_gaps_have_no_weight() -> None:
    msa = np.full((101, 64), GAP)
    msa[0] = 3
    assert row_weights(msa).sum() == 1
    found = alignment_statistics(msa, BOTH)
    assert (found["profile"][:, 3] == 1).all()
    assert not found["coevolution"].any()


def test_the_profile_counts_rows_by_their_weight() -> None:
    msa = np.array([[0, 1], [0, GAP], [3, UNKNOWN]])
    profile = column_profile(msa, np.array([0.5, 0.5, 1.0], np.float32))
    assert profile.shape == (2, GAP + 1)
    assert profile[0, [0, 3]].tolist() == [0.5, 0.5]
    assert profile[1, [1, GAP, UNKNOWN]].tolist() == [0.25, 0.25, 0.5]


def test_couplings_equal_those_of_the_full_inverse() -> None:
    msa = random_msa(12, 7)
    weights = row_weights(msa)
    letters = np.eye(GAP + 1, UNKNOWN)[msa]
    share = weights / weights.sum()
    varied = (letters - np.einsum("m,mnc->nc", share, letters)).reshape(12, -1)
    covariance = np.einsum("m,ma,mb->ab", share, varied, varied)
    inverse = np.linalg.inv(covariance + RIDGE * np.eye(len(covariance)))
    blocks = inverse.reshape(7, UNKNOWN, 7, UNKNOWN)
    strength = np.sqrt((blocks**2).sum((1, 3)))
    np.fill_diagonal(strength, 0)
    mean = strength.sum(0) / 6
    expected = strength - np.outer(mean, mean) / mean.mean()
    np.fill_diagonal(expected, 0)
    found = coevolution(msa, weights)
    np.testing.assert_allclose(found[..., 0], expected / expected.std(), atol=1e-3)
    np.testing.assert_allclose(found[..., 1], np.log(weights.sum()), rtol=1e-6)


def test_columns_that_vary_together_are_found() -> None:
    rng = np.random.default_rng(3)
    msa = rng.integers(0, len(RESTYPES), (200, 30))
    partner = rng.permutation(len(RESTYPES))
    for i, j in ((2, 17), (9, 28)):
        msa[:, j] = partner[msa[:, i]]
    score = coevolution(msa, row_weights(msa))[..., 0]
    order = np.argsort(-score, axis=None)[:4]
    assert {divmod(int(index), 30) for index in order} == {(2, 17), (17, 2), (9, 28), (28, 9)}


@settings(max_examples=40, deadline=None)
@given(
    arrays.arrays(
        np.int64,
        arrays.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9),
        elements=st.integers(0, GAP),
    ),
    st.randoms(use_true_random=False),
)
def test_any_alignment_gives_finite_symmetric_numbers_whatever_its_order(msa, random) -> None:  # type: ignore[no-untyped-def]
    found = alignment_statistics(msa, BOTH)
    pairs = found["coevolution"]
    assert np.isfinite(pairs).all() and np.isfinite(found["profile"]).all()
    assert np.abs(pairs[..., 0]).max() <= MAX_SCORE
    np.testing.assert_allclose(pairs, pairs.swapaxes(0, 1), atol=1e-3)
    np.testing.assert_allclose(found["profile"].sum(-1), 1, rtol=1e-5)
    order = [0, *random.sample(range(1, len(msa)), len(msa) - 1)]
    again = alignment_statistics(msa[order], BOTH)
    np.testing.assert_allclose(again["profile"], found["profile"], atol=1e-5)
    np.testing.assert_allclose(again["coevolution"], pairs, atol=2e-3)


def test_a_single_row_has_no_coevolution() -> None:
    assert not coevolution(random_msa(1, 5), np.ones(1, np.float32)).any()


def test_deep_alignments_are_thinned_and_keep_the_query() -> None:
    msa = random_msa(3 * MAX_ROWS, 4)
    kept = msa[np.linspace(0, len(msa) - 1, MAX_ROWS).round().astype(int)]
    expected, found = alignment_statistics(kept, BOTH), alignment_statistics(msa, BOTH)
    np.testing.assert_array_equal(found["profile"], expected["profile"])
    np.testing.assert_array_equal(kept[0], msa[0])


@pytest.mark.parametrize("wanted", [(), ("profile",), ("coevolution",), ("profile", "coevolution")])
def test_features_carry_what_the_config_asks_for(wanted: tuple[str, ...]) -> None:
    rows = ("MKVLAW", "MRVLAW", "M-ILGF")
    alignment = Alignment.of(rows, rows)
    query = Query("q", (Chain(("A",), rows[0], alignment),))
    plain = replace(BOTH, profile=False, coevolution=False)
    features = make_features(query, replace(plain, **dict.fromkeys(wanted, True)), seed=0)
    assert (features.profile is not None) == ("profile" in wanted)
    assert (features.coevolution is not None) == ("coevolution" in wanted)
