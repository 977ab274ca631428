"""Readers and writers at the same time, and what fails in the midst, on every kind of database."""

from __future__ import annotations

import errno
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import sqlalchemy as sa

from foldry.database import connection as connection_module
from foldry.database import publish
from foldry.database.database import Database
from foldry.database.entry import Deposit
from foldry.database.schema import entries, versions
from foldry.database.verify import verify
from foldry.errors import BusyError, DiskFullError, MissingError
from tests.database.conftest import Make, where_is
from tests.database.deposits import deposit, sequence, stored_model

BATCH = 5


def batch(number: int) -> list[Deposit]:
    """Return predictions of sequences of their own."""
    return [
        deposit(model=stored_model([(sequence(k, 8), 1)], seed=k), content_key=str(k), name=f"n{k}")
        for k in range(number * BATCH, (number + 1) * BATCH)
    ]


def test_writers_and_readers_at_once(make_database: Make) -> None:
    database = make_database()
    batches = [batch(number) for number in range(6)]
    seen: list[tuple[int, int]] = []

    def write(numbers: list[int]) -> None:
        with Database.open(where_is(database)) as own:
            for number in numbers:
                published = own.publish(batches[number])
                assert len({each.entry_id for each in published}) == BATCH

    with ThreadPoolExecutor(3) as pool:
        # The second writer has two batches of the first: each is published once.
        writers = [pool.submit(write, numbers) for numbers in ([0, 1, 2, 3], [3, 2, 4, 5])]
        while not all(each.done() for each in writers):
            with database.reading() as connection:
                query = sa.select(sa.func.count(entries.c.key))
                before = connection.scalar(query)
                states = connection.scalars(sa.select(versions.c.state).distinct()).all()
                time.sleep(0.001)  # a writer may end in between
                assert connection.scalar(query) == before
            seen.append((int(before or 0), len(states)))
        for each in writers:
            each.result()
    assert {count % BATCH for count, _ in seen} == {0}
    assert all(count == BATCH * number for count, number in seen)
    everything = list(database.entries())
    assert sorted(int(entry.name[1:]) for entry in everything) == list(range(6 * BATCH))
    assert [entry.entry_id[-9:] for entry in everything] == [
        f"{number:09d}" for number in range(1, 6 * BATCH + 1)
    ]
    assert sorted({entry.latest.state for entry in everything}) == [1, 2, 3, 4, 5, 6]
    assert database.state == 6
    assert list(verify(database)) == []


def test_a_writer_waits_for_another_and_then_gives_up(
    make_database: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = make_database()
    monkeypatch.setattr(connection_module, "WAIT_SECONDS", 1.0)
    with Database.open(where_is(database)) as other, database.writing():
        assert other.num_entries == 0, "a reader does not wait"
        with pytest.raises(BusyError, match="is being written by another process: try again"):
            other.publish(batch(0))
    with Database.open(where_is(database)) as other:
        other.publish(batch(0))


def test_an_exception_undoes_a_change(database: Database) -> None:
    database.publish(batch(0))

    def fails() -> None:
        with database.writing() as connection:
            connection.execute(entries.update().values(name="changed"))
            raise MissingError("Something is missing")

    with pytest.raises(MissingError):
        fails()
    assert {entry.name for entry in database.entries()} == {f"n{k}" for k in range(BATCH)}


def test_no_space_for_the_tables(sqlite_database: Database) -> None:
    sqlite_database.publish(batch(0))
    with sqlite_database.reading() as connection:
        size = connection.exec_driver_sql("PRAGMA page_count").scalar()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {size}")
    model = stored_model()
    many = [deposit(model=model, tool=f"tool {k}", name=f"m{k}") for k in range(200)]
    with pytest.raises(DiskFullError, match="cannot be written because no space is left"):
        sqlite_database.publish(many)
    assert (sqlite_database.num_entries, sqlite_database.state) == (BATCH, 1)
    assert list(verify(sqlite_database)) == []
    sqlite_database.close()  # another connection has no limit
    assert len(sqlite_database.publish(many)) == 200
    assert list(verify(sqlite_database)) == []


def test_no_space_for_the_records(
    sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    renamed = 0
    real = os.replace

    def full(*names: Any) -> None:
        nonlocal renamed
        renamed += 1
        if renamed == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(*names)

    with monkeypatch.context() as disk:
        disk.setattr("os.replace", full)
        disk.setattr("pathlib.Path.replace", full)
        disk.setattr("pathlib.Path.rename", full)
        with pytest.raises(DiskFullError):
            sqlite_database.publish(batch(0))
    assert renamed == 3
    assert (sqlite_database.num_entries, sqlite_database.state) == (0, 0)
    assert list(verify(sqlite_database)) == []
    assert [each.is_new for each in sqlite_database.publish(batch(0))] == [True] * BATCH
    assert list(verify(sqlite_database)) == []


def test_a_clock_that_jumps_back(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(f"{year}-01-01T00:00:00Z" for year in (2030, 2020, 2010))
    monkeypatch.setattr(publish, "now", lambda: next(times))
    published = [database.publish([deposit(seed=seed)])[0] for seed in range(3)]
    assert [each.version for each in published] == [1, 2, 3]
    entry = database.entry("example")
    assert [each.published[:4] for each in entry.versions] == ["2030", "2020", "2010"]
    assert [each.state for each in entry.versions] == [1, 2, 3]
    assert database.model(entry) == deposit(seed=2).model
    assert list(verify(database)) == []
