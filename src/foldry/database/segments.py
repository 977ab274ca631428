"""The sequences and 3Di letters of all entries as databases of MMseqs2.

They are derived from the tables and can be removed at any time: the next search makes them again.

```
search/
  g00000012/            a generation, which never changes
    about.json          its parts, and the latest publication that it covers
    amino_acids.0 .1 …  one data file per part: the entries of a range of publications
    letters_3di.0 .1 …  the same chains in the same order
    *.index *.dbtype    of MMseqs2, which reads all parts as one database
    rows                entry, chain and publication of each sequence
```

Whoever searches first after a publication makes the next generation: it links the parts of the one
before and adds a part, into which small parts at the end are merged. So the number of parts grows
with the logarithm of the number of entries, and every generation holds every entry once. A new
version of an entry is a new row; the old one stays until its part is made again, and searches leave
it out. Generations are removed when nobody searches them any more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import sqlalchemy as sa
from jaxtyping import Int

from foldry.database.database import Database
from foldry.database.schema import chains, entries, sequences, store, versions
from foldry.errors import counted
from foldry.search.databases import user_folder
from foldry.store import flock
from foldry.store.files import (
    link_file,
    make_folder,
    names,
    new_file,
    new_folder,
    remove,
    sweep,
    write_bytes,
    write_json,
)
from foldry.store.locks import hold_file

AMINO_ACIDS: Final = "amino_acids"
LETTERS_3DI: Final = "letters_3di"
ALPHABETS: Final = (AMINO_ACIDS, LETTERS_3DI)
END: Final = b"\n\0"
"""What ends a sequence in MMseqs2."""
SEQUENCES: Final = bytes(4)
"""MMseqs2's type of databases of amino acids, or of any other letters."""
_FORMAT: Final = 1
"""Of the files; another number makes them again."""
_ABOUT: Final = "about.json"
_ROWS: Final = "rows"
_LOCK: Final = "generations"
_NAME: Final = re.compile(r"g\d{8}")
_SMALL: Final = 8192
"""A last part of up to so many rows is merged with new ones; that takes a tenth of a second."""
_GROWTH: Final = 2
"""A larger one is merged with new ones that have at least half as many rows."""
_STALE: Final = 0.25
"""Share of old versions and removed entries in the rows above which all parts are made again."""
_BATCH: Final = 10_000
_UNKNOWN: Final = "D"
"""The 3Di letter of residues without a contact."""
_VARIABLE: Final = "FOLDRY_SEARCH_DATA"


@dataclass(frozen=True)
class Part:
    """The chains of the entries whose latest versions were published in a range.

    Attributes:
        last: Number of the last publication of the range, which follows that of the part before.
        num_rows: Number of chains.
        num_bytes: Size of each data file.
    """

    last: int
    num_rows: int
    num_bytes: int


@dataclass(frozen=True)
class Generation:
    """A folder of parts that MMseqs2 reads as one database; it never changes.

    Attributes:
        folder: The folder.
        store: Identity of the database.
        last: Number of the latest publication that it covers.
        published: When that was; tables restored from an earlier copy have another one.
        parts: The parts, in the order of publication.
    """

    folder: Path
    store: str
    last: int
    published: str
    parts: tuple[Part, ...]

    @property
    def num_rows(self) -> int:
        """Number of chains, old versions included."""
        return sum(part.num_rows for part in self.parts)

    @property
    def num_residues(self) -> int:
        """Number of residues of all chains."""
        return sum(part.num_bytes - len(END) * part.num_rows for part in self.parts)

    @cached_property
    def rows(self) -> Int[np.ndarray, "K 3"]:
        """Number of the entry, place of the chain and number of the publication of each row."""
        return np.fromfile(self.folder / _ROWS, np.int64).reshape(-1, 3)

    def index(self) -> list[bytes]:
        """Return the lines of MMseqs2's index, one for each row."""
        return (self.folder / f"{AMINO_ACIDS}.index").read_bytes().splitlines(keepends=True)

    def select(self, chosen: Int[np.ndarray, " R"], alphabet: str, folder: Path) -> Path:
        """Make a database of some rows in another folder, by links; return its name for MMseqs2.

        Args:
            chosen: Numbers of the rows, sorted.
            alphabet: One of `ALPHABETS`.
            folder: A temporary folder.
        """
        for number in range(len(self.parts)):
            name = f"{alphabet}.{number}"
            link_file(self.folder / name, folder / name, is_brief=True)
        lines = self.index()
        write_bytes(folder / f"{alphabet}.index", b"".join(lines[row] for row in chosen.tolist()))
        write_bytes(folder / f"{alphabet}.dbtype", SEQUENCES)
        return folder / alphabet


