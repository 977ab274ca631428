"""Content-addressed objects: compressed bytes, named by the SHA-256 of their content.

An object is written once and never changed. Many processes may put and get at the same time. An
object whose content does not have its hash counts as missing, so whatever a power cut leaves behind
is replaced when the object is put again.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Protocol

from foldry.errors import FaultError, InputError, OutsideError, reason
from foldry.store.files import (
    MAX_BYTES,
    make_folder,
    named_path,
    sweep,
    sync_file_system,
    write_bytes,
)
from foldry.store.hashes import sha256
from foldry.store.sections import MAX_SECTIONS, pieces

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_LEVEL: Final = 3


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


def _unzlib(data: bytes, max_bytes: int) -> bytes:
    decompressor = zlib.decompressobj()
    try:
        unpacked = decompressor.decompress(data, max_bytes)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if not decompressor.eof:
        raise ValueError("the data are cut off or too large")
    return unpacked


def _zstd(data: bytes) -> bytes:
    """Return one frame for each section (`foldry.store.sections`)."""
    import zstandard  # noqa: PLC0415  (most of Foldry does not need it)

    first, *others = pieces(data)  # numbers have nothing in common with the dictionary
    texts = zstandard.ZstdCompressor(level=_LEVEL, dict_data=_dictionary())
    numbers = zstandard.ZstdCompressor(level=_LEVEL)
    return b"".join([texts.compress(first), *map(numbers.compress, others)])


def _unzstd(data: bytes, max_bytes: int) -> bytes:
    import zstandard  # noqa: PLC0415  (as above)

    decompressor = zstandard.ZstdDecompressor(dict_data=_dictionary())
    found, size = list[bytes](), 0
    try:
        while data:
            size += max(0, zstandard.frame_content_size(data))  # -1 if unknown
            if size > max_bytes or len(found) > MAX_SECTIONS:
                raise ValueError("the data are too large")
            frame = decompressor.decompressobj()
            found.append(frame.decompress(data))
            if not frame.eof or zstandard.frame_content_size(data) < 0:
                raise ValueError("the data are cut off or of unknown size")
            data = frame.unused_data
    except zstandard.ZstdError as error:
        raise ValueError(str(error)) from error
    return b"".join(found)


@cache
def _dictionary() -> Any:
    """Return text that most records repeat, which no record needs to hold again.

    Stored objects can be read with this text alone: it never changes.
    """
    import zstandard  # noqa: PLC0415  (as above)

    text = files("foldry").joinpath("store", "typical.json").read_bytes()
    return zstandard.ZstdCompressionDict(text, dict_type=zstandard.DICT_TYPE_RAWCONTENT)


ZLIB: Final = Compressor(b"\x78", zlib.compress, _unzlib)
"""The standard library's compressor, available on every machine."""
ZSTD: Final = Compressor(b"\x28\xb5\x2f\xfd", _zstd, _unzstd)
"""Zstandard, several times as fast; it compresses sections apart (`foldry.store.sections`)."""


