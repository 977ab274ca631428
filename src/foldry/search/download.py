"""AlphaFold's and ColabFold's databases: downloaded, checked, unpacked, registered.

Each database has a folder of its own. What arrives is kept until the database is complete, so that
an interrupted download or unpacking continues there. Archives are unpacked into a temporary folder;
the file by which a database is recognised gets its place last, and an archive is removed only
after that: half a database is never taken for one.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from foldry.errors import DiskFullError, InputError, MissingError, OutsideError, quoted
from foldry.search.databases import FASTA, HHSUITE, MMSEQS, Database, Registry, inspect
from foldry.search.official import OFFICIAL, Official, Part
from foldry.store.archives import REFUSED, move_files, unpack
from foldry.store.download import Progress as FileProgress
from foldry.store.download import (
    ask,
    check_address,
    check_space,
    fetch,
    part_of,
    read_address,
)
from foldry.store.files import check_folder, new_file, remove, scratch_folder
from foldry.store.locks import hold

Progress = Callable[[str, int, int], None]
"""Called with the name of the file that is fetched or unpacked, the bytes done and all bytes."""

_RECOGNISED_BY: Final = {FASTA: "", MMSEQS: ".dbtype", HHSUITE: "_a3m.ffindex"}
"""End of the name of the file by which each kind of database is recognised."""
_MAX_METALINK: Final = 2**20
_CHUNK: Final = 2**20
_SLACK: Final = 2
"""How many times its expected size a database may have after unpacking."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PlannedFile:
    """A file that a database is made from: what is known of it before it is fetched.

    Attributes:
        url, path: Its address and its place on this machine.
        size, arrived: Bytes of it, and those that are here.
        md5: The hash that its publisher lists, if any.
        has_checksum: Whether its publisher or the server states a hash.
    """

    url: str
    path: Path
    size: int
    arrived: int
    md5: str | None = None
    has_checksum: bool = False


@dataclass(frozen=True)
class Planned:
    """What `get` does for one database.

    Attributes:
        official: The database.
        path: Its path, as the registry records it.
        registered: Its entry in the registry, if it is there and unchanged: nothing is done.
        files: The files that it is made from; none if it is complete.
    """

    official: Official
    path: Path
    registered: Database | None = None
    files: tuple[PlannedFile, ...] = ()

    @property
    def to_fetch(self) -> int:
        """Bytes to download."""
        return sum(each.size - each.arrived for each in self.files)

    @property
    def to_unpack(self) -> int:
        """Bytes that are written after the download, estimated for archives."""
        if self.official.is_as_published:
            return 0
        return round(self.official.ratio * self._size)

    @property
    def on_disk(self) -> int:
        """Bytes on the disk in the end, estimated for archives."""
        return self.to_unpack or self._size

    @property
    def to_remove(self) -> int:
        """Bytes of the downloaded files that are removed in the end."""
        return self._size if self.to_unpack else 0

    @property
    def has_checksum(self) -> bool:
        """Whether the publisher or the server states a hash of every file to download."""
        return all(each.has_checksum for each in self.files if each.size > each.arrived)

    @property
    def _size(self) -> int:
        return sum(each.size for each in self.files)

    def __str__(self) -> str:
        if not self.files:
            return f"{self.official.title}: already at {self.path}"
        sizes = f"{_shown(self.to_fetch)} to fetch, {_shown(self.on_disk)} on disk"
        known = "known" if self.has_checksum else "unknown"
        return f"{self.official.title}: {sizes}, checksum {known}"


def _shown(number: int) -> str:
    """Return a number of bytes for people, e.g. 34 GB or 0.2 GB."""
    return f"{number / 1e9:.{0 if number > 10 * 10**9 else 1}f} GB"


def plan(
    names: Sequence[str], folder: Path, registry: Registry, *, mirror: str | None = None
) -> list[Planned]:
    """Return what `get` would do; the servers are asked for the sizes of the files.

    The arguments are those of `get`.

    Raises:
        InputError: A name or an address is wrong, or the registry is damaged.
        OutsideError: The network or a server failed.
    """
    for name in names:
        if name not in OFFICIAL:
            what = f"No database called {quoted(name)} can be downloaded"
            raise InputError(what, f"choose from {', '.join(OFFICIAL)}")
    if mirror is not None:
        check_address(mirror)
    registered = registry.databases()
    return [
        _plan(OFFICIAL[name], folder.absolute() / name, registered.get(name), mirror)
        for name in dict.fromkeys(names)
    ]


def _plan(official: Official, place: Path, known: Database | None, mirror: str | None) -> Planned:
    """Return what is to be done for one database, whose folder is `place`."""
    if known is not None:
        with suppress(InputError, MissingError):
            known.check()
            return Planned(official, Path(known.path), known)
    path = place / official.path
    if _is_complete(official, path):
        return Planned(official, path)
    files = tuple(_file(each, official, place, mirror) for each in official.parts)
    return Planned(official, path, files=files)


def _is_complete(official: Official, path: Path) -> bool:
    return path.with_name(path.name + _RECOGNISED_BY[official.kind]).is_file()


def _file(part: Part, official: Official, place: Path, mirror: str | None) -> PlannedFile:
    """Return what is known of a file before it is fetched."""
    path = place / part.name
    url = part.url if mirror is None else f"{mirror.rstrip('/')}/{part.name}"
    if path.is_file():
        size = path.stat().st_size
        return PlannedFile(url, path, size, size)
    remote = ask(url, official.max_bytes)
    arrived = part_of(path).stat().st_size if part_of(path).is_file() else 0
    md5 = _published_md5(part) if mirror is None else None
    has_checksum = bool(md5 or remote.md5)
    return PlannedFile(url, path, remote.size, min(arrived, remote.size), md5, has_checksum)