@contextmanager
def current(database: Database) -> Iterator[tuple[sa.Connection, Generation]]:
    """Give a reader's connection and the generation of what it sees, which is made if needed.

    Raises:
        InputError: The folder of the search's data cannot be written.
        DiskFullError: No space is left for it.
    """
    folder = search_folder(database)
    for each in dict.fromkeys((database.search_folder or folder, folder)):
        with _latest(each) as present, database.reading() as connection:
            if present is not None and _covers(present, connection):
                yield connection, present
                return
    make_folder(folder)
    with ExitStack() as held:
        with hold_file(folder / _LOCK, wait=True):
            connection = held.enter_context(database.reading())
            with _latest(folder) as present:
                if present is None or not _covers(present, connection):
                    _make(folder, present, connection)
            made = held.enter_context(_latest(folder))
            _remove_old(folder)
        assert made is not None
        yield connection, made


def compact(database: Database) -> bool:
    """Merge all parts, without old versions and removed entries; return whether there were any.

    Searches go on meanwhile.

    Raises:
        InputError: The folder of the search's data cannot be written.
        DiskFullError: No space is left for it.
    """
    folder = search_folder(database)
    if _newest(folder) is None:
        return False
    with hold_file(folder / _LOCK, wait=True):
        with database.reading() as connection, _latest(folder) as present:
            if present and _covers(present, connection) and _is_compact(present, connection):
                return False
            _make(folder, None, connection)
        _remove_old(folder)
    return True


def problems(database: Database) -> list[str]:
    """Return what is wrong with the latest generation, which the next search does not notice."""
    with _latest(search_folder(database)) as present, database.reading() as connection:
        if present is None or not _covers(present, connection):
            return []  # the next search makes another one
        chosen = sa.select(entries.c.key, chains.c.place, entries.c.state)
        known = {tuple(row) for row in connection.execute(chosen.join_from(entries, chains))}
        rows = [tuple(row) for row in present.rows.tolist()]
        found = [row for row in rows if row in known]
        lacking, more = len(known - {*found}), len(found) - len({*found})
        problems = [f"the search's data lack {counted(lacking, 'chain')}"] * bool(lacking)
        return problems + [f"the search's data have {counted(more, 'chain')} twice"] * bool(more)


def search_folder(database: Database) -> Path:
    """Return the folder in which this user keeps the search's data.

    It is in the folder of the database. With PostgreSQL, and if this user may not write the
    database, it is below `$FOLDRY_SEARCH_DATA` or `~/.cache/foldry/database-search`.
    """
    if database.search_folder is not None and database.tables.place.is_writable:
        return database.search_folder
    with database.reading() as connection:
        return user_folder(_VARIABLE, "database-search", "the data of searches") / _identity(
            connection
        )


def _identity(connection: sa.Connection) -> str:
    """Return a name of the database that no other has."""
    [row] = connection.execute(sa.select(store.c.block, store.c.made)).all()
    return f"{row.block}-{''.join(filter(str.isdigit, row.made))}"


def _covers(generation: Generation, connection: sa.Connection) -> bool:
    """Return whether a generation has exactly the publications that a reader sees."""
    return generation.last == _last(connection) and _is_part(generation, connection)


def _is_part(generation: Generation, connection: sa.Connection) -> bool:
    """Return whether the database has all publications of a generation."""
    known = _identity(connection), _published(connection, generation.last)
    return known == (generation.store, generation.published)


def _last(connection: sa.Connection) -> int:
    """Return the number of the latest publication."""
    return connection.scalar(sa.select(sa.func.max(entries.c.state))) or 0


def _published(connection: sa.Connection, state: int) -> str:
    """Return when a publication was; "" if there was none."""
    query = sa.select(versions.c.published).where(versions.c.state == state).limit(1)
    return connection.scalar(query) or ""


def _count(connection: sa.Connection, after: int = 0) -> int:
    """Return the number of chains of entries whose latest version follows a publication."""
    query = sa.select(sa.func.count()).select_from(chains)
    if after:
        query = query.join(entries).where(entries.c.state > after)
    return int(connection.execute(query).scalar_one())


def _is_compact(generation: Generation, connection: sa.Connection) -> bool:
    return len(generation.parts) <= 1 and generation.num_rows == _count(connection)


def _newest(folder: Path) -> Path | None:
    """Return the folder of the latest generation."""
    found = _generations(folder)
    return found[-1] if found else None


def _generations(folder: Path) -> list[Path]:
    """Return the folders of all generations, the latest last."""
    return [folder / name for name in names(folder) if _NAME.fullmatch(name)]


@contextmanager
def _latest(folder: Path) -> Iterator[Generation | None]:
    """Give the latest generation, which nobody removes in the `with` block; None if unusable."""
    with ExitStack() as held:
        while newest := _newest(folder):
            with suppress(FileNotFoundError):  # removed by another process: there is a later one
                is_held = held.enter_context(flock.locked(newest, shared=True))
                if is_held is not False and newest.is_dir():
                    break
        yield _read(newest) if newest else None


