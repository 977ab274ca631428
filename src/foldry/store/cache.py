"""Results under the keys of what they depend on, shared by all processes that use a folder."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from foldry.errors import InputError
from foldry.store.files import make_folder, read_bytes, remove, sweep, write_bytes
from foldry.store.locks import hold_numbers

_SUFFIX: Final = ".gz"
_LEVEL: Final = 6
_LOCK: Final = ".keys.lock"
_DIGITS: Final = 15
"""Hexadecimal digits of a key by which it is held."""


@dataclass(frozen=True)
class Entry:
    """One kept result.

    Attributes:
        key: Its key.
        size: Bytes on the disk.
        written: When it was written, seconds since 1970.
    """

    key: str
    size: int
    written: float


@dataclass(frozen=True)
class Cache:
    """A folder of results, each packed and written whole.

    Attributes:
        folder: The folder, made with the first result.

    Example:
        >>> import tempfile
        >>> cache = Cache(Path(tempfile.mkdtemp()))
        >>> cache.put("0123", b"MKTAYIAKQR")
        >>> cache.get("0123"), cache.get("4567")
        (b'MKTAYIAKQR', None)
    """

    folder: Path

    def get(self, key: str) -> bytes | None:
        """Return the result under a key; None if missing or damaged."""
        path = self._path(key)
        if not path.is_file():
            return None
        try:
            return read_bytes(path, max_ratio=2000)  # no packing by gzip is better
        except InputError:
            return None

    def put(self, key: str, data: bytes) -> None:
        """Keep a result, in place of a damaged one.

        Raises:
            InputError: The folder cannot be written.
            DiskFullError: No space is left.
        """
        path = self._path(key)
        make_folder(path.parent)
        write_bytes(path, gzip.compress(data, _LEVEL, mtime=0))

    @contextmanager
    def hold(self, keys: Iterable[str]) -> Iterator[None]:
        """Hold keys within the `with` block, to find their results once: other processes wait.

        Raises:
            InputError: The folder cannot be written.
            DiskFullError: No space is left.
        """
        held = {*keys}
        folders = {self._path(key).parent for key in held}
        for folder in folders:
            make_folder(folder)
        if not held:
            yield
            return
        with hold_numbers(self.folder / _LOCK, (int(key[:_DIGITS], 16) for key in held)):
            for folder in folders:
                sweep(folder)
            yield

    def entries(self) -> Iterator[Entry]:
        """Yield what is kept, in any order."""
        for path in self.folder.glob(f"??/*{_SUFFIX}"):
            if not path.name.startswith("."):
                with suppress(FileNotFoundError):  # another process may clear the folder
                    status = path.stat()
                    yield Entry(path.name.removesuffix(_SUFFIX), status.st_size, status.st_mtime)

    def clear(self) -> int:
        """Remove all results, and return their number."""
        entries = list(self.entries())
        for each in entries:
            remove(self._path(each.key))
        return len(entries)

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}{_SUFFIX}"
