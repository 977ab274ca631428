"""The words of each entry: an FTS5 table in SQLite, a column of type `tsvector` in PostgreSQL.

Both see the same words: everything but letters and digits separates them, so `AF-P00520-F1` is a
phrase of three words in a document as in a query.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final

import sqlalchemy as sa

from foldry.database.schema import chains, entries, tags

COLUMNS: Final = {
    "entry_id": (10, "A"),
    "accession": (10, "A"),
    "names": (8, "A"),
    "gene": (10, "A"),
    "description": (4, "B"),
    "organism": (2, "C"),
    "keywords": (1, "D"),
    "tags": (3, "C"),
}
"""Weight of each column in SQLite's bm25, and its class in PostgreSQL."""
LANGUAGE: Final = "english"
"""The stemmer of PostgreSQL; that of SQLite is Porter's, for English too."""
words: Final = sa.table("search_text", sa.column("rowid", sa.Integer), sa.column("document"))
"""The index; `rowid` is the number of the entry, `document` exists in PostgreSQL alone."""
_BATCH: Final = 500
_MAX_DOCUMENT: Final = 20_000
"""Characters of a column that are indexed; PostgreSQL limits a document to 1 MiB."""
_SEPARATORS: Final = re.compile(r"[\W_]+")
_FACTS: Final = {
    "gene": ("gene_synonyms",),
    "organism": ("organism_names",),
    "description": ("full_names", "short_names"),
    "keywords": ("keywords", "functions", "go", "ec"),
}
"""The facts without a column of their own that each column of the index holds."""


def make_index(connection: sa.Connection) -> None:
    """Make the empty index of a new database."""
    if connection.dialect.name == "sqlite":
        columns = ", ".join(COLUMNS)
        tokens = "tokenize = 'porter unicode61'"
        connection.exec_driver_sql(
            f"CREATE VIRTUAL TABLE {words.name} USING fts5({columns}, {tokens})"
        )
        return
    connection.exec_driver_sql(
        f"CREATE TABLE {words.name} (rowid INTEGER PRIMARY KEY, document TSVECTOR NOT NULL)"
    )
    connection.exec_driver_sql(f"CREATE INDEX ix_search_text ON {words.name} USING gin (document)")


def index_text(connection: sa.Connection, keys: Sequence[int]) -> None:
    """Bring the words of some entries up to date, in the transaction that changed the entries.

    Args:
        connection: A writer's connection.
        keys: Numbers of the entries; those that no longer exist are removed.
    """
    for start in range(0, len(keys), _BATCH):
        some = keys[start : start + _BATCH]
        connection.execute(sa.delete(words).where(words.c.rowid.in_(some)))
        if rows := _documents(connection, some):
            connection.execute(_insert(connection), rows)


def separated(text: str) -> str:
    """Return a text with single spaces in place of all but letters and digits."""
    return _SEPARATORS.sub(" ", text).strip()


def _insert(connection: sa.Connection) -> sa.TextClause:
    names = ", ".join(f":{name}" for name in COLUMNS)
    if connection.dialect.name == "sqlite":
        columns = ", ".join(COLUMNS)
        return sa.text(f"INSERT INTO {words.name} (rowid, {columns}) VALUES (:rowid, {names})")
    document = " || ".join(
        f"setweight(to_tsvector('{LANGUAGE}', :{name}), '{kind}')"
        for name, (_, kind) in COLUMNS.items()
    )
    return sa.text(f"INSERT INTO {words.name} (rowid, document) VALUES (:rowid, {document})")


def _documents(connection: sa.Connection, keys: Sequence[int]) -> list[dict[str, Any]]:
    """Return the words of each entry, by column."""
    tagged, of_chains = (
        _joined(connection, sa.select(column.table.c.entries, column).where(
            column.table.c.entries.in_(keys)))
        for column in (tags.c.tag, chains.c.description)
    )  # fmt: skip
    accessions = _joined(
        connection,
        sa.select(chains.c.entries, chains.c.accession).where(chains.c.entries.in_(keys)),
    )
    columns = entries.c
    query = sa.select(
        *(columns.key, columns.entry_id, columns.accession, columns.name, columns.uniprot_id),
        *(columns.gene, columns.organism, columns.description, columns.facts),
    ).where(columns.key.in_(keys))
    rows = []
    for row in connection.execute(query):
        texts = {
            "entry_id": [row.entry_id],
            "accession": [row.accession, *accessions[row.key]],
            "names": [row.name, row.uniprot_id],
            "gene": [row.gene],
            "organism": [row.organism],
            "description": [row.description, *of_chains[row.key]],
            "keywords": [],
            "tags": tagged[row.key],
        }
        for column, names in _FACTS.items():
            texts[column] += (each for name in names for each in row.facts.get(name, ()))
        rows.append({"rowid": row.key, **{name: _text(each) for name, each in texts.items()}})
    return rows


def _joined(connection: sa.Connection, query: sa.Select[Any]) -> defaultdict[int, list[str]]:
    """Return the texts of a query of two columns, by the first."""
    found = defaultdict[int, list[str]](list)
    for key, text in connection.execute(query):
        found[key].append(text)
    return found


def _text(texts: Iterable[str]) -> str:
    """Return different texts as one, separated by a character that phrases do not cross."""
    return separated(" ".join(dict.fromkeys(texts)))[:_MAX_DOCUMENT]
