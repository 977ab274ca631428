"""Rows of the tables → entries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any, Final

import sqlalchemy as sa

from foldry.database import ids
from foldry.database.entry import Entry, Facts, Version
from foldry.database.schema import (
    alignments,
    chains,
    entries,
    models,
    sequences,
    tags,
    versions,
)
from foldry.errors import InputError
from foldry.formats.model_record import ModelChain, Reference

BATCH: Final = 500
"""Number of entries that are read at once."""
FACT_COLUMNS: Final = tuple(each.name for each in fields(Facts) if each.name in entries.c)
"""The facts that have a column of their own."""


def load(connection: sa.Connection, keys: Sequence[int]) -> list[Entry]:
    """Return the entries with these numbers, in this order; those that do not exist are left out.

    Args:
        connection: A transaction.
        keys: Numbers of entries, about `BATCH` at most.
    """
    rows = {
        row.key: row for row in connection.execute(entries.select().where(entries.c.key.in_(keys)))
    }
    of_chains, of_versions = _chains(connection, keys), _versions(connection, keys)
    tagged = defaultdict[int, list[str]](list)
    for row in connection.execute(tags.select().where(tags.c.entries.in_(keys))):
        tagged[row.entries].append(row.tag)
    return [
        Entry(
            key=row.key,
            entry_id=row.entry_id,
            accession=str(ids.Accession(row.accession, row.isoform)),
            fragment=row.fragment,
            name=row.name,
            provider=row.provider,
            tool=row.tool,
            chains=tuple(of_chains[row.key]),
            facts=_facts(row),
            versions=tuple(of_versions[row.key]),
            tags=tuple(sorted(tagged[row.key])),
            withdrawn=row.withdrawn,
            withdrawn_on=row.withdrawn_on,
        )
        for row in map(rows.get, keys)
        if row is not None
    ]


def _facts(row: sa.Row[Any]) -> Facts:
    columns: dict[str, Any] = {name: getattr(row, name) for name in FACT_COLUMNS}
    return Facts(**columns | {name: tuple(value) for name, value in row.facts.items()})


def _chains(connection: sa.Connection, keys: Sequence[int]) -> dict[int, list[ModelChain]]:
    found = defaultdict[int, list[ModelChain]](list)
    query = (
        sa.select(chains, sequences.c.letters)
        .join(sequences)
        .where(chains.c.entries.in_(keys))
        .order_by(chains.c.entries, chains.c.place)
    )
    for row in connection.execute(query):
        reference = None if row.reference is None else Reference(**row.reference)
        chain = ModelChain(tuple(row.ids), row.letters, row.description, reference)
        found[row.entries].append(chain)
    return found


def _versions(connection: sa.Connection, keys: Sequence[int]) -> dict[int, list[Version]]:
    chosen = sa.select(versions.c.key).where(versions.c.entries.in_(keys))
    digests = {
        table: _digests(connection, table, order, chosen)
        for table, order in ((models, models.c.rank), (alignments, alignments.c.place))
    }
    query = (
        versions.select()
        .where(versions.c.entries.in_(keys))
        .order_by(versions.c.entries, versions.c.number)
    )
    found = defaultdict[int, list[Version]](list)
    for row in connection.execute(query):
        version = Version(
            number=row.number,
            content_key=row.content_key,
            created=row.created,
            published=row.published,
            state=row.state,
            model_name=row.model_name,
            tool_version=row.tool_version,
            mean_plddt=row.mean_plddt,
            fractions=tuple(row.fractions),
            scores=row.scores,
            has_pae=row.has_pae,
            digests=tuple(digests[models][row.key]),
            alignments=tuple(digests[alignments][row.key]),
            original=row.original,
        )
        found[row.entries].append(version)
    return found


def _digests(
    connection: sa.Connection, table: sa.Table, order: sa.Column[Any], chosen: sa.Select[Any]
) -> dict[int, list[str]]:
    query = (
        sa.select(table.c.versions, table.c.digest)
        .where(table.c.versions.in_(chosen))
        .order_by(table.c.versions, order)
    )
    found = defaultdict[int, list[str]](list)
    for version, digest in connection.execute(query):
        found[version].append(digest)
    return found


def load_all(
    connection: sa.Connection, after: int, where: Sequence[sa.ColumnElement[bool]]
) -> list[Entry]:
    """Return the next `BATCH` entries whose number is greater than `after`, by number.

    Args:
        connection: A transaction.
        after: Number of an entry; 0 for the first ones.
        where: Conditions on the columns of `entries`.
    """
    query = (
        sa.select(entries.c.key)
        .where(entries.c.key > after, *where)
        .order_by(entries.c.key)
        .limit(BATCH)
    )
    return load(connection, list(connection.scalars(query)))


def find_keys(connection: sa.Connection, qualifier: str) -> list[int]:
    """Return the numbers of the entries that a qualifier names (see `Database.find`)."""
    for text in dict.fromkeys((qualifier, ids.without_version(qualifier)[0])):
        for condition in _conditions(text):
            rows = connection.execute(entries.select().where(condition)).all()
            if rows:
                return [row.key for row in sorted(rows, key=_rank)]
    return []


def _rank(row: sa.Row[Any]) -> tuple[object, ...]:
    """Return what sorts entries: canonical ones, isoforms, others' and numbered ones, complexes."""
    has_own_id = ids.model_parts(row.entry_id) is not None
    return row.num_chains > 1, not has_own_id, row.isoform, row.fragment, row.key


def _conditions(text: str) -> Iterator[sa.ColumnElement[bool]]:
    """Yield what a qualifier may mean, the most specific first."""
    if ids.counted_parts(text) or ids.model_parts(text):
        yield entries.c.entry_id == text.upper()
    try:
        named = ids.accession(text)
    except InputError:
        pass
    else:
        in_a_chain = sa.select(chains.c.entries).where(chains.c.accession == named.base)
        condition = (entries.c.accession == named.base) | entries.c.key.in_(in_a_chain)
        yield condition & (entries.c.isoform == named.isoform) if named.isoform else condition
    if ids.local_name(text) == text:  # any other text may hold what PostgreSQL refuses
        yield entries.c.name == text
