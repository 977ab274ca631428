"""The revision of the tables: the one that Foldry needs, and the one that a database has."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from foldry.errors import InputError, MissingError

REVISIONS: Final = ["0001"]
"""All revisions, the present one last; `migrations` has the step that leads to each."""

_TABLE: Final = sa.Table(
    "alembic_version", sa.MetaData(), sa.Column("version_num", sa.String(32), primary_key=True)
)


def revision_of(connection: sa.Connection, shown: str) -> str:
    """Return the revision of a database, which this version of Foldry knows.

    Args:
        connection: A transaction.
        shown: The place of the database in messages.

    Raises:
        MissingError: There is no database.
        InputError: A later version of Foldry made it.
    """
    if not sa.inspect(connection).has_table("store"):
        raise MissingError(
            "is not a database", "check its name", where=shown, code="not_a_database"
        )
    found = connection.scalar(sa.select(_TABLE.c.version_num))
    if found not in REVISIONS:
        what, advice = "was made by a later version of Foldry", "install that version"
        raise InputError(what, advice, where=shown)
    return str(found)


def check_revision(connection: sa.Connection, shown: str) -> None:
    """Check that a database has the present revision.

    Raises:
        MissingError: There is no database.
        InputError: An earlier or a later version of Foldry made it.
    """
    if revision_of(connection, shown) != REVISIONS[-1]:
        what, advice = "was made by an earlier version of Foldry", "migrate it"
        raise InputError(what, advice, where=shown, code="old_database")


def set_revision(connection: sa.Connection) -> None:
    """Note that the tables have the present revision."""
    _TABLE.create(connection, checkfirst=True)
    connection.execute(_TABLE.delete())
    connection.execute(_TABLE.insert().values(version_num=REVISIONS[-1]))
