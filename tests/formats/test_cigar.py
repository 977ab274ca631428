"""Runs of an alignment are read back as the pairs that were written."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foldry.formats.cigar import cigar_of, pairs_of


@given(
    pieces=st.lists(
        st.tuples(st.integers(1, 9), st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=5
    )
)
def test_pairs_are_written_as_runs_and_read_back(pieces: list[tuple[int, int, int]]) -> None:
    here, there = 3, 7
    pairs = []
    for size, query, target in pieces:
        pairs += [[here + step, there + step] for step in range(size)]
        here, there = here + size + query, there + size + target
    assert pairs_of(cigar_of(np.array(pairs)), 3, 7).tolist() == pairs


def test_a_hit_has_no_more_pairs_than_its_chain_has_residues() -> None:
    runs = "999999M1I" * 10_000
    with pytest.raises(ValueError, match="more residues than its chains have"):
        pairs_of(runs, 0, 0)
    with pytest.raises(ValueError, match="more residues than its chains have"):
        pairs_of("3M1D3M", 0, 0, max_pairs=5)
    assert len(pairs_of("3M1D3M", 0, 0, max_pairs=6)) == 6
