"""The files of folders and of zip and tar archives, read one by one into memory.

An archive is never unpacked: each of its files is read where it lies, within a bound, and its name
is only a name. So an archive from anywhere can be read, whatever its names, links and sizes say.
Only a tar file that is packed as a whole is copied, unpacked, into a temporary file.
"""

from __future__ import annotations

import io
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice, pairwise
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Final, TypeAlias

from foldry.errors import InputError, quoted, reason
from foldry.store.files import MAX_RATIO, MAX_UNPACKED, new_file, read_bytes
from foldry.store.packing import PACKED_SUFFIXES, packing_of, unpacked, unpacking_errors

MAX_MEMBERS: Final = 65_534
"""Limit on the files of a zip archive; a tar archive may have more, which are not sorted then."""
_MAX_ROW: Final = 300
"""Mean size of a zip archive's row of a file, for which memory is taken."""
_MAX_DEPTH: Final = 16
"""Limit on folders in folders."""
_MAX_TAR: Final = 64 * 1024**3
"""Limit on a tar file that is packed as a whole."""
_MAX_HEADER: Final = 1024**2
"""Limit on what tarfile reads at once: a header states its own size."""
_DAMAGE: Final = (
    *(tarfile.TarError, zipfile.BadZipFile, NotImplementedError, RecursionError, EOFError),
    *(OSError, ValueError, OverflowError, LookupError, struct.error, zlib.error),
)
"""What damaged archives make their readers raise."""
_STORED, _DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
_ARCHIVES: Final = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.xz", ".tar.zst")
_OTHER_ARCHIVES: Final = (*_ARCHIVES, ".7z", ".rar", ".bz2", ".tbz2")
_ZIPS: Final = (b"PK\3\4", b"PK\5\6")
_END: Final = b"PK\5\6"
_END_SIZE: Final = 22
_LARGE_END: Final = b"PK\6\6"
_LARGE_END_SIZE: Final = 76
"""Size of the end of a zip64 archive, with its locator."""
_LOCAL_SIZE: Final = 30
_MAX_COMMENT: Final = 0xFFFF

Order: TypeAlias = Callable[[str], tuple[str, ...]]
"""Returns what the members of an archive are sorted by, from a name."""


@dataclass(frozen=True)
class Member:
    """A file in a folder or in an archive.

    Attributes:
        container: The folder, or the archive.
        name: Name in the container, with slashes.
        size: Number of bytes in the container.
        offset: Where the file begins in the archive; -1 in a folder.
        method: How a zip archive packs it; 0 if it does not.
        checksum: CRC-32 of a file in a zip archive, or None.
        shown: The archive of which `container` is an unpacked copy, or None.
    """

    container: Path
    name: str
    size: int
    offset: int = -1
    method: int = _STORED
    checksum: int | None = None
    shown: Path | None = None

    @property
    def where(self) -> str:
        """What messages call the file."""
        if self.offset < 0:
            return str(self.container / self.name)
        return f"{self.shown or self.container}, {self.name}"

    def read(
        self, max_bytes: int, max_unpacked: int = MAX_UNPACKED, max_ratio: int = MAX_RATIO
    ) -> bytes:
        """Return the content; a file packed with gzip, xz or zstd is unpacked.

        Args:
            max_bytes: Maximum number of bytes, packed and unpacked.
            max_unpacked, max_ratio: A packed file that holds more than `max_unpacked` bytes may
                hold at most `max_ratio` times its own size.

        Raises:
            InputError: The file is missing, damaged or too large.
        """
        if self.offset < 0:
            return read_bytes(self.container / self.name, max_bytes, max_unpacked, max_ratio)
        if self.size > max_bytes:
            raise _too_large(self.where, max_bytes)
        try:
            with self.container.open("rb") as file:
                file.seek(self.offset)
                if self.checksum is not None:
                    header = file.read(_LOCAL_SIZE)
                    if len(header) < _LOCAL_SIZE or not header.startswith(_ZIPS[0]):
                        raise _damaged(self.where)
                    file.seek(sum(struct.unpack("<HH", header[26:30])), os.SEEK_CUR)
                data = file.read(self.size)
        except OSError as error:
            what = f"cannot be read ({error.strerror or reason(error)})"
            raise InputError(what, "check the file", where=self.where) from None
        limit = min(max_bytes, max(max_unpacked, max_ratio * len(data)))
        if len(data) < self.size:
            raise _damaged(self.where)
        if self.method == _DEFLATED:
            data = self._inflated(data, limit)
        if self.checksum is not None and zlib.crc32(data) != self.checksum:
            raise _damaged(self.where)
        return _unpacked(data, limit, self.where)

    def _inflated(self, data: bytes, limit: int) -> bytes:
        decoder = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            found = decoder.decompress(data, limit + 1)
        except zlib.error:
            raise _damaged(self.where) from None
        if len(found) > limit:
            raise _too_large(self.where, limit)
        if not decoder.eof:
            raise _damaged(self.where)
        return found


