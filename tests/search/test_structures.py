"""Libraries of structures: what is read, what is left out and why, and what is read again."""

from __future__ import annotations

import gzip
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path

import gemmi
import numpy as np
import pytest
from Bio.SeqIO.FastaIO import SimpleFastaParser

from foldry.errors import InputError, MissingError
from foldry.formats.coordinates import read_data, read_structure, to_pdb
from foldry.search import structure_index
from foldry.search.databases import STRUCTURES, Registry
from foldry.search.hits import AlignedHit
from foldry.search.structure_index import entry_name
from foldry.search.structures import StructureLibrary, inspect_structures
from foldry.search.template_search import JoinedLibraries
from foldry.search.templates import Rules, choose
from foldry.store.files import names
from tests.conftest import ROOT

EXAMPLES = ROOT / "examples"
KUNITZ = EXAMPLES / "kunitz" / "1adz.cif"
TRYPSIN = EXAMPLES / "trypsin" / "1trn.cif"
DIMER = EXAMPLES / "malate_dehydrogenase" / "1mld_AB.cif.gz"
CIF = KUNITZ.read_text()
PDB = to_pdb(read_structure(KUNITZ))
DATED = f"""HEADER    HYDROLASE INHIBITOR                     29-FEB-96   1ADZ
TITLE     A KUNITZ DOMAIN
TITLE    2 IN SOLUTION
REVDAT   2   24-FEB-09 1ADZ    1       VERSN
REVDAT   1   12-MAR-97 1ADZ    0
{PDB}"""


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOLDRY_DATABASES", str(tmp_path / "databases"))
    monkeypatch.setenv("FOLDRY_SEARCHES", str(tmp_path / "searches"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a dimer."""
    (tmp_path / "lab").mkdir()
    shutil.copy(DIMER, tmp_path / "lab" / "1mld.cif.gz")
    return tmp_path / "lab"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read, as long as this process reads them."""
    names: list[str] = []

    def recorded(path: Path) -> bytes:
        names.append(path.name)
        return read_data(path)

    monkeypatch.setattr(structure_index, "read_data", recorded)
    return names


def library(folder: Path) -> StructureLibrary:
    return StructureLibrary.open(inspect_structures(folder))


def records(library: StructureLibrary) -> dict[str, str]:
    """The sequences of all chains by their headers, as another program reads them."""
    text = StringIO(library.fasta.read_text())
    return dict(SimpleFastaParser(text))  # type: ignore[no-untyped-call]


def entries(library: StructureLibrary) -> list[str]:
    return [each.split()[0] for each in records(library)]


def write(path: Path, data: str | bytes = CIF) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


# What a library holds


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("ab/1abc.cif.gz", "1abc"),
        ("ab/pdb1abc.ent.gz", "1abc"),
        ("pdb_00001abc.cif.gz", "1abc"),
        ("PDB1ABC.ENT", "1abc"),
        ("my_model.cif", "my_model"),
        ("pdbish.pdb", "pdbish"),
        ("AF-P12345-F1-model_v4.cif", "af-p12345-f1-model_v4"),
        ("a b\n>c\x1b.cif", "a_b__c_"),
        ("-x.bcif.zst", "x"),
        ("Å.pdb", "structure"),
    ],
)
def test_an_entry_is_named_after_its_file(path: str, name: str) -> None:
    assert entry_name(path) == name


