"""Tasks in worker processes, and what reaches the caller when one cannot begin."""

from __future__ import annotations

import os
import sys
import time
from importlib import import_module
from itertools import count, islice
from pathlib import Path

import pytest

from foldry.errors import MemoryShortError, as_foldry_error
from foldry.processes.pool import for_each, worker_pool

MODULE = """
import os

if os.getpid() != {here}:
    raise ImportError("library.so: failed to map segment from shared object")


def task() -> None:
    pass
"""


def test_a_module_that_a_worker_cannot_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The caller gets the error, and the worker goes on."""
    (tmp_path / "without_room.py").write_text(MODULE.format(here=os.getpid()))
    monkeypatch.syspath_prepend(str(tmp_path))
    task = import_module("without_room").task
    with worker_pool(1) as pool:
        error = pool.submit(task).exception(60)
        assert pool.submit(abs, -3).result(60) == 3
    sys.modules.pop("without_room")
    assert error is not None
    assert isinstance(as_foldry_error(error), MemoryShortError)


def test_an_exception_ends_the_tasks_at_once(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    with pytest.raises(KeyError), worker_pool(1) as pool:
        pool.submit(begun.touch)
        pool.submit(time.sleep, 100)
        while not begun.exists():
            time.sleep(0.05)
        begin = time.monotonic()
        raise KeyError
    assert time.monotonic() - begin < 50


def squared(number: int) -> int:
    if number == 3:
        os._exit(1)
    return number**2


def test_an_item_that_ends_its_process_fails_alone() -> None:
    found = list(for_each(squared, range(6), 2, killed=lambda number: -number))
    assert found == [0, 1, 4, -3, 16, 25]


def test_items_are_taken_as_they_are_needed() -> None:
    """They may be endless."""
    items = count(4)
    results = for_each(squared, items, 1, killed=lambda number: -number)
    assert list(islice(results, 3)) == [16, 25, 36]
    assert next(items) < 20
