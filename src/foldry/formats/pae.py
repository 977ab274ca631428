"""Reading of predicted aligned errors from the JSON and NumPy files of several programs."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

import numpy as np
from jaxtyping import Float

from foldry.errors import InputError, counted, quoted
from foldry.formats.npz import read_arrays
from foldry.store.files import decode, read_bytes

MAX_RESIDUES: Final = 20_000
"""Limit on the rows of the matrix."""
_NAMES: Final = ("predicted_aligned_error", "pae", "token_pair_pae")
_TOKENS: Final = ("token_chain_ids", "token_res_ids")
_MAX_ARRAYS: Final = 1 << 30
"""Maximum size of the arrays of a NumPy file."""
_LISTS: Final = ("residue1", "residue2", "distance")
_MAX_LISTS: Final = 5 * MAX_RESIDUES
_MAX_OBJECTS: Final = 1000
_MAX_UNPACKED: Final = 64 * 1024**2
_MAX_RATIO: Final = 20
"""Largest compression ratio of a file that unpacks to more than `_MAX_UNPACKED`."""
_MAX_ERROR: Final = float(np.finfo(np.float32).max)
_ADVICE: Final = "give the file of predicted aligned errors"


class TokenPae(NamedTuple):
    """Predicted aligned errors, and what their rows are.

    Attributes:
        errors: Å; row i is aligned on token i.
        places: Chain name and residue number of each token; None if each row is a residue.
            Ligands, ions and modified residues have a token for each atom.
    """

    errors: Float[np.ndarray, "N N"]
    places: list[tuple[str, int]] | None = None


def read_pae(path: Path) -> TokenPae:
    """Read predicted aligned errors.

    Accepted are AlphaFold DB's list of one object; the object of ColabFold and AlphaFold 3 with the
    key `predicted_aligned_error` or `pae`, perhaps with `token_chain_ids` and `token_res_ids`; the
    lists `residue1`, `residue2` and `distance` of the first version of AlphaFold DB; and NumPy
    files (.npz with `pae`, as of Boltz, or .npy), which are read without pickle.

    Raises:
        InputError: The file has another format, or the matrix is not square or contains anything
            but numbers of at least 0.
    """
    with suppress(OSError), path.open("rb") as file:
        start = file.read(6)
        if start.startswith((b"PK\3\4", b"\x93NUMPY")):
            return TokenPae(_of_array(_array(path, start), path))
    text = decode(read_bytes(path, None, _MAX_UNPACKED, _MAX_RATIO), str(path))
    # Short lists and objects take twenty times the memory of their text.
    if text.count("[") > _MAX_LISTS or text.count("{") > _MAX_OBJECTS:
        raise InputError("has more lists than a PAE file", _ADVICE, where=path)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise InputError("is not valid JSON", _ADVICE, where=path) from None
    if isinstance(found, list) and len(found) == 1:
        found = found[0]
    rows = _rows(found)
    if not isinstance(rows, list) or not 0 < len(rows) <= MAX_RESIDUES:
        what = "has no square matrix called predicted_aligned_error or pae"
        raise InputError(what, _ADVICE, where=path)
    pae = np.empty((len(rows), len(rows)), np.float32)
    for number, row in enumerate(rows):
        pae[number] = _row(row, len(rows), f"{path}, row {number + 1}")
    return TokenPae(pae, _places(found, len(pae), path))


def _array(path: Path, start: bytes) -> np.ndarray:
    """Return the matrix of a NumPy file, perhaps below axes of length 1."""
    try:
        if start.startswith(b"PK"):
            arrays = read_arrays(path, _MAX_ARRAYS)
        else:
            arrays = {"pae": np.load(path, mmap_mode="r", allow_pickle=False)}
    except ValueError as error:
        raise InputError(f"is a damaged file ({error})", _ADVICE, where=path) from None
    found = next((arrays[name] for name in _NAMES if name in arrays), None)
    if found is None:
        what = f"has the arrays {quoted(', '.join(arrays))}, none of which is called pae"
        raise InputError(what, _ADVICE, where=path)
    return found.reshape(found.shape[-2:]) if set(found.shape[:-2]) == {1} else found


def _of_array(array: np.ndarray, path: Path) -> Float[np.ndarray, "N N"]:
    square = array.ndim == 2 and 0 < array.shape[0] == array.shape[1] <= MAX_RESIDUES
    if not square or array.dtype.kind not in "fiu":
        what = f"has an array of shape {array.shape}, which is not a square matrix of numbers"
        raise InputError(what, _ADVICE, where=path)
    errors = np.array(array, np.float32)
    wrong = np.argwhere(~((errors >= 0) & (errors <= _MAX_ERROR)))
    if len(wrong):
        row, column = wrong[0].tolist()
        _refuse(array[row, column].item(), f"{path}, row {row + 1}, column {column + 1}")
    return errors


def _places(found: Any, num_tokens: int, path: Path) -> list[tuple[str, int]] | None:
    """Return chain and residue number of each token; None if the file has neither."""
    lists = [found.get(name) for name in _TOKENS]
    if None in lists:
        return None
    chains, numbers = lists
    if not all(isinstance(each, list) and len(each) == num_tokens for each in lists):
        what = f"has {_TOKENS[0]} and {_TOKENS[1]} that are not lists of one entry for each row"
        raise InputError(what, _ADVICE, where=path)
    if {*map(type, chains)} != {str} or {*map(type, numbers)} != {int}:
        what = f"has {_TOKENS[0]} or {_TOKENS[1]} that are not names and whole numbers"
        raise InputError(what, _ADVICE, where=path)
    return list(zip(chains, numbers, strict=True))


def _rows(found: Any) -> Any:
    """Return the rows of the matrix, with None for missing pairs, or None without a matrix."""
    if not isinstance(found, dict):
        return None
    name = next((name for name in _NAMES if name in found), None)
    if name is not None:
        return found[name]
    lists: list[Any] = [found.get(name) for name in _LISTS]
    if not all(isinstance(each, list) and len(each) == len(lists[0]) for each in lists):
        return None
    first, second, distance = lists
    num = math.isqrt(len(distance))
    if {*map(type, first), *map(type, second)} != {int} or num > MAX_RESIDUES:
        return None
    if min(*first, *second) < 1 or max(*first, *second) > num:
        return None
    rows: list[list[Any]] = [[None] * num for _ in range(num)]
    for one, other, error in zip(first, second, distance, strict=True):
        rows[one - 1][other - 1] = error
    return rows


def _row(row: Any, length: int, where: str) -> Float[np.ndarray, " N"]:
    if not isinstance(row, list) or len(row) != length:
        size = counted(len(row), "value") if isinstance(row, list) else quoted(row)
        what = f"has {size} where the matrix has {counted(length, 'row')}"
        raise InputError(what, _ADVICE, where=where)
    for column, value in enumerate(row, start=1) if set(map(type, row)) - {int, float} else ():
        if type(value) not in (int, float):
            _refuse(value, f"{where}, column {column}")
    try:
        values = np.array(row, float)
    except OverflowError:
        _refuse(max(row, key=abs), where)
    wrong = np.flatnonzero(~((values >= 0) & (values <= _MAX_ERROR)))
    if len(wrong):
        _refuse(row[wrong[0]], f"{where}, column {wrong[0] + 1}")
    return values


def _refuse(value: object, where: str) -> NoReturn:
    what = f"has {quoted(value)}, which is not a number of at least 0"
    raise InputError(what, "fix the file", where=where)
