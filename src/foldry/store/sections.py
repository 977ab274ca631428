"""Bytes in sections, each of which an object store compresses on its own.

Text, coordinates and errors have different statistics: compressed apart they take less space than
as one stream. The container is uncompressed, so that its hash depends on its content alone and not
on the version of a compressor.

    "FSEC"  number of sections (uint32)  length of each (uint32)  the sections
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Final

_MAGIC: Final = b"FSEC"
MAX_SECTIONS: Final = 64


def join_sections(sections: Sequence[bytes]) -> bytes:
    """Return sections as one container.

    Example:
        >>> [bytes(each) for each in split_sections(join_sections([b"one", b"", b"two"]))]
        [b'one', b'', b'two']
    """
    lengths = [len(each) for each in sections]
    head = struct.pack(f"<4s{1 + len(lengths)}I", _MAGIC, len(lengths), *lengths)
    return b"".join([head, *sections])


def split_sections(data: bytes) -> list[memoryview]:
    """Return the sections of a container, without copying them.

    Raises:
        ValueError: The bytes are not a container.
    """
    ends = _ends(data)
    if not ends:
        raise ValueError("these are not sections")
    view = memoryview(data)
    return [view[start:end] for start, end in pairwise(ends)]


def pieces(data: bytes) -> list[memoryview]:
    """Return any bytes in the pieces to compress: the sections of a container, the first
    with the head, or all at once."""
    ends = _ends(data)[1:] or [len(data)]
    view = memoryview(data)
    return [view[start:end] for start, end in pairwise([0, *ends]) if end > start or not data]


def _ends(data: bytes) -> list[int]:
    """Return the ends of the head and of each section; empty if the bytes are not a container."""
    if len(data) < 8 or not data.startswith(_MAGIC):
        return []
    (count,) = struct.unpack_from("<I", data, 4)
    head = 8 + 4 * count
    if count > MAX_SECTIONS or len(data) < head:
        return []
    ends = list(accumulate(struct.unpack_from(f"<{count}I", data, 8), initial=head))
    return ends if ends[-1] == len(data) else []
