"""Predicted aligned errors in all supported formats."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

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
def test_every_format_is_read(tmp_path: Path, text: str) -> None:
    path = tmp_path / "pae.json"
    path.write_text(text)
    np.testing.assert_allclose(read_pae(path).errors, PAE, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[" * 100_001, "more lists than a PAE file"),
        ("[]", "no square matrix"),
        ("7", "no square matrix"),
        ('{"plddt": [1]}', "no square matrix"),
        ('{"pae": []}', "no square matrix"),
        ('{"pae": [[1, 2]]}', "row 1, has 2 values where the matrix has 1 row"),
        ('{"pae": [[1, 2], [3]]}', "row 2, has 1 value where the matrix has 2 rows"),
        ('{"pae": [[1, 2], 3]}', "row 2, has 3 where the matrix has 2 rows"),
        ('{"pae": [["one"]]}', "row 1, column 1, has 'one', which is not a number of at least 0"),
        ('{"pae": [[0, "1.5"], [1, 0]]}', "row 1, column 2, has '1.5', which is not a number"),
        ('{"pae": [[0, null], [1, 0]]}', "row 1, column 2, has None, which is not a number"),
        ('{"pae": [[0, 1], [true, 0]]}', "row 2, column 1, has True, which is not a number"),
        ('{"pae": [[[1]]]}', "row 1, column 1, has .*, which is not a number"),
        ('{"pae": {"a": 1}}', "no square matrix"),
        ('{"pae": [[NaN]]}', "row 1, column 1, has nan, which is not a number of at least 0"),
        ('{"pae": [[0, 1], [Infinity, 0]]}', "row 2, column 1, has inf"),
        ('{"pae": [[1e300]]}', "row 1, column 1, has 1e[+]300"),
        (
            '{"pae": [[1' + "0" * 400 + "]]}",
            "row 1, has 1000.*, which is not a number of at least 0",
        ),
        ('{"pae": [[-1]]}', "row 1, column 1, has -1, which is not a number of at least 0"),
        (json.dumps({"pae": [[0]] * 20_001}), "no square matrix"),
        (json.dumps([[]] * 100_000), "more lists than a PAE file"),
        (json.dumps([{}] * 1001), "more lists than a PAE file"),
        (json.dumps(LONG | {"residue1": [10**9] * 9}), "no square matrix"),
        (json.dumps(LONG | {"residue1": [1.0] * 9}), "no square matrix"),
        (json.dumps(LONG | {"residue1": 1}), "no square matrix"),
        (json.dumps({name: [] for name in LONG}), "no square matrix"),
        (
            json.dumps(LONG | {"residue1": [1] * 9, "residue2": [1] * 9}),
            "row 1, column 2, has None, which is not a number of at least 0",
        ),
        (json.dumps(LONG | {"distance": [1, 2]}), "no square matrix"),
    ],
)
def test_anything_but_a_square_matrix_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "pae.json"
    path.write_text(text)
    with pytest.raises(InputError, match=says) as caught:
        read_pae(path)
    assert "pae.json" in str(caught.value)


def test_a_small_file_that_unpacks_to_much_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pae.json.gz"
    path.write_bytes(gzip.compress(b"1," * (40 << 20), 1))
    with pytest.raises(InputError, match="more than 64 MiB after decompression"):
        read_pae(path)


@pytest.mark.parametrize("name", ["pae", "predicted_aligned_error"])
@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_numpy_archives_are_read(name: str, save: Any, cases_dir: Path, tmp_path: Path) -> None:
    case = read_pae(cases_dir / "84-pae-boltz-npz" / "pae.npz").errors
    assert case.shape == (63, 63)
    path = tmp_path / "pae.npz"
    for array in (PAE, PAE.astype(np.float32)[None]):
        save(path, **{name: array, "other": np.zeros(2)})
        np.testing.assert_allclose(read_pae(path).errors, PAE, atol=1e-6)


def test_other_numpy_files(tmp_path: Path) -> None:
    np.save(tmp_path / "pae.npy", PAE[None, None])
    np.testing.assert_allclose(read_pae(tmp_path / "pae.npy").errors, PAE, atol=1e-6)
    path = tmp_path / "pae.npz"
    for arrays, says in (
        ({"plddt": PAE}, "has the arrays 'plddt', none of which is called pae"),
        ({"pae": PAE[:2]}, "shape (2, 3), which is not a square matrix"),
        ({"pae": np.array([["a"]])}, "not a square matrix of numbers"),
        ({"pae": np.array([[1, np.nan], [0, 1]])}, "row 1, column 2, has"),
        ({"pae": np.array([[1, 0], [-1, 1]])}, "row 2, column 1, has -1"),
        ({"pae": np.array([[{}]], object)}, "is a damaged file"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(InputError) as caught:
            read_pae(path)
        assert says in str(caught.value)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match="is a damaged file"):
        read_pae(path)
