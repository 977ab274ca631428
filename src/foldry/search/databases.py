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
from itertools import count, takewhile
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
_PARTS: Final = ("_seq", "", "_aln", "_h", "_seq_h")
"""Parts of an MMseqs2 database. Beside the representatives, a clustered one has all sequences and
the alignments of each cluster."""
_HHSUITE: Final = ("_a3m", "_cs219", "_hhm")
"""Parts of an HH-suite database; not all have the last one."""
_TAXONOMY: Final = ("_mapping", "_taxonomy")
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

    @property
    def is_clustered(self) -> bool:
        """Whether it is an MMseqs2 database of clusters, as ColabFold searches."""
        needed = (f"{part}.dbtype" for part in ("_seq", "_aln"))
        return self.kind == MMSEQS and all(_beside(self.path, end).is_file() for end in needed)

    @property
    def has_taxonomy(self) -> bool:
        """Whether the species of its sequences are known, by which ColabFold pairs rows."""
        return self.kind == MMSEQS and all(_beside(self.path, e).is_file() for e in _TAXONOMY)

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


def check_content(database: Database) -> None:
    """Read a database and check that its content is what was recorded.

    Raises:
        MissingError: It is missing.
        InputError: It changed or is damaged.
    """
    database.check()
    found = inspect(Path(database.path), database.name)
    if found.version != database.version:
        what = f"is not the database that was recorded as {database.name}: its content changed"
        raise InputError(what, "add it again", where=database.path)


class Registry:
    """The list of databases of a user or of a lab, kept in a folder.

    Args:
        folder: The folder; `default_folder()` if left out.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or default_folder()
        self._file = self.folder / _FILE

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
    if kind == HHSUITE:
        _check_parts(files)
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
    if _beside(path, ".dbtype").is_file():
        return MMSEQS
    if _beside(path, "_a3m.ffindex").is_file():
        return HHSUITE
    if path.is_dir():
        advice = "name a FASTA file, or what the names of a database's files have in common"
        raise InputError("is a folder", advice, where=path)
    if not path.is_file():
        raise InputError("does not exist", "check the path", where=path)
    return FASTA


def _files(kind: str, path: Path) -> list[Path]:
    """Return the files of a database: the index of its sequences first, if it has one."""
    if kind == FASTA:
        return [path]
    if kind == HHSUITE:
        parts = [each for each in _HHSUITE if each in _HHSUITE[:2] or _index(path, each).is_file()]
        return [
            each for part in parts for each in (_index(path, part), _beside(path, f"{part}.ffdata"))
        ]
    files = []
    for part in _PARTS:
        index, dbtype = (_beside(path, f"{part}.{end}") for end in ("index", "dbtype"))
        if not part or dbtype.is_file():
            files += [index, *_data(_beside(path, part)), dbtype]
    return files + [each for end in _TAXONOMY if (each := _beside(path, end)).is_file()]


def _index(path: Path, part: str) -> Path:
    """Return the index of a part of an HH-suite database."""
    return _beside(path, f"{part}.ffindex")


def _check_parts(files: list[Path]) -> None:
    """Check that the indices of an HH-suite database are whole and list equally many entries.

    Raises:
        InputError: One is cut off, or has other entries.
    """
    advice = "replace the database by a whole copy"
    for index, data in zip(files[::2], files[1::2], strict=True):
        with index.open("rb") as file:
            file.seek(max(0, index.stat().st_size - _ENDS))
            last = file.read().rpartition(b"\n")
        entry = last[0].rpartition(b"\n")[2].split(b"\t")
        if last[2] or len(entry) != 3 or not all(each.isdigit() for each in entry[1:]):
            raise InputError("is cut off", advice, where=index)
        if sum(map(int, entry[1:])) > data.stat().st_size:
            raise InputError("is cut off: entries of its index are missing", advice, where=data)
    first, *others = files[::2]
    for other in others[:1]:
        if (ours := _num_lines(other)) != (theirs := _num_lines(first)):
            what = f"lists {ours} entries, but {first.name} lists {theirs}"
            raise InputError(what, advice, where=other)


def _data(path: Path) -> list[Path]:
    """Return the data files of a part of an MMseqs2 database, which may be numbered."""
    numbered = takewhile(Path.is_file, (_beside(path, f".{number}") for number in count()))
    return [path] if path.is_file() else list(numbered) or [path]


def _beside(path: str | Path, end: str) -> Path:
    """Return the path whose name has something added."""
    return Path(f"{path}{end}")


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
