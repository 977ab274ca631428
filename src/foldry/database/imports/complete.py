"""A version that was imported without its predicted aligned errors, and then with them."""

from __future__ import annotations

from dataclasses import replace

import sqlalchemy as sa

from foldry.database.candidate import candidate
from foldry.database.connection import next_state
from foldry.database.database import Database
from foldry.database.entry import Deposit, Published, StoredModel
from foldry.database.publish import log_change
from foldry.database.record import decode, encode
from foldry.database.schema import entries, models, versions


def complete(database: Database, deposit: Deposit) -> Published | None:
    """Give a version the predicted aligned errors that it lacks, if a deposit has them.

    Files of AlphaFold DB number their version, and those of the errors may be imported later.

    Args:
        database: The database.
        deposit: A prediction whose version is taken.

    Returns:
        Where it is kept; None if the version is another prediction, or has errors.
    """
    if deposit.model.pae is None or deposit.ensemble:
        return None
    query = (
        sa.select(versions.c.key, entries.c.entry_id, models.c.digest)
        .select_from(entries.join(versions).join(models))
        .where(entries.c.identity == candidate(deposit, database.provider).identity)
        .where(versions.c.number == deposit.version, ~versions.c.has_pae, models.c.rank == 0)
    )
    with database.writing() as connection:  # nothing removes objects meanwhile
        row = connection.execute(query).first()
        stored = None if row is None else database.objects.get(row.digest)
        if row is None or stored is None or _kept_atoms(stored) != _atoms(deposit.model):
            return None
        record = encode(deposit.model, exact_pae=database.exact_pae)
        [digest] = database.objects.put_many([record])
        columns = {"has_pae": True, "content_key": deposit.content_key}
        connection.execute(versions.update().where(versions.c.key == row.key).values(columns))
        of_version = models.c.versions == row.key
        connection.execute(models.update().where(of_version).values(digest=digest))
        log_change(connection, next_state(connection), "completed", row.entry_id)
    return Published(row.entry_id, int(deposit.version or 0), True)


def _kept_atoms(data: bytes) -> bytes:
    """Return the atoms of a record; nothing if it is damaged."""
    try:
        return _atoms(decode(data))
    except ValueError:
        return b""


def _atoms(model: StoredModel) -> bytes:
    return encode(replace(model, pae=None, max_pae=None))
