"""Files: read within a bound, written whole or not at all.

A crash, a full disk or a second process must never leave half a file under a name that a reader
trusts. So a file is written under a random temporary name in the same folder and renamed when it is
complete: a rename within one file system is atomic, and a reader sees either the old file or the
new one. A killed process leaves its temporary file behind. The next process that holds the place
(`foldry.store.locks`) removes it, and recognises files still being written by their locks.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import json
import logging
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final

from foldry.errors import FoldryError, InputError, quoted, write_error
from foldry.store import flock
from foldry.store.packing import PACKED_SUFFIXES, packing_of, unpacked, unpacking_errors

logger = logging.getLogger(__name__)

MAX_BYTES: Final = 512 * 1024**2
"""Maximum number of bytes read from one file, after decompression."""

MAX_UNPACKED: Final = 32 * 1024**2
"""Bytes that any packed file may unpack to; a larger one only to `MAX_RATIO` times its size."""
MAX_RATIO: Final = 100
"""Sparse alignments have ratios up to about 50; endless repetition has 1000."""
_MOST_NAMED: Final = 8
MAX_WIDE: Final = 64 * 1024**2
"""Largest text with characters beyond Latin-1: one makes Python use two or four bytes for each."""
_WIDE: Final = re.compile(
    rb"[\xc4-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
)
_UNREAD: Final = re.compile(rb"PK\x03\x04|BZh[1-9]1AY|7z\xbc\xaf|\x04\x22\x4d\x18|(?s:.{257})ustar")
"""How zip and thus spreadsheets, bzip2, 7-Zip, lz4 and tar begin."""
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
_RECORDS: Final = re.compile(rb"(?:\xef\xbb\xbf)?[\0\s]*(?:[>#;]|\Z)")
_NO_ENTRY: Final = re.compile(rb"\0\s*[^\0\s>#;]")
_PARTIAL: Final = ".partial"
_CHUNK: Final = 1 << 20
_ELSEWHERE: Final = "name another place"
_MAX_NAME_BYTES: Final = 200
"""Maximum length of the part of a name that a temporary name repeats; file systems allow 255."""


def plain_name(path: Path) -> str:
    """Return a file's name without folder and without the suffix of packed files."""
    packed = path.suffix.lower() in PACKED_SUFFIXES
    return path.stem if packed else path.name


def is_hidden(path: Path) -> bool:
    """Return whether a file or folder is hidden, like the `._x.cif` that macOS adds to `x.cif`."""
    return path.name.startswith(".")


def stem(path: Path) -> str:
    """Return a file's name without folder and without suffixes, e.g. `q` for `in/q.a3m.gz`."""
    return Path(plain_name(path)).stem


def named_path(name: object) -> Path:
    """Return a name as a path; refuse an empty one, which would be the current folder.

    Raises:
        InputError: It is empty, or neither text nor a path.
    """
    if not isinstance(name, str | Path) or not str(name).strip():
        raise InputError(f"{quoted(name)} is not the name of a file or folder", "give its path")
    return Path(name)


def check_exist(paths: Iterable[Path]) -> None:
    """Check that not several input files are missing; the reader of a file reports a single one.

    Raises:
        InputError: Several do not exist.
    """
    missing = [str(path) for path in paths if not path.exists()]
    if missing[1:]:
        more = f" and {len(missing) - _MOST_NAMED} more" if missing[_MOST_NAMED:] else ""
        named = ", ".join(missing[:_MOST_NAMED]) + more
        raise InputError(f"{len(missing)} files do not exist", f"check the paths {named}")


# Reading


