"""Reading of predicted aligned errors from the JSON files of several programs."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np
from jaxtyping import Float

from foldry.errors import InputError, counted, quoted
from foldry.store.files import decode, read_bytes

MAX_RESIDUES: Final = 20_000
"""Limit on the rows of the matrix."""
_NAMES: Final = ("predicted_aligned_error", "pae")
_LISTS: Final = ("residue1", "residue2", "distance")
_MAX_LISTS: Final = 5 * MAX_RESIDUES
_MAX_OBJECTS: Final = 1000
_MAX_UNPACKED: Final = 64 * 1024**2
_MAX_RATIO: Final = 20
"""Largest compression ratio of a file that unpacks to more than `_MAX_UNPACKED`."""
_MAX_ERROR: Final = float(np.finfo(np.float32).max)
_ADVICE: Final = "give the file of predicted aligned errors"


def read_pae(path: Path) -> Float[np.ndarray, "N N"]:
    """Read the predicted aligned error in Å; row i is aligned on residue i.

    Three formats are accepted: AlphaFold DB's list of one object, the object of ColabFold and
    AlphaFold 3 with the key `predicted_aligned_error` or `pae`, and the lists `residue1`,
    `residue2` and `distance` of the first version of AlphaFold DB.

    Raises:
        InputError: The file has another format, or the matrix is not square or contains anything
            but numbers of at least 0.
    """
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
    return pae


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
