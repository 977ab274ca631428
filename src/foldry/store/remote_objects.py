"""Objects at any URL that fsspec knows: an object store of a cloud, a server, or memory."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from foldry.errors import FoldryError, InputError, MissingError, OutsideError, quoted, reason
from foldry.store.files import MAX_BYTES
from foldry.store.objects import ZSTD, named_digests, object_name, unpack_object

_INSTALL: Final = 'run `pip install "foldry[db]"`'


@dataclass(frozen=True)
class RemoteObjects:
    """Objects below a URL, named as in `ObjectStore`.

    Attributes:
        shown: The URL in messages, without a password.
        system: fsspec's file system.
        root: The path of the objects in it.

    Example:
        >>> objects = RemoteObjects.open("memory://doctest")
        >>> objects.get(objects.put(b"MKTAYIAKQR"))
        b'MKTAYIAKQR'
    """

    shown: str
    system: Any
    root: str

    @classmethod
    def open(cls, url: str) -> RemoteObjects:
        """Return the objects below a URL.

        Raises:
            InputError: fsspec does not know this kind of URL.
            MissingError: fsspec, or the package for this kind of URL, is not installed.
        """
        shown = quoted(re.sub("//[^/@]*@", "//", url))  # without a password
        try:
            import fsspec  # type: ignore[import-untyped]  # noqa: PLC0415  (an extra)
        except ImportError as error:
            what = "needs fsspec, which is not installed"
            raise MissingError(what, _INSTALL, where=shown) from error
        try:
            system, root = fsspec.core.url_to_fs(url)
        except ImportError as error:
            what = f"needs a package that is not installed ({reason(error)})"
            raise MissingError(what, "install it", where=shown) from error
        except ValueError as error:
            what = f"is not a place for objects ({reason(error)})"
            advice = "name a folder, or a URL that fsspec knows"
            raise InputError(what, advice, where=shown) from error
        return cls(shown, system, root.rstrip("/"))

    def put(self, data: bytes) -> str:
        """Store bytes and return their SHA-256."""
        return self.put_many([data])[0]

    def put_many(self, contents: Sequence[bytes]) -> list[str]:
        """Store several objects, at the same time if the server supports it."""
        digests = named_digests(contents, self.shown)
        new = {
            self._path(digest): ZSTD.compress(data)
            for digest, data in zip(digests, contents, strict=True)
        }
        with self._using("written"):
            for parent in {path.rpartition("/")[0] for path in new}:
                self.system.makedirs(parent, exist_ok=True)  # does nothing in a cloud
            self.system.pipe(new)
        return digests

    def get(self, digest: str, max_bytes: int = MAX_BYTES) -> bytes | None:
        """Return the object with a hash; None if missing, damaged or larger than `max_bytes`."""
        with self._using("read"):
            try:
                packed = self.system.cat_file(self._path(digest))
            except FileNotFoundError:
                return None
        return unpack_object(packed, digest, max_bytes, [ZSTD])

    def size(self, digest: str) -> int | None:
        """Return the bytes that an object takes, compressed; None if it is missing."""
        with self._using("read"):
            try:
                return int(self.system.size(self._path(digest)))
            except FileNotFoundError:
                return None

    def digests(self) -> Iterator[str]:
        """Return the hashes of all objects, in any order."""
        with self._using("read"):
            for folder in self._names(self.root):
                for path in self._names(folder):
                    yield "".join(path.split("/")[-2:])

    def remove(self, digests: Iterable[str]) -> int:
        """Remove objects; return the number of bytes freed."""
        freed = 0
        for digest in digests:
            size = self.size(digest)
            if size is not None:
                with self._using("written"):
                    self.system.rm_file(self._path(digest))
                freed += size
        return freed

    def clean(self) -> None:
        """Do nothing: an object appears at once or not at all, or is damaged and put again."""

    def _names(self, folder: str) -> list[str]:
        try:
            return [str(path) for path in self.system.ls(folder, detail=False)]
        except FileNotFoundError:
            return []

    def _path(self, digest: str) -> str:
        return f"{self.root}/{object_name(digest)}"

    @contextmanager
    def _using(self, use: str) -> Iterator[None]:
        """Turn the errors of a server, of whatever library, into one of ours."""
        try:
            yield
        except FoldryError:
            raise
        except Exception as error:
            what = f"cannot be {use} ({reason(error)})"
            raise OutsideError(what, "try again", where=self.shown) from error