@dataclass
class Skipped:
    """Files that were not read, counted by reason, so that millions of them take no memory.

    Attributes:
        number: How many there were.
    """

    number: int = 0
    _found: dict[tuple[str, str, str], tuple[int, str]] = field(default_factory=dict)

    def add(self, where: object, what: str, advice: str = "", *, name: str = "") -> None:
        """Count a file.

        Args:
            where: The container, or the file itself.
            what: What is wrong, e.g. `is a link`.
            advice: What to do; if left out, that the file is left out.
            name: Name of a file in the container; the first one is shown.
        """
        key = str(where), what, advice
        self.number += 1
        number, first = self._found.get(key, (0, name))
        self._found[key] = number + 1, first

    def problems(self) -> list[InputError]:
        """Return one error for each container and reason, and forget them."""
        problems = []
        for (where, what, advice), (number, name) in self._found.items():
            if name and number == 1:
                text, left_out = f"has {quoted(name, 200)}, which {what}", "it is left out"
            elif name:
                shown = f"{number} files (e.g. {quoted(name, 200)})"
                text, left_out = f"has {shown}, each of which {what}", "they are left out"
            else:
                text, left_out = what, "it is left out"
            problems.append(InputError(text, advice or left_out, where=where))
        self._found.clear()
        return problems


def plain_name(name: str) -> str:
    """Return the last part of a name, without the suffix of packed files."""
    path = PurePosixPath(name)
    return path.stem if path.suffix.lower() in PACKED_SUFFIXES else path.name


def is_archive_name(name: str) -> str:
    """Return the name of an archive without its suffix; "" if it is not that of an archive.

    Example:
        >>> is_archive_name("UP000005640_9606_HUMAN_v6.tar")
        'UP000005640_9606_HUMAN_v6'
    """
    suffix = next(filter(name.lower().endswith, _ARCHIVES), "")
    return name[: -len(suffix)] if suffix else ""


def members_of(
    paths: Iterable[Path], scratch: Callable[[], Path], skipped: Skipped, order: Order
) -> Iterator[Member]:
    """Yield the files of folders and archives, and files themselves.

    Files of a folder are sorted by name, those of an archive by `order`; a tar archive of more than
    `MAX_MEMBERS` files is sorted piece by piece. Hidden files are left out.

    Args:
        paths: Folders, archives and files; archives in folders are read, too.
        scratch: Returns a folder for temporary files.
        skipped: Gets the files that are not read, and archives that are damaged.
        order: As described.
    """
    for path in paths:
        if path.is_dir():
            yield from _of_folder(path, path, scratch, skipped, order)
        elif is_archive_name(path.name) and path.is_file():
            yield from _of_archive(path, scratch, skipped, order)
        else:
            yield Member(path.parent, path.name, path.stat().st_size if path.exists() else 0)


