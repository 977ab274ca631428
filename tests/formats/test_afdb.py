"""Confidence as the official program writes it, byte by byte."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from foldry.errors import InputError
from foldry.formats.afdb import PaeChain, confidence_category, confidence_json, pae_json

FLOATS = st.sampled_from([np.float32, np.float64])
# Also values halfway between two of two decimals, and as near to these as numbers can be.
PLDDT = st.one_of(
    st.floats(0, 100),
    st.integers(0, 20_000).map(lambda point: point / 200),
    st.integers(0, 19_999).map(lambda point: float(np.nextafter(point / 200, 100))),
)


def by_json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


@pytest.fixture(scope="module")
def recorded(parity_dir: Path) -> dict[str, np.ndarray]:
    path = parity_dir / "data" / "confidence.npz"
    if not path.is_file():
        pytest.skip(f"not among the recorded numbers: {path}")
    with np.load(path) as archive:
        return dict(archive)


@pytest.mark.parity
def test_confidence_is_the_official_text(recorded: dict[str, np.ndarray]) -> None:
    assert confidence_json(recorded["plddt"]).encode() == recorded["confidence_json"].tobytes()


@pytest.mark.parity
def test_pae_is_the_official_text(recorded: dict[str, np.ndarray]) -> None:
    text = pae_json(recorded["pae"], float(recorded["max_pae"]))
    assert text.encode() == recorded["pae_json"].tobytes()


@pytest.mark.parametrize(
    ("plddt", "category"),
    [(0.0, "D"), (49.999, "D"), (50.0, "L"), (70.0, "M"), (89.999, "M"), (90.0, "H"), (100.0, "H")],
)
def test_category_borders(plddt: float, category: str) -> None:
    assert confidence_category(plddt) == category


@pytest.mark.parametrize("plddt", [-0.1, 100.1, float("nan")])
def test_values_that_are_not_plddt_are_refused(plddt: float) -> None:
    with pytest.raises(InputError, match="between 0 and 100"):
        confidence_json(np.array([plddt]))


def test_pae_keeps_one_decimal_of_float32() -> None:
    values = np.array([[0.1, 12.34], [31.75, 7.0]], np.float32)
    entry = json.loads(pae_json(values, 31.75))[0]
    assert entry["predicted_aligned_error"] == [[0.1, 12.3], [31.8, 7.0]]
    assert entry["max_predicted_aligned_error"] == 31.75


@given(st.lists(PLDDT, max_size=40), FLOATS)
def test_confidence_is_the_text_of_the_json_library(scores: list[float], kind: type) -> None:
    plddt: np.ndarray = np.array(scores, kind)
    expected = {
        "residueNumber": list(range(1, len(scores) + 1)),
        "confidenceScore": [round(value, 2) for value in plddt.tolist()],
        "confidenceCategory": [confidence_category(value) for value in plddt.tolist()],
    }
    assert confidence_json(plddt) == by_json(expected)


@given(
    st.data(), st.integers(0, 12), st.integers(0, 2), FLOATS, st.sampled_from([0.0, 31.75, 99.5])
)
def test_pae_is_the_text_of_the_json_library(
    data: st.DataObject, size: int, decimals: int, kind: type, largest: float
) -> None:
    pae: np.ndarray = data.draw(
        arrays(np.float64, (size, size), elements=st.floats(0, largest))
    ).astype(kind)
    rows = np.round(pae.astype(np.float64), decimals)
    numbers = (rows if decimals else rows.astype(int)).tolist()
    expected = [{"predicted_aligned_error": numbers, "max_predicted_aligned_error": largest}]
    assert pae_json(pae, largest, decimals) == by_json(expected)


def test_a_large_matrix_is_written_in_blocks() -> None:
    pae = np.random.default_rng(0).uniform(0, 31.75, (1500, 1500)).round(2)
    assert json.loads(pae_json(pae, 31.75, 2))[0]["predicted_aligned_error"] == pae.tolist()


def test_chains_of_a_complex_are_listed() -> None:
    chains = [PaeChain("Kinase", "A", 1, 2), PaeChain('In"hibitor', "B", 3, 3)]
    entry = json.loads(pae_json(np.zeros((3, 3)), 31.75, 2, chains))[0]
    assert list(entry) == ["predicted_aligned_error", "max_predicted_aligned_error", "chains"]
    assert entry["chains"] == [
        {"name": "Kinase", "label_asym_id": "A", "sequenceStart": 1, "sequenceEnd": 2},
        {"name": 'In"hibitor', "label_asym_id": "B", "sequenceStart": 3, "sequenceEnd": 3},
    ]


@pytest.mark.parametrize("error", [-0.1, 1000.5, float("inf"), float("nan")])
def test_values_that_are_not_errors_are_refused(error: float) -> None:
    with pytest.raises(InputError, match="not between 0 and 1000 Å"):
        pae_json(np.full((2, 2), error), 31.75)
