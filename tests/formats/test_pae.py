"""Predicted aligned errors in all supported formats."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import pickle
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard

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
        json.dumps(LONG),
        json.dumps(PAE.tolist()),
        json.dumps({"pae": PAE.tolist()}, indent=4).replace("\n", "\r\n"),
        json.dumps({"a": '[[1], \\"[2]\\\\', "token_pair_pae": PAE.tolist(), "b": [[1], "]"]}),
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
        ("[" * 100_001, "more lists or texts than a PAE file"),
        ("[]", "no square matrix"),
        ("7", "no square matrix"),
        ('{"plddt": [1], "ptm": 1}', "has 'plddt, ptm', none of which is called"),
        ("[{}, {}]", "has a list of 2 objects, as of several predictions"),
        ('[{"pae": [[1]]}, 5]', "has a list of 2 objects, as of several predictions"),
        ('{"pae": [[1, 2], {"a": [3]}]}', "row 2, has an object where the matrix has 2 rows"),
        ('{"pae": [{"a": [3]}, [1, 2]]}', "row 1, has an object where the matrix has 2 rows"),
        ("<!DOCTYPE html><html></html>", "is a web page: download the file itself"),
        ("data_1abc\nloop_\n", "is a structure in mmCIF: give the JSON"),
        ("[7]", "no square matrix"),
        ('{"pae": [1, 2]}', "no square matrix"),
        ('{"pae": "[[1]]"}', "no square matrix"),
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
        (json.dumps({"pae": [[0]] * 20_001}), "a matrix of 20001 rows, more than 20000"),
        (json.dumps([[]] * 100_000), "more lists or texts"),
        (json.dumps([{}] * 1001), "more lists or texts"),
        (json.dumps(["a"] * 2_000_001), "more lists or texts"),
        (
            json.dumps(LONG | {"residue1": [10**9] * 9}),
            "residue1 .* from 1 to 3",
        ),
        (json.dumps(LONG | {"residue2": [1.0] * 9}), "residue2 .* from 1 to 3"),
        (json.dumps(LONG | {"residue1": 1}), "are not of one length"),
        (json.dumps({name: [] for name in LONG}), "are not of one length"),
        (
            json.dumps(LONG | {"residue1": [1] * 9, "residue2": [1] * 9}),
            "has no error for residues 1 and 2",
        ),
        (json.dumps(LONG | {"distance": [1, 2]}), "are not of one length"),
        (json.dumps(LONG | {"distance": [-1] * 9}), "distance, column 1, has -1"),
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
    with pytest.raises(InputError, match="more than 64 MiB after decompression, over 100 times"):
        read_pae(path)


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "zstd": lambda data: zstandard.ZstdCompressor().compress(data),
}


@pytest.mark.parametrize("pack", PACKINGS.values(), ids=PACKINGS)
@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4", "<f8", ">f8", "<i8", "u1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_packed_arrays_of_every_type_are_read(
    pack: Callable[[bytes], bytes], dtype: str, order: Any, tmp_path: Path
) -> None:
    errors = np.array(np.round(PAE), dtype, order=order)
    for save in (np.save, np.savez):
        file = io.BytesIO()
        save(file, errors) if save is np.save else np.savez(file, pae=errors)
        path = tmp_path / "pae"
        path.write_bytes(pack(file.getvalue()))
        found = read_pae(path).errors
        assert found.dtype == np.float32 and found.tolist() == np.round(PAE).tolist()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("pack", PACKINGS.values(), ids=PACKINGS)
def test_packed_texts_in_other_encodings(
    pack: Callable[[bytes], bytes], encoding: str, tmp_path: Path
) -> None:
    path = tmp_path / "pae.json"
    path.write_bytes(pack(pae_json(PAE, 31.75).encode(encoding)))
    np.testing.assert_allclose(read_pae(path).errors, PAE, atol=1e-6)


def test_names_of_tokens(tmp_path: Path) -> None:
    path = tmp_path / "pae.json"
    names = {"token_chain_ids": ["A", "A", "B"], "token_res_ids": [1, 2, 1]}
    path.write_text(json.dumps({"pae": PAE.tolist(), **names}))
    assert read_pae(path).places == [("A", 1), ("A", 2), ("B", 1)]
    path.write_text(json.dumps({"pae": PAE.tolist(), **names, "token_res_ids": [0, 1, 2]}))
    assert read_pae(path).places is None  # RoseTTAFold3 counts the tokens
    for wrong, says in (
        ({"token_res_ids": [1, 2]}, "one entry for each row"),
        ({"token_res_ids": 3}, "one entry for each row"),
        ({"token_chain_ids": ["A", None, "B"]}, "not names and whole numbers"),
        ({"token_chain_ids": [["A"], ["A"], ["B"]]}, "not names and whole numbers"),
        ({"token_res_ids": ["1", "2", "1A"]}, "not names and whole numbers"),
        ({"token_res_ids": [1, 2.5, 3]}, "not names and whole numbers"),
        ({"token_res_ids": [True, 2, 3]}, "not names and whole numbers"),
    ):
        path.write_text(json.dumps({"pae": PAE.tolist(), **names, **wrong}))
        with pytest.raises(InputError, match=says):
            read_pae(path)


@pytest.mark.parametrize(
    ("chains", "numbers"),
    [
        (["A", "A", "B"], ["1", "2", "1"]),
        (["A", "A", "B"], [1.0, 2.0, 1.0]),
        ([0, 0, 1], [1, 2, 1]),
    ],
)
def test_names_of_tokens_of_any_type(chains: list[Any], numbers: list[Any], tmp_path: Path) -> None:
    names = {"token_chain_ids": chains, "token_res_ids": numbers}
    text, arrays = tmp_path / "pae.json", tmp_path / "pae.npz"
    text.write_text(json.dumps({"pae": PAE.tolist(), **names}))
    np.savez_compressed(arrays, pae=PAE[None], **{key: np.array(names[key]) for key in names})
    expected = [(str(chain), int(n)) for chain, n in zip(chains, numbers, strict=True)]
    assert read_pae(text).places == read_pae(arrays).places == expected


def test_a_json_file_is_read_row_by_row(tmp_path: Path) -> None:
    """As objects, all numbers would take several times the memory of the text."""
    rng, path = np.random.default_rng(0), tmp_path / "pae.json"
    errors, contacts = (np.round(rng.uniform(0, 31, (700, 700)), 1).tolist() for _ in range(2))
    path.write_text(json.dumps({"contact_probs": contacts, "pae": errors}))
    tracemalloc.start()
    try:
        found = read_pae(path).errors
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    np.testing.assert_allclose(found, errors, atol=1e-5)
    assert peak < 2 * path.stat().st_size


def test_what_follows_an_open_text_takes_linear_time(tmp_path: Path) -> None:
    path = tmp_path / "pae.json"
    path.write_text('{"pae": "' + '\\"' * 1_000_000)
    with pytest.raises(InputError, match="is not valid JSON"):
        read_pae(path)


def test_files_that_can_contain_code_are_refused(tmp_path: Path) -> None:
    """AlphaFold 2 writes pickle files, and RoseTTAFold-All-Atom PyTorch files."""
    path = tmp_path / "result_model_1.pkl"
    for protocol in (0, 2, 4, 5):
        path.write_bytes(pickle.dumps({"predicted_aligned_error": PAE}, protocol))
        with pytest.raises(InputError, match="is a pickle file, which can contain code"):
            read_pae(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("aux/data.pkl", b"")
    with pytest.raises(InputError, match="it is a PyTorch file, which can contain code"):
        read_pae(path)


def test_arrays_beside_the_errors_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "pae.npz"
    np.savez(path, plddt=np.array([{}], object), pae=PAE, token=np.array(["A"]))
    np.testing.assert_allclose(read_pae(path).errors, PAE, atol=1e-6)


@pytest.mark.parametrize("name", ["pae", "predicted_aligned_error", "arr_0"])
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
        ({"plddt": PAE, "ptm": 1}, "has 'plddt, ptm', none of which is called"),
        ({"pae": PAE[:2]}, "shape (2, 3), which is not a square matrix"),
        ({"pae": np.array([["a"]])}, "not a square matrix of numbers"),
        ({"pae": np.array([[1, 1e300], [0, 1]])}, "row 1, column 2, has 1e+300"),
        ({"pae": np.stack([PAE] * 5)}, "several predictions, an array of shape (5, 3, 3)"),
        ({"pae": np.array([[1, np.nan], [0, 1]])}, "row 1, column 2, has"),
        ({"pae": np.array([[1, 0], [-1, 1]])}, "row 2, column 1, has -1"),
        ({"pae": np.array([[{}]], object)}, "holds Python objects, which can contain code"),
        ({"pae": np.zeros((9000, 2000))}, "unpacks to over 100 times its size"),
    ):
        np.savez_compressed(path, **arrays)
        with pytest.raises(InputError) as caught:
            read_pae(path)
        assert says in str(caught.value)
    for saved in (path, tmp_path / "pae.npy"):
        saved.write_bytes(saved.read_bytes()[:-30])
        with pytest.raises(InputError, match="cannot be read"):
            read_pae(saved)
