"""Files packed with gzip, xz or zstd, which are read as if they were not."""

from __future__ import annotations

import io
import lzma
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

from foldry.errors import InputError

PACKED_SUFFIXES: Final = (".gz", ".xz", ".zst")
"""Suffixes of the names of packed files, which are recognised by their first bytes alone."""
_MAGIC: Final = {
    b"\x1f\x8b": "gzip",
    b"\xfd7zXZ\0": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x50\x2a\x4d\x18": "zstd",  # pzstd's frame before the first one with data
}
_MAX_WINDOW: Final = 128 * 1024**2
"""Memory for unpacking: `xz -9` needs 65 MiB, `zstd --ultra -22` 128 MiB."""
_PIECE: Final = 1024
"""Bytes that are unpacked at a time: zstd may expand each four bytes to 128 KiB."""


def unpacked(file: BinaryIO, packing: str) -> Iterator[bytes]:
    """Yield the content of a packed file, which may consist of several streams.

    Raises:
        EOFError: The file is cut off.
        Exception: The file is damaged; one of `unpacking_errors`.
    """
    packed = file.read(_PIECE)
    while packed:
        decoder = _decoder(packing)
        while not decoder.eof:
            if not packed:
                raise EOFError
            yield decoder.decompress(packed)
            packed = b"" if decoder.eof else file.read(_PIECE)
        packed = decoder.unused_data.lstrip(b"\0")
        while not packed and (piece := file.read(_PIECE)):
            packed = piece.lstrip(b"\0")  # zeros may pad the end of a stream


class UnpackedFile(io.RawIOBase):
    """A packed file that is read as if it were not, of any size.

    Libraries may hide the errors of a file that they read, so damage ends the file, and `check`
    reports it.
    """

    def __init__(self, file: BinaryIO, packing: str, path: Path) -> None:
        super().__init__()
        self._chunks = unpacked(file, packing)
        self._rest = b""
        self._packing, self._path = packing, path
        self._damage: Exception | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            while not self._rest:
                self._rest = next(self._chunks)
        except StopIteration:
            return 0
        except unpacking_errors() as error:
            self._damage = error
            return 0
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size

    def check(self) -> None:
        """Raise `InputError` if the file turned out to be damaged."""
        if self._damage is not None:
            what = f"is a damaged {self._packing} file"
            raise InputError(what, "replace it by a whole copy", where=self._path)


@contextmanager
def open_unpacked(path: Path) -> Iterator[UnpackedFile | None]:
    """Open a gzip, xz or zstd file, known by its first bytes; None for any other file.

    Raises:
        OSError: It cannot be opened.
    """
    with path.open("rb") as file:
        packing = packing_of(file)
        yield UnpackedFile(file, packing, path) if packing else None


def packing_of(file: BinaryIO) -> str:
    """Return how a file is packed, "" if it is not; the file is at its start afterwards."""
    start = file.read(6)
    file.seek(0)
    return next((name for magic, name in _MAGIC.items() if start.startswith(magic)), "")


def _decoder(packing: str) -> Any:
    """Return a new decoder of one stream, with `decompress`, `eof` and `unused_data`."""
    if packing == "gzip":
        return zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    if packing == "xz":
        return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MAX_WINDOW)
    import zstandard  # noqa: PLC0415  (rarely needed)

    return zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).decompressobj()


def unpacking_errors() -> tuple[type[Exception], ...]:
    """Return the errors of a damaged packed file; zstandard is imported only if it was needed."""
    zstd = sys.modules.get("zstandard")
    return (EOFError, zlib.error, lzma.LZMAError, *((zstd.ZstdError,) if zstd else ()))
