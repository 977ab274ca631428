"""The operating system's locks on open files, each of which ends with the process that holds it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has none
    fcntl = None  # type: ignore[assignment]


def lock(handle: int, *, shared: bool = False, wait: bool = False) -> bool | None:
    """Lock an open file or folder until its handle is closed.

    Args:
        handle: The file descriptor.
        shared: Others may hold it in the same way.
        wait: Wait until it is free.

    Returns:
        Whether it is held now; None where the system or the file system has no locks.
    """
    if fcntl is None:
        return None
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(handle, kind if wait else kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


@contextmanager
def locked(path: Path, *, shared: bool = False, wait: bool = False) -> Iterator[bool | None]:
    """Open a file or folder that exists, not a link, and lock it within the `with` block.

    Yields what `lock` returns.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        yield lock(handle, shared=shared, wait=wait)
    finally:
        os.close(handle)
