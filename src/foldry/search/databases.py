"""Databases on this machine: recorded once, checked before each search.

A database keeps its place; the registry records its size, number of sequences, time of change and a
version, which is part of the keys of kept searches.
"""

from __future__ import annotations

import json
import os
import re
import string
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from itertools import chain, count, takewhile
from pathlib import Path
from typing import Final

from foldry.errors import InputError, MissingError, quoted
from foldry.inputs.folders import FASTA_SUFFIXES
from foldry.search import structure_index
from foldry.search.structure_index import Progress
from foldry.store.files import make_folder, read_bytes, remove, stem, write_json
from foldry.store.hashes import content_key, file_sha256, new_sha256, sha256
from foldry.store.locks import hold_file
from foldry.store.packing import open_unpacked

FASTA: Final = "FASTA"
MMSEQS: Final = "MMseqs2"
HHSUITE: Final = "HH-suite"
STRUCTURES: Final = "structures"
_PARTS: Final = ("_seq", "", "_aln", "_h", "_seq_h")
"""Parts of an MMseqs2 database. Beside the representatives, a clustered one has all sequences and
the alignments of each cluster."""
_HHSUITE: Final = ("_a3m", "_cs219", "_hhm")
"""Parts of an HH-suite database; not all have the last one."""
_TAXONOMY: Final = ("_mapping", "_taxonomy")
_WHOLE: Final = (".index", ".ffindex", ".dbtype")
"""Files of these programs of which the version of a database depends on every byte."""
_LONGEST_NAME: Final = 64
NAME: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{_LONGEST_NAME - 1}}}")
_ENDS: Final = 2**20
"""Bytes at the start and at the end of a data file that the version of a database depends on."""
_CHUNK: Final = 2**20
_LONGEST_LINE: Final = 10**8
_HEADER: Final = re.compile(rb"^>[^\n]*", re.MULTILINE)
_LETTERS: Final = string.ascii_letters.encode() + b"* \t\r\n"
_BASES: Final = b"ACGTUNacgtun \t\r\n"
_MIN_NUCLEOTIDES: Final = 200
"""A text of fewer bases alone may be a peptide."""
_FILE: Final = "databases.json"
_VARIABLE: Final = "FOLDRY_DATABASES"
_CACHE_VARIABLE: Final = "FOLDRY_SEARCHES"
INDICES: Final = "structures"
"""The folder of the indices of structures, beside the list of databases or kept searches."""


@dataclass(frozen=True)
class Database:
    """A database, as it was when it was recorded.

    Attributes:
        name: Its name, e.g. `uniref90`.
        kind: `FASTA`, `MMseqs2`, `HH-suite` or `structures`.
        path: A FASTA file, a folder of structures, or what the names of the files of the other
            kinds have in common.
        size: Bytes of all its files.
        num_sequences: Number of sequences, or of alignments; of structures, number of chains.
        modified: Time of the last change, nanoseconds.
        version: Derived from the content; the same in copies.
        is_clustered: Whether it is an MMseqs2 database of clusters, as ColabFold searches.
        has_taxonomy: Whether the species of its sequences are known, by which ColabFold pairs rows.
        index: Folder of the index of structures; "" for other kinds.
    """

    name: str
    kind: str
    path: str
    size: int
    num_sequences: int
    modified: int
    version: str
    is_clustered: bool = False
    has_taxonomy: bool = False
    index: str = ""

    def check(self) -> None:
        """Check that the files are those that were recorded.

        Of structures, only the folder must be there: whoever opens them reads what changed.

        Raises:
            MissingError: They are missing.
            InputError: They changed.
        """
        if self.kind == STRUCTURES:
            if not Path(self.path).is_dir():
                advice = "restore it, or add the structures again"
                raise MissingError("is not a folder", advice, where=self.path)
            return
        files = _files(self.kind, Path(self.path))
        if (self.size, self.modified) != _state(files):
            what = f"is not the database that was recorded as {self.name}, as its files changed"
            raise InputError(what, "check it, or add it again", where=self.path)