def _published_md5(part: Part) -> str | None:
    """Return the MD5 of a file in its publisher's list; None if there is none."""
    if not part.metalink:
        return None
    try:
        listed = read_address(part.metalink, _MAX_METALINK).decode("utf-8", "replace")
    except OutsideError as error:
        logger.info("The checksum of %s is unknown: %s", part.name, error)
        return None
    _, _, entry = listed.partition(f'<file name="{part.name}">')
    found = re.search(r'<hash type="md5">\s*([0-9a-fA-F]{32})\s*<', entry.partition("</file>")[0])
    return found and found[1]


def get(
    names: Sequence[str],
    folder: Path,
    registry: Registry,
    *,
    mirror: str | None = None,
    progress: Progress | None = None,
) -> list[Database]:
    """Download databases, each into a folder of its name, register them and return their entries.

    A database that is registered under its name, and unchanged, stays as it is. An interrupted call
    is continued by the next. A file that was downloaded by other means is used if it is in the
    folder of its database under its own name.

    Args:
        names: Names in `foldry.search.official.OFFICIAL`.
        folder: The folder, made if needed.
        registry: The registry.
        mirror: Address of a folder that has the same files, in place of the publishers'.
        progress: Called after every megabyte that is fetched or unpacked.

    Raises:
        InputError: A name or an address is wrong, a folder cannot be written, or an archive holds
            what it should not; it is kept.
        DiskFullError: The disk is too small; known before the download begins.
        BusyError: Another process downloads one of the databases, or changes the registry.
        OutsideError: The network or a server failed, or what arrived is damaged; call again.
    """
    check_folder(folder)
    planned = plan(names, folder, registry, mirror=mirror)
    folder = folder.absolute()
    present = next(each for each in (folder, *folder.parents) if each.is_dir())
    check_space(present, needed_space(planned))
    return [each.registered or _get(each, registry, progress) for each in planned]


def needed_space(planned: Iterable[Planned]) -> int:
    """Return the free bytes that the databases need while they are fetched one after the other."""
    before = most = 0
    for each in planned:
        most = max(most, before + each.to_fetch + each.to_unpack)
        before += each.to_fetch + each.to_unpack - each.to_remove
    return most


def _get(planned: Planned, registry: Registry, progress: Progress | None) -> Database:
    """Download one database, if it is not complete, register it and return its entry."""
    official, path = planned.official, planned.path
    with hold(path.parent):
        if not _is_complete(official, path):
            left = planned.to_fetch + planned.to_unpack
            for each in planned.files:
                left -= each.size - each.arrived
                if not each.path.is_file():
                    checksum = fetch(
                        each.url,
                        each.path,
                        max_bytes=official.max_bytes,
                        md5=each.md5,
                        spare=left,
                        progress=_step(progress, each.path.name),
                    )
                    logger.info("%s: checksum %s.", each.path.name, checksum)
            if official.is_archived:
                _unpack(planned, progress)
            elif not official.is_as_published:
                _join(planned, progress)
        for part in official.parts:
            if path.with_name(part.name) != path:
                remove(path.with_name(part.name))
        return _register(official, path, registry)


def _step(progress: Progress | None, name: str) -> FileProgress:
    """Return a function that reports the progress with one file."""
    return lambda done, whole: progress(name, done, whole) if progress is not None else None


def _unpack(planned: Planned, progress: Progress | None) -> None:
    """Unpack the archives of a database into their folder; remove one that is damaged."""
    path, archives = planned.path, [each.path for each in planned.files]
    with scratch_folder(path.parent) as scratch:
        for archive in archives:
            try:
                step = _step(progress, archive.name)
                unpack(archive, scratch, path.name, _SLACK * planned.to_unpack, step)
            except OutsideError as error:
                remove(archive)
                error.what += " and was removed"
                raise
            except DiskFullError as error:  # the user does not know the temporary folder
                error.where = str(path.parent)
                raise
        try:
            inspect(scratch / path.name, planned.official.name)
        except (InputError, MissingError) as error:
            what = f"does not hold the whole database {path.name}"
            raise InputError(what, REFUSED, where=archives[0]) from error
        last = path.name + _RECOGNISED_BY[planned.official.kind]
        move_files(scratch, path.parent, last)


def _join(planned: Planned, progress: Progress | None) -> None:
    """Write the records that are kept of all files into one; gzip files may follow each other."""
    only, whole, done = planned.official.only.encode(), planned.to_unpack, 0
    step = _step(progress, planned.path.name)
    with new_file(planned.path, sync=True) as target:
        for each in planned.files:
            with each.path.open("rb") as source:
                if only:
                    target.writelines(_records(source, only))
                else:
                    shutil.copyfileobj(source, target, _CHUNK)
            done += each.size
            step(done, whole)


def _records(file: BinaryIO, word: bytes) -> Iterator[bytes]:
    """Yield the lines of the FASTA records that have a word in their header."""
    keep = False
    for line in file:
        if line.startswith(b">"):
            keep = word in line.split()
        if keep:
            yield line


def _register(official: Official, path: Path, registry: Registry) -> Database:
    """Register a database and return its entry; remove a FASTA file that is damaged."""
    try:
        return registry.add(path, official.name)
    except InputError as error:
        if error.where != str(path):  # the registry is damaged, not the database
            raise
        remove(path)
        what = f"{error.what} and was removed"
        raise OutsideError(what, "run the same command again to resume", where=path) from error
