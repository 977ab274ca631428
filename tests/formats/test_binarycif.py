"""Small BinaryCIF files that need much memory or time are refused, and others are read."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gemmi
import msgpack  # type: ignore[import-untyped]
import numpy as np
import pytest

from foldry.errors import InputError
from foldry.formats.binarycif import MAX_WORK, read_binarycif

MAX_SECONDS = 5
MAX_MIB = 1024


def integers(*values: int) -> dict[str, Any]:
    """Integers as four bytes each."""
    data = np.array(values, "<i4").tobytes()
    return {"data": data, "encoding": [{"kind": "ByteArray", "type": 3}]}


def run(value: int, count: int) -> dict[str, Any]:
    """One integer many times."""
    packed = integers(value, count)
    return {**packed, "encoding": [{"kind": "RunLength"}, *packed["encoding"]]}


def ascending(count: int) -> dict[str, Any]:
    """The integers from 1, each of them another text."""
    packed = run(1, count)
    return {**packed, "encoding": [{"kind": "Delta", "origin": 0}, *packed["encoding"]]}


def texts(text: str, offsets: dict[str, Any], numbers: dict[str, Any]) -> dict[str, Any]:
    """Parts of a text by their numbers."""
    encoding = {
        "kind": "StringArray",
        "stringData": text,
        "offsets": offsets["data"],
        "offsetEncoding": offsets["encoding"],
        "dataEncoding": numbers["encoding"],
    }
    return {"data": numbers["data"], "encoding": [encoding]}


def file(*columns: dict[str, Any], **changes: Any) -> bytes:
    """A file with one category of these columns."""
    return named_file({f"c{number}": data for number, data in enumerate(columns)}, **changes)


def named_file(columns: dict[str, Any], **changes: Any) -> bytes:
    """A file with one category of these columns by their names."""
    named = [{"name": name, "data": data, "mask": None} | changes for name, data in columns.items()]
    categories = [{"name": "_atom_site", "columns": named}]
    return bytes(msgpack.packb({"dataBlocks": [{"header": "x", "categories": categories}]}))


def overlapping() -> bytes:
    """As many long texts as there are offsets, all in one."""
    count = 2000
    offsets = integers(*(0 if k % 2 else 1_000_000 for k in range(count)))
    return file(texts("x" * 1_000_000, offsets, integers(*range(count - 1))))


def repeated_step(step: dict[str, Any]) -> bytes:
    """A step of decoding very often."""
    packed = run(1, 1_000_000)
    return file({**packed, "encoding": [*[step] * 5000, *packed["encoding"]]})


def nested(item: bytes, count: int) -> bytes:
    """Very many items in one list, and in many short ones."""
    length = 5000
    rows = b"\xdd" + length.to_bytes(4, "big") + item * length
    return b"\xdd" + (count // length).to_bytes(4, "big") + rows * (count // length)


BOMBS: dict[str, Callable[[], bytes]] = {
    "overlapping texts": overlapping,
    "one long run": lambda: file(run(1, 2**31 - 1)),
    "many runs": lambda: file(*[run(1, 4_000_000)] * 40),
    "many distinct numbers": lambda: file(*[ascending(2_000_000)] * 40),
    "many numbers of many digits": lambda: file(
        *[
            {
                **ascending(2_000_000),
                "encoding": [
                    {"kind": "FixedPoint", "factor": 3},
                    *ascending(1)["encoding"],
                ],
            }
        ]
        * 40
    ),
    "a long text in many rows": lambda: file(
        texts("x" * 10_000, integers(0, 10_000), run(0, 4_000_000))
    ),
    "many offsets": lambda: file(*[texts("x", run(0, 5_000_000), integers(0))] * 500),
    "many masks": lambda: file(*[run(1, 300_000)] * 500, mask=run(1, 300_000)),
    "many steps": lambda: repeated_step({"kind": "Delta", "origin": 0}),
    "integers of many bytes": lambda: file(
        {
            "data": b"\1",
            "encoding": [
                {"kind": "IntegerPacking", "byteCount": 10**9, "isUnsigned": True},
                {"kind": "ByteArray", "type": 1},
            ],
        }
    ),
    "a list for a number": lambda: file(
        {
            **run(1, 1_000_000),
            "encoding": [
                {"kind": "Delta", "origin": [[0]] * 9000},
                *run(1, 1)["encoding"],
            ],
        }
    ),
    "empty maps": lambda: nested(b"\x80", 20_000_000),
    "empty lists": lambda: nested(b"\x90", 20_000_000),
    "one long list": lambda: b"\xdd" + (10**8).to_bytes(4, "big") + b"\xc0" * 10**8,
    "lists in lists": lambda: (b"\xdd" + (10_000).to_bytes(4, "big")) * 100_000,
}


_PROGRAM = """
import resource, sys, time
from pathlib import Path
from foldry.errors import InputError
from foldry.formats.binarycif import read_binarycif
data = Path(sys.argv[1]).read_bytes()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    block = read_binarycif(data, {"_atom_site"}, "x.bcif")
    print(block.name)
except InputError as error:
    print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before >> 10)
print(time.process_time())
"""


def read_apart(data: bytes, folder: Path) -> str:
    """What another process says of a file, which it reads in little memory and time."""
    path = folder / "x.bcif"
    path.write_bytes(data)
    ended = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(path)],
        check=True,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30)),
    )
    said, mebibytes, seconds = ended.stdout.splitlines()
    assert int(mebibytes) < MAX_MIB and float(seconds) < MAX_SECONDS
    return said


@pytest.mark.parametrize("name", BOMBS)
def test_a_file_that_asks_for_much_is_refused_quickly(name: str, tmp_path: Path) -> None:
    assert "BinaryCIF file" in read_apart(BOMBS[name](), tmp_path)


def test_the_largest_readable_file_stays_below_the_memory_limit(tmp_path: Path) -> None:
    rows = 250_000
    columns = MAX_WORK // (rows * (2 + 10 + 3))  # one run, one sum, and six digits
    assert read_apart(file(*[ascending(rows)] * columns), tmp_path) == "x"


def test_texts_are_read_by_their_numbers() -> None:
    column = texts("ABCÅ", integers(0, 1, 1, 3, 4), integers(3, -1, 0, 2, 2, 1))
    block = read_binarycif(file(column), {"_atom_site"}, "x.bcif")
    values = [gemmi.cif.as_string(value) for value in block.find_values("_atom_site.c0")]
    assert values == ["Å", "", "A", "BC", "BC", ""]


@pytest.mark.parametrize(
    "column",
    [
        texts("ABC", integers(0, 2, 1), integers(0)),
        texts("ABC", integers(-1, 2), integers(0)),
        texts("ABC", integers(0, 4), integers(0)),
        texts("ABC", integers(0, 1), integers(1)),
        texts("ABC", integers(0, 1), integers(-2)),
        run(1, -1),
    ],
)
def test_numbers_beyond_the_text_are_refused(column: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="not a BinaryCIF file that can be read"):
        read_binarycif(file(column), {"_atom_site"}, "x.bcif")


def test_a_mask_has_one_state_for_each_row() -> None:
    block = read_binarycif(file(integers(1, 2, 3), mask=integers(0, 1, 2)), {"_atom_site"}, "x")
    assert list(block.find_values("_atom_site.c0")) == ["1", ".", "?"]
    with pytest.raises(InputError, match="not a BinaryCIF file that can be read"):
        read_binarycif(file(integers(1, 2, 3), mask=integers(0, 1)), {"_atom_site"}, "x")
