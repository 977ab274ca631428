"""Every error that Foldry raises for people to read.

```
FoldryError              what, where, advice, code               exit code   HTTP
├── InputError           wrong input, an unusable output              2       400
├── MissingError         a program, package, device or file           3       503
│   ├── DiskFullError    no space is left                             3       503
│   └── MemoryShortError too little memory                            3       503
├── BusyError            another process is at work there             4       409
├── OutsideError         a network or a tool failed: try again        5       503
├── WorkerError          a worker of a training run failed    the worker's    500
└── FaultError           a fault of Foldry's own                     70       500
```

`where`, `what` and `advice` are parts of one sentence, "where what: advice." A message never names
a flag or a command: it names a setting in backquotes, as `max_length`, and the command line, which
knows its own flags, shows it as one.
"""

from __future__ import annotations

import errno
from pathlib import Path


class FoldryError(Exception):
    """An error with one sentence for people: what is wrong, where, and what to do.

    Args:
        what: What is wrong. With `where` it is the rest of the sentence that `where` begins.
        advice: What to do, without a full stop; "" where nothing can be done.
        where: File, line, residue or chain: the subject of the sentence, "" where there is none.
        code: A stable name of the error for programs; that of the class if left out.

    Example:
        >>> error = InputError("is not UTF-8", "save it as UTF-8", where="q.a3m, line 3")
        >>> str(error)
        'q.a3m, line 3, is not UTF-8: save it as UTF-8.'
        >>> error.code, error.exit_code
        ('input', 2)
    """

    code: str = "error"
    exit_code: int = 70
    http_status: int = 500

    def __init__(self, what: str, advice: str = "", *, where: object = "", code: str = "") -> None:
        super().__init__(what, advice)
        self.what = what
        self.advice = advice
        self.where = str(where).rstrip(",")
        if code:
            self.code = code

    def __str__(self) -> str:
        # "a.fasta, line 3" is a subject with an apposition, which a comma ends.
        subject = f"{self.where}," if ", " in self.where else self.where
        sentence = f"{subject} {self.what}" if subject else self.what
        return f"{sentence}: {self.advice}." if self.advice else f"{sentence}."


class InputError(FoldryError, ValueError):
    """Wrong input or settings, or an output that cannot be written."""

    code = "input"
    exit_code = 2
    http_status = 400


class MissingError(FoldryError):
    """A program, package, device or file that this machine needs for the task is missing."""

    code = "missing"
    exit_code = 3
    http_status = 503


class DiskFullError(MissingError):
    """No space is left on the disk, or a quota is used up."""

    code = "disk_full"


class MemoryShortError(MissingError):
    """The memory of this machine, or of its GPU, is too small."""

    code = "out_of_memory"


class BusyError(FoldryError):
    """Another process is at work in the same place; nothing has been changed."""

    code = "busy"
    exit_code = 4
    http_status = 409


class OutsideError(FoldryError):
    """Something outside failed, such as a network or a tool: another attempt may succeed."""

    code = "outside"
    exit_code = 5
    http_status = 503


class FaultError(FoldryError):
    """A fault of Foldry's own."""

    code = "fault"


INTERRUPTED = 130
"""Exit code of a command that Ctrl-C or a scheduler ended."""
BROKEN_PIPE = 141
"""Exit code of a command whose standard output nobody reads any more."""
SOME_FAILED = 1
"""Exit code where some of several queries failed."""

_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY}
_TAKEN = {errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY}
_NO_PLACE = {errno.ENOENT, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL}
_TOO_LITTLE_MEMORY = (
    "The memory of this machine is too small for the task",
    "close other programs, take smaller input, or use a machine with more memory",
)
_ALLOCATION_FAILED = (
    "can't allocate memory",  # PyTorch's allocator on a CPU
    "not enough memory",
    "Cannot allocate memory",
    "failed to map segment",  # a library that finds no address space
    "can't start new thread",
    "Resource temporarily unavailable",  # a library that cannot start one
)


def write_error(error: OSError, path: Path) -> FoldryError:
    """The error of a file that cannot be written."""
    if is_memory_error(error):
        return MemoryShortError(*_TOO_LITTLE_MEMORY)
    if error.errno in _FULL:
        advice = "free some space and run the same command again"
        return DiskFullError("cannot be written, no space is left on its disk", advice, where=path)
    reason = error.strerror or str(error) or type(error).__name__
    if error.errno in _FORBIDDEN | _TAKEN | _NO_PLACE:
        return InputError(f"cannot be written ({reason})", "name another place", where=path)
    return OutsideError(f"cannot be written ({reason})", "check its disk", where=path)


def is_memory_error(error: BaseException) -> bool:
    """Whether an exception of Python, NumPy or PyTorch means that memory ran out."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    known = isinstance(error, RuntimeError | ImportError | OSError)
    return known and any(sign in str(error) for sign in _ALLOCATION_FAILED)


def as_foldry_error(error: BaseException) -> FoldryError:
    """Any exception as one of ours: what is not recognised is a fault of Foldry's own."""
    if isinstance(error, FoldryError):
        return error
    if is_memory_error(error):
        return MemoryShortError(*_TOO_LITTLE_MEMORY)
    if isinstance(error, OSError) and error.errno in _FULL:
        return write_error(error, Path(error.filename or "A file"))
    if isinstance(error, OSError) and error.filename:
        reason = error.strerror or type(error).__name__
        return InputError(f"cannot be used ({reason})", "check the path", where=error.filename)
    what = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(".: ")
    return FaultError(f"Foldry failed ({what})", "please report it")
