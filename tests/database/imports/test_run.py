"""Imports that are repeated, interrupted, shared by processes, or run at the same time."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from itertools import count, islice
from pathlib import Path
from typing import Any, NoReturn

import pytest

from foldry.database.database import Database
from foldry.database.imports import afdb, detect, job, plain, run
from foldry.database.imports.run import ImportOptions, import_paths
from foldry.database.verify import verify
from foldry.errors import InputError
from foldry.formats.coordinates import to_pdb
from tests.conftest import ROOT
from tests.database import deposits
from tests.database.conftest import Make
from tests.database.imports import layouts
from tests.database.imports.layouts import monomer

IMPORT = """
import sys
from foldry.database.database import Database
from foldry.database.imports.run import import_paths

if __name__ == "__main__":
    outcomes = list(import_paths(Database.open(sys.argv[1]), sys.argv[2:]))
    assert not any(each.problem for each in outcomes), outcomes
    print(sum(each.published.is_new for each in outcomes))
"""


def many(folder: Path, number: int = 12) -> Path:
    """Write entries of AlphaFold DB, and a file that is none."""
    folder.mkdir()
    for seed in range(number):
        for name, content in layouts.afdb_files(monomer(seed), f"AF-P{seed:05}-F1"):
            if not name.endswith((".bcif", ".pdb")):
                (folder / name).write_bytes(content)
    return folder


def contents(database: Database) -> list[tuple[object, ...]]:
    """Return everything that an import decides."""
    return sorted(
        (each.entry_id, each.name, *((v.number, v.content_key, v.digests) for v in each.versions))
        for each in database.entries()
    )


def test_the_same_import_again_changes_nothing(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that were imported are not even read as structures."""
    folder = many(tmp_path / "in")
    layouts.server(folder / "job", monomer)
    first = list(import_paths(database, [folder]))
    state, before = database.state, contents(database)
    readers = {**detect.READERS, afdb.LAYOUT: lambda _: pytest.fail("was read again")}
    monkeypatch.setattr(run, "READERS", readers)
    again = list(import_paths(database, [folder]))
    assert (database.state, contents(database)) == (state, before)
    assert all(each.published and each.published.is_new for each in first)
    assert {(each.where, each.published and each.published.entry_id) for each in first} == {
        (each.where, each.published and each.published.entry_id) for each in again
    }
    assert not any(each.published and each.published.is_new for each in again)


def test_several_processes_import_the_same(tmp_path: Path, make_sqlite: Make) -> None:
    folder = many(tmp_path / "in")
    (folder / "bad.pdb").write_text("x")
    one, two = make_sqlite(), make_sqlite()
    found = [
        list(import_paths(each, [folder], ImportOptions(jobs=jobs)))
        for each, jobs in ((one, 1), (two, 2))
    ]
    assert contents(one) == contents(two)
    assert sorted(each.problem for each in found[0]) == sorted(each.problem for each in found[1])


