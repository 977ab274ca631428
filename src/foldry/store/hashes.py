"""Content hashes: SHA-256 of bytes, files, and values with arrays in them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields, is_dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

import numpy as np


def sha256(data: bytes | memoryview) -> str:
    """Return the SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def md5(text: str) -> str:
    """Return the MD5 of a text, in hexadecimal; it names a sequence and proves nothing."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def crc64(text: str) -> str:
    """Return the CRC64 of a text as UniProt computes it, 16 hexadecimal digits in upper case.

    The polynomial is x^64 + x^4 + x^3 + x + 1 (ISO 3309), reflected, and begins with 0.

    Example:
        >>> crc64("MKTAYIAKQR")
        '98EEEA3DD04B5DC1'
    """
    value = 0
    for byte in text.encode():
        value = (value >> 8) ^ _CRC64[(value ^ byte) & 0xFF]
    return f"{value:016X}"


def _crc64_of(byte: int) -> int:
    for _ in range(8):
        byte = (byte >> 1) ^ (0xD8 << 56 if byte & 1 else 0)
    return byte


_CRC64: Final = tuple(map(_crc64_of, range(256)))


def new_sha256() -> hashlib._Hash:
    """Return the SHA-256 of nothing, to which `update` adds bytes."""
    return hashlib.sha256()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    return file_digest(path, "sha256").hex()


def file_digest(path: Path, algorithm: str) -> bytes:
    """Return the digest of a file by a named algorithm, such as `md5`.

    MD5 detects damage but not tampering.
    """
    with path.open("rb") as file:
        new = partial(hashlib.new, algorithm, usedforsecurity=False)
        return hashlib.file_digest(file, new).digest()


def content_key(value: object) -> str:
    """Return the SHA-256 of a value's content; the order of dictionaries counts.

    Args:
        value: Values that JSON can represent, NumPy arrays, dataclasses (their compared fields)
            and paths, nested to any depth.

    Raises:
        TypeError: The value contains anything else.

    Example:
        >>> content_key({"a": np.zeros(3)}) == content_key({"a": np.zeros(3)})
        True
    """
    return sha256(json.dumps(value, default=_plain).encode())


def _plain(value: object) -> object:
    """Return a replacement that JSON can write for a value that it cannot."""
    if isinstance(value, Content):
        return value.key
    if is_dataclass(value):
        return _compared(value)
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "UO":  # text of any width
            return value.tolist()
        data = np.ascontiguousarray(value).data
        return [value.dtype.str, value.shape, sha256(data.cast("B") if value.size else b"")]
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no content key")


def _compared(value: Any) -> list[object]:
    named = [getattr(value, field.name) for field in fields(value) if field.compare]
    return [type(value).__qualname__, *named]


class Content:
    """Mixin for frozen dataclasses that compare and hash by content, arrays included.

    Declare them `@dataclass(frozen=True, eq=False)`; fields with `compare=False` do not count. The
    key is computed once: do not change the arrays.
    """

    @cached_property
    def key(self) -> str:
        """The content key."""
        return content_key(_compared(self))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Content) or type(self) is not type(other):
            return NotImplemented
        return self is other or self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)
