"""Predicted aligned errors in every form in which they are found."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from foldry.errors import InputError
from foldry.formats.afdb import pae_json
from foldry.formats.pae import read_pae

PAE = np.array([[0.5, 3.2, 7.0], [3.0, 0.2, 9.1], [6.5, 8.0, 0.1]])
LONG = {
    "residue1": [1, 1, 1, 2, 2, 2, 3, 3, 3],
    "residue2": [1, 2, 3, 1, 2, 3, 1, 2, 3],
    "distance": PAE.ravel().tolist(),
    "max_predicted_aligned_error": 31.75,
}


@pytest.mark.parametrize(
    "text",
    [
        pae_json(PAE, 31.75),
        json.dumps({"predicted_aligned_error": PAE.tolist(), "plddt": [1, 2, 3]}),
        json.dumps({"pae": PAE.tolist(), "token_chain_ids": ["A", "A", "B"]}),
        json.dumps([LONG]),
    ],
)
def test_every_form(tmp_path: Path, text: str) -> None:
    path = tmp_path / "pae.json"
    path.write_text(text)
    np.testing.assert_allclose(read_pae(path), PAE, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "no square matrix"),
        ("7", "no square matrix"),
        ('{"plddt": [1]}', "no square matrix"),
        ('{"pae": []}', "no square matrix"),
        ('{"pae": [[1, 2]]}', "no square matrix"),
        ('{"pae": [[1, 2], [3]]}', "no square matrix"),
        ('{"pae": [["one"]]}', "no square matrix"),
        ('{"pae": {"a": 1}}', "no square matrix"),
        ('{"pae": [[NaN]]}', "from 0 up"),
        ('{"pae": [[-1]]}', "from 0 up"),
        (json.dumps(LONG | {"residue1": [10**9] * 9}), "no square matrix"),
        (json.dumps(LONG | {"residue1": [1] * 9, "residue2": [1] * 9}), "from 0 up"),
        (json.dumps(LONG | {"distance": [1, 2]}), "no square matrix"),
    ],
)
def test_what_is_none(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "pae.json"
    path.write_text(text)
    with pytest.raises(InputError, match=says) as caught:
        read_pae(path)
    assert "pae.json" in str(caught.value)
