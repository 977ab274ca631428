"""Copying all of one database into another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import sqlalchemy as sa

from foldry.database.candidate import Candidate, Contents
from foldry.database.connection import next_state
from foldry.database.database import Database
from foldry.database.entry import Entry, Published, Version
from foldry.database.publish import log_change
from foldry.database.read import BATCH, load
from foldry.database.schema import (
    chains,
    collected,
    collections,
    entries,
    regions,
    substitutions,
    tags,
    versions,
)
from foldry.database.text_index import index_text
from foldry.errors import InputError, OutsideError

_BATCH: Final = 50
"""Entries of a transaction; alignments may have megabytes."""
_OF_AN_ENTRY: Final = [
    column.name
    for column in entries.c
    if column.name
    not in (
        "key",
        "entry_id",
        "identity",
        "version",
        "mean_plddt",
        "created",
        "first_state",
        "state",
    )
]
"""Columns of an entry that depend neither on its place in the tables nor on its versions."""
_OF_A_COLLECTION: Final = ("name", "title", "description", "subjects", "tags")
_OF_A_PREDICTION: Final = (
    *("content_key", "created", "model_name", "tool_version", "mean_plddt", "fractions"),
    *("scores", "has_pae"),
)


def copy_from(target: Database, source: Database) -> Iterator[Published | OutsideError]:
    """Copy every version of every entry of another database, with tags and annotations.

    Entries keep their ids, and versions their numbers, unless the target has another prediction as
    this version: then the version becomes the next one. To copy again changes nothing, so an
    interrupted copy is completed by the next.

    Args:
        target: The database that is written.
        source: The database that is read.

    Yields:
        Where each version is kept in the target, or why it cannot be read.

    Raises:
        InputError: Both databases allot the same ids.
    """
    if target.block == source.block:
        what = f"allots the same ids as {source.tables.place.shown}"
        raise InputError(what, "copy into another one", where=target.tables.place.shown)
    after = 0
    while True:
        with source.reading() as connection:
            query = sa.select(entries.c.key).where(entries.c.key > after).order_by(entries.c.key)
            some = load(connection, connection.scalars(query.limit(_BATCH)).all())
            made = _candidates(connection, some)
        if not some:
            break
        after = some[-1].key
        contents = [_contents(source, entry, each) for entry in some for each in entry.versions]
        whole = [
            (candidate, each)
            for candidate, each in zip(made, contents, strict=True)
            if isinstance(each, Contents)
        ]
        published = target.put([each for each, _ in whole], [each for _, each in whole])
        kept = {
            candidate.entry_id: each.entry_id
            for (candidate, _), each in zip(whole, published, strict=True)
        }
        _copy_marks(target, source, [entry for entry in some if entry.entry_id in kept], kept)
        yield from published
        yield from (each for each in contents if isinstance(each, OutsideError))
    _copy_annotations(target, source)


def _candidates(connection: sa.Connection, some: Sequence[Entry]) -> list[Candidate]:
    """Return a candidate for each version of some entries."""
    keys = [entry.key for entry in some]
    rows = {
        row.key: row._asdict()
        for row in connection.execute(entries.select().where(entries.c.key.in_(keys)))
    }
    of_versions = {
        (row.entries, row.number): row._asdict()
        for row in connection.execute(versions.select().where(versions.c.entries.in_(keys)))
    }
    letters = dict[int, tuple[str, ...]]()
    query = sa.select(chains.c.entries, chains.c.letters_3di).where(chains.c.entries.in_(keys))
    for key, text in connection.execute(query.order_by(chains.c.entries, chains.c.place)):
        letters[key] = (*letters.get(key, ()), text)
    return [
        Candidate(
            identity=rows[entry.key]["identity"],
            entry_id=entry.entry_id,
            entry={name: rows[entry.key][name] for name in _OF_AN_ENTRY},
            chains=entry.chains,
            version={name: of_versions[entry.key, each.number][name] for name in _OF_A_PREDICTION},
            number=each.number,
            letters_3di=letters[entry.key],
            is_numbered=False,
        )
        for entry in some
        for each in entry.versions
    ]


def _contents(source: Database, entry: Entry, version: Version) -> Contents | OutsideError:
    """Return the objects of a version, or why they cannot be read."""

    def stored(digests: Sequence[str]) -> tuple[bytes, ...]:
        return tuple(source.stored(digest, entry.entry_id) for digest in digests)

    try:
        original = source.stored(version.original, entry.entry_id) if version.original else None
        return Contents(stored(version.digests), stored(version.alignments), original)
    except OutsideError as error:
        return error


def _copy_marks(
    target: Database, source: Database, some: Sequence[Entry], kept: dict[str, str]
) -> None:
    """Copy tags and collections of entries; `kept` has the ids in the target by id."""
    with source.reading() as connection:
        query = (
            sa.select(collections, entries.c.entry_id)
            .join(collected, collected.c.collections == collections.c.key)
            .join(entries, entries.c.key == collected.c.entries)
            .where(entries.c.key.in_([entry.key for entry in some]))
        )
        named = connection.execute(query).all()
    with target.writing() as connection:
        ids = sa.select(entries.c.entry_id, entries.c.key)
        keys = dict(connection.execute(ids.where(entries.c.entry_id.in_(kept.values()))).all())
        tagged = [
            {"entries": keys[kept[entry.entry_id]], "tag": tag}
            for entry in some
            for tag in entry.tags
        ]
        members = [
            {
                "collections": _collection(connection, row),
                "entries": keys[kept[row.entry_id]],
            }
            for row in named
        ]
        is_new = _add_missing(connection, tags, tagged)
        if _add_missing(connection, collected, members) or is_new:
            log_change(connection, next_state(connection), "merged")
            index_text(connection, list(keys.values()))


def _collection(connection: sa.Connection, row: sa.Row[Any]) -> int:
    """Return the number of a collection of this name, which is made if there is none."""
    query = sa.select(collections.c.key).where(collections.c.name == row.name)
    known = connection.scalar(query)
    if known is None:
        known = int(connection.scalar(sa.select(sa.func.max(collections.c.key))) or 0) + 1
        columns = {name: getattr(row, name) for name in _OF_A_COLLECTION}
        connection.execute(collections.insert().values(key=known, **columns))
    return int(known)


def _copy_annotations(target: Database, source: Database) -> None:
    """Copy what is known about residues, unless the target knows it."""
    for table in (regions, substitutions):
        with source.reading() as connection:
            result = connection.execution_options(yield_per=BATCH).execute(table.select())
            for some in result.mappings().partitions():
                with target.writing() as writer:
                    if _add_missing(writer, table, [dict(row) for row in some]):
                        log_change(writer, next_state(writer), "merged")


def _add_missing(
    connection: sa.Connection, table: sa.Table, rows: Sequence[dict[str, Any]]
) -> bool:
    """Add the rows whose primary key is new; return whether there are any."""
    key = list(table.primary_key.columns)
    wanted = {tuple(row[column.name] for column in key): row for row in rows}
    found = connection.execute(sa.select(*key).where(key[0].in_({each[0] for each in wanted})))
    for each in found:
        wanted.pop(tuple(each), None)
    if wanted:
        connection.execute(table.insert(), list(wanted.values()))
    return bool(wanted)
