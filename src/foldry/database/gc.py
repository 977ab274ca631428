"""Removal of what nothing names: objects of unfinished publications, and withdrawn entries."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

import sqlalchemy as sa

from foldry.database import segments
from foldry.database.connection import next_state
from foldry.database.database import Database
from foldry.database.publish import PURGED, WITH_VERSIONS, digests_in_use, log_change
from foldry.database.schema import chains, entries, models, sequences, versions
from foldry.database.text_index import index_text

_BATCH: Final = 1000


@dataclass(frozen=True, kw_only=True)
class Removed:
    """What a collection of garbage removed.

    Attributes:
        entries: Ids of the withdrawn entries that were purged, with all their versions.
        objects: Number of objects.
        bytes: Space that they took, compressed.
        search_merged: Whether the search's data were made anew, in one part.
    """

    entries: tuple[str, ...]
    objects: int
    bytes: int
    search_merged: bool


def collect_garbage(database: Database, *, purge: bool = False) -> Removed:
    """Remove the objects that no version names, merge the search's data, and return what was done.

    Others may read and publish meanwhile. Nothing depends on the clock: an object is removed in a
    writer's transaction in which no version names it, and publications put their objects in such
    transactions too. A killed run is completed by the next one.

    Args:
        database: The database.
        purge: Whether withdrawn entries are removed first, with all their versions. Their numbers
            are not used again; the log of changes keeps ids, versions and reasons.

    Raises:
        BusyError: Another process writes for long.
        DiskFullError: No space is left for the search's data.
    """
    purged = tuple(_purge(database)) if purge else ()
    database.objects.clean()
    count = freed = 0
    digests = database.objects.digests()
    while batch := list(islice(digests, _BATCH)):
        with database.reading() as connection:
            unnamed = set(batch) - digests_in_use(connection, batch)
        if unnamed:
            with database.writing() as connection:
                unnamed -= digests_in_use(connection, unnamed)
                freed += database.objects.remove(unnamed)
                count += len(unnamed)
    merged = segments.compact(database)
    return Removed(entries=purged, objects=count, bytes=freed, search_merged=merged)


def _purge(database: Database) -> Iterator[str]:
    """Remove all withdrawn entries, and yield their ids."""
    withdrawn = sa.select(entries.c.key).where(entries.c.withdrawn != "").limit(_BATCH)
    columns = (entries.c.entry_id, entries.c.withdrawn, versions.c.number, models.c.digest)
    while True:
        with database.writing() as connection:
            keys = connection.scalars(withdrawn).all()
            if not keys:
                return
            query = sa.select(*columns).select_from(WITH_VERSIONS)
            rows = connection.execute(query.where(entries.c.key.in_(keys))).all()
            state = next_state(connection)
            for entry_id, why, number, digest in rows:
                opened = database.opened(digest) if digest else None
                more = {"version": number, "fingerprint": opened and opened.fingerprint}
                log_change(connection, state, PURGED, entry_id, reason=why, **more)
            of_entries = sa.select(chains.c.sequences).where(chains.c.entries.in_(keys))
            letters = connection.scalars(of_entries.distinct()).all()
            connection.execute(entries.delete().where(entries.c.key.in_(keys)))
            used = sa.select(chains.c.sequences).where(chains.c.sequences.in_(letters))
            unused = sequences.c.key.in_(letters) & sequences.c.key.not_in(used)
            connection.execute(sequences.delete().where(unused))
            index_text(connection, keys)
        yield from dict.fromkeys(row.entry_id for row in rows)
