"""Workers and programs end with the process that started them, and say why they failed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from foldry.errors import MissingError, OutsideError
from foldry.processes.pool import worker_pool
from foldry.processes.program import find_program, run_program

PARENT = """
import os, signal, sys, time
from pathlib import Path
from foldry.processes.pool import worker_pool
from foldry.processes.program import run_program

folder = Path(sys.argv[1])
# The process that started the tests may ignore these signals.
signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)

def note(name):
    partial = folder / f"{name}.new"
    partial.write_text(str(os.getpid()))
    partial.rename(folder / name)

def sleep(name):
    note(name)
    time.sleep(600)

if __name__ == "__main__":
    if sys.argv[2] == "pool":
        with worker_pool(2) as pool:
            list(pool.map(sleep, ["a", "b"]))
    else:
        shell = 'sleep 600 & echo $! > a.new; mv a.new a; echo $$ > b.new; mv b.new b; wait'
        os.chdir(folder)
        run_program(["/bin/sh", "-c", shell])
"""


def wait_until(reached: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="reads processes from /proc")
@pytest.mark.parametrize("kind", ["pool", "program"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_outlives_a_killed_parent(tmp_path: Path, kind: str, number: int) -> None:
    program = tmp_path / "parent.py"
    program.write_text(PARENT)
    parent = subprocess.Popen([sys.executable, str(program), str(tmp_path), kind])
    wait_until(lambda: (tmp_path / "a").exists() and (tmp_path / "b").exists(), 60)
    children = [int((tmp_path / name).read_text()) for name in "ab"]
    assert all(map(lives, children))
    os.kill(parent.pid, number)
    parent.wait(timeout=60)
    wait_until(lambda: not any(map(lives, children)), 2)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="reads processes from /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_to_the_whole_group_ends_the_program_too(tmp_path: Path, number: int) -> None:
    program = tmp_path / "parent.py"
    program.write_text(PARENT)
    command = [sys.executable, str(program), str(tmp_path), "program"]
    parent = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    wait_until(lambda: (tmp_path / "a").exists() and (tmp_path / "b").exists(), 60)
    children = [int((tmp_path / name).read_text()) for name in "ab"]
    os.killpg(parent.pid, number)
    parent.wait(timeout=60)
    wait_until(lambda: not any(map(lives, children)), 2)


def test_the_output_of_a_program_is_returned() -> None:
    assert run_program([sys.executable, "-c", "print('MKTAYIAKQR')"]) == "MKTAYIAKQR\n"


def test_a_program_that_fails_is_quoted() -> None:
    program = "import sys; print('line'); sys.exit('no such\\ndatabase')"
    name = re.escape(Path(sys.executable).name)
    with pytest.raises(OutsideError, match=rf"^{name} failed \(no such database\): run"):
        run_program([sys.executable, "-c", program])
    with pytest.raises(OutsideError, match=r"failed \(first second\)"):
        run_program([sys.executable, "-c", "print('none\\n\\nfirst\\n\\n second'); exit(3)"])
    with pytest.raises(OutsideError, match="exit code 137"):
        run_program([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"])


def test_output_in_another_encoding_is_read() -> None:
    program = "import sys; sys.stdout.buffer.write(b'K\\xe4se')"
    assert run_program([sys.executable, "-c", program]) == "K\ufffdse"


def test_no_file_stays_open_after_a_program() -> None:
    if not Path("/proc/self").exists():
        pytest.skip("reads open files from /proc")
    run_program([sys.executable, "-c", ""])
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        run_program([sys.executable, "-c", ""])
        with pytest.raises(OutsideError):
            run_program([sys.executable, "-c", "exit(1)"])
    assert len(list(Path("/proc/self/fd").iterdir())) == before


POOL = """
import sys, time
from pathlib import Path
from foldry.processes.pool import worker_pool

def note(name):
    (Path(sys.argv[1]) / name).touch()
    time.sleep(0.5)

if __name__ == "__main__":
    with worker_pool(1) as pool:
        for number in range(20):
            pool.submit(note, str(number))
        while not (Path(sys.argv[1]) / "0").exists():
            time.sleep(0.01)
        raise ValueError("stopped")
"""


def test_a_pool_left_by_an_exception_cancels_waiting_tasks(tmp_path: Path) -> None:
    program, notes = tmp_path / "pool.py", tmp_path / "notes"
    program.write_text(POOL)
    notes.mkdir()
    command = [sys.executable, str(program), str(notes)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert ended.stderr.rstrip().endswith("ValueError: stopped")
    assert 1 <= len(list(notes.iterdir())) < 10


def test_a_missing_program_is_named_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingError, match="hhblits is not installed: install HH-suite"):
        find_program("hhblits", "install HH-suite")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="reads open files from /proc")
def test_no_file_stays_open_after_a_program_that_cannot_be_started() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(ValueError, match="null byte"):
        run_program(["hhblits\0"])
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_an_error_in_a_block_is_not_replaced_by_an_error_of_its_pool(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def shutdown(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(ProcessPoolExecutor, "shutdown", shutdown)
    with pytest.raises(ValueError, match="stopped"), worker_pool(1):
        raise ValueError("stopped")
    with pytest.raises(RuntimeError, match="can't start new thread"), worker_pool(1):
        pass


INTERRUPTED = """
import os, signal, time
from foldry.processes.pool import worker_pool

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with worker_pool(2) as pool:
        pool.submit(os.getpid).result()
        time.sleep(1)  # until both workers wait
        os.killpg(0, signal.SIGINT)
        time.sleep(60)
"""


def test_workers_end_silently_on_ctrl_c(tmp_path: Path) -> None:
    program = tmp_path / "interrupted.py"
    program.write_text(INTERRUPTED)
    command = [sys.executable, str(program)]
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, start_new_session=True
    )
    assert ended.stderr.rstrip().endswith("KeyboardInterrupt")
    assert "SpawnProcess" not in ended.stderr, "a worker printed its traceback"


IGNORED = """
import os, signal
from foldry.processes.pool import worker_pool

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with worker_pool(1) as pool:
        before = pool.submit(os.getpid).result()
        os.killpg(0, signal.SIGINT)
        print(pool.submit(os.getpid).result() == before)
"""


def test_workers_ignore_ctrl_c_if_their_parent_does(tmp_path: Path) -> None:
    program = tmp_path / "ignored.py"
    program.write_text(IGNORED)
    ended = subprocess.run(
        [sys.executable, str(program)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        start_new_session=True,
    )
    assert ended.stdout == "True\n", ended.stderr


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="reads processes from /proc")
@pytest.mark.parametrize("after", [0.0, 0.02, 0.05, 0.1])
def test_ctrl_c_ends_a_worker_that_starts_silently(tmp_path: Path, after: float) -> None:
    program = tmp_path / "parent.py"
    program.write_text(PARENT)
    command = [sys.executable, str(program), str(tmp_path), "pool"]
    parent = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    wait_until(lambda: len(children.read_text().split()) > 1, 60)  # one is the resource tracker
    time.sleep(after)
    os.killpg(parent.pid, signal.SIGINT)
    said = parent.communicate(timeout=60)[1]
    assert said.count("Traceback") == said.count("KeyboardInterrupt") == 1  # the parent's own
