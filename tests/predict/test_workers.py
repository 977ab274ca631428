"""Worker processes: how many there are, and how each of them is set up."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
import torch

from foldry.predict import workers
from foldry.predict.workers import worker_processes
from foldry.processes import tuning


@pytest.mark.parametrize(
    ("variables", "number"),
    [
        ({}, 6),
        ({"OMP_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": "4,2"}, 4),
        ({"MKL_NUM_THREADS": "1"}, 1),
        ({"MKL_NUM_THREADS": "2", "OMP_NUM_THREADS": "3"}, 2),
        ({"MKL_NUM_THREADS": "", "OMP_NUM_THREADS": " 3 "}, 3),
        ({"OMP_NUM_THREADS": "0"}, 6),
        ({"OMP_NUM_THREADS": "many"}, 6),
    ],
)
def test_the_users_number_of_threads_counts(
    variables: dict[str, str], number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in tuning.NUM_THREADS:
        monkeypatch.delenv(name, raising=False)
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    monkeypatch.setattr(tuning, "num_cores", lambda: 6)
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    assert workers.num_threads() == number


@pytest.mark.skipif(not Path("/proc/meminfo").is_file(), reason="reads /proc/meminfo")
def test_free_memory_is_what_the_control_groups_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "memory_limits", lambda: iter([2**62, 4096]))
    assert workers._free_memory() == 4096
    monkeypatch.setattr(tuning, "memory_limits", lambda: iter([]))
    assert workers._free_memory() > 4096


def test_a_worker_is_set_up_for_speed_with_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in tuning.NUM_THREADS:
        monkeypatch.setenv(name, "2")
    with worker_processes(2) as two:
        assert [each.submit(torch.get_num_threads).result() for each in two] == [1, 1]
        assert two[0].submit(tuning.is_command).result()
        assert two[0].submit(gc.get_freeze_count).result() > 10_000
    assert not tuning.is_command(), "this process belongs to the tests"
