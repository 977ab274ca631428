"""Transactions on the tables: many readers, one writer at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from foldry.database.place import Place
from foldry.database.schema import store
from foldry.errors import (
    BusyError,
    DiskFullError,
    FoldryError,
    InputError,
    MissingError,
    OutsideError,
    reason,
)

WAIT_SECONDS: Final = 120.0
"""How long a writer waits for another one; a publication takes about a second."""
_WRITER: Final = 0x464F4C44
"""Number of the lock that one writer holds in PostgreSQL."""

_KNOWN: Final[tuple[tuple[tuple[str, ...], type[FoldryError], str, str], ...]] = (
    (
        ("SQLITE_FULL", "53100"),
        DiskFullError,
        "cannot be written because no space is left on its disk",
        "free some space and run the same command again",
    ),
    (
        ("SQLITE_BUSY", "SQLITE_LOCKED", "55P03"),
        BusyError,
        "is being written by another process",
        "try again later",
    ),
    (
        ("SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH", "42501", "25006"),
        InputError,
        "may not be written by this user",
        "check its permissions",
    ),
    (("SQLITE_CANTOPEN",), InputError, "cannot be opened", "check its permissions"),
    (("SQLITE_CORRUPT", "SQLITE_NOTADB"), InputError, "is damaged", "restore it from a copy"),
)
"""Codes of SQLite and PostgreSQL, and the errors for them."""


class Tables:
    """The tables of a database.

    Args:
        place: Where they are; the file or the PostgreSQL database must exist.
        check_references: Whether SQLite refuses rows that name a missing row.
        is_new: Whether SQLite makes the file if it is missing. If this user may not write it, it is
            opened for reading.

    Raises:
        MissingError: There are no tables, or the package for PostgreSQL is missing.
    """

    def __init__(
        self, place: Place, *, check_references: bool = True, is_new: bool = False
    ) -> None:
        self.place = place
        self.engine = (
            _sqlite(place, check_references, is_new)
            if place.folder is not None
            else _postgres(place)
        )
        self._writer = self.engine.execution_options(writes=True, **_latest(place))
        event.listen(self.engine, "begin", _begin)

    @property
    def is_sqlite(self) -> bool:
        """Whether the tables are in SQLite."""
        return self.place.folder is not None

    def prepare(self) -> None:
        """Let SQLite write to a log beside the tables, so that readers never wait."""
        if self.is_sqlite:
            with self._said(), self.engine.connect() as connection:
                cursor = connection.connection.cursor()
                cursor.execute("PRAGMA journal_mode = WAL")
                cursor.close()

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Give a connection that sees one state of the database within the `with` block.

        Raises:
            FoldryError: The tables cannot be read.
        """
        with self._said(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Give the only connection that writes within the `with` block, one transaction.

        It waits until other writers end. An exception undoes everything.

        Raises:
            BusyError: Another process writes for more than `WAIT_SECONDS`.
            DiskFullError: No space is left.
            FoldryError: The tables cannot be written.
        """
        with self._said(), self._writer.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise self._explained(error) from error

    def _explained(self, error: DBAPIError) -> FoldryError:
        """Return the error for an exception of the tables' program."""
        code = str(
            getattr(error.orig, "sqlite_errorname", None) or getattr(error.orig, "sqlstate", "")
        )
        for prefixes, kind, what, advice in _KNOWN:
            if code.startswith(prefixes):
                return kind(what, advice, where=self.place.shown)
        what = f"cannot be used ({reason(error.orig or error)})"
        advice = "check its disk" if self.is_sqlite else "check the server and the URL"
        return OutsideError(what, advice, where=self.place.shown)


def _sqlite(place: Place, check_references: bool, is_new: bool) -> sa.Engine:
    if not is_new and not place.tables.is_file():
        raise MissingError(
            "is not a database", "check its name", where=place.shown, code="not_a_database"
        )
    is_writable = is_new or place.is_writable
    mode = "rwc" if is_new else "rw" if is_writable else "ro"
    log = place.tables.with_name(f"{place.tables.name}-wal")

    def connect() -> sqlite3.Connection:
        uri = f"{place.tables.resolve().as_uri()}?mode={mode}"
        if not is_writable and not log.exists():
            uri += "&immutable=1"  # SQLite cannot make the log, and nobody is writing
        connection = sqlite3.connect(
            uri, uri=True, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False
        )
        connection.execute(f"PRAGMA foreign_keys = {check_references:d}")
        connection.execute("PRAGMA synchronous = FULL")  # what is acknowledged is on the disk
        return connection

    # A reader that may not write opens the file for each transaction, to find new logs.
    pool = sa.QueuePool if is_writable else sa.NullPool
    return sa.create_engine("sqlite://", creator=connect, poolclass=pool)


def _postgres(place: Place) -> sa.Engine:
    try:
        return sa.create_engine(place.url, isolation_level="REPEATABLE READ")
    except ModuleNotFoundError as error:
        advice = "install it: pip install foldry[postgres]"
        raise MissingError("The package psycopg is missing", advice) from error
    except sa.exc.ArgumentError as error:
        raise InputError("is not a valid URL", "check it", where=place.shown) from error


def _latest(place: Place) -> dict[str, str]:
    """Return the options with which a writer in PostgreSQL sees what others wrote before it."""
    return {} if place.folder is not None else {"isolation_level": "READ COMMITTED"}


def _begin(connection: Any) -> None:
    """Begin a transaction: that of a writer waits for its turn before it reads anything."""
    writes = connection.get_execution_options().get("writes", False)
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
    elif writes:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{WAIT_SECONDS:.0f}s'")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITER})")


def next_state(connection: sa.Connection) -> int:
    """Count one more change in a writer's transaction and return its number."""
    connection.execute(store.update().values(state=store.c.state + 1))
    return int(connection.execute(sa.select(store.c.state)).scalar_one())
