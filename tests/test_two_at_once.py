"""benchmarks/two_at_once.py: three rounds of each pair of commands, and the faults it must find."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tests.conftest import ROOT

ROUNDS = 3
NAMES = ("fold", "queries", "screen", "weights", "prepare", "train", "score")
DONE, BUSY, FAILED = (0, "done"), (4, "out is in use"), (1, "No such file or directory")


@pytest.fixture(scope="module")
def program() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        import two_at_once  # noqa: PLC0415

        yield two_at_once


@dataclass
class Study:
    """A process that launches commands, all cases, and the undisturbed output of their commands."""

    launcher: Any
    cases: dict[str, Any]
    alone: dict[str, Any]


@pytest.fixture(scope="module")
def study(program: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Study]:
    from commands import Inputs, serve  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("study")
    inputs = Inputs(folder / "inputs")
    with serve(inputs.archive.parent) as address, program.Launcher() as launcher:
        cases = program.made_cases(inputs, f"{address}/{inputs.archive.name}")
        alone = program.undisturbed(launcher, list(cases.values()), folder / "alone")
        yield Study(launcher, cases, alone)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_two_at_once_leave_the_files_of_one_or_of_both(
    program: ModuleType, study: Study, name: str, tmp_path: Path
) -> None:
    case, alone = study.cases[name], study.alone[name]
    result = program.study(study.launcher, case, alone, tmp_path / name, ROUNDS)
    assert result.faults == []
    assert result.both_done + result.one_busy == ROUNDS
    assert case.exclusive or result.both_done == ROUNDS


def write(folder: Path, files: dict[str, str]) -> Path:
    """Write files and their hashes as `fold` does, and return the folder."""
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_text(content)
    hashes = {name: sha256(content.encode()).hexdigest() for name, content in files.items()}
    (folder / "fold.json").write_text(json.dumps({"key": "", "files": hashes}))
    return folder


@dataclass
class Judged:
    """The output of two invented commands, each alone."""

    program: ModuleType
    folder: Path

    def __post_init__(self) -> None:
        self.first, self.second = {"a.pdb": "1\nEND\n"}, {"a.pdb": "2\nEND\n", "b.pdb": "END\n"}
        trees = [
            self.program.contents(write(self.folder / name, files))
            for name, files in (("first", self.first), ("second", self.second))
        ]
        self.alone = self.program.Undisturbed(tuple(trees), (1.0, 1.0))

    def faults(
        self,
        files: dict[str, str],
        ended: tuple[tuple[int, str], tuple[int, str]],
        after: float = 1.0,
        **case: Any,
    ) -> list[str]:
        """Return the kinds of fault of a round whose second command ends after the first.

        The files are those of the first, of the second, or the given ones.
        """
        place = self.folder / "place"
        if not place.exists():
            write(place, files)
        both = [
            self.program.Ended(code, ended=10 + number * after, output=said)
            for number, (code, said) in enumerate(ended)
        ]
        judged = self.program.Case("invented", lambda out: ([], []), **case)
        return sorted({kind for kind, _ in self.program.judge(judged, self.alone, both, place)})


@pytest.fixture
def judged(program: ModuleType, tmp_path: Path) -> Judged:
    return Judged(program, tmp_path)


def test_one_busy_or_one_after_the_other_is_right(judged: Judged) -> None:
    assert judged.faults(judged.second, (BUSY, DONE)) == []
    assert judged.faults(judged.second, (DONE, DONE)) == []


def test_files_of_two_commands_that_add_both_exist(judged: Judged) -> None:
    both = {"exclusive": False, "adds": True}
    assert judged.faults(judged.second, (DONE, DONE), 0.0, **both) == []
    assert judged.faults(judged.second, (DONE, BUSY), **both) == ["failed", "mixture"]


def test_both_done_at_once_is_a_fault(judged: Judged) -> None:
    assert judged.faults(judged.second, (DONE, DONE), after=0.1) == ["at once"]


def test_files_of_the_command_that_ended_first_are_lost(judged: Judged) -> None:
    assert judged.faults(judged.first, (DONE, DONE)) == ["lost"]
    assert judged.faults(judged.first, (BUSY, DONE)) == ["lost"]


def test_files_of_both_are_a_mixture(judged: Judged) -> None:
    assert judged.faults({**judged.second, **judged.first}, (BUSY, DONE)) == ["mixture"]


def test_a_file_that_changed_after_its_hash_is_a_mixture(judged: Judged) -> None:
    place = write(judged.folder / "place", judged.second)
    record = (place / "fold.json").read_text()
    (place / "fold.json").write_text(record.replace(sha256(b"END\n").hexdigest(), "0" * 64))
    assert judged.faults({}, (BUSY, DONE)) == ["mixture"]


def test_a_torn_record_is_torn(judged: Judged) -> None:
    place = write(judged.folder / "place", judged.second)
    (place / "fold.json").write_text('{"key": "", "files": {')
    assert judged.faults({}, (BUSY, DONE)) == ["mixture", "torn"]


@pytest.mark.parametrize("name", [".lock", ".fold.json.partial", "notes"])
def test_a_file_that_no_command_writes_is_left(judged: Judged, name: str) -> None:
    write(judged.folder / "place", judged.second)
    (judged.folder / "place" / name).touch()
    assert judged.faults({}, (BUSY, DONE)) == ["left"]


@pytest.mark.parametrize("ended", [FAILED, (4, "out is used"), (2, "out is in use")])
def test_an_end_other_than_done_or_busy_has_failed(judged: Judged, ended: tuple[int, str]) -> None:
    assert judged.faults(judged.second, (ended, DONE)) == ["failed"]


def test_a_round_without_a_finished_command_has_failed(judged: Judged) -> None:
    assert judged.faults(judged.second, (BUSY, BUSY)) == ["failed"]


def npz() -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, a=np.arange(99))
    return file.getvalue()


def safetensors() -> bytes:
    header = json.dumps({"a": {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}}).encode()
    return len(header).to_bytes(8, "little") + header + b"abcd"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.json", b'{"a": 1}\n'),
        ("a.cif", b"data_a\nloop_\n#\n"),
        ("a.pdb", b"ATOM\nEND   \n"),
        ("a.html", b"<html>\n</html>\n"),
        ("a.csv", b"a,b\n1,2\n"),
        ("a.tsv", b"a\tb\n1\t2\n"),
        ("a.npz", npz()),
        ("a.safetensors", safetensors()),
    ],
)
def test_a_file_without_its_end_is_torn(program: ModuleType, name: str, data: bytes) -> None:
    assert program.fault_of(name, data) == ""
    assert program.fault_of(name, data.rstrip()[:-1])
    assert program.fault_of(name, b"")


def test_an_archive_of_two_halves_is_torn(program: ModuleType) -> None:
    data = npz()
    places = range(60, len(data) // 2)  # past the header, which the directory repeats
    changed = (data[:k] + bytes([data[k] ^ 255]) + data[k + 1 :] for k in places)
    assert all(program.fault_of("a.npz", each) for each in changed)


def test_only_whole_lines_of_a_log_are_read(program: ModuleType) -> None:
    assert program.fault_of("log.jsonl", b'{"a": 1}\n{"a":') == ""
    assert program.fault_of("log.jsonl", b'{"a": 1}\n{"a":\n')


def test_a_reader_sees_a_file_that_is_torn_for_a_moment(
    program: ModuleType, tmp_path: Path
) -> None:
    path = tmp_path / "a.json"
    with program.watching(tmp_path) as torn:
        (tmp_path / ".b.json").write_text("{")
        path.write_text("{")
        while not torn:
            pass
        path.write_text("{}")
    assert list(torn) == ["a.json"]
