"""One process at a time in a place; the lock ends with its process, however that ends."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Final

from foldry.errors import BusyError, write_error
from foldry.store import flock
from foldry.store.files import sweep

NAME: Final = ".lock"
_ATTEMPTS: Final = 100


@contextmanager
def hold(folder: Path, inner: Sequence[str] = ()) -> Iterator[tuple[int, ...]]:
    """Hold a folder for this process alone; it is made where it is missing.

    What killed processes left there under temporary names is removed. A folder that was made here
    and is empty in the end is removed too.

    Args:
        folder: The folder.
        inner: Folders in it that are held with it.

    Yields:
        The lock's file descriptors: while a process that was given them lives, the place is held.

    Raises:
        BusyError: Another process holds it; nothing was changed.
        InputError: The folder cannot be made or written.
        DiskFullError: No space is left.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    try:
        with _hold(folder / NAME, folder, make=True) as handles:
            for each in (folder, *(folder / name for name in inner)):
                sweep(each)
            yield handles
    finally:
        with contextlib.suppress(OSError):
            for each in missing:
                each.rmdir()


@contextmanager
def hold_file(path: Path) -> Iterator[None]:
    """Hold the name of a file or folder that will be written, in a folder that exists.

    What killed processes left under its temporary names is removed.

    Raises:
        BusyError: Another process holds it.
        InputError: Nothing can be written in its folder.
        DiskFullError: No space is left.
    """
    target = Path(os.path.realpath(path))
    with _hold(target.with_name(f".{target.name}{NAME}"), path, make=False):
        sweep(target.parent, target.name)
        yield


@contextmanager
def _hold(lock: Path, place: Path, *, make: bool) -> Iterator[tuple[int, ...]]:
    handle = _acquire(lock, place, make)
    try:
        yield (handle,)
    finally:
        # Removed while it is held: whoever opens the name from now on finds another file.
        with contextlib.suppress(OSError):
            lock.unlink(missing_ok=True)
        os.close(handle)


def _acquire(lock: Path, place: Path, make: bool) -> int:
    """A locked file of this name, in a folder that is made if need be."""
    for attempt in count():
        try:
            if make:
                lock.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            # Its folder may have been removed in between by who held it before.
            if make and isinstance(error, FileNotFoundError) and attempt < _ATTEMPTS:
                continue
            raise write_error(error, place) from error
        held = flock.lock(handle)
        if held is False:
            os.close(handle)
            what = "is busy, another process is at work there"
            raise BusyError(what, "wait until it ends, or choose another place", where=place)
        if held is None or _is_named(handle, lock):
            return handle
        os.close(handle)  # who held it before removed this one when it ended
    raise AssertionError("count() does not end")


def _is_named(handle: int, lock: Path) -> bool:
    """Whether the name still leads to the file that was opened."""
    try:
        return os.path.samestat(os.fstat(handle), lock.stat())
    except FileNotFoundError:
        return False