def read_bytes(
    path: Path,
    max_bytes: int | None = None,
    max_unpacked: int = MAX_UNPACKED,
    max_ratio: int = MAX_RATIO,
) -> bytes:
    """Return the content of a file; gzip, xz and zstd files, known by their first bytes, unpacked.

    Args:
        path: The file.
        max_bytes: Maximum size after decompression; `MAX_BYTES` if left out.
        max_unpacked, max_ratio: A packed file that holds more than `max_unpacked` bytes may hold
            at most `max_ratio` times its own size.

    Raises:
        InputError: The file is missing, a folder, unreadable, damaged, or too large.
    """
    max_bytes = limit = MAX_BYTES if max_bytes is None else max_bytes
    packing = ""
    try:
        with path.open("rb") as file:
            if packing := packing_of(file):
                size = os.fstat(file.fileno()).st_size
                limit = min(max_bytes, max(max_unpacked, max_ratio * size))
            chunks = unpacked(file, packing) if packing else iter(partial(file.read, _CHUNK), b"")
            data = _read(chunks, limit)
    except FileNotFoundError:
        raise InputError("does not exist", "check the path", where=path) from None
    except IsADirectoryError:
        raise InputError("is a folder", "give a file", where=path) from None
    except unpacking_errors() as error:
        needs_memory = "emory" in str(error)
        what = "needs too much memory to unpack" if needs_memory else f"is a damaged {packing} file"
        raise InputError(what, "compress it again", where=path) from None
    except OSError as error:
        reason = error.strerror or "it cannot be opened"
        raise InputError(f"cannot be read ({reason})", "check the file", where=path) from None
    if len(data) > limit:
        what = f"holds more than {limit // 1024**2} MiB"
        what += " after decompression" if packing else ""
        if limit < max_bytes:
            what += f", over {max_ratio} times its size"
            raise InputError(what, "give it uncompressed", where=path)
        raise InputError(what, "give a smaller file", where=path)
    return data


def _read(chunks: Iterator[bytes], max_bytes: int) -> bytes:
    """Return the joined chunks, cut off soon after the bound."""
    found = io.BytesIO()  # returns its content without a copy
    for chunk in chunks:
        found.write(chunk)
        if found.tell() > max_bytes:
            break
    return found.getvalue()


def read_text(path: Path) -> str:
    """Return the content of a text file, without byte-order mark and with Unix line ends.

    Raises:
        InputError: The file cannot be read (see `read_bytes`) or is binary.
    """
    return decode(read_bytes(path), str(path))


def decode(data: bytes, source: str) -> str:
    """Return the text of UTF-8 bytes, without byte-order mark and with Unix line ends.

    With a byte-order mark, UTF-16 is read too, which Excel calls Unicode text; bytes that are
    neither are Latin-1. NUL is kept where MMseqs2 ends an entry with it, in texts of `>` records.

    Raises:
        InputError: The bytes are binary, or more than `MAX_WIDE` with a character
            that needs more than one byte in memory.
    """
    if data.startswith(_UTF_16):
        data = data.decode("utf-16", "replace").encode()
    if _UNREAD.match(data):
        what = "is an archive, a spreadsheet or packed by another program than gzip, xz or zstd"
        raise InputError(what, "unpack it, or save it as text", where=source)
    if b"\0" in data and (not _RECORDS.match(data) or _NO_ENTRY.search(data)):
        raise InputError("is a binary file", "give a text file", where=source)
    if b"\r" in data:  # a search for two characters takes much longer
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if len(data) > MAX_WIDE and not data.isascii() and (wide := _WIDE.search(data)):
        where = f"{source}, line {data.count(10, 0, wide.start()) + 1}"
        raise too_wide(wide[0].decode(errors="replace"), where)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        where = f"{source}, line {data.count(10, 0, error.start) + 1}"
        logger.warning("%s, is not UTF-8: the file is read as Latin-1.", where)
        return data.decode("latin-1")


def too_wide(letter: str, where: str) -> InputError:
    """Return the error for a character beyond Latin-1 in a text of more than `MAX_WIDE` bytes."""
    what = f"has {quoted(letter)}, but a text of more than {MAX_WIDE // 1024**2} MiB can have only "
    what += "ASCII and Latin-1 characters"
    return InputError(what, "replace it by ASCII letters", where=where)


