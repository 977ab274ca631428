"""Queries as a program builds them."""

from __future__ import annotations

from foldry.features.pairing import align_complex
from foldry.query import Chain, Query


def test_lists_are_as_good_as_tuples() -> None:
    chains = [Chain(["A"], "MKTAY", templates=[]), Chain(["B"], "MKV")]  # type: ignore[arg-type]
    query = Query("q", chains, [1, 2])  # type: ignore[arg-type]
    same = Query("q", (Chain(("A",), "MKTAY"), Chain(("B",), "MKV")), (1, 2))
    assert query == same and hash(query) == hash(same)
    chains.clear()
    assert query.num_residues == 8
    assert align_complex(query) is align_complex(same)
