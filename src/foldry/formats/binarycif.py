"""BinaryCIF: mmCIF's categories as packed columns.

Source: Sehnal et al. 2020, doi:10.1371/journal.pcbi.1008247, and the specification 0.3.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise
from typing import Any, Final

import gemmi
import msgpack  # type: ignore[import-untyped]
import numpy as np

from foldry.errors import InputError

MAX_ROWS: Final = 5_000_000
"""The longest column that is decoded, so that a small file cannot ask for all memory."""

_TYPES: Final = {1: "i1", 2: "<i2", 3: "<i4", 4: "u1", 5: "<u2", 6: "<u4", 32: "<f4", 33: "<f8"}
_PRESENT, _INAPPLICABLE = 0, 1
_DAMAGE: Final = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What decoding bytes that are not what they should be may raise."""


def read_binarycif(data: bytes, categories: Collection[str], source: str) -> gemmi.cif.Block:
    """The first data block, with these categories only.

    Args:
        data: The file's bytes, decompressed.
        categories: Names such as `_atom_site`.
        source: What errors call the file.

    Raises:
        InputError: The bytes are not BinaryCIF.
    """
    try:
        content = msgpack.unpackb(data, raw=False)
        first = content["dataBlocks"][0]
        block = gemmi.cif.Block(first["header"])
        for category in first["categories"]:
            if category["name"] in categories:
                columns = {column["name"]: _column(column) for column in category["columns"]}
                block.set_mmcif_category(category["name"] + ".", columns)
    except _DAMAGE as error:
        what = f"is not a BinaryCIF file that can be read ({type(error).__name__})"
        raise InputError(what, "give mmCIF or PDB", where=source) from None
    return block


def _column(column: dict[str, Any]) -> list[Any]:
    """Strings; None where the file says `?`, False where it says `.`."""
    values: list[Any] = [str(value) for value in _decode(column["data"]).tolist()]
    if column.get("mask"):
        states = _decode(column["mask"]).tolist()
        for row, state in enumerate(states):
            if state != _PRESENT:
                values[row] = False if state == _INAPPLICABLE else None
    return values


def _decode(packed: dict[str, Any]) -> np.ndarray:
    array: Any = packed["data"]
    for encoding in reversed(packed["encoding"]):
        array = _undo(array, encoding)
    return np.asarray(array)


def _undo(array: Any, encoding: dict[str, Any]) -> np.ndarray:
    decoded: np.ndarray
    match encoding["kind"]:
        case "ByteArray":
            decoded = np.frombuffer(array, _TYPES[encoding["type"]])
        case "FixedPoint":
            decoded = array / encoding["factor"]
        case "IntervalQuantization":
            step = (encoding["max"] - encoding["min"]) / (encoding["numSteps"] - 1)
            decoded = encoding["min"] + array * step
        case "RunLength":
            values, counts = array[::2], array[1::2].astype(np.int64)
            if (counts < 0).any() or (counts > MAX_ROWS).any() or counts.sum() > MAX_ROWS:
                raise ValueError("too long a column")
            decoded = np.repeat(values, counts)
        case "Delta":
            decoded = np.cumsum(array, dtype=np.int64) + encoding["origin"]
        case "IntegerPacking":
            decoded = _unpack(array, encoding["byteCount"], encoding["isUnsigned"])
        case "StringArray":
            decoded = _strings(array, encoding)
        case kind:
            raise ValueError(f"unknown encoding {kind}")
    return decoded


def _unpack(array: np.ndarray, num_bytes: int, unsigned: bool) -> np.ndarray:
    """Integers written as sums: every number at the type's end is added to what follows it."""
    upper = 2 ** (8 * num_bytes - (not unsigned)) - 1
    ends = array != upper
    if not unsigned:
        ends &= array != -upper - 1
    sums = np.cumsum(array, dtype=np.int64)[ends]
    return np.diff(sums, prepend=0)


def _strings(array: Any, encoding: dict[str, Any]) -> np.ndarray:
    """Strings by their number in one long text; −1 stands for none."""
    offsets = _decode({"data": encoding["offsets"], "encoding": encoding["offsetEncoding"]})
    numbers = _decode({"data": array, "encoding": encoding["dataEncoding"]})
    text, ends = encoding["stringData"], offsets.tolist()
    distinct = [text[start:end] for start, end in pairwise(ends)]
    return np.asarray(np.array([*distinct, ""], dtype=object)[numbers])