# Writing


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn operating-system errors in the `with` block into errors that name the path.

    Raises:
        InputError: The path cannot be written.
        DiskFullError: No space is left.
    """
    try:
        yield
    except OSError as error:
        raise write_error(error, path) from error


@contextmanager
def new_file(path: Path, *, sync: bool = False, reserve: int = 0) -> Iterator[BinaryIO]:
    """Open a new binary file that gets its name when the `with` block ends.

    After an exception the new file is gone and the old one unchanged. If the path is a symbolic
    link, its target is written.

    Args:
        path: The file, in a folder that exists.
        sync: Whether to wait until the file is on the disk, where it survives a power cut.
        reserve: Bytes to reserve on the disk at once, so that a full disk is noticed before
            hours of computing, not after.

    Raises:
        InputError: The file cannot be written there.
        DiskFullError: No space is left.
    """
    target = partial = Path(os.path.realpath(path))
    try:
        partial, file = _open_partial(target)
        with file:
            if reserve and hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, reserve)
            yield file
            if reserve:
                file.truncate(file.tell())
            file.flush()
            if sync:
                os.fsync(file.fileno())
            partial.replace(target)
        if sync:
            _sync_folder(target.parent)
    except FoldryError as error:  # the user does not know the temporary name
        error.where = error.where.replace(str(partial), str(path))
        raise
    except OSError as error:
        # The caller may read other files in the meantime, whose errors are not ours.
        if error.filename not in (None, str(partial), str(target)):
            raise
        raise write_error(error, path) from error
    finally:
        if partial != target:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)


def _open_partial(target: Path) -> tuple[Path, BinaryIO]:
    """Open a new file under a temporary name, locked against `sweep`."""
    while True:
        partial = _partial(target)
        file = partial.open("xb")
        flock.lock(file.fileno(), shared=True)
        if partial.exists():  # not swept between opening and locking
            return partial, file
        file.close()


@contextmanager
def new_text_file(path: Path) -> Iterator[io.TextIOWrapper]:
    """Open a new UTF-8 text file as `new_file` does; line ends are written unchanged."""
    with new_file(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        yield text
        text.detach()  # flushes, and leaves the file open for `new_file`


def write_bytes(path: Path, data: bytes, *, sync: bool = False) -> Path:
    """Write a file as `new_file` does and return its path."""
    with new_file(path, sync=sync) as file:
        file.write(data)
    return path


def write_json(path: Path, value: object, *, sync: bool = False) -> Path:
    """Write a value as JSON, as `new_file` does, and return the path."""
    return write_text(path, json.dumps(value, indent=1) + "\n", sync=sync)


def write_text(path: Path, text: str, *, sync: bool = False) -> Path:
    """Write UTF-8 text as `new_file` does and return the path."""
    return write_bytes(path, text.encode(), sync=sync)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Make a folder under a temporary name that gets its name when the `with` block ends.

    Args:
        path: The final name, which is free or belongs to an empty folder.

    Raises:
        InputError: The folder cannot be made there.
        DiskFullError: No space is left.
    """
    target = Path(os.path.realpath(path))
    if target.is_mount():  # it cannot be replaced
        raise InputError("is a mount point", "name a folder in it", where=path)
    make_folder(target.parent)
    with writing(path), _temporary_folder(target) as partial:
        try:
            yield partial
            partial.replace(target)
        except FoldryError as error:
            error.where = error.where.replace(str(partial), str(path))
            raise


def scratch_folder(parent: Path | None = None) -> AbstractContextManager[Path]:
    """Make a folder for this user's temporary files, removed when the `with` block ends.

    Args:
        parent: A folder; if this process is killed, the next process to hold it cleans up. None is
            the system's folder for temporary files, where the next process to come here does.
    """
    if parent is None:
        parent = Path(tempfile.gettempdir())
        sweep(parent, "scratch")
    return _temporary_folder(parent / "scratch", mode=0o700)


@contextmanager
def _temporary_folder(target: Path, mode: int = 0o777) -> Iterator[Path]:
    with ExitStack() as held:
        while True:
            folder = _partial(target)
            with writing(target):
                folder.mkdir(mode)
            held.callback(shutil.rmtree, folder, ignore_errors=True)
            # `sweep` in another process may be faster than the lock.
            with contextlib.suppress(FileNotFoundError):
                is_held = held.enter_context(flock.locked(folder, shared=True))
                if is_held is not False and folder.is_dir():
                    break
        yield folder


def keep_log(text: str) -> Path:
    """Write text to a new temporary file that only this user can read; return its path."""
    with writing(Path(tempfile.gettempdir())):
        handle, name = tempfile.mkstemp(prefix="foldry-", suffix=".log", text=True)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
    return Path(name)


