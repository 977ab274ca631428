"""Foldry's exceptions, whose messages are written for users.

```
FoldryError              what, where, advice, code               exit code   HTTP
├── InputError           wrong input, an unusable output              2       400
├── MissingError         a program, package, device or file           3       503
│   ├── DiskFullError    no space is left                             3       503
│   └── MemoryShortError too little memory                            3       503
├── BusyError            another process uses the same files          4       409
├── OutsideError         a network or a tool failed: try again        5       503
└── FaultError           a fault in Foldry itself                    70       500
```

`foldry.train.elastic.WorkerError` is a FoldryError too: a worker of a training run failed, and the
exit code is the worker's.

`where`, `what` and `advice` form one sentence, "where what: advice." A message contains no flag and
no command. It names a setting in backquotes, such as `max_length`, and the command line shows the
corresponding flag instead. docs/design.md lists the codes.
"""

from __future__ import annotations

import errno
import reprlib
from pathlib import Path


def printable(text: str) -> str:
    r"""Return a text as one line that is safe to print on any terminal.

    Line breaks, control and escape characters and the invisible characters of Unicode (such as
    those that reverse the direction of writing) become escapes like `\x1b`.

    Example:
        >>> print(printable("a.cif\x1b[2J"))
        a.cif\x1b[2J
    """
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def quoted(text: object, most: int = 60) -> str:
    r"""Return a value quoted for a message: one printable line, shortened if it is long.

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
    r"""Return the message of an exception as one short printable line.

    Example:
        >>> reason(ValueError("Bad magic number\n  in file header."))
        'Bad magic number in file header'
    """
    text = printable(" ".join(str(error).split())).rstrip(".: ") or type(error).__name__
    return text if len(text) <= 200 else f"{text[:199]}…"


def check_type(value: object, kinds: type | tuple[type, ...], what: str, advice: str) -> None:
    """Check the type of an argument of a public function.

    Raises:
        InputError: The value is of another type; the message is "… is not `what`: `advice`."

    Example:
        >>> check_type(3, str, "text", "give a name")
        Traceback (most recent call last):
        foldry.errors.InputError: 3 is not text: give a name.
    """
    if not isinstance(value, kinds):
        raise InputError(f"{quoted(value)} is not {what}", advice)


def counted(number: int, noun: str) -> str:
    """Return a number and its noun, in the plural unless the number is 1.

    Example:
        >>> counted(1, "chain"), counted(2, "chain")
        ('1 chain', '2 chains')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


class FoldryError(Exception):
    """Base class of all errors, with a sentence on what is wrong, where, and what to do.

    Args:
        what: What is wrong. After `where`, the predicate of the sentence.
        advice: What to do, without a full stop; "" if nothing can be done.
        where: The subject of the sentence: a file, line, residue or chain, or "".
        code: A stable name of the error for programs. Default: the code of its class.

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
    """Another process uses the same files; nothing has been changed."""

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
"""Exit code of a command that Ctrl-C or a scheduler ended."""
BROKEN_PIPE = 141
"""Exit code of a command whose standard output was closed, e.g. by `head`."""
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
    "insufficient memory",  # zlib
    "allocation fail",  # OpenBLAS, OpenMM, OpenCL
    "allocation still failed",
    "allocation error",
    "bad alloc",  # C++: gemmi, PyTorch, OpenMM
    "alloc failed",  # cuBLAS, cuDNN
    "out of memory",  # CUDA, OpenCL
    "out of host memory",
    "out of resources",
    "could not create a memory",  # oneDNN
    "could not create a primitive",
    "failed to map segment",  # a library that finds no address space
    "can't start new thread",
    "can't create new thread",
    "thread creation failed",
    "thread constructor failed",
    "resource temporarily unavailable",  # a library that cannot start a thread
)
"""Parts of the messages, in lower case, with which libraries report a lack of memory."""


def write_error(error: OSError, path: Path) -> FoldryError:
    """Return the Foldry error for an `OSError` that was raised while writing a file."""
    if is_memory_error(error):
        return MemoryShortError(*_TOO_LITTLE_MEMORY)
    if error.errno in _FULL:
        advice = "free some space and run the same command again"
        what = "cannot be written because no space is left on its disk"
        return DiskFullError(what, advice, where=path)
    what = f"cannot be written ({error.strerror or reason(error)})"
    if error.errno in _FORBIDDEN | _TAKEN | _NO_PLACE:
        return InputError(what, "name another place", where=path)
    return OutsideError(what, "check its disk", where=path)


def is_memory_error(error: BaseException) -> bool:
    """Return whether an exception, or one that caused it, means that memory ran out."""
    seen: list[int] = []
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:  # an error raised from itself is a cycle
        if _is_about_memory(cause):
            return True
        seen.append(id(cause))
        cause = cause.__cause__
    return False


def _is_about_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    # These errors may quote a file, which could contain any of the phrases.
    if not isinstance(error, ValueError | LookupError | FoldryError):
        said = str(getattr(error, "strerror", None) or error).lower().replace("_", " ")
        return any(sign in said for sign in _ALLOCATION_FAILED)
    return False


def as_foldry_error(error: BaseException) -> FoldryError:
    """Return the Foldry error for any exception; an unknown one becomes a `FaultError`."""
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
