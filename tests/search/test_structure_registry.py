"""Registered folders of structures: the list, the commands, and processes that end or meet."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from foldry.cli.main import main
from foldry.errors import InputError, MissingError
from foldry.formats.coordinates import read_data
from foldry.search import structure_index
from foldry.search.databases import STRUCTURES, Registry, check_content
from foldry.search.structures import StructureLibrary, inspect_structures
from tests.conftest import ROOT

KUNITZ = ROOT / "examples" / "kunitz" / "1adz.cif"
PROTEINS = ROOT / "examples" / "database" / "proteins.fasta.gz"


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOLDRY_DATABASES", str(tmp_path / "databases"))
    monkeypatch.setenv("FOLDRY_SEARCHES", str(tmp_path / "searches"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a protein and a file that is none."""
    found = tmp_path / "lab"
    found.mkdir()
    shutil.copy(KUNITZ, found)
    (found / "bad.cif").write_text("data_x\n")
    return found


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    """What `foldry search db` prints, without the padding of tables."""
    assert main(["search", "db", *words]) == code
    printed = capsys.readouterr()
    return "\n".join(" ".join(line.split()) for line in (printed.out + printed.err).splitlines())


def version(index: Path) -> str:
    """The version of an index, as it is on the disk."""
    found: str = json.loads((index / "index.jsonl").read_text().splitlines()[0])["version"]
    return found


# The list


def test_structures_are_listed_checked_and_removed(folder: Path, tmp_path: Path) -> None:
    registry = Registry()
    added = registry.add_structures(folder)
    assert registry.databases() == {"lab": added}
    assert (added.kind, added.num_sequences) == (STRUCTURES, 1)
    assert added.size == KUNITZ.stat().st_size
    place = tmp_path / "databases" / "structures" / "lab"
    assert Path(added.index) == place
    assert version(place) == added.version == inspect_structures(folder).version
    shutil.copy(KUNITZ, folder / "new.cif")
    added.check()
    found = check_content(added)
    assert (found.num_sequences, found.version == added.version) == (2, False)
    assert registry.databases() == {"lab": added}
    assert registry.record(found) == registry.databases()["lab"] == check_content(found)
    folder.rename(tmp_path / "elsewhere")
    for check in (found.check, lambda: check_content(found)):
        with pytest.raises(MissingError, match="lab is not a folder: restore it"):
            check()
    registry.remove("lab")
    assert registry.databases() == {}
    assert not place.exists()
    assert (tmp_path / "elsewhere" / "new.cif").exists()


def test_the_index_of_a_registered_folder_lies_beside_the_list(
    folder: Path, tmp_path: Path
) -> None:
    registry = Registry(tmp_path / "lab's list")
    registry.add_structures(folder, "pdb")
    path = registry.folder / "databases.json"
    [listed] = json.loads(path.read_text())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.jsonl").write_text("not for Foldry")
    path.write_text(json.dumps([listed | {"index": str(tmp_path / "mine")}]))
    registry.folder.rename(tmp_path / "moved")
    moved = Registry(tmp_path / "moved")
    found = moved.databases()["pdb"]
    assert StructureLibrary.open(found).sequence("1adz_A")
    assert Path(found.index) == tmp_path / "moved" / "structures" / "pdb"
    moved.remove("pdb")
    assert (tmp_path / "mine" / "index.jsonl").read_text() == "not for Foldry"


def test_names_of_folders(folder: Path, tmp_path: Path) -> None:
    registry = Registry()
    registry.add(PROTEINS, "lab")
    with pytest.raises(InputError, match="would be 'lab', but a database of this name"):
        registry.add_structures(folder)
    for name in ("../x", "a b", "-"):
        with pytest.raises(InputError, match="cannot be the name of a database"):
            registry.add_structures(folder, name)
    assert not (tmp_path / "databases" / "structures").exists()
    assert registry.add_structures(folder, "lab").kind == STRUCTURES, "as somebody wishes"


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ((), "lab has no PDB, mmCIF or BinaryCIF file with a protein: check the path"),
        (("bad.cif",), r"check its files; 1 file cannot be used, such as bad\.cif has no atoms"),
    ],
)
def test_a_folder_without_structures(
    files: tuple[str, ...], says: str, folder: Path, tmp_path: Path
) -> None:
    for each in folder.iterdir():
        if each.name not in files:
            each.unlink()
    with pytest.raises(InputError, match=says):
        inspect_structures(folder)
    with pytest.raises(InputError, match=says):
        Registry().add_structures(folder)
    assert Registry().databases() == {}


def test_a_folder_that_is_empty_for_a_while(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = Registry().add_structures(folder)
    folder.rename(tmp_path / "disk")
    folder.mkdir()
    with pytest.raises(InputError, match="lab has no PDB, mmCIF or BinaryCIF file with a protein"):
        check_content(database)
    folder.rmdir()
    (tmp_path / "disk").rename(folder)
    monkeypatch.setattr(structure_index, "read_data", None)
    assert check_content(database) == database, "nothing is read again"


def test_what_is_no_folder(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "no", "No such file"), (KUNITZ, "Not a directory")):
        with pytest.raises(InputError, match=rf"cannot be read \({reason}.*\): give a folder"):
            inspect_structures(path)


# The commands


