"""Local alignment against Biopython's."""

from __future__ import annotations

import numpy as np
from Bio.Align import PairwiseAligner, substitution_matrices
from hypothesis import given, settings
from hypothesis import strategies as st

from foldry.align.pairwise import BLOSUM62, GAP_EXTEND, GAP_OPEN, align_local
from foldry.residues import RESTYPES

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
