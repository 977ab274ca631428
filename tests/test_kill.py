"""A killed command resumes where it stopped, and leaves no process behind."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import ROOT

PROGRAM = ROOT / "benchmarks" / "kill.py"


@pytest.fixture(scope="module")
def kill() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("kill", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "kill", module)
        spec.loader.exec_module(module)
        yield module


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are found in /proc")
@pytest.mark.parametrize("command", ["fold", "screen", "prepare"])
def test_a_killed_command_resumes_as_if_undisturbed(command: str, tmp_path: Path) -> None:
    options = ["--commands", command, "--moments", "3", "--writes", "2", "--no-mmseqs"]
    words = [sys.executable, PROGRAM, *options, "--work", tmp_path / "work"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    row = next(line.split() for line in done.stdout.splitlines() if line.startswith(command))
    assert row[2] == "5"
    assert int(row[3]) >= 3


def test_a_process_in_another_session_is_found_and_ended(kill: ModuleType) -> None:
    mark = uuid.uuid4().hex
    with subprocess.Popen(
        ["sleep", "60"], env=os.environ | {kill.MARK: mark}, start_new_session=True
    ) as sleeper:
        try:
            variables = Path(f"/proc/{sleeper.pid}/environ")
            while mark not in variables.read_text():  # readable only shortly after Popen returns
                assert sleeper.poll() is None
            assert kill.end_all(mark, grace=0.1) == ["sleep 60"]
            assert sleeper.wait(10) == -9
            assert kill.end_all(mark, grace=0.1) == []
        finally:
            sleeper.kill()


def test_leftovers_of_a_killed_run_are_noticed(kill: ModuleType, tmp_path: Path) -> None:
    def written(name: str) -> Path:
        folder = tmp_path / name / "alpha"
        folder.mkdir(parents=True)
        (folder / "ranked_0.cif").write_text("1 string created 2026-11-28T17:25:21+00:00 .\n")
        (folder / "scores_a.json").write_text('{"created": "2026-11-28", "ptm": 0.5}')
        return folder

    one, other = written("one"), written("other")
    (other / "ranked_0.cif").write_text("1 string created 2026-11-29T08:00:00+00:00 .\n")
    expected = kill.tree(one)
    assert kill.differences(expected, kill.tree(other)) == []
    (other / "scores_a.json").write_text('{"created": "2026-11-28", "ptm": 0.25}')
    (other / ".fold.json.partial").touch()
    (other / "ranked_0.cif").chmod(0o600)
    assert kill.differences(expected, kill.tree(other)) == [
        ".fold.json.partial is left over",
        "ranked_0.cif has the mode 100600 and not 100644",
        "scores_a.json differs",
    ]
    (other / "ranked_0.cif").unlink()
    assert kill.differences(expected, kill.tree(other))[0] == "ranked_0.cif is missing"


def test_a_wrong_hash_in_a_record_is_noticed(kill: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    (tmp_path / "fold.json").write_text(json.dumps({"files": {"a.txt": empty}}))
    assert kill.wrong_hashes(tmp_path) == []
    (tmp_path / "a.txt").write_bytes(b"other")
    assert kill.wrong_hashes(tmp_path) == ["a.txt does not have the hash in fold.json"]


def test_passes_of_only_one_prediction_may_be_computed_again(kill: ModuleType) -> None:
    whole = ["a1", "a2", "b1", "b2", "c1", "c2"]
    assert kill.pass_faults(2, whole, whole[:4], whole[2:]) == ""
    assert kill.pass_faults(2, whole, whole, []) == ""
    again = kill.pass_faults(2, whole, whole[:4], whole)
    assert again == "passes of 2 predictions were computed again"
    missing = kill.pass_faults(2, whole, whole[:2], whole[4:])
    assert missing == "0 passes are not in the undisturbed run, 2 were not computed"
