"""The search's data: every chain once, whatever happens before, during and after a merge."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from foldry.database import segments
from foldry.database.database import Database
from foldry.database.gc import collect_garbage
from foldry.database.segments import (
    AMINO_ACIDS,
    LETTERS_3DI,
    Generation,
    compact,
    current,
    problems,
    search_folder,
)
from tests.database.conftest import Make
from tests.database.deposits import deposit, sequence


def publish(database: Database, *numbers: int, seed: int = 0) -> None:
    made = [
        deposit(sequence(n, 20 + n % 9), seed=seed, name=f"e{n}", tool=f"tool {n}") for n in numbers
    ]
    database.publish(made)


def chains_of(generation: Generation, alphabet: str = AMINO_ACIDS) -> list[str]:
    """Return what MMseqs2 reads: its files, joined, at the places in its index."""
    paths = [generation.folder / f"{alphabet}.{n}" for n in range(len(generation.parts))]
    data = b"".join(path.read_bytes() for path in paths)
    found = []
    lines = (generation.folder / f"{alphabet}.index").read_text().splitlines()
    for row, line in enumerate(lines):
        key, start, length = map(int, line.split("\t"))
        assert key == row
        text = data[start : start + length]
        assert text.endswith(b"\n\0")
        found.append(text[:-2].decode())
    return found


def searched(database: Database) -> dict[int, str]:
    """Return the sequences of the entries that a search sees; none of them twice."""
    with current(database) as (_, generation):
        states = {entry.key: entry.latest.state for entry in database.entries()}
        found: dict[int, str] = {}
        texts, letters = chains_of(generation), chains_of(generation, LETTERS_3DI)
        assert [*map(len, texts)] == [*map(len, letters)]
        assert generation.num_residues == sum(map(len, texts))
        for (key, place, state), text in zip(generation.rows.tolist(), texts, strict=True):
            assert place == 0
            if states.get(key) == state:
                assert key not in found
                found[key] = text
    return found


def published(database: Database) -> dict[int, str]:
    return {entry.key: entry.chains[0].sequence for entry in database.entries()}


def parts_of(database: Database) -> list[int]:
    with current(database) as (_, generation):
        return [part.num_rows for part in generation.parts]


def test_every_chain_is_there_once(database: Database) -> None:
    assert searched(database) == {}
    publish(database, *range(10))
    assert searched(database) == published(database)
    publish(database, *range(10, 13))
    publish(database, 3, 4, seed=1)  # next versions
    assert searched(database) == published(database)
    assert problems(database) == []


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "_SMALL", 4)


@pytest.mark.usefixtures("small_parts")
def test_parts_grow_with_the_logarithm(sqlite_database: Database) -> None:
    for number in range(40):
        publish(sqlite_database, number)
        sizes = parts_of(sqlite_database)
        assert sum(sizes) == number + 1
    assert searched(sqlite_database) == published(sqlite_database)
    assert len(sizes) <= 9
    publish(sqlite_database, *range(100, 130))
    assert parts_of(sqlite_database) == [70]


@pytest.mark.usefixtures("small_parts")
def test_old_versions_do_not_pile_up(sqlite_database: Database) -> None:
    publish(sqlite_database, *range(12))
    for seed in range(1, 13):
        publish(sqlite_database, seed % 5, seed=seed)
        assert searched(sqlite_database) == published(sqlite_database)
        assert sum(parts_of(sqlite_database)) <= 12 / (1 - segments._STALE) + segments._SMALL


@pytest.mark.usefixtures("small_parts")
def test_compact_leaves_one_part(sqlite_database: Database) -> None:
    assert not compact(sqlite_database), "nothing was searched yet"
    for number in range(0, 18, 6):
        publish(sqlite_database, *range(number, number + 6))
        searched(sqlite_database)
        publish(sqlite_database, number, seed=1)
    assert len(parts_of(sqlite_database)) > 1
    assert compact(sqlite_database)
    assert parts_of(sqlite_database) == [18]
    assert searched(sqlite_database) == published(sqlite_database)
    assert not compact(sqlite_database)


@pytest.mark.usefixtures("small_parts")
def test_a_search_during_a_merge_sees_everything(sqlite_database: Database) -> None:
    publish(sqlite_database, *range(6))
    searched(sqlite_database)
    publish(sqlite_database, *range(6, 12))
    with current(sqlite_database) as (_, before):
        publish(sqlite_database, 20, 21)
        assert compact(sqlite_database)
        assert searched(sqlite_database) == published(sqlite_database)
        assert len(chains_of(before)) == 12, "the files of the running search were removed"
    publish(sqlite_database, 22)
    searched(sqlite_database)
    assert len([*search_folder(sqlite_database).glob("g*")]) == 1


def test_searches_at_the_same_time(make_database: Make) -> None:
    database = make_database()

    def search_and_publish(number: int) -> None:
        publish(database, *range(5 * number, 5 * number + 5))
        assert {*range(5 * number, 5 * number + 5)} <= {
            int(each.name[1:]) for each in database.load([*searched_keys()])
        }

    def searched_keys() -> set[int]:
        with current(database) as (_, generation):
            assert len(chains_of(generation)) == generation.num_rows
            return {*generation.rows[:, 0].tolist()}

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(search_and_publish, range(8)))
    assert searched(database) == published(database)


KILLED = """
import os, signal, sys
from foldry.database import segments
from foldry.database.database import Database
from foldry.database.gc import collect_garbage
count = 0
def killed(function):
    def wrapper(*args, **kwargs):
        global count
        count += 1
        if count == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)
    return wrapper
