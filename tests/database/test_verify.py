"""Databases are proved whole, every damage is found, and what nothing names is removed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from foldry.database import segments
from foldry.database.database import Database
from foldry.database.gc import collect_garbage
from foldry.database.schema import chains, entries, models, sequences, store, versions
from foldry.database.text_index import words
from foldry.database.verify import verify
from foldry.errors import InputError, OutsideError
from foldry.store.objects import ObjectStore
from tests.database.deposits import deposit, sequence, stored_model


def fill(database: Database) -> None:
    """Publish three entries, one with three versions, an ensemble, alignments and an original."""
    first = deposit(
        accession="P00520",
        ensemble=(stored_model(seed=7),),
        alignments=(b">q\nMKT\n",),
        original=b"as it came",
    )
    database.publish([first, deposit(sequence(1), seed=1), deposit(((sequence(2), 2),), seed=2)])
    database.publish([replace(first, content_key="another", version=4)])
    database.publish([replace(first, content_key="an older one", version=3)])


def path_of(database: Database, digest: str) -> Path:
    assert isinstance(database.objects, ObjectStore)
    return database.objects.folder / digest[:2] / digest[2:]


def problems(database: Database) -> list[str]:
    return list(map(str, verify(database)))


def test_a_sound_database_has_no_problems(database: Database) -> None:
    assert problems(database) == []
    fill(database)
    counts: list[int] = []
    assert list(verify(database, counts.append)) == []
    assert counts == [1, 2, 3]


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (lambda path: path.unlink(), "has an object that is missing (model 0, "),
        (lambda path: path.write_bytes(b""), "has an object that is damaged (model 0, "),
        (
            lambda path: path.write_bytes(path.read_bytes()[:-1] + b"?"),
            "has an object that is damaged (model 0, ",
        ),
        (
            lambda path: (path.unlink(), path.mkdir()),
            "has an object that cannot be read (model 0, ",
        ),
    ],
)
def test_damaged_objects_are_found(
    sqlite_database: Database, damage: Callable[[Path], object], found: str
) -> None:
    fill(sqlite_database)
    entry = sqlite_database.entry("P00520")
    digest = entry.versions[0].digests[0]
    damage(path_of(sqlite_database, digest))
    said = problems(sqlite_database)
    assert said, "every version with this object has a problem"
    for sentence in said:
        assert sentence.startswith("AF-P00520-F1, version ")
        assert found in sentence


def test_every_kind_of_object_is_read(sqlite_database: Database) -> None:
    fill(sqlite_database)
    version = sqlite_database.entry("P00520").versions[0]
    for digest in (version.digests[1], version.alignments[0], version.original):
        path_of(sqlite_database, digest).unlink()
    said = " ".join(problems(sqlite_database))
    assert all(name in said for name in ("(model 1, ", "(alignment, ", "(original file, "))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (models.delete(), "has no model."),
        (versions.delete(), "has no version."),
        (versions.update().values(predecessor=None), "version 4, names no predecessor."),
        (
            versions.update().where(versions.c.predecessor == 4).values(predecessor=9),
            "version 3, has no predecessor 9.",
        ),
        (entries.update().values(version=1), "names version 1 as its latest, not 4."),
        (chains.delete(), "has no sequence."),
        (sa.delete(words), "is not in the index of words."),
        (store.update().values(state=1), "The database has state 1, but 3 is in use."),
        (store.update().values(counted=0), "The database has counted 0, but 2 is in use."),
        (store.update().values(last_entry=0), "The database has last_entry 0, but 3 is in use."),
        (versions.update().values(has_pae=False), "has other errors than its row says (model 0, "),
    ],
)
def test_inconsistent_rows_are_found(database: Database, change: sa.Update, found: str) -> None:
    fill(database)
    with database.writing() as connection:
        connection.execute(change)
    assert any(found in sentence for sentence in problems(database))


def test_a_record_of_another_entry_is_found(database: Database) -> None:
    fill(database)
    with database.writing() as connection:
        query = sa.select(models.c.digest).where(models.c.rank == 0).order_by(models.c.versions)
        first = connection.scalars(query).first()
        connection.execute(models.update().where(models.c.rank == 0).values(digest=first))
    assert any("has a model of other sequences (model 0, " in each for each in problems(database))


def test_an_object_that_is_not_a_record_is_found(database: Database) -> None:
    fill(database)
    digest = database.objects.put(b"something else")
    with database.writing() as connection:
        connection.execute(models.update().values(digest=digest))
    assert any(
        "has an object that is not a record (model 0, " in each for each in problems(database)
    )


def test_only_what_nothing_names_is_removed(database: Database) -> None:
    fill(database)
    kept = set(database.objects.digests())
    unnamed = database.objects.put_many([b"of a killed import", bytes(10**6)])
    size = sum(database.objects.size(digest) or 0 for digest in unnamed)
    removed = collect_garbage(database)
    assert (removed.entries, removed.objects, removed.bytes) == ((), 2, size)
    assert set(database.objects.digests()) == kept
    assert collect_garbage(database).objects == 0
    assert problems(database) == []


def test_data_of_the_search_are_proved_and_merged(database: Database) -> None:
    fill(database)
    for number in (5, 6):
        with segments.current(database):
            pass
        database.publish([deposit(sequence(number), seed=number)])
    with segments.current(database) as (_, generation):
        rows = generation.folder / "rows"
    assert problems(database) == []
    data = rows.read_bytes()
    rows.write_bytes(data[: len(data) // 2] * 2)
    assert any("is not whole (the search's data" in each for each in problems(database))
    rows.write_bytes(data)
    database.withdraw(database.find("example")[0].entry_id, "to be purged")
    assert collect_garbage(database, purge=True).search_merged
    with segments.current(database) as (_, generation):
        assert len(generation.parts) == 1
    assert problems(database) == []


def test_times_of_files_do_not_matter(sqlite_database: Database) -> None:
    """The clock was wrong when objects were written, in either direction."""
    fill(sqlite_database)
    kept = sorted(sqlite_database.objects.digests())
    unnamed = sqlite_database.objects.put_many([b"one", b"two"])
    for place, digest in enumerate([*kept, *unnamed]):
        os.utime(path_of(sqlite_database, digest), [(0, 0), (2**33, 2**33)][place % 2])
    assert collect_garbage(sqlite_database).objects == 2
    assert problems(sqlite_database) == []


def test_withdrawn_entries_are_purged_only_when_asked(database: Database) -> None:
    fill(database)
    database.withdraw("P00520", "made with the wrong sequence")
    assert collect_garbage(database).objects == 0
    assert database.find("P00520") != []
    before = database.state
    removed = collect_garbage(database, purge=True)
    assert removed.entries == ("AF-P00520-F1",)
    assert removed.objects >= 4, "records, alignment and original"
    assert database.find("P00520") == []
    assert database.state > before
    assert len(set(database.objects.digests())) == 2
    assert problems(database) == []
    with database.reading() as connection:
        assert len(connection.execute(sequences.select()).all()) == 2
    assert collect_garbage(database, purge=True).entries == ()


def test_a_purged_id_is_not_given_to_another_entry(database: Database) -> None:
    fill(database)
    last = max(entry.entry_id for entry in database.entries())
    database.withdraw(last, "a mistake")
    collect_garbage(database, purge=True)
    [new] = database.publish([deposit(sequence(9), seed=9)])
    assert new.entry_id != last
    assert problems(database) == []


def test_the_numbers_of_purged_versions_are_not_used_again(database: Database) -> None:
    given = [deposit(accession="P00520", seed=seed) for seed in range(4)]
    database.publish(given[:2])
    database.withdraw("P00520", "wrong")
    assert collect_garbage(database, purge=True).entries == ("AF-P00520-F1",)
    with pytest.raises(InputError, match="had another prediction as version 2: publish this one"):
        database.publish([replace(given[2], version=2)])
    [third, fourth] = database.publish([given[2], given[0]])
    assert [third.version, fourth.version] == [3, 4], "without a number, the next one"
    # What an export kept of it comes back.
    [second] = database.publish([replace(given[1], version=2, content_key="its file")])
    assert (second.entry_id, second.version, second.is_new) == ("AF-P00520-F1", 2, True)
    with pytest.raises(InputError, match="had another prediction as version 1"):
        database.publish([replace(given[3], version=1)])
    assert problems(database) == []


def test_others_publish_while_garbage_is_collected_and_everything_is_verified(
    database: Database,
) -> None:
    done = threading.Event()
    failed: list[BaseException | str] = []

    def collect() -> None:
        try:
            while not done.is_set():
                database.objects.put(b"unnamed")
                collect_garbage(database)
                failed.extend(problems(database))
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=collect)
    thread.start()
    try:
        for number in range(12):
            # The same record is named, withdrawn, purged and published again.
            database.publish([deposit(sequence(number % 3), seed=number % 3)])
            if number % 3 == 2:
                database.withdraw(database.find("example")[0].entry_id, "to be purged")
                collect_garbage(database, purge=True)
    finally:
        done.set()
        thread.join()
    assert failed == []
    assert problems(database) == []


def test_a_disk_that_fails_is_reported(sqlite_database: Database) -> None:
    fill(sqlite_database)
    digest = sqlite_database.entry("P00520").versions[0].digests[0]
    path = path_of(sqlite_database, digest)
    path.unlink()
    path.mkdir()
    with pytest.raises(OutsideError, match="cannot be read"):
        sqlite_database.model(sqlite_database.entry("P00520"), 1)