def _read(folder: Path) -> Generation | None:
    """Return a generation; None if a file has another size or the format is another one."""
    try:
        about = json.loads((folder / _ABOUT).read_bytes())
        if about["format"] != _FORMAT:
            return None
        parts = tuple(Part(**part) for part in about["parts"])
        known = about["store"], about["last"], about["published"]
        found = Generation(folder, *known, parts)
        sizes = {f"{name}.index": about["index"] for name in ALPHABETS}
        sizes |= {f"{a}.{n}": part.num_bytes for a in ALPHABETS for n, part in enumerate(parts)}
        sizes[_ROWS] = 3 * 8 * found.num_rows
        if any((folder / name).stat().st_size != size for name, size in sizes.items()):
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found


def _make(folder: Path, present: Generation | None, connection: sa.Connection) -> None:
    """Make the next generation.

    Args:
        folder: The folder of all, whose lock this process holds.
        present: The one before, the parts of which are used again; None to make all of them.
        connection: A reader's connection.
    """
    sweep(folder)
    newest, last = _newest(folder), _last(connection)
    target = folder / f"g{int(newest.name[1:]) + 1 if newest else 1:08d}"
    kept: tuple[Part, ...] = ()
    index, rows = b"", np.zeros((0, 3), np.int64)
    with new_folder(target) as made:
        if present is not None and _is_part(present, connection):
            kept = _kept(present, connection)
            num_rows = sum(part.num_rows for part in kept)
            index, rows = b"".join(present.index()[:num_rows]), present.rows[:num_rows]
            for name in (f"{alphabet}.{n}" for alphabet in ALPHABETS for n in range(len(kept))):
                link_file(present.folder / name, made / name)
        part, new_rows = _write_part(made, kept, connection, last)
        parts = (*kept, part) if part.num_rows else kept
        starts = np.cumsum([0, *new_rows[:, 3]])[:-1] + sum(part.num_bytes for part in kept)
        lengths, first = new_rows[:, 3].tolist(), len(rows)
        lines = zip(range(first, first + len(new_rows)), starts.tolist(), lengths, strict=True)
        index += b"".join(b"%d\t%d\t%d\n" % line for line in lines)
        for name in ALPHABETS:
            write_bytes(made / f"{name}.index", index)
            write_bytes(made / f"{name}.dbtype", SEQUENCES)
        write_bytes(made / _ROWS, np.concatenate([rows, new_rows[:, :3]]).tobytes())
        about = {
            "format": _FORMAT,
            "store": _identity(connection),
            "last": last,
            "published": _published(connection, last),
            "index": len(index),
            "parts": [asdict(part) for part in parts],
        }
        write_json(made / _ABOUT, about)


def _remove_old(folder: Path) -> None:
    """Remove the generations that nobody searches, but for the latest."""
    for old in _generations(folder)[:-1]:
        with suppress(OSError), flock.locked(old) as is_unused:
            if is_unused is not False:
                remove(old)


def _kept(present: Generation, connection: sa.Connection) -> tuple[Part, ...]:
    """Return the parts of a generation that the next one uses again."""
    num_new = _count(connection, present.last)
    num_stale = present.num_rows - (_count(connection) - num_new)
    if num_stale > _STALE * present.num_rows:
        return ()
    parts = present.parts
    while parts and parts[-1].num_rows <= max(_SMALL, _GROWTH * num_new):
        num_new += parts[-1].num_rows
        parts = parts[:-1]
    return parts


def _write_part(
    folder: Path, before: tuple[Part, ...], connection: sa.Connection, last: int
) -> tuple[Part, Int[np.ndarray, "K 4"]]:
    """Write the data files of a part; return it, and its rows with the lengths in the files."""
    after = before[-1].last if before else 0
    query = (
        sa.select(
            entries.c.key, chains.c.place, entries.c.state,
            sequences.c.letters, chains.c.letters_3di,
        )
        .select_from(entries.join(chains).join(sequences))
        .where(entries.c.state > after)
        .order_by(entries.c.state, entries.c.key, chains.c.place)
        .execution_options(yield_per=_BATCH)
    )  # fmt: skip
    blocks = [np.zeros((0, 4), np.int64)]
    with ExitStack() as opened:
        paths = [folder / f"{alphabet}.{len(before)}" for alphabet in ALPHABETS]
        files = [opened.enter_context(new_file(path)) for path in paths]
        for batch in connection.execute(query).partitions():
            amino_acids = [row.letters.encode() for row in batch]
            letters = [
                row.letters_3di.ljust(len(row.letters), _UNKNOWN)[: len(row.letters)].encode()
                for row in batch
            ]
            for file, texts in zip(files, (amino_acids, letters), strict=True):
                file.write(b"".join(text + END for text in texts))
            numbers = [(row.key, row.place, row.state) for row in batch]
            sizes = [len(text) + len(END) for text in amino_acids]
            blocks.append(np.column_stack([np.array(numbers), np.array(sizes)]))
    rows = np.concatenate(blocks)
    if not len(rows):  # MMseqs2 reads no empty file
        for path in paths:
            remove(path)
    return Part(last, len(rows), int(rows[:, 3].sum())), rows
