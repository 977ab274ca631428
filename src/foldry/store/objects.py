"""Content-addressed objects in a folder: bytes under their own hash, compressed.

An object is written once and never changed. Many processes may put and get at the same time; what
nothing names any more is removed by `gc`.
"""

from __future__ import annotations

import os
import re
import time
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from foldry.errors import FaultError, InputError
from foldry.store import flock
from foldry.store.files import MAX_BYTES, make_folder, sweep, write_bytes
from foldry.store.hashes import sha256

GRACE_SECONDS: Final = 3600.0
"""An object so young may have been put by a process that has yet to write down its name."""
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class Compressor(Protocol):
    """How objects are made small.

    Attributes:
        magic: The bytes that everything it compresses begins with.
    """

    @property
    def magic(self) -> bytes: ...

    def compress(self, data: bytes) -> bytes:
        """Make data smaller."""

    def decompress(self, data: bytes, max_bytes: int) -> bytes:
        """Undo `compress`; ValueError where the data is damaged or larger than `max_bytes`."""


@dataclass(frozen=True)
class Zlib:
    """The standard library's compressor, which every machine has."""

    level: int = 6
    magic: bytes = b"\x78"

    def compress(self, data: bytes) -> bytes:
        """Make data smaller."""
        return zlib.compress(data, self.level)

    def decompress(self, data: bytes, max_bytes: int) -> bytes:
        """Undo `compress`; ValueError where the data is damaged or larger than `max_bytes`."""
        decompressor = zlib.decompressobj()
        try:
            unpacked = decompressor.decompress(data, max_bytes)
        except zlib.error as error:
            raise ValueError(str(error)) from error
        if not decompressor.eof:
            raise ValueError("it is cut off or too large")
        return unpacked


@dataclass(frozen=True)
class ObjectStore:
    """Objects in a folder.

    Attributes:
        folder: Made with the first object.
        compressor: Compresses what is put.
        others: Compressors of objects that were put otherwise.

    Example:
        >>> import tempfile
        >>> store = ObjectStore(Path(tempfile.mkdtemp()))
        >>> digest = store.put(b"MKTAYIAKQR")
        >>> store.get(digest)
        b'MKTAYIAKQR'
    """

    folder: Path
    compressor: Compressor = field(default_factory=Zlib)
    others: tuple[Compressor, ...] = (Zlib(),)

    def put(self, data: bytes) -> str:
        """Keep bytes, once however often they are put; returns their SHA-256.

        Raises:
            InputError: The folder cannot be written, or these are more than `MAX_BYTES`.
            DiskFullError: No space is left.
        """
        if len(data) > MAX_BYTES:
            raise InputError(f"holds no object of {len(data)} bytes", "split it", where=self.folder)
        digest = sha256(data)
        path = self._path(digest)
        make_folder(path.parent)
        with self._lock(exclusive=False):
            if self.get(digest) is not None:
                os.utime(path)  # young again, for `gc`
            else:
                write_bytes(path, self.compressor.compress(data))
        return digest

    def get(self, digest: str, max_bytes: int = MAX_BYTES) -> bytes | None:
        """The bytes of this hash; None where they are missing, damaged or more than `max_bytes`."""
        try:
            packed = self._path(digest).read_bytes()
        except FileNotFoundError:
            return None
        for compressor in (self.compressor, *self.others):
            if packed.startswith(compressor.magic):
                try:
                    data = compressor.decompress(packed, max_bytes)
                except ValueError:
                    return None
                return data if sha256(data) == digest else None
        return None

    def digests(self) -> Iterator[str]:
        """The hashes of all objects, in no order."""
        for path in self.folder.glob("??/*"):
            name = path.parent.name + path.name
            if _DIGEST.fullmatch(name):
                yield name

    def gc(self, named: Collection[str], grace: float = GRACE_SECONDS) -> int:
        """Remove objects that nothing names, but for the youngest.

        Args:
            named: Hashes of the objects to keep.
            grace: Seconds: younger objects are kept too.

        Returns:
            How many were removed.
        """
        removed = 0
        oldest = time.time() - grace
        with self._lock(exclusive=True):
            for folder in self.folder.glob("??"):
                sweep(folder)
            for digest in list(self.digests()):
                path = self._path(digest)
                if digest not in named and path.stat().st_mtime <= oldest:
                    path.unlink()
                    removed += 1
        return removed

    def _path(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise FaultError(f"{digest!r} is not the hash of an object", "please report it")
        return self.folder / digest[:2] / digest[2:]

    @contextmanager
    def _lock(self, *, exclusive: bool) -> Iterator[None]:
        """Many may put at once, but none while objects are removed."""
        if not self.folder.is_dir():
            yield
            return
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            flock.lock(handle, shared=not exclusive, wait=True)
            yield
        finally:
            os.close(handle)