def check_content(database: Database) -> Database:
    """Return a database as it is now, after reading it; its files may only have another time.

    Structures may change in any way: those that did are read.

    Raises:
        MissingError: It is missing.
        InputError: It changed, as far as `inspect` notices, or is damaged.
    """
    if database.kind == STRUCTURES:
        database.check()
        return of_structures(Path(database.path), Path(database.index), database.name)
    found = inspect(Path(database.path), database.name)
    if found.version != database.version:
        what = f"is not the database that was recorded as {database.name}, as its content changed"
        raise InputError(what, "add it again", where=database.path)
    return found


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
            return {each["name"]: self._with_index(_database(each)) for each in listed}
        except (ValueError, TypeError, KeyError, RecursionError):
            what = "is not a list of databases"
            raise InputError(what, "remove it and add them again", where=self._file) from None

    def add(self, path: Path, name: str = "") -> Database:
        """Record a database, or record it anew, and return it.

        Args:
            path: A FASTA file, which may be packed with gzip, xz or zstd; or what the names of the
                files of an MMseqs2 or HH-suite database have in common.
            name: Its name, also in place of another database; that of the file if left out.

        Raises:
            InputError: There is no such file, it is damaged, or its name is not usable or that of
                another database.
            BusyError: Another process adds or removes a database.
        """
        if not name:
            self._check_free(_name_of(path), path)  # before hours of reading
        return self.record(inspect(path, name), is_named=bool(name))

    def add_structures(
        self,
        folder: Path,
        name: str = "",
        obsolete: Path | None = None,
        progress: Progress | None = None,
    ) -> Database:
        """Record a folder of structures, or what changed in it, and return the database.

        Args:
            folder: A folder with PDB, mmCIF or BinaryCIF files in it or in its folders.
            name: Its name, also in place of another database; that of the folder if left out.
            obsolete, progress: As for `structure_index.update`.

        Raises:
            InputError: As for `structure_index.update` and `add`.
            BusyError: As for `add`.
        """
        if not name:
            self._check_free(_name_of(folder.absolute()), folder)
        _check_name(name)
        place = self._place(name or _name_of(folder.absolute()))
        try:
            found = of_structures(folder, place, name, obsolete, progress)
        except InputError:
            if place.name not in self.databases():  # what an interrupted process read is kept
                remove(place)
            raise
        return self.record(found, is_named=bool(name))

    def record(self, database: Database, *, is_named: bool = True) -> Database:
        """Record a database as it is, and return it.

        Args:
            database: The database.
            is_named: Whether it may take the place of another one of its name.

        Raises:
            InputError: Another database has its name and `is_named` is not set.
            BusyError: Another process adds or removes a database.
        """
        make_folder(self._file.parent)
        with hold_file(self._file):
            if not is_named:
                self._check_free(database.name, Path(database.path))
            self._write(self.databases() | {database.name: database})
        return database

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
            remove(self._place(name))

    def _place(self, name: str) -> Path:
        """Return the folder of the index of structures."""
        return self.folder / INDICES / name

    def _with_index(self, database: Database) -> Database:
        """Return a database with the place of its index, which is not taken from the list."""
        is_structures = database.kind == STRUCTURES
        return replace(database, index=str(self._place(database.name)) if is_structures else "")

    def _check_free(self, name: str, path: Path) -> None:
        """Refuse a name under which another database is registered."""
        known = self.databases().get(name)
        if known is not None and os.path.realpath(known.path) != os.path.realpath(path):
            what = f"would be {quoted(name)}, but a database of this name is registered from "
            advice = "give it another name, or this one to replace the other database"
            raise InputError(f"{what}{known.path}", advice, where=path)

    def _write(self, databases: dict[str, Database]) -> None:
        write_json(self._file, [asdict(each) for each in databases.values()], sync=True)


def _database(values: dict[str, object]) -> Database:
    """Return a database of the list, whose values are of the right types.

    Raises:
        TypeError: They are not.
        ValueError: The name or the kind is none; somebody else may have written the list.
    """
    found = Database(**values)  # type: ignore[arg-type]
    if not all(type(getattr(found, each.name)).__name__ == each.type for each in fields(found)):
        raise TypeError
    if not NAME.fullmatch(found.name) or found.kind not in (FASTA, MMSEQS, HHSUITE, STRUCTURES):
        raise ValueError
    return found


def default_folder() -> Path:
    """Return the folder of the registry: `$FOLDRY_DATABASES`, or `~/.cache/foldry/databases`.

    Raises:
        InputError: The variable is not set and the user has no home folder.
    """
    return user_folder(_VARIABLE, "databases", "the list of databases")


def default_cache() -> Path:
    """Return the folder of kept searches: `$FOLDRY_SEARCHES`, or `~/.cache/foldry/searches`.

    Raises:
        InputError: The variable is not set and the user has no home folder.
    """
    return user_folder(_CACHE_VARIABLE, "searches", "kept searches")


def user_folder(variable: str, name: str, purpose: str) -> Path:
    """Return the folder that a variable names, or `~/.cache/foldry/NAME`.

    Raises:
        InputError: The variable is not set and the user has no home folder.
    """
    if named := os.environ.get(variable):
        return Path(named)
    try:
        return Path.home() / ".cache" / "foldry" / name
    except RuntimeError:
        what = f"This user has no home folder for {purpose}"
        raise InputError(what, f"set {variable} to a folder") from None