def _of_folder(
    folder: Path, top: Path, scratch: Callable[[], Path], skipped: Skipped, order: Order
) -> Iterator[Member]:
    """Yield the files of a folder, then those of the folders in it."""
    depth = len(folder.parts) - len(top.parts)
    try:
        names = sorted(each.name for each in os.scandir(folder))
    except OSError as error:
        skipped.add(folder, f"cannot be read ({error.strerror})", "check its permissions")
        return
    folders: list[tuple[tuple[str, ...], str, Path]] = []
    archives: list[Path] = []
    for name in names:
        path = folder / name
        if _is_hidden(name):
            continue
        inner = path.relative_to(top).as_posix()
        if path.is_dir():
            folders.append((order(f"{inner}/"), inner, path))
        elif not path.is_file():
            skipped.add(top, "is a device, a pipe or a link to nothing", name=inner)
        elif is_archive_name(name):
            archives.append(path)
        else:
            yield Member(top, inner, path.stat().st_size)
    for _, inner, path in sorted(folders):
        if path.is_symlink():
            skipped.add(top, "is a link to a folder", "give the folder itself", name=inner)
        elif depth >= _MAX_DEPTH:
            what = f"is more than {_MAX_DEPTH} folders deep"
            skipped.add(top, what, "give this folder itself", name=inner)
        else:
            yield from _of_folder(path, top, scratch, skipped, order)
    for path in archives:  # last, because the files of some folders belong to this one
        yield from _of_archive(path, scratch, skipped, order)


def _of_archive(
    path: Path, scratch: Callable[[], Path], skipped: Skipped, order: Order
) -> Iterator[Member]:
    """Yield the files of an archive that can be read, sorted."""
    checked = _checked(_listed(path, scratch, skipped), path, skipped)
    while piece := list(islice(checked, MAX_MEMBERS)):
        yield from sorted(piece, key=lambda each: order(each.name))


def _listed(
    path: Path, scratch: Callable[[], Path], skipped: Skipped
) -> Iterator[tuple[Member, str]]:
    """Yield the files of an archive, and what is wrong with each, up to where it is damaged."""
    try:
        with path.open("rb") as file:
            is_zip = file.read(4) in _ZIPS
        yield from _of_zip(path) if is_zip else _of_tar(path, scratch)
    except InputError as error:
        skipped.add(error.where or path, error.what, error.advice)
    except _DAMAGE as error:
        skipped.add(path, f"is damaged ({reason(error)})", "replace it")


def _checked(found: Iterable[tuple[Member, str]], path: Path, skipped: Skipped) -> Iterator[Member]:
    """Yield the members that can be read, each name once."""
    seen: set[int] = set()
    for member, problem in found:
        name = PurePosixPath(member.name)
        what, advice = problem, ""
        if name.is_absolute() or ".." in name.parts or "\\" in member.name:
            what = "leads out of the archive"
        elif member.name.lower().endswith(_OTHER_ARCHIVES):
            what, advice = "is an archive in an archive", "unpack the outer one"
        elif hash(member.name) in seen:
            what = "occurs twice"
        if what:
            skipped.add(path, what, advice, name=member.name)
        elif not any(map(_is_hidden, name.parts)):
            if len(seen) == MAX_MEMBERS:  # of a tar archive of any size
                seen.clear()
            seen.add(hash(member.name))
            yield member


def _is_hidden(name: str) -> bool:
    """Return whether a file or folder is hidden, or one that macOS adds to archives."""
    return name.startswith((".", "__MACOSX"))


def _of_zip(path: Path) -> Iterator[tuple[Member, str]]:
    """Yield the files of a zip archive, and what is wrong with each."""
    with path.open("rb") as file:
        _check_number(file, path)
        with zipfile.ZipFile(file) as archive:
            infos = sorted(archive.infolist(), key=lambda info: info.header_offset)
    for info, following in pairwise(infos):
        if info.header_offset + _LOCAL_SIZE + info.compress_size > following.header_offset:
            what = "has files that overlap, as only a zip bomb does"
            raise InputError(what, "give another archive", where=path)
    for info in infos:
        problem = ""
        if info.flag_bits & 1:
            problem = "is encrypted"
        elif info.compress_type not in (_STORED, _DEFLATED):
            problem = "is packed by a method that is not supported"
        elif (info.external_attr >> 28) not in (0, 0o10):  # of Unix: anything but a regular file
            problem = "is a link or a device"
        if not info.is_dir():
            size, at = info.compress_size, info.header_offset
            yield Member(path, info.filename, size, at, info.compress_type, info.CRC), problem