def test_an_interrupted_import_goes_on(
    tmp_path: Path, sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was yielded is kept, and the next import adds the rest."""
    monkeypatch.setattr(run, "_BATCH", 4)
    folder = many(tmp_path / "in")
    outcomes = import_paths(sqlite_database, [folder])
    assert len(list(islice(outcomes, 5))) == 5
    outcomes.close()  # type: ignore[attr-defined]
    assert len(list(sqlite_database.entries())) == 8
    again = list(import_paths(sqlite_database, [folder]))
    assert sum(each.published.is_new for each in again if each.published) == 4
    assert len(list(sqlite_database.entries())) == 12


def test_two_imports_at_once(tmp_path: Path, sqlite_database: Database) -> None:
    folder = many(tmp_path / "in")
    place = sqlite_database.tables.place.shown
    command = [sys.executable, "-c", IMPORT, place, str(folder)]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [each.communicate(timeout=120) for each in running]
    assert [errors for _, errors in said] == ["", ""]
    assert sum(int(output) for output, _ in said) == 12
    assert [len(each.versions) for each in sqlite_database.entries()] == [1] * 12


def test_files_that_are_named_together(tmp_path: Path, sqlite_database: Database) -> None:
    """The companions of a structure are found among the files that are named."""
    layouts.afdb(tmp_path / "in", monomer)
    (tmp_path / "x.pdb").write_text(to_pdb(monomer(3).structure))
    files = [*(tmp_path / "in").iterdir(), tmp_path / "x.pdb"]
    found = list(import_paths(sqlite_database, files))
    assert [each.problem for each in found] == ["", ""]
    assert [each.latest.has_pae for each in sqlite_database.entries() if each.accession] == [True]


def test_an_import_of_nothing(sqlite_database: Database) -> None:
    assert list(import_paths(sqlite_database, [])) == []


def test_another_database(tmp_path: Path, make_sqlite: Make) -> None:
    """Its entries are copied with their ids, and equal databases are refused."""
    one, two = make_sqlite(), make_sqlite()
    list(import_paths(one, [many(tmp_path / "in", 3)]))
    folder = one.tables.place.folder
    assert folder is not None
    for is_new in (True, False):
        found = list(import_paths(two, [folder]))
        assert [each.published and each.published.is_new for each in found] == [is_new] * 3
    assert contents(one) == contents(two)
    [outcome] = import_paths(one, [folder])
    assert outcome.problem


@pytest.mark.parametrize("first", ["without", "with"])
def test_errors_that_come_later(first: str, tmp_path: Path, database: Database) -> None:
    """Of one version, the import with PAE is kept; which one comes first makes no difference."""
    files = dict(layouts.afdb_files(monomer()))
    for folder in ("without", "with"):
        (tmp_path / folder).mkdir()
        for name, content in files.items():
            if name.endswith(".cif") or (folder == "with" and "error" in name):
                (tmp_path / folder / name).write_bytes(content)
    second = "with" if first == "without" else "without"
    for folder, is_new in ((first, True), (second, second == "with"), (first, False)):
        state = database.state
        [outcome] = import_paths(database, [tmp_path / folder])
        assert outcome.published and outcome.published.is_new == is_new, outcome
        assert (database.state > state) == is_new
    [entry] = database.entries()
    assert [(each.number, each.has_pae) for each in entry.versions] == [(4, True)]
    assert database.model(entry).pae is not None
    assert not list(verify(database))
    moved = layouts.afdb_files(monomer(1))
    (tmp_path / "without" / "AF-P00520-F1-model_v4.cif").write_bytes(dict(moved)[next(iter(files))])
    [outcome] = import_paths(database, [tmp_path / "without"])
    assert "has another prediction as version 4" in outcome.problem


def test_files_that_belong_to_no_prediction(tmp_path: Path, sqlite_database: Database) -> None:
    """They are counted once for each place, and are no failure."""
    layouts.chai(tmp_path / "in" / "a", monomer)
    layouts.colabfold(tmp_path / "in" / "b", monomer)
    for name in ("a/other_pae.json", "b/x.npz", "b/README.md", "x.json"):
        (tmp_path / "in" / name).touch()
    outcomes = list(import_paths(sqlite_database, [tmp_path / "in"]))
    assert [bool(each.published) for each in outcomes] == [True, True, False]
    assert not any(each.problem for each in outcomes)
    assert outcomes[-1].notes == (
        f"{tmp_path}/in has 2 files (e.g. 'a/other_pae.json'), each of which belongs to no "
        "prediction: they are left out.",
    )


def test_confidence_without_its_structure(tmp_path: Path, sqlite_database: Database) -> None:
    [structure] = [name for name in layouts.afdb_files(monomer()) if name[0].endswith(".cif")]
    for name, content in layouts.afdb_files(monomer()):
        (tmp_path / name).write_bytes(content)
    [alone] = tmp_path.glob("*-confidence_v4.json")
    [outcome] = import_paths(sqlite_database, [alone])
    assert "came without its structure file" in (outcome.problem or str(outcome.notes))
    [outcome] = import_paths(sqlite_database, [alone, tmp_path / structure[0]])
    assert outcome.published and outcome.published.is_new


def test_only_results_of_foldry(tmp_path: Path, sqlite_database: Database) -> None:
    own = ROOT / "tests" / "golden" / "results" / "fold"
    (tmp_path / "in").mkdir()
    shutil.copytree(own / "q", tmp_path / "in" / "own")
    (tmp_path / "in" / "x.pdb").write_text(to_pdb(monomer().structure))
    found = import_paths(sqlite_database, [tmp_path / "in"], ImportOptions(only_foldry=True))
    assert [each.problem for each in found if each.problem] == [
        f"{tmp_path}/in has 'x.pdb', which is not a result of Foldry: import it instead."
    ]
    [entry] = sqlite_database.entries()
    assert (entry.name, entry.latest.created[-1]) == ("own", "Z")
    assert sqlite_database.model(entry).record.created == entry.latest.created


def test_a_wrong_accession(sqlite_database: Database) -> None:
    """It is refused at once, not for each file."""
    with pytest.raises(InputError, match="is not a UniProt accession"):
        list(import_paths(sqlite_database, ["x"], ImportOptions(accession="ABL1")))


def test_large_errors_are_imported_again(
    tmp_path: Path, sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Limits on sizes are those of the kinds of files, whatever the database has already."""
    monkeypatch.setattr(job, "_MAX_STRUCTURE", 60_000)
    layouts.afdb(tmp_path / "in", monomer, packed=False)
    path = tmp_path / "in" / "AF-P00520-F1-predicted_aligned_error_v4.json"
    path.write_bytes(path.read_bytes() + b" " * 60_000)
    for is_new in (True, False):
        [outcome] = import_paths(sqlite_database, [tmp_path / "in"])
        assert outcome.published and outcome.published.is_new == is_new, outcome


def test_failures_of_foldry_name_the_prediction(
    tmp_path: Path, sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> NoReturn:
        raise KeyError("x")

    monkeypatch.setattr(run, "READERS", {**detect.READERS, plain.LAYOUT: fail})
    (tmp_path / "x.pdb").write_text(to_pdb(monomer().structure))
    [outcome] = import_paths(sqlite_database, [tmp_path / "x.pdb"])
    assert outcome.problem.startswith(f"{tmp_path}/x.pdb cannot be read: Foldry failed (KeyError")


def test_equal_files_of_different_proteins(tmp_path: Path, sqlite_database: Database) -> None:
    """Calmodulin has three accessions; it makes no difference when their files are imported."""
    for name in ("P0DP23", "P0DP24", "P0DP25"):
        (tmp_path / f"{name}.pdb").write_text(to_pdb(monomer().structure))
        [outcome] = import_paths(sqlite_database, [tmp_path / f"{name}.pdb"])
        assert outcome.published and outcome.published.entry_id == f"AF-{name}-F1"
    again = import_paths(sqlite_database, [tmp_path])
    assert [each.published and each.published.is_new for each in again] == [False] * 3


def test_one_accession_for_two_proteins(tmp_path: Path, sqlite_database: Database) -> None:
    """The second protein is kept, and a note says that both have the accession."""
    for name, seed in (("a", 1), ("b", 2)):
        sequence = deposits.sequence(seed)
        model = deposits.stored_model([(sequence, 1)], seed=seed)
        (tmp_path / f"{name}.pdb").write_text(to_pdb(model.record.structure))
        (tmp_path / f"{name}_tagged.pdb").write_text(
            to_pdb(deposits.stored_model([(f"MGSS{sequence}", 1)], seed=seed).record.structure)
        )
    options = ImportOptions(accession="p10646")
    found = list(import_paths(sqlite_database, sorted(tmp_path.glob("*.pdb")), options))
    assert [each.problem for each in found] == [""] * 4
    notes = {Path(each.where).name: each.notes for each in found}
    assert [len(notes[name]) for name in sorted(notes)] == [0, 0, 1, 1]
    said = f"has another sequence than {tmp_path / 'a.pdb'}, and both have the accession P10646"
    assert said in notes["b.pdb"][0]


def test_a_new_version_of_a_withdrawn_entry(tmp_path: Path, sqlite_database: Database) -> None:
    path = tmp_path / "a.pdb"
    path.write_text(to_pdb(monomer(1).structure))
    [first] = import_paths(sqlite_database, [path])
    assert first.published is not None and first.notes == ()
    sqlite_database.withdraw("a", "a mistake")
    moved = monomer(1).structure
    path.write_text(to_pdb(replace(moved, atom_positions=moved.atom_positions + 1)))
    [second] = import_paths(sqlite_database, [path])
    assert second.published is not None
    assert (second.published.version, second.published.withdrawn) == (2, "a mistake")
    assert "is withdrawn (a mistake), and its new version, too: restore" in second.notes[0]
    [third] = import_paths(sqlite_database, [path])
    assert third.notes == ()


def test_paths_are_checked_before_anything_is_read(
    tmp_path: Path, sqlite_database: Database
) -> None:
    (tmp_path / "a.pdb").write_text(to_pdb(monomer(1).structure))
    missing, *others = import_paths(sqlite_database, [tmp_path / "a.pdb", tmp_path / "none"])
    assert missing.problem == f"{tmp_path / 'none'} does not exist: check the path."
    assert [each.problem for each in others] == [""]


def test_a_file_that_is_cut_off(tmp_path: Path, sqlite_database: Database) -> None:
    text = to_pdb(monomer(1).structure)
    (tmp_path / "whole.pdb").write_text(text)
    (tmp_path / "cut.pdb").write_text(text[: text.index("\n", len(text) // 2) + 1])
    found = {Path(each.where).name: each for each in import_paths(sqlite_database, [tmp_path])}
    assert found["whole.pdb"].notes == ()
    assert "has no END at its end: it may be cut off" in found["cut.pdb"].notes[0]


@pytest.mark.parametrize("how", ["interrupt", "close"])
def test_what_was_read_before_an_interrupt_is_kept(
    tmp_path: Path, sqlite_database: Database, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """A batch is not full, and yet its predictions are published."""
    for seed in range(12):
        (tmp_path / f"{seed:02}.pdb").write_text(to_pdb(monomer(seed).structure))
    (tmp_path / "05_broken.pdb").write_text("ATOM")
    calls = count()
    read = run._read

    def interrupted(*given: Any, **named: Any) -> Any:
        if how == "interrupt" and next(calls) == 5:
            raise KeyboardInterrupt
        return read(*given, **named)

    monkeypatch.setattr(run, "_read", interrupted)
    outcomes = import_paths(sqlite_database, [tmp_path])
    if how == "interrupt":
        with pytest.raises(KeyboardInterrupt):
            list(outcomes)
    else:
        assert next(outcomes).problem
        outcomes.close()  # type: ignore[attr-defined]
    kept = sum(len(each.versions) for each in sqlite_database.entries())
    assert 0 < kept < 12
    monkeypatch.undo()
    again = list(import_paths(sqlite_database, [tmp_path]))
    assert sum(each.published.is_new for each in again if each.published) == 12 - kept
