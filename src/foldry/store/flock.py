"""The operating system's locks on open files, each of which ends with the process that holds it."""

from __future__ import annotations

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
