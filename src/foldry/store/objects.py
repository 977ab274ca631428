"""Content-addressed objects in a folder: compressed bytes, named by their SHA-256.

An object is written once and never changed. Many processes may put and get at the same time; `gc`
removes objects that are no longer referenced.
"""

from __future__ import annotations

import os
import re
import time
import zlib
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from foldry.errors import FaultError, InputError
from foldry.store.files import MAX_BYTES, make_folder, sweep, write_bytes
from foldry.store.flock import locked
from foldry.store.hashes import sha256

GRACE_SECONDS: Final = 3600.0
"""A younger object may belong to a process that has not yet recorded its name."""
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Compressor:
    """A way to compress objects.

    Attributes:
        magic: First bytes of compressed data.
        compress: Compresses data.
        decompress: Decompresses data; ValueError if they are damaged, or larger than the second
            argument.
    """

    magic: bytes
    compress: Callable[[bytes], bytes]
    decompress: Callable[[bytes, int], bytes]


def _decompress(data: bytes, max_bytes: int) -> bytes:
    decompressor = zlib.decompressobj()
    try:
        unpacked = decompressor.decompress(data, max_bytes)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if not decompressor.eof:
        raise ValueError("the data are cut off or too large")
    return unpacked


ZLIB: Final = Compressor(b"\x78", zlib.compress, _decompress)
"""The standard library's compressor, available on every machine."""


@dataclass(frozen=True)
class ObjectStore:
    """A folder of objects.

    Attributes:
        folder: The folder, made with the first object.
        compressors: The first compresses new objects; all are tried for reading.

    Example:
        >>> import tempfile
        >>> store = ObjectStore(Path(tempfile.mkdtemp()))
        >>> digest = store.put(b"MKTAYIAKQR")
        >>> store.get(digest)
        b'MKTAYIAKQR'
    """

    folder: Path
    compressors: tuple[Compressor, ...] = (ZLIB,)

    def put(self, data: bytes) -> str:
        """Store bytes, unless they are stored already, and return their SHA-256.

        Raises:
            InputError: The folder cannot be written, or there are more than `MAX_BYTES`.
            DiskFullError: No space is left.
        """
        if len(data) > MAX_BYTES:
            what = f"cannot hold an object of {len(data)} bytes"
            raise InputError(what, "split it", where=self.folder)
        digest = sha256(data)
        path = self._path(digest)
        make_folder(path.parent)
        with locked(self.folder.resolve(), shared=True, wait=True):  # `gc` waits for it
            if self.get(digest) is not None:
                os.utime(path)  # protects it from `gc` for another hour
            else:
                write_bytes(path, self.compressors[0].compress(data))
        return digest

    def get(self, digest: str, max_bytes: int = MAX_BYTES) -> bytes | None:
        """Return the object with a hash; None if missing, damaged or larger than `max_bytes`."""
        try:
            packed = self._path(digest).read_bytes()
        except FileNotFoundError:
            return None
        for compressor in self.compressors:
            if packed.startswith(compressor.magic):
                with suppress(ValueError):
                    data = compressor.decompress(packed, max_bytes)
                    return data if sha256(data) == digest else None
        return None

    def digests(self) -> Iterator[str]:
        """Return the hashes of all objects, in any order."""
        names = (path.parent.name + path.name for path in self.folder.glob("??/*"))
        return filter(_DIGEST.fullmatch, names)

    def gc(self, named: Collection[str], grace: float = GRACE_SECONDS) -> int:
        """Remove objects that are not referenced, except the youngest.

        Args:
            named: Hashes of the objects to keep.
            grace: Age in seconds below which objects are kept.

        Returns:
            The number of objects removed.
        """
        if not self.folder.is_dir():
            return 0
        oldest = time.time() - grace
        with locked(self.folder.resolve(), wait=True):
            for folder in self.folder.glob("??"):
                sweep(folder)
            paths = [self._path(digest) for digest in self.digests() if digest not in named]
            old = [path for path in paths if path.stat().st_mtime <= oldest]
            for path in old:
                path.unlink()
        return len(old)

    def _path(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise FaultError(f"{digest!r} is not the hash of an object", "please report it")
        return self.folder / digest[:2] / digest[2:]
