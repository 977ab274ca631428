"""Proof that a database is whole: every row, every object, every version."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from foldry.database import read, segments
from foldry.database.database import Database
from foldry.database.entry import Entry, Version, composition
from foldry.database.ids import counted_parts
from foldry.database.record import OpenRecord
from foldry.database.schema import entries, store, versions
from foldry.database.text_index import words
from foldry.errors import FoldryError, reason


@dataclass(frozen=True)
class Problem:
    """Something that is wrong in a database.

    Attributes:
        entry_id: The entry, or "" for the whole database.
        version: The version, or None.
        what: What is wrong, as the predicate of a sentence about the entry or the database.
    """

    entry_id: str
    version: int | None
    what: str

    def __str__(self) -> str:
        about = self.entry_id or "The database"
        about += "" if self.version is None else f", version {self.version},"
        return f"{about} {self.what}."


def verify(
    database: Database, progress: Callable[[int], object] = lambda count: None
) -> Iterator[Problem]:
    """Read everything, and yield what is wrong.

    Each row must have its objects, each object its hash and its row's sequences, each version but
    an entry's first its predecessor, and the database's numbers must cover what is in it. The
    search's data must have every chain once.
    Others may write meanwhile: only what is still wrong in a second look is reported.

    Args:
        database: The database.
        progress: Called with the number of entries that have been read.
    """
    with database.reading() as connection:
        yield from _of_tables(connection)
    after = count = 0
    while True:
        with database.reading() as connection:
            batch = read.load_all(connection, after, ())
            wrong = list(_of_rows(connection, batch))
        yield from wrong
        for entry in batch:
            found = list(_of_objects(database, entry))
            if found and (again := _again(database, entry)) is not None:
                yield from _of_objects(database, again)
            count += 1
            progress(count)
        if not batch:
            break
        after = batch[-1].key
    for problem in segments.problems(database):
        yield Problem("", None, f"is not whole ({problem})")


def _again(database: Database, entry: Entry) -> Entry | None:
    """Return the entry as it is now; None if it has been removed."""
    return next(iter(database.load([entry.key])), None)


def _of_tables(connection: sa.Connection) -> Iterator[Problem]:
    """Check the file of the tables, and the numbers of the whole database."""
    if connection.dialect.name == "sqlite":
        for check in ("integrity_check", "foreign_key_check"):
            for row in connection.exec_driver_sql(f"PRAGMA {check}"):
                if row[0] != "ok":
                    text = " ".join(map(str, row))
                    yield Problem("", None, f"has damaged tables ({text})")
    kept = connection.execute(store.select()).one()
    largest: dict[str, Any] = {
        "state": max(
            connection.scalar(sa.select(sa.func.max(column))) or 0
            for column in (entries.c.state, versions.c.state)
        ),
        "last_entry": connection.scalar(sa.select(sa.func.max(entries.c.key))) or 0,
    }
    own = entries.c.entry_id.startswith(f"AF-{kept.block}", autoescape=True)
    last = connection.scalar(sa.select(sa.func.max(entries.c.entry_id)).where(own))
    if last and (parts := counted_parts(last)):
        largest["counted"] = parts[1]
    for name, value in largest.items():
        if getattr(kept, name) < value:
            yield Problem("", None, f"has {name} {getattr(kept, name)}, but {value} is in use")


def _of_rows(connection: sa.Connection, batch: Sequence[Entry]) -> Iterator[Problem]:
    """Check the rows of some entries."""
    keys = [entry.key for entry in batch]
    latest = dict(
        connection.execute(
            sa.select(entries.c.key, entries.c.version).where(entries.c.key.in_(keys))
        ).all()
    )
    indexed = set(connection.scalars(sa.select(words.c.rowid).where(words.c.rowid.in_(keys))))
    before: dict[int, list[tuple[int, int | None]]] = {key: [] for key in keys}
    query = sa.select(versions.c.entries, versions.c.number, versions.c.predecessor)
    query = query.where(versions.c.entries.in_(keys)).order_by(versions.c.key)
    for key, number, predecessor in connection.execute(query):
        before[key].append((number, predecessor))
    for entry in batch:
        numbers = [number for number, _ in before[entry.key]]
        if not numbers:
            yield Problem(entry.entry_id, None, "has no version")
        elif latest[entry.key] != max(numbers):
            what = f"names version {latest[entry.key]} as its latest, not {max(numbers)}"
            yield Problem(entry.entry_id, None, what)
        for place, (number, predecessor) in enumerate(before[entry.key]):
            if predecessor is None and place:
                yield Problem(entry.entry_id, number, "names no predecessor")
            elif predecessor is not None and predecessor not in numbers[:place]:
                yield Problem(entry.entry_id, number, f"has no predecessor {predecessor}")
        if not entry.chains:
            yield Problem(entry.entry_id, None, "has no sequence")
        if entry.key not in indexed:
            yield Problem(entry.entry_id, None, "is not in the index of words")


def _of_objects(database: Database, entry: Entry) -> Iterator[Problem]:
    """Read every object of an entry."""
    for version in entry.versions:
        if not version.digests:
            yield Problem(entry.entry_id, version.number, "has no model")
        named = [(digest, f"model {rank}") for rank, digest in enumerate(version.digests)]
        named += [(digest, "alignment") for digest in version.alignments]
        named += [(version.original, "original file")] if version.original else []
        for digest, name in named:
            what = _of_object(database, digest, name, entry, version)
            if what:
                yield Problem(entry.entry_id, version.number, f"has {what}")


def _of_object(
    database: Database, digest: str, name: str, entry: Entry, version: Version
) -> str | None:
    """Return what is wrong with an object, or None."""
    try:
        data = database.objects.get(digest)
        if data is None:
            state = "missing" if database.objects.size(digest) is None else "damaged"
            return f"an object that is {state} ({name}, {digest})"
        if name.startswith("model"):
            opened = OpenRecord(data)
            if composition(entry.chains) != composition(opened.chains):
                return f"a model of other sequences ({name}, {digest})"
            if name == "model 0" and opened.has_pae != version.has_pae:
                return f"other errors than its row says ({name}, {digest})"
    except FoldryError as error:
        return f"an object that cannot be read ({name}, {reason(error)})"
    except ValueError as error:
        return f"an object that is not a record ({name}, {digest}, {reason(error)})"
    return None