def test_chains_are_listed_as_in_pdb_seqres(folder: Path, parity_dir: Path) -> None:
    shutil.copy(parity_dir / "data" / "2crb.cif.gz", folder)
    write(folder / "deep" / "er" / "pdb1adz.ent.gz", gzip.compress(DATED.encode()))
    database = inspect_structures(folder)
    found = StructureLibrary.open(database)
    expected = {}
    for path, entry in (("2crb.cif.gz", "2crb"), ("1mld.cif.gz", "1mld")):
        for chain in gemmi.read_structure(str(folder / path))[0]:
            names = gemmi.read_structure(str(folder / path)).entities[0].full_sequence
            letters = gemmi.one_letter_code([gemmi.Entity.first_mon(each) for each in names])
            expected[f"{entry}_{chain.name}"] = letters
    listed = {each.split()[0]: (each, sequence) for each, sequence in records(found).items()}
    assert list(listed) == ["1adz_A", "1mld_A", "1mld_B", "2crb_A"]
    assert {name: listed[name][1] for name in expected} == expected
    for name, (header, sequence) in listed.items():
        assert header.startswith(f"{name} mol:protein length:{len(sequence)}  ")
        assert found.sequence(name) == sequence
    assert listed["1adz_A"][0].endswith("  A KUNITZ DOMAIN IN SOLUTION")
    assert listed["2crb_A"][0].endswith("MIT domain from mouse NRBF-2")
    assert [found.listed_date(each) for each in ("2crb", "1ADZ", "1mld", "none")] == [
        "2005-11-20",
        "1997-03-12",
        None,
        None,
    ]
    assert found.sequence("2CRB_A") == found.sequence("2crb_A"), "an entry's case does not matter"
    assert [found.sequence(each) for each in ("2crb_B", "2crb_a", "2crb", "")] == [None] * 4
    deposition = found.read("2CRB")
    assert deposition.chain_to_seqres == {"A": found.sequence("2crb_A")}
    assert found.read("1adz").release_date == "1997-03-12"
    assert (database.name, database.kind, database.num_sequences) == ("lab", STRUCTURES, 4)
    assert database.size == sum(each.stat().st_size for each in folder.rglob("*.gz"))
    assert not found.left_out
    with pytest.raises(MissingError, match="lab has no structure of '9xyz'"):
        found.read("9xyz")
    (folder / "2crb.cif.gz").unlink()
    with pytest.raises(InputError, match=r"2crb\.cif\.gz does not exist: restore it"):
        found.read("2crb")


@pytest.mark.parametrize(
    ("line", "date"),
    [
        ("REVDAT   1   12-MAR-97 1ABC    0", "1997-03-12"),
        ("REVDAT   1   01-Dec-71 1ABC    0", "1971-12-01"),
        ("REVDAT   1   01-JAN-05 1ABC    0", "2005-01-01"),
        ("REVDAT   1   30-FEB-05 1ABC    0", None),
        ("REVDAT   2   01-JAN-05 1ABC    0", None),
        ("REVDAT   1   01-ANF-05 1ABC    0", None),
        ("REVDAT   1   01-FEB-2005 1ABC", None),
    ],
)
def test_dates_of_pdb_files(line: str, date: str | None, tmp_path: Path) -> None:
    write(tmp_path / "lab" / "1abc.pdb", f"{line}\n{PDB}")
    assert library(tmp_path / "lab").listed_date("1abc") == date


def test_the_version_is_that_of_the_content(folder: Path, tmp_path: Path) -> None:
    write(folder / "1adz.cif")
    version = inspect_structures(folder).version
    write(tmp_path / "copy" / "deep" / "1ADZ.cif.gz", gzip.compress(CIF.encode()))
    shutil.copy(DIMER, tmp_path / "copy" / "1mld.cif.gz")
    assert inspect_structures(tmp_path / "copy").version == version
    write(folder / "1adz.cif", CIF.replace("Kunitz", "Kunits"))
    other = inspect_structures(folder).version
    assert other != version
    write(folder / "obsolete.dat", "OBSLTE    31-JUL-94 116L     216L\n")
    assert inspect_structures(folder).version not in (other, version)


OBSOLETE_LIST = """ LIST OF OBSOLETE COORDINATE ENTRIES AND SUCCESSORS
OBSLTE    31-JUL-94 1AAA     1BBB 9ZZZ

OBSLTE    31-JUL-94 1BBB     1CCC
OBSLTE    26-SEP-06 1DDD
OBSLTE    26-SEP-06 1EEE     1FFF
OBSLTE    26-SEP-06 1FFF     1EEE
OBSLTE    26-SEP-06 1GGG     1GGG
OBSLTE
"""


@pytest.mark.parametrize("place", ["lab/obsolete.dat", "elsewhere.dat"])
def test_obsolete_entries_are_followed(place: str, folder: Path, tmp_path: Path) -> None:
    path = write(tmp_path / place, OBSOLETE_LIST)
    inspect_structures(folder, obsolete=None if place.startswith("lab") else path)
    for again in (False, True):
        found = library(folder)
        asked = ("1AAA", "1bbb", "1ccc", "1ddd", "1eee", "1fff", "1ggg", "1mld")
        expected = ["1ccc", "1ccc", "1ccc", None, None, None, None, "1mld"]
        assert [found.successor(each) for each in asked] == expected
        if not again and place.startswith("else"):
            path.unlink()  # what was read is kept
    if place.startswith("lab"):
        path.unlink()
        assert library(folder).successor("1aaa") == "1aaa"