def inspect(path: Path, name: str = "") -> Database:
    """Return what the registry records of a database; see `Registry.add`.

    The version of a FASTA file depends on every byte of the unpacked text. That of a database of
    MMseqs2 or HH-suite depends on its indices, on the sizes of all files, and on the first and the
    last MiB of each data file: a change in between that moves nothing is not noticed.
    """
    path = path.absolute()
    kind = _kind(path)
    _check_name(name)
    files = _files(kind, path)
    size, modified = _state(files)
    if kind == HHSUITE:
        _check_parts(files)
    if kind == FASTA:
        number, content = _scan(path)
    else:
        number, content = _num_lines(files[0]), content_key([_fingerprint(each) for each in files])
    if not number:
        raise InputError("has no sequences", "name another database", where=path)
    version = content_key([kind, number, content])[:12]
    has = {file.name.removeprefix(path.name) for file in files} if kind == MMSEQS else set()
    return Database(
        name=name or _name_of(path),
        kind=kind,
        path=str(path),
        size=size,
        num_sequences=number,
        modified=modified,
        version=version,
        is_clustered={"_seq.dbtype", "_aln.dbtype"} <= has,
        has_taxonomy={*_TAXONOMY} <= has,
    )


def of_structures(
    folder: Path,
    place: Path,
    name: str = "",
    obsolete: Path | None = None,
    progress: Progress | None = None,
) -> Database:
    """Return what the registry records of a folder of structures, after updating its index.

    Args:
        folder: The folder.
        place: The folder of the index.
        name: Name of the database; that of the folder if left out.
        obsolete, progress: As for `structure_index.update`.

    Raises:
        InputError: As for `structure_index.update`.
    """
    folder = folder.absolute()
    index = structure_index.update(folder, place, obsolete, progress)
    files = index.files.values()
    return Database(
        name=name or _name_of(folder),
        kind=STRUCTURES,
        path=str(folder),
        size=sum(each.size for each in files),
        num_sequences=index.num_chains,
        modified=max(each.modified for each in files),
        version=index.version,
        index=str(place),
    )


def _check_name(name: str) -> None:
    """Refuse a name that a database cannot have; "" stands for that of its file."""
    if name and not NAME.fullmatch(name):
        advice = f"give a name of at most {_LONGEST_NAME} ASCII letters, digits, '.', '-' and '_'"
        raise InputError(f"{quoted(name)} cannot be the name of a database", advice)


def _name_of(path: Path) -> str:
    """Return the name of a database that is given none: that of its file, made safe."""
    name = stem(path)
    if name.endswith(FASTA_SUFFIXES):  # uniref90.fasta.v2
        name = stem(Path(name))
    safe = re.sub("[^A-Za-z0-9._-]", "_", name).lstrip("._-")
    return safe[:_LONGEST_NAME] or "database"


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
        advice = "name a FASTA file, or what the names of a database's files have in common; "
        advice += "with `structures`, a folder of structures"
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


def _fingerprint(file: Path) -> tuple[int, str]:
    """Return the size of a file, and the hash of its content or, of data, of both ends."""
    size = file.stat().st_size
    if file.suffix in _WHOLE:
        return size, file_sha256(file)
    with file.open("rb") as opened:
        start = opened.read(_ENDS)
        opened.seek(max(0, size - _ENDS))
        return size, sha256(start + opened.read(_ENDS))


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


def _scan(path: Path) -> tuple[int, str]:
    """Return the number of records of a FASTA file, and the hash of the unpacked text.

    Raises:
        InputError: The file is damaged, is not FASTA, or its sequences are not proteins.
    """
    number, line, rest, digest = 0, 1, b"", new_sha256()
    for chunk in chain(_chunks(path), [b"\n"]):
        start = (rest + chunk).lstrip()[:1]
        if not number and start not in (b"", b">"):
            raise InputError("is not a FASTA file", "name another file", where=path)
        whole, end, after = (rest + chunk).rpartition(b"\n")
        if not end and len(after) > _LONGEST_LINE:
            raise InputError("has a line of endless length", "name another file", where=path)
        rest = after
        letters = _HEADER.sub(b"", whole)
        if strange := letters.translate(None, _LETTERS):
            raise _not_protein(whole, strange[:1], line, path)
        if number == 0 and len(letters) >= _MIN_NUCLEOTIDES and not letters.translate(None, _BASES):
            raise InputError("has sequences of nucleotides", "give proteins", where=path)
        number += len(_HEADER.findall(whole))
        line += whole.count(b"\n") + len(end)
        digest.update(chunk)
    return number, digest.hexdigest()


def _not_protein(text: bytes, strange: bytes, line: int, path: Path) -> InputError:
    """Return the error for a character that no sequence has; the text begins at a line."""
    for number, row in enumerate(text.split(b"\n"), start=line):
        if strange in row and not row.startswith(b">"):
            shown = quoted(strange.decode("latin-1"))
            advice = "give sequences that are not aligned, in letters alone"
            return InputError(f"has {shown} in a sequence", advice, where=f"{path}, line {number}")
    raise AssertionError("the character is in a sequence")


def _num_lines(path: Path) -> int:
    return sum(chunk.count(b"\n") for chunk in _chunks(path))
