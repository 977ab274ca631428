"""Every error that Foldry raises for people to read.

```
FoldryError              what, where, advice, code               exit code   HTTP
├── InputError           wrong input, an unusable output              2       400
├── MissingError         a program, package, device or file           3       503
│   ├── DiskFullError    no space is left                             3       503
│   └── MemoryShortError too little memory                            3       503
├── BusyError            another process uses the same place          4       409
├── OutsideError         a network or a tool failed: try again        5       503
├── WorkerError          a worker of a training run failed    the worker's    500
└── FaultError           a fault in Foldry itself                    70       500
```

`where`, `what` and `advice` form one sentence, "where what: advice." A message names no flag and no
command: it names a setting in backquotes, as `max_length`, and the command line shows the setting
as its flag. docs/design.md lists the codes.
"""

from __future__ import annotations

import errno
import reprlib
from pathlib import Path


def printable(text: str) -> str:
    r"""Return a text as one line that any terminal shows as it is.

    Line breaks, control and escape characters and the invisible characters of Unicode (such as
    those that reverse the direction of writing) become escapes like `\x1b`.

    Example:
        >>> print(printable("a.cif\x1b[2J"))
        a.cif\x1b[2J
    """
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def quoted(text: object, most: int = 60) -> str:
    r"""Return a value of a file as a message quotes it: one printable line, shortened if long.

    Args:
        text: Text, or any other value.
        most: Maximum number of characters, quotation marks included.

    Example:
        >>> quoted("A chain")
        "'A chain'"
        >>> quoted("GATTACA" * 10, 20)
        "'GATTACA…AGATTACA'"
    """
    short = reprlib.Repr()
    short.maxstring = short.maxlong = short.maxother = most
    short.fillvalue = "…"
    shown = printable(short.repr(text))
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def reason(error: BaseException) -> str:
    r"""Return what an exception says as one short printable line.

    Example:
        >>> reason(ValueError("Bad magic number\n  in file header."))
        'Bad magic number in file header'
    """
    text = printable(" ".join(str(error).split())).rstrip(".: ") or type(error).__name__
    return text if len(text) <= 200 else f"{text[:199]}…"


class FoldryError(Exception):
    """An error with one sentence for people: what is wrong, where, and what to do.

    Args:
        what: What is wrong. After `where`, the predicate of the sentence.
        advice: What to do, without a full stop; "" if nothing can be done.
        where: The subject of the sentence: a file, line, residue or chain, or "".
        code: A stable name of the error for programs; by default the code of its class.

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
        # The comma in "a.fasta, line 3" needs a second one after it.
        subject = f"{self.where}," if ", " in self.where else self.where
        sentence = f"{subject} {self.what}" if subject else self.what
        return printable(f"{sentence}: {self.advice}." if self.advice else f"{sentence}.")


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
    """Another process uses the same place; nothing has been changed."""

    code = "busy"
    exit_code = 4
    http_status = 409


class OutsideError(FoldryError):
    """A network, a server or another program failed: another attempt may succeed."""

    code = "outside"
    exit_code = 5
    http_status = 503


class FaultError(FoldryError):
    """A fault in Foldry itself."""

    code = "fault"


INTERRUPTED = 130
"""Exit code of a command that was ended by Ctrl-C or a scheduler."""
BROKEN_PIPE = 141
"""Exit code of a command whose standard output was closed by its reader."""
SOME_FAILED = 1
"""Exit code of a command when some of several queries failed."""

_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY}
_TAKEN = {errno.EEXIST, errno.EISDIR, errno.ENOTDIR, errno.ENOTEMPTY}
_NO_PLACE = {errno.ENOENT, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL}
_TOO_LITTLE_MEMORY = (
    "The memory of this machine is too small for the task",
    "close other programs, take smaller input, or use a machine with more memory",
)
_ALLOCATION_FAILED = (
    "allocate memory",  # PyTorch on a CPU: "can't …"; the C library: "Cannot …"
    "not enough memory",  # PyTorch on Windows
    "unable to allocate",  # NumPy
    "allocation failed",  # OpenBLAS, OpenMM
    "allocation still failed",
    "allocation error",
    "bad_alloc",  # C++: gemmi, PyTorch, OpenMM
    "bad allocation",
    "out of memory",  # CUDA, OpenCL
    "out_of_memory",
    "out of host memory",
    "alloc_failed",  # cuBLAS, cuDNN
    "mem_object_allocation_failure",  # OpenCL
    "out_of_resources",
    "out_of_host_memory",
    "could not create a memory",  # oneDNN
    "could not create a primitive",
    "insufficient memory",
    "failed to map segment",  # a library that finds no address space
    "can't start new thread",
    "can't create new thread",
    "thread creation failed",
    "thread constructor failed",
    "resource temporarily unavailable",  # a library that cannot start a thread
)
"""How libraries say that memory ran out, in lower case."""


def write_error(error: OSError, path: Path) -> FoldryError:
    """Return the error of a file that cannot be written."""
    if is_memory_error(error):
        return MemoryShortError(*_TOO_LITTLE_MEMORY)
    if error.errno in _FULL:
        advice = "free some space and run the same command again"
        return DiskFullError("cannot be written, no space is left on its disk", advice, where=path)
    what = f"cannot be written ({error.strerror or reason(error)})"
    if error.errno in _FORBIDDEN | _TAKEN | _NO_PLACE:
        return InputError(what, "name another place", where=path)
    return OutsideError(what, "check its disk", where=path)


def is_memory_error(error: BaseException) -> bool:
    """Return whether an exception, or the one that caused it, means that memory ran out."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    # Other kinds of errors quote files, which may say anything.
    if not isinstance(error, ValueError | LookupError | FoldryError):
        said = str(getattr(error, "strerror", None) or error).lower()
        if any(sign in said for sign in _ALLOCATION_FAILED):
            return True
    return error.__cause__ is not None and is_memory_error(error.__cause__)


def as_foldry_error(error: BaseException) -> FoldryError:
    """Return any exception as a Foldry error; an unknown one is a fault in Foldry."""
    if isinstance(error, MemoryShortError):
        return error
    if is_memory_error(error):
        return MemoryShortError(*_TOO_LITTLE_MEMORY)
    if isinstance(error, FoldryError):
        return error
    if isinstance(error, OSError) and error.errno in _FULL:
        return write_error(error, Path(error.filename or "A file"))
    if isinstance(error, OSError) and error.filename:
        what = f"cannot be used ({error.strerror or type(error).__name__})"
        return InputError(what, "check the path", where=error.filename)
    what = f"Foldry failed ({type(error).__name__}: {reason(error)})"
    return FaultError(what, "please report it")