def _check_number(file: BinaryIO, path: Path) -> None:
    """Check how many files a zip archive states, before zipfile reads all their names."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _LARGE_END_SIZE - _END_SIZE - _MAX_COMMENT))
    tail = file.read()
    place = tail.rfind(_END)
    if place < 0 or len(tail) - place < _END_SIZE:
        raise _damaged(str(path))
    number, length = struct.unpack_from("<HI", tail, place + 10)
    large = place - _LARGE_END_SIZE
    if large >= 0 and tail.startswith(_LARGE_END, large):  # zipfile may believe this one instead
        more = struct.unpack_from("<QQ", tail, large + 32)
        number, length = max(number, more[0]), max(length, more[1])
    if number > MAX_MEMBERS or length > MAX_MEMBERS * _MAX_ROW:
        what = f"has more than {MAX_MEMBERS} files"
        raise InputError(what, "unpack it and give the folder", where=path)


class _Bounded:
    """A tar file that is read only in pieces of bounded size."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        """Return the next bytes, as tarfile asks for them."""
        if not 0 <= size <= _MAX_HEADER:
            raise tarfile.ReadError("a header is too large")
        return self._file.read(size)


def _of_tar(path: Path, scratch: Callable[[], Path]) -> Iterator[tuple[Member, str]]:
    """Yield the files of a tar archive, and what is wrong with each."""
    place = _unpacked_tar(path, scratch)
    shown = None if place == path else path
    with place.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        source: Any = _Bounded(file)
        with tarfile.open(fileobj=source, mode="r:") as tar:
            while (info := tar.next()) is not None:
                kept: Any = tar
                kept.members.clear()  # tarfile would keep all of them
                kept.pax_headers.clear()
                problem = ""
                if info.issym() or info.islnk():
                    problem = "is a link"
                elif info.issparse() or not (info.isfile() or info.isdir()):
                    problem = "is a device or a sparse file"
                elif not 0 <= info.size <= size - info.offset_data:
                    raise tarfile.ReadError("it is cut off")
                if not info.isdir():
                    member = Member(place, info.name, info.size, info.offset_data, shown=shown)
                    yield member, problem


def _unpacked_tar(path: Path, scratch: Callable[[], Path]) -> Path:
    """Return a tar file that is not packed: the archive itself, or a temporary copy."""
    with path.open("rb") as file:
        packing = packing_of(file)
        if not packing:
            return path
        limit = min(_MAX_TAR, max(MAX_UNPACKED, MAX_RATIO * path.stat().st_size))
        place = scratch() / path.name
        while place.exists():  # another archive of this name
            place = place.with_name(f"{place.name}+")
        try:
            with new_file(place) as target:
                for piece in unpacked(file, packing):
                    target.write(piece)
                    if target.tell() > limit:
                        raise _too_large(str(path), limit)
        except unpacking_errors():
            raise _damaged(str(path)) from None
    return place


def _unpacked(data: bytes, limit: int, where: str) -> bytes:
    """Return the content of a file, unpacked if it is packed."""
    packing = packing_of(io.BytesIO(data))
    if not packing:
        return data
    found = io.BytesIO()
    try:
        for piece in unpacked(io.BytesIO(data), packing):
            found.write(piece)
            if found.tell() > limit:
                raise _too_large(where, limit)
    except unpacking_errors():
        raise _damaged(where) from None
    return found.getvalue()


def _too_large(where: str, most: int) -> InputError:
    what = f"holds more than {most // 1024**2} MiB"
    return InputError(what, "give a smaller file", where=where)


def _damaged(where: str) -> InputError:
    return InputError("is damaged or cut off", "replace it", where=where)
