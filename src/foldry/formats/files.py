"""Files as bytes and text: read gunzipped and never more than a bounded size, written whole."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

from foldry.errors import InputError

MAX_BYTES: Final = 512 * 1024**2
"""The most that is read of one file, after decompression."""

_GZIP_MAGIC: Final = b"\x1f\x8b"


def stem(path: Path) -> str:
    """A file's name without folder, `.gz` and suffix."""
    return Path(path.name.removesuffix(".gz")).stem


def read_bytes(path: Path) -> bytes:
    """The content of a file; gzip is recognised by its first two bytes and decompressed.

    Raises:
        InputError: The file is missing, a folder, unreadable, damaged, or larger than `MAX_BYTES`.
    """
    try:
        with path.open("rb") as file:
            packed = file.read(2) == _GZIP_MAGIC
            file.seek(0)
            if packed:
                with gzip.GzipFile(fileobj=file) as unpacked:
                    data = unpacked.read(MAX_BYTES + 1)
            else:
                data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise InputError("does not exist", "check the path", where=path) from None
    except IsADirectoryError:
        raise InputError("is a folder", "give a file", where=path) from None
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise InputError("is a damaged gzip file", "compress it again", where=path) from None
    except OSError as error:
        reason = error.strerror or "it cannot be opened"
        raise InputError(f"cannot be read ({reason})", "check the file", where=path) from None
    if len(data) > MAX_BYTES:
        raise InputError(
            f"holds more than {MAX_BYTES // 1024**2} MiB after decompression",
            "give a smaller file",
            where=path,
        )
    return data


def read_text(path: Path) -> str:
    """The content of a text file, without a byte-order mark and with Unix line ends.

    Raises:
        InputError: As `read_bytes`, or the file is binary or not UTF-8.
    """
    return decode(read_bytes(path), str(path))


def decode(data: bytes, source: str) -> str:
    """Text of UTF-8 bytes, without a byte-order mark and with Unix line ends.

    Raises:
        InputError: The bytes are binary or not UTF-8.
    """
    if b"\0" in data:
        raise InputError("is a binary file", "give a text file", where=source)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            "is not UTF-8", "save the file as UTF-8", where=f"{source}, line {line}"
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file that is whole or the one before, even after a power cut."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def whole_file(path: Path) -> Iterator[TextIO]:
    """A text file to write that has a temporary name until it is whole.

    On an exception there is none, and what was at the path before stays.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("w", encoding="utf-8", newline="") as file:
            yield file
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
