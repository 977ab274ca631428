"""Archives: those from other people are unpacked as files that nobody vouches for."""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
import zipfile
from collections.abc import Iterable
from io import BufferedReader, BytesIO
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Final

from foldry.errors import FoldryError, InputError, OutsideError, quoted, reason
from foldry.store.download import Progress
from foldry.store.files import writing
from foldry.store.packing import UnpackedFile, packing_of

REFUSED: Final = "remove it and give another, or unpack it yourself if you trust it"
"""Advice if an archive is whole, but not what it should be."""
_AGAIN: Final = "run the same command again, or give another"
_CHUNK: Final = 2**20
_ZIP_TIME: Final = (1980, 1, 1, 0, 0, 0)
"""The time of every file in an archive that is written: the earliest that zip knows."""
_MAX_MEMBERS: Final = 10_000
_MAX_HEADERS: Final = 4 * _CHUNK
"""Bytes of headers between two members, what is read ahead included."""


class _Stream:
    """The content of an archive, which is read no further than `left` bytes.

    A header may state any size for itself, and tarfile would read it into memory.
    """

    def __init__(self, file: BinaryIO, archive: Path, progress: Progress) -> None:
        packing = packing_of(file)
        self.archive, self._file, self._progress = archive, file, progress
        self._unpacked = UnpackedFile(file, packing, archive) if packing else None
        self._source = BufferedReader(self._unpacked, _CHUNK) if self._unpacked else file
        self._size = archive.stat().st_size
        self.left = _MAX_HEADERS

    def read(self, size: int) -> bytes:
        """Return the next bytes, as tarfile asks for them."""
        data = self._source.read(size)
        self.left -= len(data)
        if self.left < 0:
            raise _refused(self.archive, "has a header that is too large")
        self._progress(self._file.tell(), self._size)
        return data

    def check(self) -> None:
        """Raise `OutsideError` if the archive turned out to be damaged."""
        try:
            if self._unpacked is not None:
                self._unpacked.check()
        except InputError as error:
            raise OutsideError(error.what, _AGAIN, where=self.archive) from error


def _refused(archive: Path, what: str) -> InputError:
    return InputError(what, REFUSED, where=archive)


def unpack(archive: Path, folder: Path, prefix: str, max_bytes: int, progress: Progress) -> None:
    """Write the files of a tar archive, packed or not, whose names begin with a prefix.

    Folders in the archive are not kept. A link is made only if it leads to another file of the
    same folder, as those in MMseqs2 databases do.

    Args:
        archive: The archive.
        folder: The folder; files of the same names in it are replaced.
        prefix: What the names of the files have in common.
        max_bytes: Maximum size of all members.
        progress: Called after every megabyte.

    Raises:
        OutsideError: The archive is damaged.
        InputError: It is too large, or has a member that leads elsewhere.
        DiskFullError: No space is left.
    """
    with archive.open("rb") as file:
        stream = _Stream(file, archive, progress)
        source: Any = stream  # tarfile only calls `read`
        try:
            with tarfile.open(fileobj=source, mode="r|", bufsize=_CHUNK) as tar:
                links = _unpack(tar, stream, folder, prefix, max_bytes)
            stream.left = _MAX_HEADERS
            while stream.read(_CHUNK):  # to its end, where gzip has its checksum
                pass
            stream.check()
        except FoldryError:
            raise
        except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
            stream.check()
            what = f"is not a complete tar archive ({reason(error)})"
            raise OutsideError(what, _AGAIN, where=archive) from None
    for name, target in links.items():
        _link(folder / name, target, archive)


