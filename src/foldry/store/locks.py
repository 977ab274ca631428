"""Locks that admit one process at a time to a folder or file and end with that process.

A lock file that merely exists would block a folder forever after a crash. Here the system locks an
open file (`flock`) and releases it when the last process that has it open ends, even by SIGKILL.
The file is deleted while it is still locked, so that no lock files accumulate. Another process may
have opened the file just before; it then obtains a lock on a file without a name, notices that the
name now leads elsewhere, and tries again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
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
    """Hold a folder for this process alone within the `with` block; make it if missing.

    Temporary files of killed processes are removed. Folders made here are removed in the end if
    they are empty.

    Args:
        folder: The folder.
        inner: Names of folders in it that are held and cleaned with it.

    Yields:
        The lock's file descriptors. A child process that inherits them holds the folder too.

    Raises:
        BusyError: Another process holds the folder; nothing was changed.
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
def hold_file(path: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the name of a file or folder that will be written, within the `with` block.

    Its folder must exist. Temporary files of killed processes are removed.

    Args:
        path: The name.
        wait: Whether to wait while another process holds it.

    Raises:
        BusyError: Another process holds the name, and this one does not wait.
        InputError: The folder cannot be written.
        DiskFullError: No space is left.
    """
    target = Path(os.path.realpath(path))
    with _hold(target.with_name(f".{target.name}{NAME}"), path, make=False, wait=wait):
        sweep(target.parent, target.name)
        yield


@contextmanager
def hold_numbers(lock: Path, numbers: Iterable[int]) -> Iterator[None]:
    """Hold numbers within the `with` block, however many, with one open file.

    Waits while another process holds one of them. The last process to hold any removes the file.

    Args:
        lock: The lock file, in a folder that exists.
        numbers: Numbers from 0 to 2^62.

    Raises:
        InputError: The folder cannot be written.
        DiskFullError: No space is left.
    """
    ordered = sorted({*numbers})  # in one order, so that no two processes wait in a circle
    while True:
        try:
            handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise write_error(error, lock) from error
        try:
            for each in ordered:
                flock.lock_bytes(handle, each, wait=True)
            if not _is_named(handle, lock):  # the process that held it before has removed this file
                continue
            try:
                yield
            finally:
                if flock.lock_bytes(handle, 0, 0) is not False:
                    with contextlib.suppress(OSError):
                        lock.unlink(missing_ok=True)
            return
        finally:
            os.close(handle)


@contextmanager
def _hold(lock: Path, place: Path, *, make: bool, wait: bool = False) -> Iterator[tuple[int, ...]]:
    handle = _acquire(lock, place, make, wait)
    try:
        yield (handle,)
    finally:
        # Removed while locked: a process that opens the name from now on gets another file.
        with contextlib.suppress(OSError):
            lock.unlink(missing_ok=True)
        os.close(handle)


def _acquire(lock: Path, place: Path, make: bool, wait: bool) -> int:
    """Open and lock a file of this name, in a folder that is made if needed."""
    for attempt in count():
        try:
            if make:
                lock.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            # The process that held the folder before may have removed it in between.
            if make and isinstance(error, FileNotFoundError) and attempt < _ATTEMPTS:
                continue
            raise write_error(error, place) from error
        held = flock.lock(handle, wait=wait)
        if held is False:
            os.close(handle)
            what = "is in use by another process"
            raise BusyError(what, "wait until it ends, or choose another place", where=place)
        if held is None or _is_named(handle, lock):
            return handle
        os.close(handle)  # the process that held it before has removed this file
    raise AssertionError("count() does not end")


def _is_named(handle: int, lock: Path) -> bool:
    """Return whether the name still leads to the file that was opened."""
    try:
        return os.path.samestat(os.fstat(handle), lock.stat())
    except FileNotFoundError:
        return False
