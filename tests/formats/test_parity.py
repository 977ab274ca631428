"""Alignments and hits as the official program parses them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from foldry.formats.a3m import parse_a3m
from foldry.formats.hhr import parse_hhr
from foldry.formats.stockholm import (
    deduplicate_stockholm,
    parse_stockholm,
    remove_empty_columns,
    stockholm_to_a3m,
    truncate_stockholm,
)
from foldry.query import Alignment

pytestmark = pytest.mark.parity
Recorded = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def parsers(parity_dir: Path) -> Recorded:
    path = parity_dir / "data" / "parsers.npz"
    if not path.is_file():
        pytest.skip(f"not among the recorded numbers: {path}")
    with np.load(path) as archive:
        return dict(archive)


def text(array: np.ndarray) -> str:
    return array.tobytes().decode()


def assert_equal(alignment: Alignment, recorded: Recorded, key: str) -> None:
    assert [row.encode() for row in alignment.sequences] == recorded[f"{key}/sequences"].tolist()
    assert [name.encode() for name in alignment.headers] == recorded[f"{key}/descriptions"].tolist()
    np.testing.assert_array_equal(alignment.deletions, recorded[f"{key}/deletion_matrix"])


def test_alignments(parsers: Recorded) -> None:
    assert_equal(parse_stockholm(text(parsers["in_sto"])), parsers, "sto")
    assert_equal(parse_stockholm(text(parsers["in_mgnify_sto"])), parsers, "mgnify")
    assert_equal(parse_a3m(text(parsers["in_a3m"])), parsers, "a3m")


def test_stockholm_texts(parsers: Recorded) -> None:
    sto = text(parsers["in_sto"])
    assert deduplicate_stockholm(sto) == text(parsers["sto_dedup"])
    assert remove_empty_columns(sto) == text(parsers["sto_noemptycol"])
    assert stockholm_to_a3m(sto) == text(parsers["sto_to_a3m"])
    assert stockholm_to_a3m(sto, max_rows=5) == text(parsers["sto_to_a3m_max5"])
    assert truncate_stockholm(sto, 7) == text(parsers["sto_truncated7"])


def test_hits(parsers: Recorded) -> None:
    hits = parse_hhr(text(parsers["in_hhr"]))
    assert [hit.name.encode() for hit in hits] == parsers["hhr/name"].tolist()
    for field in ("aligned_cols", "sum_probs", "index"):
        assert [getattr(hit, field) for hit in hits] == parsers[f"hhr/{field}"].tolist()
    for number, hit in enumerate(hits):
        assert hit.query == text(parsers[f"hhr/{number}/query"])
        assert hit.hit_sequence == text(parsers[f"hhr/{number}/hit_sequence"])
        assert list(hit.indices_query) == parsers[f"hhr/{number}/indices_query"].tolist()
        assert list(hit.indices_hit) == parsers[f"hhr/{number}/indices_hit"].tolist()
