"""A run's folder belongs to one command, until the last of its processes ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from foldry.errors import BusyError
from foldry.store.locks import hold
from foldry.train import loop
from foldry.train.data import TrainingSet
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

    with pytest.raises(BusyError, match="is busy"):
        train()
    supervisor.kill()
    supervisor.wait()
    with pytest.raises(BusyError, match="is busy"):
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
    assert "is busy" in refused.stderr
