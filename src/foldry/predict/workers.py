"""Worker processes that fold queries. They start before this process has imported PyTorch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from shutil import which
from typing import Any, Final, TypeVar

from foldry.predict.settings import Settings
from foldry.processes import tuning
from foldry.processes.pool import worker_pool
from foldry.query import Query

SHORT: Final = 300
"""Maximum number of residues of queries that `automatic_jobs` gives to several processes."""
SMALL: Final = 64 * 1024**2
"""Maximum size of their network, bytes."""
PER_JOB: Final = 8
"""Minimum number of predictions of each process: to start one takes as long as several of them."""
MEMORY: Final = 1024**3
"""Memory for each process, bytes."""

Result = TypeVar("Result")


def automatic_jobs(queries: Sequence[Query], settings: Settings) -> int:
    """Return how many queries to fold at once: one, unless they are many and short, on a CPU.

    A long query or a large network uses all cores and perhaps most of the memory.
    """
    short = all(query.num_residues <= SHORT for query in queries)
    path = Path(settings.weights)
    small = settings.weights == "mini" or (path.is_file() and path.stat().st_size <= SMALL)
    has_gpu = which("nvidia-smi") or any(map(os.path.exists, ("/dev/nvidiactl", "/dev/dxg")))
    on_cpu = settings.device == "cpu" or (settings.device == "auto" and not has_gpu)
    if not (short and small and on_cpu and settings.relax == "none"):
        return 1
    number = len(queries) * max(len(settings.seeds), 1)
    return max(min(number // PER_JOB, len(queries), num_threads(), _free_memory() // MEMORY), 1)


def num_threads() -> int:
    """Return the number of threads that the user set, or that are the fastest."""
    # A list has a number for each level of nested parallel code.
    given = [os.environ.get(name, "").partition(",")[0].strip() for name in tuning.NUM_THREADS]
    numbers = [int(text) for text in given if text.isdecimal() and int(text)]
    return numbers[0] if numbers else tuning.num_cores()


def _free_memory() -> int:
    """Return the bytes that are free for new processes; enough if the system does not say.

    The control groups of this process may get less than what is free.
    """
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        [free] = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    except (OSError, ValueError):
        return MEMORY * num_threads()
    return min([int(free) * 1024, *tuning.memory_limits()])


class Worker:
    """A process that runs one task after the other; another one follows if it is killed.

    Each has a pool of its own, because a process that is killed ends the whole pool.
    """

    def __init__(self, pools: ExitStack, num_threads: int) -> None:
        self._pools = pools
        self._num_threads = num_threads
        self.start()

    def start(self) -> None:
        """Start a new process, which imports what its tasks need."""
        self._pool = self._pools.enter_context(worker_pool(1, self._num_threads))
        self.submit(_prepare)

    def submit(self, task: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Run a task, a function of a module; if its process does not start, the task fails."""
        try:
            return self._pool.submit(task, *arguments)
        except Exception as error:
            failed: Future[Result] = Future()
            failed.set_exception(error)
            return failed


def _prepare() -> None:
    """Set up the process and import what the first query would have to wait for."""
    tuning.begin()
    os.environ.pop("MKL_NUM_THREADS", None)  # it would override the pool's number of threads
    with tuning.quick_imports():
        import_module("foldry.predict.parallel")


@contextmanager
def worker_processes(number: int) -> Iterator[list[Worker]]:
    """Start processes that share the threads of this one; none for fewer than two.

    They end when the `with` block ends, at once if it ends by an exception.
    """
    with ExitStack() as pools:
        threads = max(num_threads() // max(number, 1), 1)
        yield [Worker(pools, threads) for _ in range(number)] if number > 1 else []
