"""Migration of a database that an earlier version of Foldry made."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations

from foldry.database import migrations
from foldry.database.connection import Tables
from foldry.database.place import find_place
from foldry.database.revision import REVISIONS, revision_of, set_revision
from foldry.errors import FaultError


def migrate(where: str | Path) -> list[str]:
    """Bring a database to the present schema, in one transaction.

    Args:
        where: Its folder or `postgresql://` URL.

    Returns:
        The revisions that were applied; empty if the schema was the present one.

    Raises:
        MissingError: There is no database, or a package is missing.
        InputError: A later version of Foldry made it.
        BusyError: Another process writes for long.
    """
    tables = Tables(find_place(where), check_references=False)  # a table may be made anew
    try:
        with tables.writing() as connection:
            later = REVISIONS[REVISIONS.index(revision_of(connection, tables.place.shown)) + 1 :]
            if later:
                apply(connection, later)
            return later
    finally:
        tables.close()


def apply(connection: sa.Connection, names: list[str]) -> None:
    """Apply revisions, which follow that of the tables, in the caller's transaction.

    Raises:
        FaultError: Rows are left without others that they need.
    """
    with Operations.context(MigrationContext.configure(connection)):
        for name in names:
            import_module(f"{migrations.__name__}.revision_{name}").upgrade()
    is_sqlite = connection.dialect.name == "sqlite"
    if is_sqlite and connection.exec_driver_sql("PRAGMA foreign_key_check").all():
        raise FaultError("The migration left rows without others", "please report it")
    set_revision(connection)
