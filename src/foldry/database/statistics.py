"""How much a database holds."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from foldry.database import schema
from foldry.database.database import Database


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Numbers of a database.

    Attributes:
        provider: Who makes its predictions.
        block: The first seven digits of the ids that it allots.
        state: Number of the latest change.
        entries, withdrawn: Number of entries, and of those that are withdrawn.
        residues: Number of residues of all entries.
        versions, models: Number of versions, and of models with those of ensembles.
        sequences: Number of different sequences.
        alignments: Number of different alignments.
        annotations: Number of annotated regions and residues.
        substitutions: Number of proteins with scores of substitutions.
        collections: Number of collections.
    """

    provider: str
    block: int
    state: int
    entries: int
    withdrawn: int
    residues: int
    versions: int
    models: int
    sequences: int
    alignments: int
    annotations: int
    substitutions: int
    collections: int


def statistics(database: Database) -> Statistics:
    """Return the numbers of a database, all of the same moment."""
    with database.reading() as connection:

        def count(table: sa.Table, *where: sa.ColumnElement[bool]) -> int:
            query = sa.select(sa.func.count()).select_from(table).where(*where)
            return int(connection.execute(query).scalar_one())

        digests = sa.select(sa.func.count(schema.alignments.c.digest.distinct()))
        residues = sa.select(sa.func.coalesce(sa.func.sum(schema.entries.c.num_residues), 0))
        return Statistics(
            provider=database.provider,
            block=database.block,
            state=int(connection.execute(sa.select(schema.store.c.state)).scalar_one()),
            entries=count(schema.entries),
            withdrawn=count(schema.entries, schema.entries.c.withdrawn != ""),
            residues=int(connection.execute(residues).scalar_one()),
            versions=count(schema.versions),
            models=count(schema.models),
            sequences=count(schema.sequences),
            alignments=int(connection.execute(digests).scalar_one()),
            annotations=count(schema.regions),
            substitutions=count(schema.substitutions),
            collections=count(schema.collections),
        )