def _unpack(
    tar: tarfile.TarFile, stream: _Stream, folder: Path, prefix: str, max_bytes: int
) -> dict[str, str]:
    """Write the files of an archive and return its links, each with the name of its target."""
    names: set[str] = set()
    links: dict[str, str] = {}
    size = 0
    for count, member in enumerate(tar):
        stream.left = max(member.size, 0) + _MAX_HEADERS
        size += max(member.size, 0)
        name = PurePosixPath(member.name).name
        problem = _problem(member)
        if size > max_bytes:
            problem = f"makes it larger than {max_bytes / 1e9:,.1f} GB"
        elif count >= _MAX_MEMBERS or name in names:
            problem = "occurs twice, or is one file too many"
        if problem:
            what = f"holds {quoted(member.name, 200)}, which {problem}"
            raise _refused(stream.archive, what)
        if member.isdir() or not name.startswith(prefix):
            continue
        names.add(name)
        if member.isfile():
            _write(tar, member, folder / name)
        else:
            links[name] = PurePosixPath(member.linkname).name
    return links


def _problem(member: tarfile.TarInfo) -> str:
    """Return what is wrong with a member, "" if nothing is."""
    path, target = PurePosixPath(member.name), PurePosixPath(member.linkname)
    if path.is_absolute() or ".." in path.parts:
        return "leads out of its folder"
    if member.issym() or member.islnk():
        # A hard link names its target as the archive does, a symbolic one from its own folder.
        here = path.parent if member.islnk() else PurePosixPath()
        is_here = target.parent == here and target.name not in ("", "..", path.name)
        return "" if is_here else "is a link elsewhere"
    if not member.isdir() and (not member.isfile() or member.issparse()):
        return "is a device or a sparse file"
    return "has no size" if member.size < 0 else ""


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    """Write one member; the caller gives the folder its name when all are complete."""
    source = tar.extractfile(member)
    assert source is not None  # it is a regular file
    path.unlink(missing_ok=True)
    with source, writing(path), path.open("xb") as target:
        shutil.copyfileobj(source, target, _CHUNK)
        target.flush()
        os.fsync(target.fileno())


def _link(path: Path, target: str, archive: Path) -> None:
    """Make a link to a regular file of the same folder."""
    aim = path.with_name(target)
    if aim.is_symlink() or not aim.is_file():
        raise _refused(archive, f"holds {quoted(path.name, 200)}, which is a link to no file")
    path.unlink(missing_ok=True)
    with writing(path):
        path.symlink_to(target)


def move_files(folder: Path, target: Path, last: str) -> None:
    """Move the files of a folder into another one on the same disk; that named `last` comes last.

    Raises:
        InputError: They cannot be moved there.
    """
    for file in sorted(folder.iterdir(), key=lambda file: file.name == last):
        path = target / file.name
        with writing(path):
            file.replace(path)


def write_tar(target: BinaryIO, members: Iterable[tuple[str, bytes | Path]]) -> None:
    """Write a tar archive packed with gzip, which depends on nothing but its members.

    Args:
        target: A file or a connection, which is only written to; errors of it are not changed.
        members: The name of each file, and its content or where it is read.
    """
    with gzip.GzipFile("", "wb", fileobj=target, mtime=0) as packed:
        write_plain_tar(packed, members)


def write_plain_tar(
    target: BinaryIO | gzip.GzipFile, members: Iterable[tuple[str, bytes | Path]]
) -> None:
    """Write a tar archive that is not packed, as `write_tar` does."""
    with tarfile.open(fileobj=target, mode="w|") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            with BytesIO(content) if isinstance(content, bytes) else content.open("rb") as source:
                member.size = source.seek(0, os.SEEK_END)
                source.seek(0)
                tar.addfile(member, source)


def write_zip(target: BinaryIO, members: Iterable[tuple[str, bytes]]) -> None:
    """Write a zip archive, which depends on nothing but its members.

    Args:
        target: A file, which is only written to; errors of it are not changed.
        members: The name and the content of each file.
    """
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            member = zipfile.ZipInfo(name, _ZIP_TIME)
            member.compress_type = zipfile.ZIP_DEFLATED
            member.external_attr = 0o644 << 16
            archive.writestr(member, content)


def pack_gzip(data: bytes) -> bytes:
    """Return the content of a gzip file, which depends on nothing but the data."""
    return gzip.compress(data, 6, mtime=0)