class Objects(Protocol):
    """A place for objects: a folder (`ObjectStore`) or any URL (`RemoteObjects`)."""

    def put(self, data: bytes) -> str:
        """Store bytes, unless they are stored already, and return their SHA-256."""

    def put_many(self, contents: Sequence[bytes]) -> list[str]:
        """Store several objects; when it returns, all of them are on the disk.

        Raises:
            InputError: The place cannot be written, or an object has more than `MAX_BYTES`.
            DiskFullError: No space is left.
            OutsideError: The disk or the server failed.
        """

    def get(self, digest: str, max_bytes: int = MAX_BYTES) -> bytes | None:
        """Return the object with a hash; None if missing, damaged or larger than `max_bytes`.

        Raises:
            OutsideError: The disk or the server failed.
        """

    def size(self, digest: str) -> int | None:
        """Return the bytes that an object takes, compressed; None if it is missing."""

    def digests(self) -> Iterator[str]:
        """Return the hashes of all objects, in any order."""

    def remove(self, digests: Iterable[str]) -> int:
        """Remove objects and return the number of bytes freed.

        Nobody may put the same objects at the same time: it could rely on one just removed.
        """

    def clean(self) -> None:
        """Remove what killed processes left."""


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
    compressors: tuple[Compressor, ...] = (ZSTD, ZLIB)

    def put(self, data: bytes) -> str:
        """Store bytes, unless they are stored already, and return their SHA-256."""
        return self.put_many([data])[0]

    def put_many(self, contents: Sequence[bytes]) -> list[str]:
        """Store several objects; when it returns, all of them are on the disk."""
        digests = named_digests(contents, self.folder)
        new = {
            digest: data
            for digest, data in zip(digests, contents, strict=True)
            if self.get(digest) is None
        }
        for parent in {self._path(digest).parent for digest in new}:
            make_folder(parent)
        for digest, data in new.items():
            write_bytes(self._path(digest), self.compressors[0].compress(data))
        if contents:  # a killed process may have stored them without waiting for the disk
            sync_file_system(self.folder)
        return digests

    def get(self, digest: str, max_bytes: int = MAX_BYTES) -> bytes | None:
        """Return the object with a hash; None if missing, damaged or larger than `max_bytes`."""
        try:
            with self._path(digest).open("rb") as file:
                size = os.fstat(file.fileno()).st_size  # memory is taken for what is read at most
                packed = file.read(min(size, MAX_BYTES) + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            what = f"cannot be read ({error.strerror or reason(error)})"
            raise OutsideError(what, "check its disk", where=self._path(digest)) from error
        return unpack_object(packed, digest, max_bytes, self.compressors)

    def size(self, digest: str) -> int | None:
        """Return the bytes that an object takes, compressed; None if it is missing."""
        try:
            return self._path(digest).stat().st_size
        except FileNotFoundError:
            return None

    def digests(self) -> Iterator[str]:
        """Return the hashes of all objects, in any order."""
        names = (path.parent.name + path.name for path in self.folder.glob("??/*"))
        return filter(_DIGEST.fullmatch, names)

    def remove(self, digests: Iterable[str]) -> int:
        """Remove objects and return the number of bytes freed."""
        freed = 0
        for digest in digests:
            freed += self.size(digest) or 0
            self._path(digest).unlink(missing_ok=True)
        return freed

    def clean(self) -> None:
        """Remove what killed processes left."""
        for folder in self.folder.glob("??"):
            sweep(folder)

    def _path(self, digest: str) -> Path:
        return self.folder / object_name(digest)


def open_objects(place: str | Path) -> Objects:
    """Return the objects in a folder, or at a URL that fsspec knows.

    Args:
        place: A folder, or e.g. `file:///srv/objects`, `s3://bucket/objects` or `memory://test`.

    Raises:
        InputError: The URL is of an unknown kind.
        MissingError: A package that the URL needs is not installed.

    Example:
        >>> open_objects("file:///srv/objects").folder.as_posix()
        '/srv/objects'
    """
    scheme, separator, rest = str(place).partition("://")
    if not separator:
        return ObjectStore(named_path(place))
    if scheme == "file":
        return ObjectStore(named_path(rest))
    from foldry.store.remote_objects import RemoteObjects  # noqa: PLC0415  (fsspec is an extra)

    return RemoteObjects.open(str(place))


def object_name(digest: str) -> str:
    """Return the name of an object below its place."""
    if not _DIGEST.fullmatch(digest):
        raise FaultError(f"{digest!r} is not the hash of an object", "please report it")
    return f"{digest[:2]}/{digest[2:]}"


def named_digests(contents: Sequence[bytes], where: object) -> list[str]:
    """Return the hashes of new objects.

    Raises:
        InputError: One has more than `MAX_BYTES`.
    """
    for data in contents:
        if len(data) > MAX_BYTES:
            raise InputError(f"cannot hold an object of {len(data)} bytes", "split it", where=where)
    return [sha256(data) for data in contents]


def unpack_object(
    packed: bytes, digest: str, max_bytes: int, compressors: Sequence[Compressor]
) -> bytes | None:
    """Return the content of a stored object; None if it is damaged or too large."""
    for compressor in compressors:
        if packed.startswith(compressor.magic):
            with suppress(ValueError):
                data = compressor.decompress(packed, max_bytes)
                return data if sha256(data) == digest else None
    return None