def test_a_folder_that_cannot_be_added_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    registry.add_structures(folder)
    bad = write(tmp_path / "bad" / "x.cif", "data_x").parent
    for name in ("", "lab"):
        with pytest.raises(InputError, match="has no PDB, mmCIF or BinaryCIF file with a protein"):
            registry.add_structures(bad, name)
    assert names(tmp_path / "registry" / "structures") == ["lab"]
    assert entries(StructureLibrary.open(registry.databases()["lab"])) == ["1mld_A", "1mld_B"]


def test_entries_without_a_date_are_counted(folder: Path) -> None:
    write(folder / "new.pdb", PDB)
    write(folder / "old.pdb", DATED)
    found = library(folder)
    dated = [found.listed_date(each) for each in ("1mld", "new", "old")]
    assert (found.num_entries, found.num_undated) == (3, dated.count(None))
    assert dated[1:] == [None, "1997-03-12"]


def test_an_obsolete_entry_is_replaced_even_if_its_file_is_there(
    folder: Path, tmp_path: Path
) -> None:
    listed = write(tmp_path / "obsolete.dat", "OBSLTE    31-JUL-94 1OLD     1NEW\n")
    for name in ("1old", "1new"):
        write(folder / f"{name}.pdb", DATED)
    assert (
        library(folder).listed_date("1old") == library(folder).listed_date("1new") == "1997-03-12"
    )
    found = StructureLibrary.open(inspect_structures(folder, obsolete=listed))
    assert (found.listed_date("1OLD"), found.listed_date("1new")) == (None, "1997-03-12")
    other = write(tmp_path / "other" / "1old.pdb", DATED).parent
    both = JoinedLibraries((library(other), found))
    assert (both.successor("1old"), both.listed_date("1old")) == ("1new", None)
    sequence = found.sequence("1old_A") or ""
    pairs = np.repeat(np.arange(len(sequence))[:, None], 2, axis=1)
    for each in (found, both):
        hits = [AlignedHit(f"{entry}_A", pairs, sequence) for entry in ("1old", "1new")]
        chosen = choose(f"{sequence}{'A' * 9}", hits, each, Rules("2020-01-01"))
        assert [hit.name for hit in chosen.hits] == ["1new_A", "1new_A"]


def test_a_list_of_obsolete_entries_that_is_none(folder: Path, tmp_path: Path) -> None:
    write(folder / "obsolete.dat", b"\0\1\2")
    assert library(folder).left_out == {
        "obsolete.dat": "is a binary file: give a text file",
    }
    for path, says in ((KUNITZ, "is not a list of obsolete"), (tmp_path / "no", "does not exist")):
        with pytest.raises(InputError, match=says):
            inspect_structures(folder, obsolete=path)


# What is read again


def test_only_what_changed_is_read(folder: Path, read: list[str]) -> None:
    for name in ("a", "b", "c"):
        write(folder / f"{name}.cif")
    write(folder / "bad.cif", "data_x\n")
    first = inspect_structures(folder)
    assert sorted(read) == ["1mld.cif.gz", "a.cif", "b.cif", "bad.cif", "c.cif"]
    read.clear()
    assert inspect_structures(folder) == first
    assert read == []
    write(folder / "a.cif", CIF.replace("Kunitz", "other"))
    write(folder / "d" / "d.pdb", PDB)
    (folder / "b.cif").unlink()
    (folder / "c.cif").rename(folder / "e.cif")
    write(folder / "bad.cif", CIF)
    second = library(folder)
    assert sorted(read) == ["a.cif", "bad.cif", "d.pdb", "e.cif"]
    assert entries(second) == ["1mld_A", "1mld_B", "a_A", "bad_A", "d_A", "e_A"]
    assert all(second.sequence(each) == second.sequence("a_A") for each in ("bad_A", "d_A", "e_A"))
    assert not second.left_out
    shutil.rmtree(os.environ["FOLDRY_SEARCHES"])
    assert library(folder).version == second.version, "as if it were read at once"


