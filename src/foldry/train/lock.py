"""One command at a time in a run's folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from foldry.errors import InputError

try:
    import fcntl
except ImportError:  # Windows has none, and nothing is locked
    fcntl = None  # type: ignore[assignment]

NAME: Final = "lock"


@contextmanager
def only_command(folder: Path) -> Iterator[tuple[int, ...]]:
    """Hold a run's folder, until the process ends however it does.

    Yields:
        The lock's file descriptors: while a process that was given them lives, it is held too.

    Raises:
        InputError: Another command holds it.
    """
    if fcntl is None:
        yield ()
        return
    with (folder / NAME).open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{folder} is in use by another command: wait for it, or give another --out."
            ) from None
        except OSError:  # the file system has no locks
            pass
        yield (file.fileno(),)
