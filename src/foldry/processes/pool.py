"""Worker processes that end when the process that started them does, however that ends."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import ProcessPoolExecutor


class _Pool(ProcessPoolExecutor):
    """A pool that, left by an exception, does not begin what still waits."""

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self.shutdown(cancel_futures=kind is not None)
        except RuntimeError:  # its thread could not start: why is the exception that left it
            for child in multiprocessing.active_children():
                child.kill()
            if kind is None:
                raise


def worker_pool(num_workers: int) -> ProcessPoolExecutor:
    """A pool of fresh processes: a copy of one that has threads may lock up.

    A program that calls this needs the `if __name__ == "__main__"` of multiprocessing.
    """
    return _Pool(num_workers, multiprocessing.get_context("spawn"), _begin)


def _begin() -> None:
    """Ctrl-C ends a worker at once and in silence, and so does the end of its parent."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