@pytest.mark.parametrize("number", [16, 17])
def test_a_few_files_start_no_processes(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(number):
        write(tmp_path / "few" / f"{index}.cif")
    asked: list[int] = []

    def for_each(function: Callable[..., object], tasks: list[object], *_: object) -> object:
        asked.append(len(tasks))
        return map(function, tasks)

    monkeypatch.setattr(structure_index, "is_command", lambda: True)
    monkeypatch.setattr(structure_index, "num_cores", lambda: 2)
    monkeypatch.setattr(structure_index, "for_each", for_each)
    assert inspect_structures(tmp_path / "few").num_sequences == number
    assert asked == ([17] if number == 17 else [])


def test_a_database_is_brought_up_to_date_when_it_is_opened(
    folder: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    database = inspect_structures(folder)
    before = StructureLibrary.open(database)
    read.clear()
    StructureLibrary.open(database)
    assert read == []
    write(folder / "deep" / "a.cif")
    after = StructureLibrary.open(database)
    assert (read, entries(after)) == (["a.cif"], ["1mld_A", "1mld_B", "a_A"])
    assert entries(before) == ["1mld_A", "1mld_B"], "a search that began before goes on"
    for most, changed in ((3, ["a.cif"]), (1, [])):
        monkeypatch.setattr(structure_index, "MAX_CHECKED", most)
        read.clear()
        os.utime(folder / "deep" / "a.cif", (most, most))
        StructureLibrary.open(database)
        assert read == changed, "in many files, only the folders are looked at"
    shutil.rmtree(folder / "deep")
    assert entries(StructureLibrary.open(database)) == ["1mld_A", "1mld_B"]
    shutil.rmtree(folder)
    with pytest.raises(MissingError, match="lab is not a folder: restore it"):
        StructureLibrary.open(database)


@pytest.mark.parametrize("damage", ["emptied", "unreadable"])
def test_a_folder_without_its_structures_stops_the_search(damage: str, folder: Path) -> None:
    database = inspect_structures(folder)
    content = (folder / "1mld.cif.gz").read_bytes()
    if damage == "emptied":  # such as the place of a file system that is not mounted
        (folder / "1mld.cif.gz").unlink()
    else:
        write(folder / "1mld.cif.gz", "data_x")
    for _ in range(2):
        with pytest.raises(MissingError, match=r"lab has no PDB.*: restore them, or add"):
            StructureLibrary.open(database)
    write(folder / "1mld.cif.gz", content)
    assert StructureLibrary.open(database).version == database.version


def test_a_changed_library_whose_index_cannot_be_written(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    database = inspect_structures(folder)
    write(folder / "a.cif")

    def refused(*_: object) -> None:
        raise InputError("cannot be written", "name another place", where="index.jsonl")

    monkeypatch.setattr(structure_index, "update", refused)
    with caplog.at_level(logging.WARNING):
        assert entries(StructureLibrary.open(database)) == ["1mld_A", "1mld_B"]
    assert "lab changed, but is used as it was before: index.jsonl cannot be written" in caplog.text
    shutil.rmtree(database.index)
    with pytest.raises(InputError, match="cannot be written"):
        StructureLibrary.open(database)


def change_index(change: Callable[[list[str]], object]) -> Callable[[Path], None]:
    def damage(place: Path) -> None:
        lines = (place / "index.jsonl").read_text().splitlines(keepends=True)
        change(lines)
        (place / "index.jsonl").write_text("".join(lines))

    return damage


def set_file(number: int, value: object) -> Callable[[Path], None]:
    def change(lines: list[str]) -> None:
        lines[1] = json.dumps([*(row := json.loads(lines[1]))[:number], value, *row[number + 1 :]])
        lines[1] += "\n"

    return change_index(change)


def set_header(name: str, value: object) -> Callable[[Path], None]:
    def change(lines: list[str]) -> None:
        lines[0] = json.dumps(json.loads(lines[0]) | {name: value}) + "\n"

    return change_index(change)


def cut_fasta(place: Path) -> None:
    [path] = place.glob("*.fasta")
    path.write_bytes(path.read_bytes()[:-9])


def remove_fasta(place: Path) -> None:
    [path] = place.glob("*.fasta")
    path.unlink()


DAMAGES: dict[str, Callable[[Path], None]] = {
    "gone": lambda place: (place / "index.jsonl").unlink(),
    "empty": change_index(list.clear),
    "cut off": change_index(lambda lines: lines.append('["x')),
    "another format": set_header("format", 0),
    "a header less": change_index(lambda lines: lines.pop(0)),
    "a list": change_index(lambda lines: lines.insert(0, "[]\n")),
    "deep": change_index(lambda lines: lines.insert(1, "[" * 9999 + "\n")),
    "another key": set_header("other", 1),
    "a version outside": set_header("version", "../x"),
    "folders that are none": set_header("folders", []),
    "a reason that is none": set_header("unread", {"x.cif": 5}),
    "a successor that is none": set_header("obsolete", {"1mld": 5}),
    "no successors": set_header("obsolete", None),
    "a list that is none": set_header("obsolete_file", 5),
    "a word": change_index(lambda lines: lines.insert(0, "5\n")),
    "a negative number": set_file(6, -1),
    "a path outside": set_file(0, "../lab/1mld.cif.gz"),
    "an absolute path": set_file(0, str(DIMER)),
    "a number": set_file(0, 5),
    "a text": set_file(1, "5"),
    "too short": change_index(lambda lines: lines.insert(1, "[1]\n")),
    "sequences cut off": cut_fasta,
    "sequences gone": remove_fasta,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_index_is_made_again(damage: str, folder: Path, read: list[str]) -> None:
    database = inspect_structures(folder)
    before = StructureLibrary.open(database).fasta.read_bytes()
    DAMAGES[damage](Path(database.index))
    read.clear()
    assert StructureLibrary.open(database).fasta.read_bytes() == before
    assert read == ["1mld.cif.gz"]
    assert inspect_structures(folder) == database


def test_sequences_of_before_are_kept_for_a_while(folder: Path) -> None:
    place = Path(inspect_structures(folder).index)
    [first] = place.glob("*.fasta")
    changed = 123_456_789_123_456_789
    os.utime(first, ns=(1, changed))  # another process may search it nevertheless
    write(folder / "a.cif")
    inspect_structures(folder)
    assert first.stat().st_mtime_ns == changed, "by which a search notices changes"
    assert len(list(place.glob("*.fasta"))) == 2
    os.utime(first, (1, 1))
    write(folder / "b.cif")
    inspect_structures(folder)
    assert first not in list(place.glob("*.fasta"))
    assert len(list(place.glob("*.fasta"))) == 2


# Which of several files


def test_of_files_of_one_name_the_first_usable_one_counts(folder: Path, read: list[str]) -> None:
    other = TRYPSIN.read_text()
    write(folder / "z" / "1adz.cif", CIF)
    write(folder / "a" / "b" / "1ADZ.cif.gz", gzip.compress(other.encode()))
    write(folder / "pdb1adz.ent", PDB)
    found = library(folder)
    used = found.sequence("1adz_A")
    assert used == gemmi.one_letter_code(
        gemmi.read_structure(str(KUNITZ)).entities[0].full_sequence
    )
    says = "has the name of z/1adz.cif, which is used"
    assert found.left_out == {"a/b/1ADZ.cif.gz": says, "pdb1adz.ent": says}
    assert sorted(read) == ["1adz.cif", "1mld.cif.gz"], "the others are not read"
    write(folder / "z" / "1adz.cif", "data_broken\n")
    found = library(folder)
    assert found.sequence("1adz_A") != used
    assert list(found.left_out) == ["pdb1adz.ent", "z/1adz.cif"]
    assert found.left_out["pdb1adz.ent"] == "has the name of a/b/1ADZ.cif.gz, which is used"
    (folder / "a" / "b" / "1ADZ.cif.gz").unlink()
    assert library(folder).sequence("1adz_A") == used
    write(folder / "z" / "1adz.cif", CIF)
    assert list(library(folder).left_out) == ["pdb1adz.ent"]


def test_links_and_files_that_are_not_for_people(folder: Path, tmp_path: Path) -> None:
    outside = write(tmp_path / "outside" / "x.cif")
    (folder / "linked.cif").symlink_to(outside)
    (folder / "nowhere.cif").symlink_to(tmp_path / "nowhere")
    (folder / "circle.cif").symlink_to(folder / "circle.cif")
    (folder / "up").symlink_to(folder)
    (folder / "other").symlink_to(outside.parent)
    (folder / "zero.pdb").symlink_to("/dev/zero")
    for name in (".x.cif", ".git/x.cif", "x.cif.part", "x.cif~", "x.txt", ".x.cif.gz.Ab3"):
        write(folder / name)
    found = library(folder)
    assert entries(found) == ["1mld_A", "1mld_B", "linked_A"]
    a_link = "is a link to a folder, which is not followed: add that folder"
    assert found.left_out == {
        "circle.cif": "cannot be read (Too many levels of symbolic links)",
        "nowhere.cif": "cannot be read (No such file or directory)",
        "other": a_link,
        "up": a_link,
        "zero.pdb": "is not a regular file",
    }
    (folder / "nowhere.cif").unlink()
    shutil.copy(KUNITZ, folder / "nowhere.cif")
    assert "nowhere_A" in entries(library(folder))


def test_a_file_that_becomes_readable_is_read_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder / "a.cif")

    def refused(path: Path) -> bytes:
        if path.name == "a.cif":  # root may read any file
            raise InputError("cannot be read (Permission denied)", "check the file", where=path)
        return read_data(path)

    with monkeypatch.context() as patch:
        patch.setattr(structure_index, "read_data", refused)
        says = "cannot be read (Permission denied): check the file"
        assert library(folder).left_out == {"a.cif": says}
    assert library(folder).left_out == {}


def test_too_many_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(structure_index, "MAX_FILES", 3)
    for name in "abc":
        write(folder / f"{name}.cif")
    with pytest.raises(InputError, match="lab holds more than 3 structures"):
        inspect_structures(folder)


# A hostile library


def hostile(folder: Path) -> Iterator[tuple[str, str]]:
    """Write files that are not structures of proteins; yield their paths, and why they are not."""
    header, _, atoms = CIF.partition("ATOM")
    atoms = f"ATOM{atoms}"
    first = atoms.splitlines()[0]
    pdb_atom = PDB.splitlines()[1]
    water = pdb_atom.replace("ATOM  ", "HETATM")[:17] + "HOH" + pdb_atom[20:]
    base = pdb_atom[:12] + " P    DA" + pdb_atom[20:]
    words = first.split()
    x = words.index(next(each for each in words if "." in each and len(each) > 3))
    packed = gzip.compress(CIF.encode())
    infinite = " ".join([*words[:x], "1e999", *words[x + 1 :]])
    not_number = " ".join([*words[:x], "nan", *words[x + 1 :]])
    huge = " ".join([*words[:x], "9" * 5000, *words[x + 1 :]])
    entries: list[tuple[str, str | bytes, str]] = [
        ("empty.cif", "", "is empty"),
        ("blank.pdb", " \n\n", "is empty"),
        ("binary.cif", bytes(range(256)) * 9, "binary|PDB, mmCIF or BinaryCIF"),
        ("binary.pdb", b"ATOM\0" * 99, "binary"),
        ("zeros.bcif", b"\0" * 999, "binary|BinaryCIF"),
        ("page.cif", "<!DOCTYPE html><html>Not found</html>", "is a web page"),
        ("page.cif.gz", "<html><body>404</body></html>", "is a web page"),
        ("json.cif", '{"message": "Not found"}', "is a JSON file"),
        ("fasta.pdb", ">a\nMKT\n", "is a FASTA file"),
        ("lfs.cif", "version https://git-lfs.github.com/spec/v1\noid 0\n", "Git LFS"),
        ("prose.pdb", "This is not a structure.\n", "is not a PDB, mmCIF or BinaryCIF"),
        ("header.pdb", "HEADER    X\nREMARK   2\n", "has no atoms"),
        ("header.cif", header, "damaged|has no atoms"),
        ("block.cif", "data_x\n_entry.id x\n", "has no atoms"),
        ("loop.cif", f"{header}{first} 1 2", "damaged"),
        ("quote.cif", f"data_x\n_a.b 'open\n{CIF}", "damaged"),
        ("twice.cif", f"{CIF.rstrip('#').rstrip()}\n{CIF[CIF.index('loop_') :]}", "damaged"),
        ("column.cif", CIF.replace("_atom_site.Cartn_x", "_atom_site.other"), "Cartn_x"),
        ("nan.cif", CIF.replace(first, not_number), "'nan' in Cartn_"),
        ("infinite.cif", CIF.replace(first, infinite), "finite|is not"),
        ("huge.cif", CIF.replace(first, huge), "finite|is not"),
        ("nan.pdb", PDB.replace(pdb_atom[30:38], "     nan", 1), "not a coordinate"),
        ("huge.pdb", PDB.replace(pdb_atom[30:38], "99999999999", 1), "is not a"),
        ("number.pdb", PDB.replace(pdb_atom[22:26], "****", 1), "not a residue number"),
        ("cut.pdb", "".join(PDB.splitlines(keepends=True)[:20])[:-50], "is cut off"),
        ("columns.pdb", " ".join(pdb_atom.split()) + "\n", "columns"),
        ("water.pdb", f"{water}\nEND\n", "protein"),
        ("base.pdb", f"{base}\nEND\n", "protein"),
        ("cut.cif.gz", packed[: len(packed) // 2], "is a damaged gzip file"),
        ("bits.cif.gz", packed[:99] + bytes(99) + packed[198:], "is a damaged gzip file"),
        ("not.cif.gz", b"\x1f\x8b" + CIF.encode()[:99], "is a damaged gzip file"),
        ("bomb.cif.gz", gzip.compress(b"data_x\n" + b"#" * 10**8, 1), "after decompression"),
        ("bomb.cif.xz", b"\xfd7zXZ\0" + bytes(99), "is a damaged xz file"),
        ("blocks.cif", "data_x\n" * 99_999, "data blocks"),
        ("tar.cif", b"x.cif".ljust(257, b"\0") + b"ustar", "archive|binary"),
        ("msgpack.bcif", b"\x83\xa7version\xa50.3.0", "damaged|BinaryCIF|binary"),
        ("small.cif", "data_x\nloop_\n_atom_site_fract_x\n_atom_site_label\n0 C\n", "fractional"),
    ]
    for name, data, says in entries:
        write(folder / name, data)
        yield name, says
    (folder / "folder.cif").mkdir()
    yield "folder.cif", "is a folder"
    os.mkfifo(folder / "pipe.pdb")
    yield "pipe.pdb", "is not a regular file"
    (folder / "lost.cif").symlink_to("nowhere")
    yield "lost.cif", "cannot be read"
    shutil.copy(KUNITZ, folder / "twin.cif")
    shutil.copy(KUNITZ, folder / "twin.mmcif")
    yield "twin.mmcif", "has the name of twin.cif"
    for name in ("line\nfeed.cif", "escape\x1b[2J.pdb", os.fsdecode(b"latin\xe9.cif"), "=1+1.cif"):
        write(folder / name, "nothing")
        yield name, "is not a PDB"


def usable(folder: Path) -> Iterator[tuple[str, str]]:
    """Write proteins in unusual files; yield their paths and chains."""
    for path, data, chain in (
        ("pdb_in.cif", PDB, "pdb_in_A"),
        ("mmcif_in.pdb", CIF, "mmcif_in_A"),
        ("not_packed.cif.gz", CIF, "not_packed_A"),
        ("packed.ent", gzip.compress(PDB.encode()), "packed_A"),
        ("deep/folder.cif/in.CIF", CIF, "in_A"),
        ("my\nown\x1b>.cif", CIF, "my_own___A"),
        (os.fsdecode(b"\xff\xfe.pdb"), PDB, "structure_A"),
        ("latin.pdb", b"REMARK 1 \xe9\n" + PDB.encode(), "latin_A"),
        ("=cmd.cif", CIF.replace("2Kunitz", "x"), "cmd_A"),
    ):
        write(folder / path, data)
        yield path, chain


def test_a_hostile_library_stops_nothing(
    folder: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(structure_index, "_FEW", 10**6)  # all are read in this process
    bad, good = dict(hostile(folder)), dict(usable(folder))
    bad["deep/folder.cif"] = "is a folder"
    assert len(bad) >= 40
    found = library(folder)
    assert sorted(entries(found)) == sorted(["1mld_A", "1mld_B", "twin_A", *good.values()])
    wrong = {
        name: found.left_out.get(name)
        for name, says in bad.items()
        if not re.search(says, found.left_out.get(name, ""))
    }
    assert not wrong
    assert found.left_out.keys() == bad.keys()
    for reason in found.left_out.values():
        assert reason.isprintable()
        assert str(folder) not in reason
        assert len(reason) < 500
    assert len(found.listed.read_text().splitlines()) == len(bad)
    read.clear()
    assert library(folder).left_out == found.left_out
    assert read == [], "also what is broken is read only once"
