"""Migrations: they lead to the tables of a new database, in one transaction."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import op

from foldry.database import migrate, migrations, revision
from foldry.database.connection import Tables
from foldry.database.database import Database
from foldry.database.place import TABLES, find_place
from foldry.errors import FaultError, InputError, MissingError
from tests.database.conftest import Make, where_is
from tests.database.deposits import deposit
from tests.database.server import Server


def described(connection: sa.Connection) -> dict[str, list[tuple[object, ...]]]:
    """Return what a database says about all its tables, columns, keys and indexes."""
    if connection.dialect.name == "sqlite":
        rows = connection.exec_driver_sql("SELECT type, name, sql FROM sqlite_master")
        # The order in which SQLAlchemy and Alembic write the parts of a statement differs.
        return {"all": sorted((kind, name, _words(text)) for kind, name, text in rows)}
    queries = {
        "columns": "SELECT table_name, column_name, data_type, is_nullable, column_default "
        "FROM information_schema.columns WHERE table_schema = current_schema()",
        "indexes": "SELECT tablename, replace(indexdef, current_schema() || '.', '') "
        "FROM pg_indexes WHERE schemaname = current_schema()",
        "constraints": "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) "
        "FROM pg_constraint WHERE connamespace = current_schema()::regnamespace",
    }
    return {
        name: sorted(tuple(row) for row in connection.exec_driver_sql(query))
        for name, query in queries.items()
    }


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(sorted((text or "").replace('"', "").replace(",", " ").split()))


def empty_tables(make: Make, tmp_path: Path, request: pytest.FixtureRequest) -> Tables:
    """Return empty tables of the same kind as those that `make` makes."""
    if make().tables.is_sqlite:
        folder = tmp_path / "empty"
        folder.mkdir()
        (folder / TABLES).touch()
        return Tables(find_place(folder))
    server: Server = request.getfixturevalue("postgres")
    return Tables(find_place(server.new_database()))


def test_all_steps_lead_to_a_new_database(
    make_database: Make, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    tables = empty_tables(make_database, tmp_path, request)
    with tables.writing() as connection:
        migrate.apply(connection, revision.REVISIONS)
    with tables.reading() as connection, make_database().reading() as new:
        assert described(connection) == described(new)
        assert "ix_entries_accession" in str(described(connection))
    tables.close()


def test_revisions_and_their_files_belong_together() -> None:
    folder = Path(migrations.__path__[0])
    names = sorted(path.stem for path in folder.glob("revision_*.py"))
    assert names == [f"revision_{name}" for name in revision.REVISIONS]


def test_the_present_schema_needs_no_migration(make_database: Make) -> None:
    database = make_database()
    database.publish([deposit()])
    assert migrate.migrate(where_is(database)) == []
    assert database.model(database.entry("example")) == deposit().model


def test_what_cannot_be_migrated(make_database: Make, tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="is not a database: check its name"):
        migrate.migrate(tmp_path / "none")
    database = make_database()
    with database.writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(InputError, match="was made by a later version of Foldry: install that"):
        migrate.migrate(where_is(database))


# A step of a later version: it makes a table anew, as SQLite must for most changes.


def later_step() -> None:
    """Remove a column, add one, and make another table."""
    with op.batch_alter_table("entries", recreate="auto") as table:
        table.drop_column("owner")
        table.add_column(sa.Column("shape", sa.Text(), nullable=False, server_default="round"))
    op.create_table("shapes", sa.Column("shape", sa.Text(), primary_key=True))


@pytest.fixture
def a_later_version(monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    """Foldry of a later version, whose schema has one more revision."""
    module = types.ModuleType("foldry.database.migrations.revision_9999")
    module.upgrade = later_step  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(revision, "REVISIONS", [*revision.REVISIONS, "9999"])
    monkeypatch.setattr(migrate, "REVISIONS", revision.REVISIONS)
    yield module


def test_an_older_database_is_migrated(
    make_database: Make, a_later_version: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr(revision, "REVISIONS", revision.REVISIONS[:-1])
        database = make_database()
        database.publish([deposit(), deposit(tool="other")])
    where = where_is(database)
    with pytest.raises(InputError, match="was made by an earlier version of Foldry: migrate it"):
        Database.open(where)
    assert migrate.migrate(where) == ["9999"]
    assert migrate.migrate(where) == []
    with database.reading() as connection:
        rows = connection.exec_driver_sql("SELECT entry_id, shape FROM entries").all()
        assert [shape for _, shape in rows] == ["round", "round"]
        assert connection.exec_driver_sql("SELECT count(*) FROM chains").scalar() == 2
        assert sa.inspect(connection).has_table("shapes")


def test_a_failed_migration_changes_nothing(
    make_database: Make, a_later_version: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        before.setattr(revision, "REVISIONS", revision.REVISIONS[:-1])
        database = make_database()
        database.publish([deposit()])

    def fails() -> None:
        later_step()
        raise FaultError("The step failed")

    a_later_version.upgrade = fails  # type: ignore[attr-defined]
    with database.reading() as connection:
        found = described(connection)
    with pytest.raises(FaultError, match="The step failed"):
        migrate.migrate(where_is(database))
    with database.reading() as connection:
        assert described(connection) == found
    assert database.model(database.entry("example")) == deposit().model


def test_a_killed_migration_changes_nothing(make_sqlite: Make) -> None:
    database = make_sqlite()
    database.publish([deposit()])
    with database.reading() as connection:
        found = described(connection)
    program = (
        "import os, signal, sys, types\n"
        "from foldry.database import migrate, revision\n"
        "from tests.database.test_migrations import later_step\n"
        "def upgrade():\n"
        "    later_step()\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "module = types.ModuleType('foldry.database.migrations.revision_9999')\n"
        "module.upgrade = upgrade\n"
        "sys.modules[module.__name__] = module\n"
        "revision.REVISIONS.append('9999')\n"
        "migrate.migrate(sys.argv[1])\n"
    )
    command = [sys.executable, "-c", program, where_is(database)]
    root = Path(__file__).resolve().parents[2]
    ended = subprocess.run(
        command, check=False, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}
    )
    assert ended.returncode == -signal.SIGKILL
    with database.reading() as connection:
        assert described(connection) == found
    assert database.model(database.entry("example")) == deposit().model
