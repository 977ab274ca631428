"""Worker processes that end with the process that started them, however it ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import resource_tracker
from multiprocessing.reduction import ForkingPickler
from typing import Any, Final, TypeVar

from foldry.processes.tuning import check_room

S = TypeVar("S")
T = TypeVar("T")
_THREADS: Final = 64 * 2**20
"""Bytes of address space; tasks would wait forever for a thread that did not start."""

_AHEAD: Final = 4
"""Items submitted per process: enough to keep it busy, few enough to repeat after a failure."""


class _Pool(ProcessPoolExecutor):
    """A pool that ends its tasks at once when an exception leaves its `with` block."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run a task, perhaps in a new process, which Ctrl-C reaches when it can end silently."""
        resource_tracker.ensure_running()  # its start would unblock the signal
        task = bytes(ForkingPickler.dumps((fn, args, kwargs)))
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return super().submit(_run, task)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            for process in list((self._processes or {}).values()):
                process.kill()
        try:
            self.shutdown(cancel_futures=kind is not None)
        except RuntimeError:  # its thread did not start, which the exception already reports
            for child in multiprocessing.active_children():
                child.kill()
            if kind is None:
                raise


def worker_pool(num_workers: int, num_threads: int | None = None) -> ProcessPoolExecutor:
    """Return a pool of new processes.

    They are spawned, not forked: a fork of a process with threads may deadlock. A program that
    calls this needs the `if __name__ == "__main__"` of multiprocessing.

    Args:
        num_workers: Number of processes.
        num_threads: Number of threads of each; as in this process if left out.

    Raises:
        MemoryError: There is no room for the threads that exchange tasks and results.
    """
    check_room(_THREADS)
    context = multiprocessing.get_context("spawn")
    return _Pool(num_workers, context, _begin, (num_threads,))


def for_each(
    function: Callable[[S], T], items: Iterable[S], num_workers: int, killed: Callable[[S], T]
) -> Iterator[T]:
    """Yield what a function returns for each item, in order, from processes of one thread each.

    Only a few items are submitted at a time, so memory does not limit their number.

    Args:
        function: The function; it raises nothing.
        items: Its arguments.
        num_workers: Number of processes.
        killed: Returns the result for an item that ends its process.
    """
    later = iter(items)
    rest, waiting = deque(islice(later, num_workers)), deque[tuple[S, Future[T]]]()
    num_threads = None if "OMP_NUM_THREADS" in os.environ else 1
    while rest:
        rest.extend(islice(later, max(0, num_workers - len(rest))))
        executor = worker_pool(min(num_workers, len(rest)), num_threads)
        try:
            while rest or waiting:
                while rest and len(waiting) < _AHEAD * num_workers:
                    future = executor.submit(function, rest[0])
                    waiting.append((rest.popleft(), future))
                    rest.extend(islice(later, 0 if rest else 1))
                result = waiting[0][1].result()
                waiting.popleft()
                yield result
        except BrokenProcessPool:
            begun = [item for item, _ in waiting]
            waiting.clear()
            if num_workers > 1:  # one process in turn, to find out which item ended its own
                yield from for_each(function, begun, 1, killed)
            else:
                yield killed(begun[0])
                rest.extendleft(reversed(begun[1:]))
        finally:
            executor.shutdown(cancel_futures=True)


def _run(task: bytes) -> Any:
    """Run a task, whose modules may be imported only now, so that the caller gets their errors."""
    fn, args, kwargs = ForkingPickler.loads(task)
    return fn(*args, **kwargs)


def _begin(num_threads: int | None) -> None:
    """Let Ctrl-C, and the end of the parent, end this worker at once and silently."""
    if num_threads is not None:  # libraries read it when a task imports them
        os.environ["OMP_NUM_THREADS"] = str(num_threads)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # ignored in the background
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
