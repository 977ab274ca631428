"""A run's folder belongs to one command, until the last of its processes ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from foldry.dataset.samples import TrainingSet
from foldry.errors import BusyError
from foldry.store.files import new_file, new_folder
from foldry.store.locks import NAME, hold, hold_file
from foldry.train import loop
from tests.train.synthetic import write_world
from tests.train.tiny import tiny_config

WORKER = """
import os, sys, time
from pathlib import Path
partial = Path(sys.argv[1], "partial")
partial.write_text(str(os.getpid()))
partial.rename(Path(sys.argv[1], "pid"))
time.sleep(600)
"""
SUPERVISOR = f"""
import sys
from pathlib import Path
from foldry.train.elastic import Supervisor
from foldry.train.power import Meter
folder = Path(sys.argv[1])
command = (sys.executable, "-c", {WORKER!r}, str(folder))
Supervisor(command, folder, workers=1, max_workers=1, meter=Meter(folder)).run()
"""


def test_a_killed_command_holds_its_folder_as_long_as_its_workers_live(tmp_path: Path) -> None:
    (tmp_path / "world").mkdir()
    data = TrainingSet(write_world(tmp_path / "world").folder, splits=("train",))
    folder = tmp_path / "run"
    supervisor = subprocess.Popen([sys.executable, "-c", SUPERVISOR, str(folder)])
    while not (folder / "pid").is_file():
        assert supervisor.poll() is None
        time.sleep(0.02)
    worker = int((folder / "pid").read_text())

    def train() -> bool:
        return loop.train_stages(tiny_config(), [], data, loop.Run(folder))

    with pytest.raises(BusyError, match="is in use"):
        train()
    supervisor.kill()
    supervisor.wait()
    with pytest.raises(BusyError, match="is in use"):
        train()
    os.kill(worker, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while True:
        try:
            assert train()
            break
        except BusyError:  # the kernel has not ended it yet
            assert time.monotonic() < deadline
            time.sleep(0.02)
    with hold(folder):
        second = [sys.executable, "-c", SUPERVISOR, str(folder)]
        refused = subprocess.run(second, capture_output=True, text=True, check=False)
    assert "is in use" in refused.stderr


HOLDER = """
import sys, time
from pathlib import Path
from foldry.store.files import new_file, new_folder
from foldry.store.locks import NAME, hold, hold_file
with hold(Path(sys.argv[1])):
    sys.stdout.write("held\\n")
    sys.stdout.flush()
    time.sleep(600)
"""


def test_no_lock_outlives_its_process(tmp_path: Path) -> None:
    folder = tmp_path / "q"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"

    def take() -> None:
        with hold(folder):
            assert [path.name for path in folder.iterdir()] == [NAME], "leftovers are removed"

    with pytest.raises(BusyError) as busy:
        take()
    assert str(busy.value).startswith(f"{folder} is in use")
    (folder / ".ranked_0.cif.0123abcd.partial").touch()
    holder.kill()
    holder.communicate()
    take()
    assert not (folder / NAME).exists()


def test_files_that_another_process_is_writing_are_not_swept(tmp_path: Path) -> None:
    with new_file(tmp_path / "ranked_0.pdb") as file, new_folder(tmp_path / "data") as folder:
        file.write(b"half")
        (folder / "half").touch()
        (tmp_path / ".left.cif.0123abcd.partial").touch()
        (tmp_path / ".my notes.partial").mkdir()
        with hold(tmp_path):
            pass
        file.write(b" and whole")
    assert (tmp_path / "ranked_0.pdb").read_bytes() == b"half and whole"
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"ranked_0.pdb", "data", ".my notes.partial"}


def test_an_unused_folder_is_removed(tmp_path: Path) -> None:
    with hold(tmp_path / "a" / "b"):
        pass
    assert list(tmp_path.iterdir()) == []
    with hold(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "file").touch()
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["file"]


def test_an_output_file_is_held_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    (tmp_path / "link.csv").symlink_to(path)

    def take(name: str) -> None:
        with hold_file(tmp_path / name):
            pass

    (tmp_path / ".scores.csv.0123abcd.partial").touch()
    (tmp_path / ".scores.csv.gz.0123abcd.partial").touch()
    with hold_file(path):
        take("other.csv")
        for name in ("scores.csv", "link.csv"):
            with pytest.raises(BusyError, match=name):
                take(name)
    left = {each.name for each in tmp_path.iterdir()}
    assert left == {"link.csv", ".scores.csv.gz.0123abcd.partial"}, "another may be writing that"


def take_turns(folder: Path, times: int) -> None:
    """Increase a number in a file `times` times, each time while holding the folder."""
    counted = 0
    while counted < times:
        try:
            with hold(folder):
                file = folder / "count"
                before = int(file.read_text()) if file.exists() else 0
                time.sleep(0.0005)
                file.write_text(str(before + 1))
                counted += 1
        except BusyError:
            time.sleep(0.0002)


def test_a_recreated_lock_still_excludes(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:  # each opens the lock for itself, as processes do
        list(pool.map(lambda _: take_turns(tmp_path, 100), range(4)))
    assert int((tmp_path / "count").read_text()) == 400
