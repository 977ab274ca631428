"""Databases on this machine: recorded once, checked before each search.

A database keeps its place; the registry records its size, number of sequences, time of change and a
version, which is part of the keys of kept searches.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Final

from foldry.errors import InputError, MissingError, quoted
from foldry.store.files import make_folder, plain_name, read_bytes, write_json
from foldry.store.hashes import content_key, sha256
from foldry.store.locks import hold_file
from foldry.store.packing import open_unpacked

FASTA: Final = "FASTA"
MMSEQS: Final = "MMseqs2"
HHSUITE: Final = "HH-suite"
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ENDS: Final = 2**20
"""Bytes at the start and at the end of a file that its version depends on."""
_CHUNK: Final = 2**20
_FILE: Final = "databases.json"
_VARIABLE: Final = "FOLDRY_DATABASES"


@dataclass(frozen=True)
class Database:
    """A database, as it was when it was recorded.

    Attributes:
        name: Its name, e.g. `uniref90`.
        kind: `FASTA`, `MMseqs2` or `HH-suite`.
        path: A FASTA file, or what the names of the files of the other kinds have in common.
        size: Bytes of all its files.
        num_sequences: Number of sequences, or of alignments.
        modified: Time of the last change, nanoseconds.
        version: Derived from the content; the same in copies.
    """

    name: str
    kind: str
    path: str
    size: int
    num_sequences: int
    modified: int
    version: str

    def check(self) -> None:
        """Check that the files are those that were recorded.

        Raises:
            MissingError: They are missing.
            InputError: They changed.
        """
        files = _files(self.kind, Path(self.path))
        if (self.size, self.modified) != _state(files):
            what = f"is not the database that was recorded as {self.name}: its files changed"
            raise InputError(what, "add it again", where=self.path)


class Registry:
    """The list of databases of a user or of a lab, kept in a folder.

    Args:
        folder: The folder; `default_folder()` if left out.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._file = (folder or default_folder()) / _FILE

    def databases(self) -> dict[str, Database]:
        """Return the databases by their names, in the order in which they were added.

        Raises:
            InputError: The list is damaged.
        """
        if not self._file.exists():
            return {}
        try:
            listed = json.loads(read_bytes(self._file))
            if not isinstance(listed, list):
                raise TypeError
            return {each["name"]: _database(each) for each in listed}
        except (ValueError, TypeError, KeyError, RecursionError):
            what = "is not a list of databases"
            raise InputError(what, "remove it and add them again", where=self._file) from None

    def add(self, path: Path, name: str = "") -> Database:
        """Record a database, or record it anew, and return it.

        Args:
            path: A FASTA file, which may be packed with gzip, xz or zstd; or what the names of the
                files of an MMseqs2 or HH-suite database have in common.
            name: Its name; that of the file if left out.

        Raises:
            InputError: There is no database of this name, it is damaged, or its name is not usable.
            BusyError: Another process adds or removes a database.
        """
        found = inspect(path, name)
        make_folder(self._file.parent)
        with hold_file(self._file):
            self._write(self.databases() | {found.name: found})
        return found

    def remove(self, name: str) -> None:
        """Remove a database from the list; its files stay.

        Raises:
            InputError: It is not in the list.
            BusyError: Another process adds or removes a database.
        """
        if name not in self.databases():
            raise InputError(f"{quoted(name)} is not a registered database", "see the list")
        with hold_file(self._file):
            kept = self.databases()
            kept.pop(name, None)
            self._write(kept)

    def _write(self, databases: dict[str, Database]) -> None:
        write_json(self._file, [asdict(each) for each in databases.values()], sync=True)


def _database(values: dict[str, object]) -> Database:
    """Return a database of the list, whose values have the right types.

    Raises:
        TypeError: They have not.
    """
    found = Database(**values)  # type: ignore[arg-type]
    if not all(type(values[field.name]).__name__ == field.type for field in fields(found)):
        raise TypeError
    return found


