"""BinaryCIF: the categories of mmCIF as packed columns.

Source: Sehnal et al. 2020, doi:10.1371/journal.pcbi.1008247, and the specification 0.3.

Packed columns can expand without limit: a run length of eight bytes makes millions of rows, and one
long string in many rows fills the memory. Sizes are therefore checked before anything is created.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise
from typing import Any, Final, TypeVar

import gemmi
import msgpack  # type: ignore[import-untyped]
import numpy as np

from foldry.errors import InputError

MAX_WORK: Final = 110_000_000
"""Limit on what one file may unpack to: a number costs 1 in each decoding step, a text 10 and half
its length. It allows for 350,000 atoms and keeps the memory below 1 GB."""
MAX_ITEMS: Final = 1_000_000
"""Limit on the number of lists, maps and their items; packed numbers do not count."""
_START: Final = 4096
"""Number of bytes in which the key of the data blocks is expected."""
_MAX_LENGTH: Final = 10_000
"""Limit on the length of one list or map."""

_TYPES: Final = {1: "i1", 2: "<i2", 3: "<i4", 4: "u1", 5: "<u2", 6: "<u4", 32: "<f4", 33: "<f8"}
_PRESENT, _INAPPLICABLE = 0, 1
_TEXT_COST: Final = 10
_DAMAGE: Final = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""Exceptions that decoding of damaged bytes may raise."""
_Items = TypeVar("_Items", list[Any], dict[Any, Any])


def is_binarycif(data: bytes) -> bool:
    """Return whether a file begins as BinaryCIF: with a map that has data blocks."""
    return data[:1] >= b"\x80" and b"dataBlocks" in data[:_START]


def read_binarycif(data: bytes, categories: Collection[str], source: str) -> gemmi.cif.Block:
    """Return the first data block with atoms, or the first one, with only these categories.

    Args:
        data: Content of the file, decompressed.
        categories: Names such as `_atom_site`.
        source: Name of the file in error messages.

    Raises:
        InputError: The bytes are not BinaryCIF, or unpack to more than `MAX_WORK`.
    """
    decoder = _Decoder(source)
    try:
        with np.errstate(divide="raise", invalid="raise", over="raise"):
            blocks = decoder.unpack(data)["dataBlocks"]
            names = ({each["name"] for each in block["categories"]} for block in blocks)
            first = next(
                (b for b, n in zip(blocks, names, strict=True) if "_atom_site" in n), blocks[0]
            )
            block = gemmi.cif.Block(first["header"])
            for category in first["categories"]:
                if category["name"] in categories:
                    columns = {each["name"]: decoder.column(each) for each in category["columns"]}
                    block.set_mmcif_category(category["name"] + ".", columns)
    except InputError:
        raise
    except _DAMAGE as error:
        what = f"is not a BinaryCIF file that can be read ({type(error).__name__})"
        raise InputError(what, "give mmCIF or PDB", where=source) from None
    return block


class _Decoder:
    """Decodes columns within limits, so that a small file cannot use up the memory."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._work = MAX_WORK
        self._items = MAX_ITEMS

    def unpack(self, data: bytes) -> Any:
        """Return the lists and maps of the file."""

        def count(items: _Items) -> _Items:
            self._items -= 1 + len(items)
            self._check(self._items)
            return items

        limits = {"max_array_len": _MAX_LENGTH, "max_map_len": _MAX_LENGTH}
        return msgpack.unpackb(data, raw=False, list_hook=count, object_hook=count, **limits)

    def column(self, column: dict[str, Any]) -> list[Any]:
        """Return texts; None where the file has `?`, False where it has `.`."""
        array = self._decode(column["data"])
        self._charge(_TEXT_COST * len(array))
        values: list[Any] = [str(value) for value in array.tolist()]
        self._charge(sum(map(len, values)) // 2)
        if column.get("mask"):
            states = self._decode(column["mask"])
            if len(states) != len(values):
                raise ValueError("a mask of another length")
            for row in np.flatnonzero(states != _PRESENT).tolist():
                values[row] = False if states[row] == _INAPPLICABLE else None
        return values

    def _charge(self, cost: int) -> None:
        self._work -= 1 + cost
        self._check(self._work)

    def _check(self, left: int) -> None:
        if left < 0:
            what = "unpacks to more than a BinaryCIF file may hold"
            raise InputError(what, "give mmCIF, or fewer chains", where=self._source)

    def _decode(self, packed: dict[str, Any]) -> np.ndarray:
        array: Any = packed["data"]
        for encoding in reversed(packed["encoding"]):
            array = self._undo(array, encoding)
        if not isinstance(array, np.ndarray):
            raise TypeError("bytes without an encoding")
        return array

    def _undo(self, array: Any, encoding: dict[str, Any]) -> np.ndarray:
        decoded: np.ndarray
        self._charge(len(array))
        match encoding["kind"]:
            case "ByteArray":
                decoded = np.frombuffer(array, _TYPES[encoding["type"]])
            case "FixedPoint":
                decoded = array / float(encoding["factor"])
            case "IntervalQuantization":
                low, high = float(encoding["min"]), float(encoding["max"])
                decoded = low + array * ((high - low) / (int(encoding["numSteps"]) - 1))
            case "RunLength":
                values, counts = array.reshape(-1, 2).T
                if (counts < 0).any():
                    raise ValueError("a negative run length")
                self._charge(int(counts.sum(dtype=float)))  # floats cannot overflow
                decoded = np.repeat(values, counts.astype(np.int64))
            case "Delta":
                decoded = np.cumsum(array, dtype=np.int64) + int(encoding["origin"])
            case "IntegerPacking":
                decoded = _unpack(array, encoding["byteCount"], encoding["isUnsigned"])
            case "StringArray":
                decoded = self._strings(array, encoding)
            case kind:
                raise ValueError(f"unknown encoding {kind}")
        return decoded

    def _strings(self, array: Any, encoding: dict[str, Any]) -> np.ndarray:
        """Return texts, which are parts of a long text, by their numbers; −1 is the empty text."""
        offsets = self._decode(
            {"data": encoding["offsets"], "encoding": encoding["offsetEncoding"]}
        )
        numbers = self._decode({"data": array, "encoding": encoding["dataEncoding"]})
        text = encoding["stringData"]
        unknown = (numbers < -1) | (numbers >= max(len(offsets) - 1, 0))
        if not isinstance(text, str) or unknown.any():
            raise ValueError("texts that the file does not hold")
        # Overlapping parts could create more text than the file has.
        within = len(offsets) < 2 or 0 <= offsets[0] <= offsets[-1] <= len(text)
        if not within or (offsets[1:] < offsets[:-1]).any():
            raise ValueError("offsets that do not ascend within the text")
        self._charge(_TEXT_COST * len(offsets))
        distinct = [text[start:end] for start, end in pairwise(offsets.tolist())]
        return np.asarray(np.array([*distinct, ""], dtype=object)[numbers])


def _unpack(array: np.ndarray, num_bytes: int, unsigned: bool) -> np.ndarray:
    """Return integers written as sums: a number at an end of the type is added to the next."""
    if num_bytes not in (1, 2):
        raise ValueError("integers are packed into one or two bytes")
    upper = 2 ** (8 * num_bytes - (not unsigned)) - 1
    ends = array != upper
    if not unsigned:
        ends &= array != -upper - 1
    sums = np.cumsum(array, dtype=np.int64)[ends]
    return np.diff(sums, prepend=0)
