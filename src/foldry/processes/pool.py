"""Worker processes that end with the process that started them, however it ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor


class _Pool(ProcessPoolExecutor):
    """A pool that cancels waiting tasks when an exception leaves its `with` block."""

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self.shutdown(cancel_futures=kind is not None)
        except RuntimeError:  # its thread did not start, which the exception already reports
            for child in multiprocessing.active_children():
                child.kill()
            if kind is None:
                raise


def worker_pool(num_workers: int) -> ProcessPoolExecutor:
    """Return a pool of new processes.

    They are spawned, not forked: a fork of a process with threads may deadlock. A program that
    calls this needs the `if __name__ == "__main__"` of multiprocessing.
    """
    return _Pool(num_workers, multiprocessing.get_context("spawn"), _begin)


def _begin() -> None:
    """Let Ctrl-C, and the end of the parent, end this worker at once and silently."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