def discard_output() -> None:
    """Discard buffered standard output: writing it failed and would fail again at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def link_file(source: Path, path: Path, *, is_brief: bool = False) -> None:
    """Give a file that never changes a second name, or copy it where that is impossible.

    Args:
        source: The file.
        path: The second name.
        is_brief: Whether the first name stays as long as the second, which may then be on another
            file system.

    Raises:
        InputError: The name cannot be written.
        DiskFullError: No space is left.
    """
    with writing(path):
        try:
            if is_brief:
                path.symlink_to(source.resolve())
            else:
                os.link(source, path)
        except OSError:  # a file system without links
            shutil.copyfile(source, path)


def make_folder(path: Path) -> None:
    """Make a folder, and the folders above it, if missing.

    Raises:
        InputError: It cannot be made.
        DiskFullError: No space is left.
    """
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)


def append_line(path: Path, line: Mapping[str, object]) -> None:
    """Add a line of JSON to a log, after removing the incomplete line of a killed process.

    Raises:
        InputError: The file cannot be written.
        DiskFullError: No space is left.
    """
    with writing(path), path.open("ab+") as file:
        file.seek(max(file.tell() - 1, 0))
        if file.read(1) not in (b"", b"\n"):
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
        file.write(json.dumps(line).encode() + b"\n")


def last_line(path: Path) -> dict[str, Any]:
    """Return the last complete line of a log, or an empty dictionary."""
    lines = path.read_bytes().splitlines() if path.is_file() else []
    for line in reversed(lines):
        with contextlib.suppress(ValueError):
            read: dict[str, Any] = json.loads(line)
            return read
    return {}


def remove(path: Path) -> None:
    """Remove a file, or a folder with its content, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def set_aside(path: Path) -> None:
    """Rename a damaged file, or one that belongs to it, to `NAME.damaged`."""
    if path.exists():
        path.replace(path.with_name(f"{path.name}.damaged"))


def sweep(folder: Path, name: str | None = None) -> None:
    """Remove the temporary files and folders of killed processes from a folder.

    Files of running processes are locked and stay.

    Args:
        folder: The folder.
        name: The final name of the temporary files to remove; None for any name.
    """
    of_name = ".+" if name is None else re.escape(_clipped(name))
    temporary = re.compile(rf"\.{of_name}\.[0-9a-f]{{8}}{re.escape(_PARTIAL)}", re.DOTALL)
    for path in folder.iterdir() if folder.is_dir() else ():
        if temporary.fullmatch(path.name):
            with contextlib.suppress(OSError), flock.locked(path) as is_left:
                if is_left:
                    remove(path)


# Checks before anything is computed


def check_folder(path: Path) -> None:
    """Check that a folder can be made and written.

    Raises:
        InputError: A file or a dangling link has its name, or the place is read-only.
    """
    for each in (path, *path.absolute().parents):
        if each.is_dir():
            break
        _check_link(each)
        if each.exists():
            raise InputError("is a file", "name a folder", where=each)
    if not os.access(each, os.W_OK | os.X_OK):
        what = f"cannot be written because {each} is read-only"
        raise InputError(what, _ELSEWHERE, where=path)


def check_file(path: Path) -> None:
    """Check that a file can be written or replaced.

    Raises:
        InputError: It is a folder, a device or read-only, or its folder is missing or read-only.
    """
    _check_link(path)
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise InputError("is a folder", "name a file to write in it", where=path)
    if not path.parent.is_dir():
        what = f"cannot be written because the folder {path.parent} does not exist"
        raise InputError(what, "create it first", where=path)
    # /dev/stdout may be a link to a file, which would be replaced.
    is_device = str(path) == "-" or path.absolute().is_relative_to("/dev")
    if is_device or (target.exists() and not target.is_file()):
        raise InputError("is not a regular file", "name a file", where=path)
    for each, needed in ((target.parent, os.W_OK | os.X_OK), (target, os.W_OK)):
        if each.exists() and not os.access(each, needed):
            what = f"cannot be written because {each} is read-only"
            raise InputError(what, _ELSEWHERE, where=path)


def _check_link(path: Path) -> None:
    if path.is_symlink() and not path.exists():
        what = f"is a link to {path.readlink()}, which does not exist"
        raise InputError(what, "remove the link, or name another place", where=path)


def _partial(target: Path) -> Path:
    return target.with_name(f".{_clipped(target.name)}.{secrets.token_hex(4)}{_PARTIAL}")


def _clipped(name: str) -> str:
    return os.fsdecode(os.fsencode(name)[:_MAX_NAME_BYTES])


def sync_file_system(folder: Path) -> None:
    """Wait until everything that was written to the disk of a folder is on it, names included.

    For many new files this is much faster than to wait for each.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        sync = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)  # Linux
        if sync is None:
            os.sync()
        elif sync(handle):
            number = ctypes.get_errno()
            raise write_error(OSError(number, os.strerror(number)), folder)
    finally:
        os.close(handle)


def _sync_folder(folder: Path) -> None:
    """Wait until a folder's names are on the disk, if the system supports it."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def names(folder: Path) -> Sequence[str]:
    """Return the names in a folder, sorted, without hidden ones; empty if there is no folder."""
    if not folder.is_dir():
        return ()
    return sorted(each.name for each in folder.iterdir() if not each.name.startswith("."))
