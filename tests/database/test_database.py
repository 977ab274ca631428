"""Making, opening, finding and changing, on every kind of database."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from foldry.database.database import Database
from foldry.database.filters import Filter
from foldry.database.place import find_place
from foldry.database.read import BATCH
from foldry.database.segments import current
from foldry.database.verify import verify
from foldry.errors import InputError, MissingError, OutsideError
from foldry.formats.model_record import ModelChain, Reference
from tests.database.conftest import Make, where_is
from tests.database.deposits import deposit, sequence, stored_model


def test_a_database_is_opened_again(make_database: Make) -> None:
    made = make_database(provider="A Lab", exact_pae=True)
    where = where_is(made)
    made.publish([deposit()])
    opened = Database.open(where)
    assert (opened.provider, opened.block, opened.exact_pae) == ("A Lab", made.block, True)
    assert [entry.name for entry in opened.entries()] == ["example"]
    assert opened.model(opened.entry("example")) == deposit().model
    with pytest.raises(InputError, match="is a database already: name another place"):
        Database.create(where, provider="B", objects="memory://x")
    opened.close()


def test_there_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="is not a database: check its name"):
        Database.open(tmp_path / "none")
    (tmp_path / "foldry.sqlite").touch()
    with pytest.raises(MissingError, match="is not a database: check its name"):
        Database.open(tmp_path)
    Database.create(tmp_path, provider="Lab").close()  # a killed `create` leaves an empty file
    (tmp_path / "foldry.sqlite").write_bytes(b"no tables at all" * 100)
    with pytest.raises(InputError, match="is damaged: restore it from a copy"):
        Database.open(tmp_path)


def test_a_database_of_another_version_is_refused(make_database: Make) -> None:
    database = make_database()
    with database.writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(InputError, match="was made by a later version of Foldry: install that"):
        Database.open(where_is(database))


@pytest.mark.parametrize("provider", ["", "  "])
def test_a_provider_has_a_name(tmp_path: Path, provider: str) -> None:
    with pytest.raises(InputError, match="The name of the provider is empty"):
        Database.create(tmp_path / "x", provider=provider)
    assert not (tmp_path / "x").exists()


def test_a_place_may_have_odd_letters(tmp_path: Path) -> None:
    where = tmp_path / "a b?c#d%20é.db"
    with Database.create(where, provider="Lab") as made:
        made.publish([deposit()])
    assert sorted(path.name for path in where.iterdir()) == ["foldry.sqlite", "objects"]
    with Database.open(where) as opened:
        assert opened.num_entries == 1


def test_a_folder_may_move(tmp_path: Path) -> None:
    with Database.create(tmp_path / "old", provider="Lab") as made:
        made.publish([deposit()])
    (tmp_path / "old").rename(tmp_path / "new")
    with Database.open(tmp_path / "new") as moved:
        assert moved.model(moved.entry("example")) == deposit().model


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("mysql://host/x", "'mysql://' is not a place for a database"),
        ("", "is not the name of a file or folder"),
        ("postgresql://[::1/x", "The URL of the database is not valid"),
    ],
)
def test_what_is_no_place(where: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        find_place(where)


def test_a_password_is_not_shown() -> None:
    place = find_place("postgresql://me:s3cret@host:5433/lab?password=s3cret")
    assert place.shown == "postgresql://me@host:5433/lab"
    assert place.url == "postgresql+psycopg://me:s3cret@host:5433/lab?password=s3cret"


def test_an_unknown_server_is_an_error_from_outside() -> None:
    with pytest.raises(OutsideError, match=r"postgresql://u@127.0.0.1:9/x cannot be used") as error:
        Database.open("postgresql://u:s3cret@127.0.0.1:9/x")
    assert "s3cret" not in str(error.value)


# Finding


def test_qualifiers(database: Database) -> None:
    complexed = stored_model(((sequence(8), 1), (sequence(9), 1)))
    partner = Reference("P00520")
    chains = complexed.record.chains
    chains = (ModelChain(chains[0].ids, chains[0].sequence, reference=partner), *chains[1:])
    object.__setattr__(complexed.record, "chains", chains)
    database.publish(
        [
            deposit(model=complexed, name="complex", content_key="c"),
            deposit(sequence(3), accession="P00520-10", name="i10"),
            deposit(sequence(2), accession="P00520-4", name="i4"),
            deposit(sequence(1), accession="P00520", name="other", tool="ColabFold"),
            deposit(sequence(5), accession="P00520", fragment=2, name="F2"),
            deposit(sequence(7), name="Q9H0H5"),
        ]
    )
    database.publish([deposit(sequence(4), accession="P00520", name="third-v2", provider="X")])

    def names(qualifier: str) -> list[str]:
        return [entry.name for entry in database.find(qualifier)]

    # ColabFold's came first and has AF-P00520-F1; X's has a numbered id.
    everything = ["other", "F2", "i4", "i10", "third-v2", "complex"]
    for qualifier in ("P00520", "p00520", "P00520-v4", "p00520_v6"):
        assert names(qualifier) == everything
    assert names("P00520-4") == names("af-p00520-4-f1-v1") == ["i4"]
    assert names("AF-P00520-F1_v3") == ["other"]
    assert names("AF-P00520-F2") == ["F2"]
    assert names(f"af-{database.block}000000001-V1") == ["complex"]
    assert names("third-v2") == ["third-v2"]
    assert names("Q9H0H5") == ["Q9H0H5"]
    for qualifier in ("", "P00521", "AF-P00520-F3", "third", "P00520-5", "x' OR 1=1", "\0", "%"):
        assert names(qualifier) == []
    with pytest.raises(InputError, match="has no entry 'P00521': search for it"):
        database.entry("P00521")


def test_no_change_is_made_to_one_of_several_entries(database: Database) -> None:
    database.publish([deposit(name="same"), deposit(name="same", tool="X"), deposit(name="other")])
    number = 1_000_000_000 * database.block
    listed = (
        rf"has 2 entries 'same(-v1)?': choose one by its id \(AF-{number + 1}, AF-{number + 2}\)"
    )
    uses: list[Callable[[], object]] = [
        lambda: database.withdraw("same", "wrong"),
        lambda: database.restore("same"),
        lambda: database.tag("same", ["x"]),
        lambda: database.entry("same-v1"),
    ]
    for change in uses:
        with pytest.raises(InputError, match=listed):
            change()
    assert [(each.withdrawn, each.tags) for each in database.find("same")] == [("", ())] * 2
    assert database.withdraw(f"AF-{number + 2}", "wrong").tool == "X"


def test_all_entries_are_read_in_batches(sqlite_database: Database) -> None:
    number = BATCH + 3
    model = stored_model([("GATTACA", 1)], has_pae=False)
    sqlite_database.publish(
        [deposit(model=model, tool=f"tool {n}", name=f"n{n}") for n in range(number)]
    )
    names = [entry.name for entry in sqlite_database.entries()]
    assert names == [f"n{n}" for n in range(number)]
    assert [entry.name for entry in sqlite_database.entries(after=number - 1)] == names[-1:]
    assert [each.name for each in sqlite_database.entries(chosen=Filter(tool="tool 7"))] == ["n7"]
    assert [entry.name for entry in sqlite_database.load([3, 999_999, 1])] == ["n2", "n0"]


# Changing


def test_a_withdrawn_entry_is_kept_with_the_reason(database: Database) -> None:
    [first, _] = database.publish([deposit(), deposit(sequence(1), name="second")])
    assert database.withdraw(first.entry_id, " wrong construct ").withdrawn == "wrong construct"
    [entry] = database.find("example")
    assert entry.withdrawn == "wrong construct"
    assert entry.withdrawn_on.endswith("Z")
    assert database.model(entry) == deposit().model
    assert [each.name for each in database.entries()] == ["second"]
    everything = database.entries(chosen=Filter(with_withdrawn=True))
    assert [each.name for each in everything] == ["example", "second"]
    database.publish([deposit(seed=1)])
    assert database.entry("example").withdrawn == "wrong construct"
    assert database.restore("example").withdrawn == ""
    assert [each.name for each in database.entries()] == ["example", "second"]
    with pytest.raises(InputError, match="The reason is empty: say why"):
        database.withdraw("example", " ")


def test_tags(database: Database) -> None:
    database.publish([deposit(), deposit(sequence(1), name="second")])
    assert database.tag("example", ["kinase", " to check "]).tags == ("kinase", "to check")
    state = database.state
    assert database.tag("example", ["kinase"], ["absent"]).tags == ("kinase", "to check")
    assert database.state == state
    assert database.tag("example", [], ["to check"]).tags == ("kinase",)
    assert database.entry("second").tags == ()
    with pytest.raises(InputError, match="is not a tag: give a word of up to 100 characters"):
        database.tag("example", ["a\x1b[2J"])


def test_a_damaged_record_is_an_error_of_the_disk(sqlite_database: Database) -> None:
    [first] = sqlite_database.publish([deposit()])
    folder = sqlite_database.tables.place.folder
    assert folder is not None
    [path] = (folder / "objects").glob("??/*")
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(OutsideError, match=f"{first.entry_id} has a missing or damaged record"):
        sqlite_database.model(sqlite_database.entry("example"))
    [again] = sqlite_database.publish([deposit(seed=1)])
    assert sqlite_database.model(sqlite_database.entry(again.entry_id)) == deposit(seed=1).model


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Let nobody write a folder and the files in it; root becomes another user meanwhile."""
    inside = [folder, *folder.rglob("*")]
    modes = [each.stat().st_mode for each in inside]
    is_root = os.geteuid() == 0
    for each in inside:
        each.chmod(0o555 if each.is_dir() else 0o444)
    if is_root:
        os.setresuid(65534, 65534, 0)
    try:
        yield
    finally:
        if is_root:
            os.setresuid(0, 0, 0)
        for each, mode in zip(inside, modes, strict=True):
            each.chmod(mode)


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """A folder that every user may read."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.mark.parametrize("is_open", [False, True], ids=["closed", "open"])
def test_a_database_that_may_only_be_read(
    shared_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_open: bool,
) -> None:
    """It is read while its owner has it open, and while nobody has; changes are refused."""
    where, own = shared_folder / "lab.db", shared_folder / "own"
    monkeypatch.setenv("FOLDRY_SEARCH_DATA", str(own))
    owner = Database.create(where, provider="Lab")
    owner.publish([deposit(), deposit(sequence(1), name="second")])
    assert owner.model(owner.entry("example")) == deposit().model
    if is_open:
        connection = owner.tables.engine.connect()
        connection.exec_driver_sql("SELECT * FROM store").all()
    else:
        owner.close()
    assert (where / "foldry.sqlite-wal").exists() == is_open
    own.mkdir()
    own.chmod(0o777)
    with read_only(where), Database.open(where) as opened:
        assert [each.name for each in opened.entries()] == ["example", "second"]
        assert opened.model(opened.entry("example")) == deposit().model
        with current(opened) as (_, generation):
            assert generation.num_rows == 2 and generation.folder.is_relative_to(own)
        with pytest.raises(InputError, match="may not be written by this user"):
            opened.publish([deposit(seed=2)])
        with pytest.raises(InputError, match="may not be written by this user"):
            opened.tag("example", ["x"])
        assert not list(verify(opened))
    with current(owner) as (_, generation):
        assert generation.folder.is_relative_to(where)
    if is_open:
        connection.close()
    owner.close()
    with read_only(where), Database.open(where) as opened, current(opened) as (_, generation):
        assert generation.folder.is_relative_to(where)


def test_what_is_acknowledged_is_on_the_disk(sqlite_database: Database) -> None:
    with sqlite_database.reading() as connection:
        settings = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_any_program_reads_the_tables(sqlite_database: Database) -> None:
    sqlite_database.publish([deposit(accession="P00520")])
    path = sqlite_database.tables.place.tables
    with sqlite3.connect(path) as connection:
        rows = connection.execute("SELECT entry_id, num_residues, version FROM entries").fetchall()
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    assert rows == [("AF-P00520-F1", 22, 1)]