for name in ("write_bytes", "write_json", "link_file", "remove", "_write_part"):
    setattr(segments, name, killed(getattr(segments, name)))
with segments.current(Database.open(sys.argv[1])) as (_, generation):
    pass
"""


@pytest.mark.usefixtures("small_parts")
def test_a_killed_search_leaves_nothing_half_made(sqlite_database: Database) -> None:
    folder = search_folder(sqlite_database)
    for step in (1, 3, 6, 8):
        publish(sqlite_database, *range(10 * step, 13 * step))
        command = [sys.executable, "-c", KILLED, str(folder.parent), str(step)]
        assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
        assert searched(sqlite_database) == published(sqlite_database)
        assert problems(sqlite_database) == []
        assert not [*folder.glob(".*.partial")]
        assert len([*folder.glob("g*")]) <= 2, "the last one is killed while it removes the old one"


@pytest.mark.parametrize("name", ["about.json", "amino_acids.0", "letters_3di.index", "rows"])
@pytest.mark.parametrize("damage", ["missing", "empty", "longer"])
def test_damaged_files_are_made_again(sqlite_database: Database, name: str, damage: str) -> None:
    publish(sqlite_database, *range(5))
    with current(sqlite_database) as (_, generation):
        path = generation.folder / name
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(b"" if damage == "empty" else path.read_bytes() + b"\0")
    assert searched(sqlite_database) == published(sqlite_database)


def test_tables_from_an_earlier_copy(sqlite_database: Database, tmp_path: Path) -> None:
    place = search_folder(sqlite_database).parent
    publish(sqlite_database, *range(5))
    searched(sqlite_database)
    sqlite_database.close()
    shutil.copytree(place, tmp_path / "copy")
    publish(sqlite_database, *range(5, 9))
    searched(sqlite_database)
    sqlite_database.close()
    for path in (tmp_path / "copy").glob("foldry.sqlite*"):
        shutil.copy(path, place / path.name)
    with Database.open(place) as restored:
        assert len(published(restored)) == 5
        assert searched(restored) == published(restored)
        publish(restored, 20, 21)
        assert searched(restored) == published(restored)


def test_purged_entries_are_left_out(sqlite_database: Database) -> None:
    publish(sqlite_database, *range(4))
    publish(sqlite_database, 9)  # the latest publication
    for name in ("e2", "e9"):
        searched(sqlite_database)
        sqlite_database.withdraw(name, "mixed up")
        assert collect_garbage(sqlite_database, purge=True).entries
        assert searched(sqlite_database) == published(sqlite_database)
        assert problems(sqlite_database) == []
    publish(sqlite_database, 20)
    assert searched(sqlite_database) == published(sqlite_database)


def test_missing_chains_are_reported(sqlite_database: Database) -> None:
    publish(sqlite_database, *range(5))
    with current(sqlite_database) as (_, generation):
        rows = generation.rows.copy()
        path = generation.folder / "rows"
    rows[2] = rows[1]
    path.write_bytes(rows.astype(np.int64).tobytes())
    assert problems(sqlite_database) == [
        "the search's data lack 1 chain",
        "the search's data have 1 chain twice",
    ]
