"""Confidence as the official program writes it, byte by byte."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from foldry.errors import InputError
from foldry.formats.afdb import confidence_category, confidence_json, pae_json


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
