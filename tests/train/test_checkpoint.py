"""A run that is killed at any moment goes on with the bit-identical next step."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from foldry.errors import InputError
from foldry.train import loop
from foldry.train.checkpoint import NAME, read_progress
from foldry.train.data import TrainingSet
from tests.train.synthetic import write_world
from tests.train.tiny import read_log, shared_stages, tiny_config

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_kill_9_and_go_on(tmp_path: Path) -> None:
    (tmp_path / "world").mkdir()
    data = TrainingSet(write_world(tmp_path / "world").folder, splits=("train",))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    torch.set_num_threads(1)
    loop.train_stages(tiny_config(), shared_stages(3), data, loop.Run(whole))
    program = [sys.executable, "-m", "tests.train.tiny", str(tmp_path / "world"), str(killed)]
    for moment in (1, 3):  # lines in the log: within the stages, before and after a checkpoint
        process = subprocess.Popen(
            [*program, "--steps=3", "--save-every=2", "--wait=0.3"],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        while not (killed / loop.LOG).is_file() or len(read_log(killed)) <= moment:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
        process.wait()
    assert len(read_log(killed)) < 6
    loop.train_stages(tiny_config(), shared_stages(3), data, loop.Run(killed, save_every=2))
    assert read_log(killed) == read_log(whole)
    for name in (NAME, loop.WEIGHTS):
        ours, theirs = load_file(killed / name), load_file(whole / name)
        assert set(ours) == set(theirs)
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_progress_is_read_without_the_rest(tmp_path: Path) -> None:
    assert read_progress(tmp_path) is None
    (tmp_path / NAME).write_bytes(b"damaged")
    with pytest.raises(InputError, match="cannot be resumed"):
        read_progress(tmp_path)
