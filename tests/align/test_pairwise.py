"""Local alignment against Biopython's."""

from __future__ import annotations

import numpy as np
from Bio.Align import PairwiseAligner, substitution_matrices
from hypothesis import given, settings
from hypothesis import strategies as st

from foldry.align.pairwise import BLOSUM62, GAP_EXTEND, GAP_OPEN, align_local, e_value
from foldry.align.profile import BACKGROUND
from foldry.align.weights import row_weights
from foldry.residues import GAP, RESTYPES

MATRIX = substitution_matrices.load("BLOSUM62")
ALIGNER = PairwiseAligner(
    mode="local",
    substitution_matrix=MATRIX,
    open_gap_score=-GAP_OPEN,
    extend_gap_score=-GAP_EXTEND,
)


def text(codes: np.ndarray) -> str:
    return "".join(RESTYPES[code] for code in codes)


def test_scores_are_blosum62() -> None:
    theirs = [[MATRIX[one, other] for other in RESTYPES] for one in RESTYPES]
    np.testing.assert_array_equal(BLOSUM62[:20, :20], theirs)


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), length=st.integers(1, 60))
def test_score_is_the_best_and_the_pairs_reach_it(seed: int, length: int) -> None:
    rng = np.random.default_rng(seed)
    query = rng.integers(0, 20, length)
    pieces = np.array_split(query[rng.random(length) > 0.15], 4)
    inserts = [rng.integers(0, 20, rng.integers(0, 6)) for _ in pieces]
    template = np.concatenate([part for both in zip(pieces, inserts, strict=True) for part in both])
    ours = align_local(query, template)
    theirs = ALIGNER.score(text(query), text(template)) if len(template) else 0
    assert ours.score == theirs

    steps = np.diff(ours.pairs, axis=0)
    assert (steps >= 1).all()
    gaps = steps[steps > 1] - 1
    cost = (GAP_OPEN + (gaps - 1) * GAP_EXTEND).sum()
    assert BLOSUM62[query[ours.pairs[:, 0]], template[ours.pairs[:, 1]]].sum() - cost == ours.score


def test_random_sequences_reach_an_e_value_about_as_often_as_it_says() -> None:
    """Less often, as they are short: no alignment begins at their ends."""
    rng = np.random.default_rng(0)
    pairs = rng.choice(20, (500, 2, 150), p=BACKGROUND)
    found = np.array([e_value(align_local(one, other).score, 150, 150) for one, other in pairs])
    for limit in (0.1, 0.3):
        assert 0.4 < (found <= limit).mean() / limit < 1.1


def test_the_weight_of_a_row_is_one_over_the_number_of_similar_rows() -> None:
    """Rows are similar if they agree in 80% of the residues of the shorter one."""
    msa = np.array(
        [
            [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
            [0, 1, 2, 3, 4, 5, 6, 7, 0, 0],  # 8 of 10 as the first
            [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],  # like none
            [0, 1, 2, 3, 9, GAP, GAP, GAP, GAP, GAP],  # 4 of its 5 as the first two
            [GAP] * 10,
        ]
    )
    np.testing.assert_allclose(row_weights(msa), [1 / 3, 1 / 3, 1, 1 / 3, 0], rtol=1e-6)


def test_a_query_of_only_gaps_has_a_weight() -> None:
    """A crop may have no residue of the query."""
    msa = np.array([[GAP, GAP], [GAP, GAP], [0, 1]])
    weights = row_weights(msa)
    assert weights[0] > 0 and weights[1] == 0 and weights[2] > 0
