"""Categories → BinaryCIF, encoded as Mol* and python-ihm read it.

Source: Sehnal et al. 2020, doi:10.1371/journal.pcbi.1008247, and the specification 0.3.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any, Final

import msgpack  # type: ignore[import-untyped]
import numpy as np
from jaxtyping import Int

from foldry.formats.cif_table import Category, Coded, Column, Missing, Numbers, Value

_VERSION: Final = "0.3.0"
_STATES: Final = {Missing.INAPPLICABLE: 1, Missing.UNKNOWN: 2}
_INT8, _INT32, _UINT8, _FLOAT64 = 1, 3, 4, 33
_PACKED: Final = {(1, False): 1, (2, False): 2, (1, True): 4, (2, True): 5}
"""Type of the packed integers, by their bytes and whether they are unsigned."""
_TYPES: Final = {1: "i1", 2: "<i2", 4: "u1", 5: "<u2"}
_FEW: Final = 64
"""Up to so many rows, the shortest encoding is not worth its search."""
_SHORTEST_RUNS: Final = 4
"""Mean length of runs from which they are shorter than their values."""


def binarycif(name: str, categories: Iterable[Category]) -> bytes:
    """Return the bytes of a file with one data block.

    Args:
        name: Name of the block.
        categories: Its categories.
    """
    packed = [
        {
            "name": each.name,
            "rowCount": len(each),
            "columns": [_column(tag, column) for tag, column in each.columns.items()],
        }
        for each in categories
        if len(each)
    ]
    block = {"header": name, "categories": packed}
    file = {"encoder": "foldry", "version": _VERSION, "dataBlocks": [block]}
    return bytes(msgpack.packb(file))


def _column(tag: str, column: Column) -> dict[str, Any]:
    if isinstance(column, Numbers):
        return {"name": tag, "data": _decimals(column), "mask": None}
    if isinstance(column, Coded):
        states = [_state(name) for name in column.names]
        texts = [
            "" if state else str(name) for state, name in zip(states, column.names, strict=True)
        ]
        mask = _integers(np.array(states)[column.codes]) if any(states) else None
        return {"name": tag, "data": _strings(texts, column.codes), "mask": mask}
    states = [_state(value) for value in column]
    mask = _few(states) if any(states) else None
    numbers = [value for value in column if isinstance(value, int)]
    if len(numbers) == len(column):
        return {"name": tag, "data": _few(numbers), "mask": mask}
    texts = ["" if state else str(value) for state, value in zip(states, column, strict=True)]
    names = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    codes = [names[text] for text in texts]
    return {"name": tag, "data": _strings(list(names), codes), "mask": mask}


def _state(value: Value) -> int:
    """Return the mark of a value in a mask: 0 present, 1 inapplicable, 2 unknown."""
    if isinstance(value, Missing):
        return _STATES[value]
    return 2 if value == "" else 0


def _strings(names: list[str], codes: Sequence[int] | Int[np.ndarray, " R"]) -> dict[str, Any]:
    offsets = _few([0, *accumulate(map(len, names))])
    numbers = _integers(codes) if isinstance(codes, np.ndarray) else _few(codes)
    encoding = {
        "kind": "StringArray",
        "dataEncoding": numbers["encoding"],
        "stringData": "".join(names),
        "offsetEncoding": offsets["encoding"],
        "offsets": offsets["data"],
    }
    return {"encoding": [encoding], "data": numbers["data"]}


def _decimals(column: Numbers) -> dict[str, Any]:
    factor = 10**column.decimals
    if np.abs(column.values).max(initial=0) > np.iinfo(np.int32).max:
        data = (column.values / factor).astype("<f8").tobytes()
        return {"encoding": [{"kind": "ByteArray", "type": _FLOAT64}], "data": data}
    found = _integers(column.values)
    if column.decimals:
        fixed = {"kind": "FixedPoint", "factor": factor, "srcType": _FLOAT64}
        found["encoding"].insert(0, fixed)
    return found


def _few(values: Sequence[int]) -> dict[str, Any]:
    """Return integers of which there are few, without a search for the shortest encoding."""
    if len(values) > _FEW:
        return _integers(np.array(values, np.int64))
    if min(values) >= 0 and max(values) < 256:
        encoding, data = {"kind": "ByteArray", "type": _UINT8}, bytes(values)
    else:
        encoding, data = (
            {"kind": "ByteArray", "type": _INT32},
            struct.pack(f"<{len(values)}i", *values),
        )
    return {"encoding": [encoding], "data": data}


def _integers(values: Int[np.ndarray, " R"]) -> dict[str, Any]:
    """Return integers as runs or as differences if these are shorter."""
    size = len(values)
    steps = np.empty_like(values)
    steps[0] = 0
    np.subtract(values[1:], values[:-1], out=steps[1:])
    delta = {"kind": "Delta", "origin": int(values[0]), "srcType": _INT32}
    for first, each in (([], values), ([delta], steps)):
        begins = np.flatnonzero(each[1:] != each[:-1]) + 1
        if _SHORTEST_RUNS * (len(begins) + 1) <= size:
            runs = np.empty((len(begins) + 1, 2), np.int64)
            runs[0, 0], runs[1:, 0] = each[0], each[begins]
            runs[:, 1] = np.diff(begins, prepend=0, append=size)
            run = {"kind": "RunLength", "srcType": _INT32, "srcSize": size}
            encoding, data = _pack(runs.ravel())
            return {"encoding": [*first, run, *encoding], "data": data}
    is_shorter = steps.max() - steps.min() < values.max() - values.min()
    encoding, data = _pack(steps if is_shorter else values)
    return {"encoding": [delta, *encoding] if is_shorter else encoding, "data": data}


def _pack(values: Int[np.ndarray, " R"]) -> tuple[list[dict[str, Any]], bytes]:
    """Return integers in one, two or four bytes each, or in two with sums for those too large."""
    size, lowest, highest = len(values), int(values.min()), int(values.max())
    unsigned = lowest >= 0
    for num_bytes in (1, 2):
        upper = 2 ** (8 * num_bytes - (not unsigned)) - 1
        if -upper - 1 < lowest and highest < upper:
            break
    else:
        ends = np.where(values < 0, -upper - 1, upper)
        extra = values // ends
        if extra.sum() >= size:
            return [{"kind": "ByteArray", "type": _INT32}], values.astype("<i4").tobytes()
        rest = values - extra * ends
        values = np.repeat(ends, extra + 1)
        values[np.cumsum(extra + 1) - 1] = rest
    kind = _PACKED[num_bytes, unsigned]
    packing = {
        "kind": "IntegerPacking",
        "byteCount": num_bytes,
        "isUnsigned": unsigned,
        "srcSize": size,
    }
    return [packing, {"kind": "ByteArray", "type": kind}], values.astype(_TYPES[kind]).tobytes()
