"""Reading of predicted aligned errors from the JSON and NumPy files of several programs."""

from __future__ import annotations

import codecs
import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

import numpy as np
from jaxtyping import Float

from foldry.errors import InputError, counted, quoted
from foldry.formats.kinds import QUERY, check_kind
from foldry.formats.npz import find_array
from foldry.store.files import decode, read_bytes

MAX_RESIDUES: Final = 20_000
"""Limit on the rows of the matrix."""
_NAMES: Final = ("predicted_aligned_error", "pae", "token_pair_pae")
_MAX_NAMES: Final = ("max_predicted_aligned_error", "max_pae")
_TOKENS: Final = ("token_chain_ids", "token_res_ids")
_PAIRS: Final = ("residue1", "residue2", "distance")
_MAX_PAIRS: Final = 3000**2
"""Limit on pairs, as of the first version of AlphaFold DB, which had up to 2,700 residues."""
_MAX_LISTS: Final = 5 * MAX_RESIDUES
_MAX_OBJECTS: Final = 1000
_MAX_QUOTES: Final = 4_000_000
_MAX_UNPACKED: Final = 64 * 1024**2
"""Limit on what a JSON file has besides lists of numbers, and on files of high compression."""
_MAX_ERROR: Final = float(np.finfo(np.float32).max)
_ARRAYS: Final = (b"PK\3\4", b"\x93NUMPY")
_PICKLES: Final = (b"(dp", *(b"\x80" + bytes([protocol]) for protocol in range(2, 6)))
_UTF_16: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
# A text, perhaps without an end, or a list without texts and lists in it.
_PART: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|\[[^][{}"]*+\]', re.DOTALL)
_WHOLE: Final = re.compile(r"-?[0-9]{1,9}")
_START: Final = 4096
"""Number of bytes that show the format."""
_ADVICE: Final = "give the JSON, .npz or .npy file of predicted aligned errors"


class TokenPae(NamedTuple):
    """Predicted aligned errors, and what their rows are.

    Attributes:
        errors: Å; row i is aligned on token i.
        places: Chain name and residue number of each token, if the file has them. Ligands, ions and
            modified residues may have a token for each atom.
        max_error: Largest error that the network can express, Å, if the file states it.
    """

    errors: Float[np.ndarray, "N N"]
    places: list[tuple[str, int]] | None = None
    max_error: float | None = None


def read_pae(path: Path) -> TokenPae:
    """Read predicted aligned errors from a file, which may be packed by gzip, xz or zstd.

    Accepted are JSON with a matrix `predicted_aligned_error`, `pae` or `token_pair_pae` in an
    object or a list of one object, perhaps with `token_chain_ids` and `token_res_ids`; the lists
    `residue1`, `residue2` and `distance` of the first version of AlphaFold DB; a matrix alone; and
    NumPy files (.npz with one of these names, or .npy), which are read without pickle.

    Raises:
        InputError: The file has another format, or the matrix is not square or contains anything
            but numbers of at least 0.
    """
    return parse_pae(read_bytes(path, max_unpacked=_MAX_UNPACKED), str(path))


def parse_pae(data: bytes, source: str) -> TokenPae:
    """Read predicted aligned errors from the bytes of a file, which messages call `source`."""
    if data.startswith(_ARRAYS):
        return _of_numpy(data, source)
    if data.startswith(_PICKLES):
        what = "is a pickle file, which can contain code"
        raise InputError(what, "give the predicted aligned errors as JSON or .npz", where=source)
    check_kind(data[:_START].decode("latin-1"), QUERY, {}, _ADVICE, source)
    return _of_json(data, source)


def _of_numpy(data: bytes, source: str) -> TokenPae:
    """Return the errors of a NumPy file, whose matrix may be below axes of length 1."""
    try:
        found, names = find_array(data, (*_NAMES, "arr_0"), _MAX_UNPACKED)
        tokens = [find_array(data, [each], _MAX_UNPACKED)[0] for each in _TOKENS if names]
    except ValueError as error:
        raise InputError(f"cannot be read ({error})", _ADVICE, where=source) from None
    if found is None:
        raise _unnamed(names, source)
    if found.ndim > 2 and found.shape[:-2] != (1,) * (found.ndim - 2):
        what = f"has the errors of several predictions, an array of shape {found.shape}"
        raise InputError(what, "save those of one prediction", where=source)
    errors = _of_array(found.reshape(found.shape[-2:]) if found.ndim > 2 else found, source)
    columns = [each.ravel()[: len(errors) + 1].tolist() for each in tokens if each is not None]
    return TokenPae(errors, _places(columns, len(errors), source) if len(columns) == 2 else None)


def _of_array(array: np.ndarray, source: str) -> Float[np.ndarray, "N N"]:
    square = array.ndim == 2 and 0 < array.shape[0] == array.shape[1] <= MAX_RESIDUES
    if not square or array.dtype.kind not in "fiu":
        what = f"has an array of {array.dtype} and shape {array.shape}, "
        what += f"which is not a square matrix of numbers with at most {MAX_RESIDUES} rows"
        raise InputError(what, _ADVICE, where=source)
    with np.errstate(over="ignore"):  # infinity is refused below
        errors = array.astype(np.float32)
    wrong = np.argwhere(~((errors >= 0) & (errors <= _MAX_ERROR)))
    if len(wrong):
        row, column = wrong[0].tolist()
        _refuse(array[row, column].item(), f"{source}, row {row + 1}, column {column + 1}")
    return errors


def _of_json(data: bytes, source: str) -> TokenPae:
    lists = _Lists(data, source)
    found = lists.content
    if isinstance(found, list) and found and isinstance(found[0], dict):
        if len(found) > 1:
            what = f"has a list of {len(found)} objects, as of several predictions"
            raise InputError(what, "save that of one prediction", where=source)
        found = found[0]
    if isinstance(found, dict):
        name = next((name for name in _NAMES if name in found), None)
        if name is None:
            if set(_PAIRS) <= found.keys():
                errors = _of_pairs([found[each] for each in _PAIRS], lists)
                return TokenPae(errors, None, _max_error(found))
            raise _unnamed(found, source)
        rows, places = found[name], [found.get(each) for each in _TOKENS]
    else:
        rows, places = found, [None]
    if not isinstance(rows, list) or lists.is_flat(rows):
        what = f"has no square matrix called {' or '.join(_NAMES)}"
        raise InputError(what, _ADVICE, where=source)
    if len(rows) > MAX_RESIDUES:
        what = f"has a matrix of {len(rows)} rows, more than {MAX_RESIDUES}"
        raise InputError(what, "give a smaller prediction", where=source)
    errors = np.empty((len(rows), len(rows)), np.float32)
    for number, row in enumerate(rows, start=1):
        where = f"{source}, row {number}"
        length = lists.length(row)
        if length != len(rows):
            shown = "an object" if isinstance(row, dict) else quoted(row)
            size = shown if length is None else counted(length, "value")
            what = f"has {size} where the matrix has {counted(len(rows), 'row')}"
            raise InputError(what, _ADVICE, where=where)
        errors[number - 1] = _numbers(lists.values(row, where), where)
    max_error = _max_error(found)
    if None in places:
        return TokenPae(errors, None, max_error)
    columns = [  # lists of another length may be too long to be parsed
        lists.values(each, source) if lists.length(each) == len(rows) else None for each in places
    ]
    return TokenPae(errors, _places(columns, len(rows), source), max_error)


def _max_error(found: Any) -> float | None:
    """Return the largest error that a file states that its network can express."""
    values: list[Any] = [found.get(each) for each in _MAX_NAMES] if isinstance(found, dict) else []
    known = (float(each) for each in values if type(each) in (int, float) and 0 < each < _MAX_ERROR)
    return next(known, None)


class _Lists:
    """A JSON text whose lists of numbers are read one at a time.

    As objects, numbers take several times the memory of their text.

    Attributes:
        source: The file.
        content: The content, with a list of one number for each list without texts and lists.
    """

    def __init__(self, data: bytes, source: str) -> None:
        if data.startswith(_UTF_16):
            data = data.decode("utf-16", "replace").encode()
        self._data, self.source = data, source
        self._spans: list[tuple[int, int]] = []
        limits = {b"[": _MAX_LISTS, b"{": _MAX_OBJECTS, b'"': _MAX_QUOTES}
        if any(data.count(sign) > most for sign, most in limits.items()):
            raise self._too_much()
        rest = _PART.sub(self._set_aside, data)
        if len(rest) > _MAX_UNPACKED:
            raise self._too_much()
        self.content = self._parse(decode(rest, source), source)

    def _set_aside(self, part: re.Match[bytes]) -> bytes:
        if part[0].startswith(b'"'):
            return part[0]
        self._spans.append(part.span())
        return b"[%d]" % (len(self._spans) - 1)

    def is_flat(self, value: Any) -> bool:
        """Return whether a value of the content stands for a list without texts and lists."""
        return isinstance(value, list) and len(value) == 1 and type(value[0]) is int

    def length(self, value: Any) -> int | None:
        """Return the length of a list, or None if the value is not a list."""
        if not self.is_flat(value):
            return len(value) if isinstance(value, list) else None
        start, end = self._spans[value[0]]
        commas = self._data.count(b",", start, end)
        return commas + 1 if commas or self._data[start + 1 : end - 1].strip() else 0

    def values(self, value: Any, where: object) -> Any:
        """Return a list of the content, or the value itself if it is not a list."""
        if not self.is_flat(value):
            return value
        start, end = self._spans[value[0]]
        return self._parse(self._data[start:end], where)

    def _parse(self, text: str | bytes, where: object) -> Any:
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise InputError("is not valid JSON", _ADVICE, where=where) from None

    def _too_much(self) -> InputError:
        what = "has more lists or texts than a PAE file"
        return InputError(what, _ADVICE, where=self.source)


def _of_pairs(columns: list[Any], lists: _Lists) -> Float[np.ndarray, "N N"]:
    """Return the matrix of AlphaFold DB's first version, which lists pairs of residues."""
    source = lists.source
    lengths = [lists.length(each) for each in columns]
    total = lengths[0] or 0
    num = math.isqrt(total)
    if {*lengths} != {total} or not 0 < total <= _MAX_PAIRS:
        what = f"has the lists {', '.join(_PAIRS)} that are not of one length up to {_MAX_PAIRS}"
        raise InputError(what, _ADVICE, where=source)
    places = []
    for name, column in zip(_PAIRS[:2], columns, strict=False):
        values = lists.values(column, source)
        if {*map(type, values)} != {int} or min(values) < 1 or max(values) > num:
            what = f"has {name} that are not numbers of residues from 1 to {num}"
            raise InputError(what, _ADVICE, where=source)
        places.append(np.array(values) - 1)
    errors = np.full((num, num), np.nan, np.float32)
    errors[places[0], places[1]] = _numbers(lists.values(columns[2], source), f"{source}, distance")
    missing = np.argwhere(np.isnan(errors))
    if len(missing):
        one, other = (missing[0] + 1).tolist()
        raise InputError(f"has no error for residues {one} and {other}", _ADVICE, where=source)
    return errors


def _places(columns: list[Any], num_tokens: int, source: str) -> list[tuple[str, int]] | None:
    """Return chain and residue number of each token; None if the numbers only count the tokens.

    Names may be numbers, and numbers may be texts or floats.
    """
    if any(not isinstance(each, list) or len(each) != num_tokens for each in columns):
        what = f"has {_TOKENS[0]} and {_TOKENS[1]} that are not lists of one entry for each row"
        raise InputError(what, _ADVICE, where=source)
    chains, numbers = ([str(each).removesuffix(".0") for each in column] for column in columns)
    plain = {type(each) for column in columns for each in column} <= {str, int, float}
    if not plain or not all(map(_WHOLE.fullmatch, numbers)):
        what = f"has {_TOKENS[0]} or {_TOKENS[1]} that are not names and whole numbers"
        raise InputError(what, _ADVICE, where=source)
    if (whole := list(map(int, numbers))) == list(range(num_tokens)):
        return None  # as in RoseTTAFold3, with chains such as A_1
    return list(zip(chains, whole, strict=True))


def _numbers(values: list[Any], where: str) -> Float[np.ndarray, " N"]:
    for column, value in enumerate(values, 1) if {*map(type, values)} - {int, float} else ():
        if type(value) not in (int, float):
            shown = "a list" if isinstance(value, list) else value
            _refuse(shown, f"{where}, column {column}")
    try:
        numbers = np.array(values, float)
    except OverflowError:
        _refuse(max(values, key=abs), where)
    wrong = np.flatnonzero(~((numbers >= 0) & (numbers <= _MAX_ERROR)))
    if len(wrong):
        _refuse(values[wrong[0]], f"{where}, column {wrong[0] + 1}")
    return numbers


def _unnamed(names: Iterable[str], source: str) -> InputError:
    what = f"has {quoted(', '.join(names), 200)}, none of which is called "
    return InputError(f"{what}{', '.join(_NAMES[:-1])} or {_NAMES[-1]}", _ADVICE, where=source)


def _refuse(value: object, where: str) -> NoReturn:
    what = f"has {quoted(value)}, which is not a number of at least 0"
    raise InputError(what, "fix the file", where=where)
