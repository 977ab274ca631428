"""Collections: named sets of entries with subject areas and tags."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from foldry.database.annotation_files import Annotated, Outcome, Row, batches, done, rows
from foldry.database.connection import next_state
from foldry.database.database import Database
from foldry.database.entry import Entry
from foldry.database.schema import collected, collections
from foldry.errors import InputError, quoted

_MAX_TEXT: Final = 10_000


@dataclass(frozen=True)
class Collection:
    """A named set of entries.

    Attributes:
        name: Its name.
        title, description: Texts, or "".
        subjects: Subject areas.
        tags: Tags.
        num_entries: Number of entries.
    """

    name: str
    title: str = ""
    description: str = ""
    subjects: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    num_entries: int = 0


def import_collections(database: Database, path: Path) -> Iterator[Outcome]:
    """Import a table of collections: a row adds an entry, and may describe its collection.

    Args:
        database: The database.
        path: A table with the columns `collection` and `id`, perhaps `title`, `description`,
            `subjects` and `tags` (several are separated by `|`).
    """
    for batch in batches(rows(path)):
        good: list[tuple[Row, Entry]] = []
        for row in batch:
            if isinstance(row, InputError):
                yield row
                continue
            name, qualifier = row.cells.get("collection", ""), row.cells.get("id", "")
            found = database.find(qualifier) if qualifier else []
            if not name or not name.isprintable() or len(name) > 100:
                yield row.error("has no valid name of a collection")
            elif not found:
                yield row.error(f"is about {quoted(qualifier)}, which is not in the database")
            elif found[1:]:
                what = f"is about {quoted(qualifier)}, which {len(found)} entries are called"
                yield row.error(what, "give the id of one")
            else:
                good.append((row, found[0]))
        yield _write_collected(database, good)


def _write_collected(database: Database, found: Sequence[tuple[Row, Entry]]) -> Annotated:
    new = 0
    with database.writing() as connection:
        for row, entry in found:
            key, is_changed = _collection_key(connection, row.cells)
            of_entry = (collected.c.collections == key) & (collected.c.entries == entry.key)
            if connection.execute(collected.select().where(of_entry)).first() is None:
                values = {"collections": key, "entries": entry.key}
                connection.execute(collected.insert().values(values))
                is_changed = True
            new += is_changed
        if new:
            next_state(connection)
    return done(new, len(found) - new)


def _collection_key(connection: sa.Connection, cells: dict[str, str]) -> tuple[int, bool]:
    """Return the number of a row's collection, and whether the row changed its description."""
    stated: dict[str, Any] = {
        name: cells[name][:_MAX_TEXT] for name in ("title", "description") if name in cells
    }
    for name in ("subjects", "tags"):
        if name in cells:
            stated[name] = sorted({each.strip() for each in cells[name].split("|") if each.strip()})
    of_name = collections.c.name == cells["collection"]
    row = connection.execute(collections.select().where(of_name)).one_or_none()
    if row is None:
        latest = connection.execute(sa.select(sa.func.max(collections.c.key))).scalar()
        key = (latest or 0) + 1
        empty = {"title": "", "description": "", "subjects": [], "tags": []}
        values = {"key": key, "name": cells["collection"], **empty, **stated}
        connection.execute(collections.insert().values(values))
        return key, True
    if all(getattr(row, name) == value for name, value in stated.items()):
        return row.key, False
    connection.execute(collections.update().where(of_name).values(stated))
    return row.key, True


def collections_of(database: Database, entry: Entry) -> list[str]:
    """Return the names of the collections that have an entry."""
    query = (
        sa.select(collections.c.name)
        .join(collected)
        .where(collected.c.entries == entry.key)
        .order_by(collections.c.name)
    )
    with database.reading() as connection:
        return list(connection.scalars(query))


def all_collections(database: Database) -> list[Collection]:
    """Return the collections of a database by name."""
    members = sa.func.count(collected.c.entries).label("members")
    query = (
        sa.select(collections, members)
        .join(collected, isouter=True)
        .group_by(collections.c.key)
        .order_by(collections.c.name)
    )
    with database.reading() as connection:
        found = connection.execute(query).all()
    return [
        Collection(
            row.name, row.title, row.description, tuple(row.subjects), tuple(row.tags), row.members
        )
        for row in found
    ]