def default_folder() -> Path:
    """Return the folder of the registry: `$FOLDRY_DATABASES`, or `~/.cache/foldry/databases`.

    Raises:
        InputError: The variable is not set and the user has no home folder.
    """
    if named := os.environ.get(_VARIABLE):
        return Path(named)
    try:
        return Path.home() / ".cache" / "foldry" / "databases"
    except RuntimeError:
        what = "This user has no home folder for the list of databases"
        raise InputError(what, f"set {_VARIABLE} to a folder") from None


def inspect(path: Path, name: str = "") -> Database:
    """Return what the registry records of a database; see `Registry.add`."""
    path = path.absolute()
    kind = _kind(path)
    chosen = name or plain_name(path).partition(".")[0]
    if not NAME.fullmatch(chosen):
        advice = "give a name of at most 64 ASCII letters, digits, '.', '-' and '_'"
        raise InputError(f"{quoted(chosen)} cannot be the name of a database", advice)
    files = _files(kind, path)
    size, modified = _state(files)
    number = _num_records(path) if kind == FASTA else _num_lines(files[0])
    if not number:
        raise InputError("has no sequences", "name another database", where=path)
    version = content_key([kind, size, number, [_ends(file) for file in files]])[:12]
    return Database(chosen, kind, str(path), size, number, modified, version)


def _kind(path: Path) -> str:
    """Return the kind of a database.

    Raises:
        InputError: There is none.
    """
    if path.with_name(f"{path.name}.dbtype").is_file():
        return MMSEQS
    if path.with_name(f"{path.name}_a3m.ffindex").is_file():
        return HHSUITE
    if path.is_dir():
        advice = "name a FASTA file, or what the names of a database's files have in common"
        raise InputError("is a folder", advice, where=path)
    if not path.is_file():
        raise InputError("does not exist", "check the path", where=path)
    return FASTA


def _files(kind: str, path: Path) -> list[Path]:
    """Return the files of a database: its index first, if it has one."""
    ends = {
        FASTA: [""],
        MMSEQS: [".index", "", ".dbtype"],
        HHSUITE: [f"_{part}.{file}" for part in ("a3m", "cs219") for file in ("ffindex", "ffdata")],
    }
    return [path.with_name(path.name + end) for end in ends[kind]]


def _state(files: list[Path]) -> tuple[int, int]:
    """Return the size of files, bytes, and the time of their last change, nanoseconds.

    Raises:
        MissingError: One is missing.
    """
    found = []
    for file in files:
        with suppress(FileNotFoundError):
            found.append(file.stat())
            continue
        raise MissingError("does not exist", "restore it or add the database again", where=file)
    return sum(each.st_size for each in found), max(each.st_mtime_ns for each in found)


def _ends(file: Path) -> str:
    """Return the hash of the first and the last bytes of a file."""
    with file.open("rb") as opened:
        start = opened.read(_ENDS)
        opened.seek(max(0, file.stat().st_size - _ENDS))
        return sha256(start + opened.read(_ENDS))


def _chunks(path: Path) -> Iterator[bytes]:
    """Yield the unpacked content of a file.

    Raises:
        InputError: The file is damaged.
    """
    with open_unpacked(path) as unpacked:
        if unpacked is None:
            with path.open("rb") as file:
                yield from iter(partial(file.read, _CHUNK), b"")
            return
        yield from iter(partial(unpacked.read, _CHUNK), b"")
        unpacked.check()


def _num_records(path: Path) -> int:
    """Return the number of records of a FASTA file.

    Raises:
        InputError: The file is damaged, or does not begin as FASTA does.
    """
    number, last = 0, b"\n"
    for chunk in _chunks(path):
        if not number and not chunk.lstrip().startswith(b">"):
            raise InputError("is not a FASTA file", "name another file", where=path)
        number += (last + chunk).count(b"\n>")
        last = chunk[-1:]
    return number


def _num_lines(path: Path) -> int:
    return sum(chunk.count(b"\n") for chunk in _chunks(path))
