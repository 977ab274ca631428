"""A database stays whole whenever a command that writes it is killed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.slow
@pytest.mark.parametrize("job", ["import", "add", "migrate", "gc"])
def test_a_killed_command_leaves_a_whole_database(job: str) -> None:
    program = ROOT / "benchmarks" / "kill_database.py"
    words = [sys.executable, str(program), "--moments", "1", "--jobs", job]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    [row] = [line.split() for line in done.stdout.splitlines() if line.startswith(job)]
    assert row[1] == "1"
    assert int(row[3]) > 0, "nothing was read meanwhile"
