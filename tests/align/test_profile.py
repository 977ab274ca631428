"""Position-specific scores against cases done by hand, and alignments by other means."""

from __future__ import annotations

import numpy as np
import pytest
from Bio.Align import substitution_matrices
from hypothesis import given, settings
from hypothesis import strategies as st

from foldry.align import profile
from foldry.align.pairwise import BLOSUM62, GAP_EXTEND, GAP_OPEN, align_local, align_scored
from foldry.align.profile import BACKGROUND, LAMBDA, PSEUDOCOUNTS, profile_scores
from foldry.residues import GAP, RESTYPES, UNKNOWN

MATRIX = substitution_matrices.load("BLOSUM62")
A, R, W = RESTYPES.index("A"), RESTYPES.index("R"), RESTYPES.index("W")
SEEDS = st.integers(0, 2**32 - 1)


def test_the_scale_is_that_of_blosum62() -> None:
    """BLAST solves this equation for λ; it prints 0.318 for BLOSUM62 without gaps."""
    assert BACKGROUND.sum() == pytest.approx(1)
    odds = [
        p * q * np.exp(LAMBDA * MATRIX[one, other])
        for one, p in zip(RESTYPES, BACKGROUND, strict=True)
        for other, q in zip(RESTYPES, BACKGROUND, strict=True)
    ]
    assert sum(odds) == pytest.approx(1, abs=5e-4)


@pytest.mark.parametrize("copies", [1, 3, 700])
def test_a_single_sequence_scores_as_blosum62(copies: int) -> None:
    rng = np.random.default_rng(0)
    query, template = rng.integers(0, UNKNOWN + 1, 80), rng.integers(0, UNKNOWN + 1, 90)
    template[20:50] = query[30:60]
    scores = profile_scores(np.tile(query, (copies, 1)))
    np.testing.assert_allclose(scores, BLOSUM62[query], atol=1e-5)
    ours, plain = align_scored(scores, template), align_local(query, template)
    assert ours.score == plain.score > 0
    np.testing.assert_array_equal(ours.pairs, plain.pairs)


def test_the_scores_of_two_different_rows_are_those_done_by_hand() -> None:
    """The first column has 2 amino acids and the next two 1 each: 2^(1/3) on average."""
    scores = profile_scores(np.array([[A, R, W, UNKNOWN], [W, R, GAP, GAP]]))
    more = 2 ** (1 / 3) - 1
    for letter, p in enumerate(BACKGROUND):
        by_a, by_r, by_w = (p * np.exp(LAMBDA * BLOSUM62[letter, other]) for other in (A, R, W))
        half = ((letter == A) + (letter == W)) / 2
        mixed = (more * half + PSEUDOCOUNTS * (by_a + by_w) / 2) / (more + PSEUDOCOUNTS)
        always = (more * (letter == R) + PSEUDOCOUNTS * by_r) / (more + PSEUDOCOUNTS)
        # In the third column, a gap stands beside the query.
        expected = np.log(np.array([mixed, always, by_w]) / p) / LAMBDA
        np.testing.assert_allclose(scores[:3, letter], expected, atol=1e-6)
    assert (scores[3] == -1).all() and (scores[:, UNKNOWN] == -1).all()


def test_unknown_residues_score_as_x() -> None:
    for msa in ([[UNKNOWN] * 3], [[UNKNOWN] * 3, [GAP, UNKNOWN, GAP]]):
        assert (profile_scores(np.array(msa)) == -1).all()


def test_conserved_residues_of_different_rows_score_more_than_in_blosum62() -> None:
    rng = np.random.default_rng(0)
    msa = rng.integers(0, UNKNOWN, (60, 40))
    msa[:, :10] = msa[0, :10]
    plain, scores = BLOSUM62[msa[0]], profile_scores(msa)
    own = scores[np.arange(40), msa[0]] - plain[np.arange(40), msa[0]]
    assert (own[:10] > 0.5).all() and (own[10:] < -1).all()
    np.testing.assert_allclose(profile_scores(msa[[0, *range(59, 0, -1)]]), scores)


def test_evenly_spaced_rows_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    msa = np.random.default_rng(0).integers(0, UNKNOWN, (5, 30))
    expected = profile_scores(msa[[0, 2, 4]])
    assert abs(profile_scores(msa) - expected).max() > 0.1
    monkeypatch.setattr(profile, "MAX_ROWS", 3)
    np.testing.assert_array_equal(profile_scores(msa), expected)


def best_score(scores: np.ndarray, template: np.ndarray) -> float:
    """Return the best score of a local alignment, with all lengths of gaps tried at each place."""
    table = np.zeros((len(scores) + 1, len(template) + 1))
    costs = GAP_OPEN + GAP_EXTEND * np.arange(max(table.shape))
    for row in range(1, len(scores) + 1):
        for column in range(1, len(template) + 1):
            table[row, column] = max(
                0,
                table[row - 1, column - 1] + scores[row - 1, template[column - 1]],
                (table[:row, column][::-1] - costs[:row]).max(),
                (table[row, :column][::-1] - costs[:column]).max(),
            )
    return float(table.max())


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, length=st.integers(1, 40), size=st.integers(0, 40))
def test_the_alignment_reaches_the_best_score(seed: int, length: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    scores = 8 * rng.normal(size=(length, 21)) - 2
    template = rng.integers(0, 21, size)
    ours = align_scored(scores, template)
    assert ours.score == pytest.approx(best_score(scores, template) if size else 0, abs=0.05)
    steps = np.diff(ours.pairs, axis=0)
    gaps = steps[steps > 1] - 1
    cost = (GAP_OPEN + (gaps - 1) * GAP_EXTEND).sum()
    gained = scores[ours.pairs[:, 0], template[ours.pairs[:, 1]]].sum()
    assert gained - cost == pytest.approx(ours.score, abs=0.05)
