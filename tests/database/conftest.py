"""Databases of every kind: tables in SQLite or PostgreSQL, objects in a folder or at a URL."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import pytest

from foldry.database.database import Database
from tests.database.server import Server, programs, running


class Make(Protocol):
    """Makes an empty database; arguments are those of `Database.create`."""

    def __call__(self, *, provider: str = "Example Lab", **options: Any) -> Database: ...


def where_is(database: Database) -> str:
    """Return what opens a database."""
    place = database.tables.place
    return place.url.replace("+psycopg", "") or place.shown


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL server; skips the test if PostgreSQL is not installed."""
    folder = programs()
    if folder is None:
        pytest.skip("PostgreSQL is not installed")
    with running(folder) as server:
        yield server


KINDS = [
    pytest.param(("sqlite", "folder"), id="sqlite"),
    pytest.param(("postgres", "memory"), id="postgres", marks=pytest.mark.tools),
]


@pytest.fixture(params=KINDS)
def make_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Makes databases of one kind; a test that uses it runs once for every kind."""
    tables, objects = request.param
    yield from _maker(tables, objects, request, tmp_path)


@pytest.fixture
def make_sqlite(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Makes databases of the default kind: folders."""
    yield from _maker("sqlite", "folder", request, tmp_path)


def _maker(
    tables: str, objects: str, request: pytest.FixtureRequest, folder: Path
) -> Iterator[Make]:
    numbers, made = count(1), list[Database]()
    memory = folder.name

    def make(*, provider: str = "Example Lab", **options: Any) -> Database:
        number = next(numbers)
        where = str(folder / f"lab{number}.db")
        if tables == "postgres":
            server: Server = request.getfixturevalue("postgres")
            where = server.new_database()
        place = {
            "folder": None,
            "memory": f"memory://{memory}/{number}",
        }[objects]
        database = Database.create(where, provider=provider, **{"objects": place, **options})
        made.append(database)
        return database

    yield make
    for database in made:
        database.close()


@pytest.fixture
def database(make_database: Make) -> Database:
    """An empty database of each kind."""
    return make_database()


@pytest.fixture
def sqlite_database(make_sqlite: Make) -> Database:
    """An empty database of the default kind."""
    return make_sqlite()