def test_the_commands(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    printed = said(capsys, "add", "--structures", str(folder)).splitlines()
    assert printed == [
        f"lab (structures, 1 sequence, 0.0 MB) {folder}: added",
        "without a date of release, so left out with --max-template-date: 1 of 1",
        "left out: bad.cif has no atoms: give a PDB, mmCIF or BinaryCIF file with the atoms of a "
        "protein",
    ]
    assert "lab structures 1 0.0 MB" in said(capsys, "list")
    (folder / "bad.cif").unlink()
    assert said(capsys, "check") == f"lab (structures, 1 sequence, 0.0 MB) {folder}: unchanged"
    shutil.copy(KUNITZ, folder / "new.cif")
    assert said(capsys, "check", "lab").endswith(f"2 sequences, 0.1 MB) {folder}: updated")
    assert "lab structures 2 0.1 MB" in said(capsys, "list")
    assert "lab: removed from the list" in said(capsys, "remove", "lab")
    listed = folder / "list.dat"
    listed.write_text("OBSLTE    31-JUL-94 9XYZ     1ADZ\n")
    said(capsys, "add", str(folder), "--structures", "--name", "pdb", "--obsolete", str(listed))
    assert StructureLibrary.open(Registry().databases()["pdb"]).successor("9xyz") == "1adz"
    for words, says in (
        (("add", str(folder)), "with --structures, a folder of structures."),
        (("add", str(PROTEINS), "--obsolete", str(listed)), "add their folder with --structures"),
        (("add", "--structures", str(PROTEINS)), "cannot be read (Not a directory)"),
    ):
        assert says in said(capsys, *words, code=2)


def test_many_files_that_are_left_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(30):
        (folder / f"x{number:02}\x1b.cif").write_text("data_x\n")
    printed = said(capsys, "add", "--structures", str(folder)).splitlines()
    assert len(printed) == 23
    assert printed[3].startswith(r"left out: x00\x1b.cif has no atoms")
    more = re.fullmatch(r"left out: 11 more, see (.*/left_out\.txt)", printed[-1])
    assert more
    listed = Path(more[1]).read_text().splitlines()
    assert len(listed) == 31
    assert {line.partition(":")[0] for line in listed} >= {r"x29\x1b.cif", "bad.cif"}


# Processes that end, or meet


KILLED = """
import os, signal, sys
from foldry.search import structure_index
from foldry.search.structures import inspect_structures

name, times = sys.argv[2], int(sys.argv[3])
function = getattr(structure_index, name)

def killed(*words, **more):
    global times
    times -= 1
    if times < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return function(*words, **more)

setattr(structure_index, name, killed)
inspect_structures(structure_index.Path(sys.argv[1]))
"""


@pytest.mark.parametrize(
    ("function", "times", "left"),
    [("append_line", 5, 5), ("new_file", 0, 0), ("write_text", 0, 0), ("remove", 0, 0)],
)
def test_a_killed_process_is_continued(
    function: str, times: int, left: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`left`: the number of files that the next process reads."""
    for number in range(8):
        shutil.copy(KUNITZ, folder / f"x{number}.cif")
    command = [sys.executable, "-c", KILLED, str(folder), function, str(times)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    read: list[Path] = []

    def recorded(path: Path) -> bytes:
        read.append(path)
        return read_data(path)

    monkeypatch.setattr(structure_index, "read_data", recorded)
    found = inspect_structures(folder)
    assert len(read) == left
    place = Path(found.index)
    names = {f"{found.version}.fasta", "index.jsonl", "left_out.txt"}
    assert {each.name for each in place.iterdir()} == names
    after = {each.name: each.read_bytes() for each in place.iterdir()}
    shutil.rmtree(place)
    assert inspect_structures(folder) == found
    assert {each.name: each.read_bytes() for each in place.iterdir()} == after


RECORDED = """
import os, sys
from pathlib import Path
from foldry.search import structure_index

read_data = structure_index.read_data

def recorded(path):
    with open(os.environ["READ"], "a") as file:
        file.write(f"{path.name}\\n")
    if path.name == "killer.cif":
        os._exit(1)
    return read_data(path)

structure_index.read_data = recorded  # in the processes too: they import this program
structure_index.num_cores = lambda: 2

if __name__ == "__main__":
    from foldry.cli.main import main
    sys.argv[1:1] = ["search", "db", "add", "--structures"]
    sys.exit(main())
"""


def added(folder: Path, number: int) -> tuple[list[subprocess.CompletedProcess[str]], list[str]]:
    """Add a folder by several processes at the same time; return their ends, and what is read."""
    program, log = folder.parent / "program.py", folder.parent / "read.txt"
    program.write_text(RECORDED)
    environment = os.environ | {"READ": str(log)}
    command = [sys.executable, str(program), str(folder)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    running = [
        subprocess.Popen(command, text=True, env=environment, **pipes)  # type: ignore[call-overload]
        for _ in range(number)
    ]
    said = [each.communicate()[0] for each in running]
    ended = [
        subprocess.CompletedProcess(command, each.returncode, text)
        for each, text in zip(running, said, strict=True)
    ]
    return ended, log.read_text().splitlines()


def test_two_processes_read_each_file_once(folder: Path) -> None:
    for number in range(20):
        shutil.copy(KUNITZ, folder / f"x{number}.cif")
    ended, read = added(folder, 2)
    assert {each.returncode for each in ended} <= {0, 4}, ended
    assert any(each.returncode == 0 for each in ended), ended
    assert Counter(read) == Counter(each.name for each in folder.iterdir())
    assert Registry().databases()["lab"].num_sequences == 21


@pytest.mark.slow
def test_a_file_that_ends_its_process(folder: Path) -> None:
    for number in range(20):
        shutil.copy(KUNITZ, folder / f"x{number}.cif")
    shutil.copy(KUNITZ, folder / "killer.cif")
    [ended], _ = added(folder, 1)
    assert ended.returncode == 0, ended
    assert "left out: killer.cif ended the process that read it, probably for" in ended.stdout
    library = StructureLibrary.open(Registry().databases()["lab"])
    assert list(library.left_out) == ["bad.cif", "killer.cif"]
    assert library.fasta.read_text().count(">") == 21
