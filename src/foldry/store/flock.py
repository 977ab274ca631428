"""The operating system's locks on open files, which end with the process that holds them."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # on Windows
    fcntl = None  # type: ignore[assignment]


def lock(handle: int, *, shared: bool = False, wait: bool = False) -> bool | None:
    """Lock an open file or folder until its handle is closed.

    Args:
        handle: The file descriptor.
        shared: Whether other processes may hold a shared lock at the same time.
        wait: Whether to wait until the lock is free.

    Returns:
        Whether the lock is held; None if the system or the file system has no locks.
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


def lock_bytes(handle: int, first: int, number: int = 1, *, wait: bool = False) -> bool | None:
    """Lock bytes of a file, which need not exist, until this handle is closed.

    One handle may hold any number of bytes; other handles may hold others. Where the system
    cannot lock bytes for a handle, the whole file is locked.

    Args:
        handle: The file descriptor, open for writing.
        first: The first byte.
        number: Number of bytes; 0 for all that follow.
        wait: Whether to wait until the lock is free.

    Returns:
        As `lock`.
    """
    if sys.platform != "linux":
        return lock(handle, wait=wait)
    command = fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK
    request = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, first, number, 0)
    try:
        fcntl.fcntl(handle, command, request)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


@contextmanager
def locked(path: Path, *, shared: bool = False, wait: bool = False) -> Iterator[bool | None]:
    """Open an existing file or folder, not a link, and lock it within the `with` block.

    Yields:
        The result of `lock`.
    """
    # Opening a named pipe would otherwise wait for a writer.
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        yield lock(handle, shared=shared, wait=wait)
    finally:
        os.close(handle)
