"""The hierarchy of errors: sentences, codes, and foreign exceptions."""

from __future__ import annotations

import doctest
import errno
import pickle
import re
import zlib
from pathlib import Path

import numpy as np
import pytest

import foldry.errors
import foldry.train.elastic
from foldry.cli.messages import HINTS, exit_code, sentence
from foldry.errors import (
    BusyError,
    DiskFullError,
    FaultError,
    FoldryError,
    InputError,
    MemoryShortError,
    MissingError,
    OutsideError,
    as_foldry_error,
    is_memory_error,
    printable,
    quoted,
    write_error,
)
from foldry.features.templates import UnlikeError
from foldry.search.structure_index import UnusableError

PACKAGE = Path(foldry.errors.__file__).parent
CODES = {
    InputError: (2, 400, "input"),
    UnlikeError: (2, 400, "input"),
    UnusableError: (2, 400, "input"),
    MissingError: (3, 503, "missing"),
    DiskFullError: (3, 503, "disk_full"),
    MemoryShortError: (3, 503, "out_of_memory"),
    BusyError: (4, 409, "busy"),
    OutsideError: (5, 503, "outside"),
    FaultError: (70, 500, "fault"),
    foldry.train.elastic.WorkerError: (5, 500, "worker"),
}


def subclasses(kind: type[FoldryError]) -> set[type[FoldryError]]:
    found = {each for each in kind.__subclasses__() if each.__module__.startswith("foldry")}
    return found.union(*map(subclasses, found))


def test_every_error_has_its_exit_code_and_its_status() -> None:
    assert subclasses(FoldryError) == set(CODES)
    for kind, codes in CODES.items():
        assert (kind.exit_code, kind.http_status, kind.code) == codes, kind


def test_the_exit_code_of_a_failed_worker_is_passed_on() -> None:
    assert foldry.train.elastic.WorkerError(3).exit_code == 3
    assert foldry.train.elastic.WorkerError(-9).exit_code == 5


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (InputError("There is no query", "give one"), "There is no query: give one."),
        (
            InputError("is empty", "give another", where=Path("q.a3m")),
            "q.a3m is empty: give another.",
        ),
        (InputError("is cut off", where="q.a3m, line 3"), "q.a3m, line 3, is cut off."),
        (InputError("is cut off", where="q.a3m, line 3,"), "q.a3m, line 3, is cut off."),
        (InputError("It is gone"), "It is gone."),
    ],
)
def test_an_error_is_one_sentence(error: FoldryError, said: str) -> None:
    assert str(error) == said


UNPRINTABLE = "\n\r\t\0\x07\x1b\x7f\x85\x9b\u2028\u202e\u2066\ufeff\ue000\udc80"


def test_an_error_is_one_printable_line_whatever_a_file_is_called() -> None:
    for each in UNPRINTABLE:
        error = InputError(f"holds {each}", f"remove {each}", where=Path(f"{each}.pdb"))
        assert str(error).isprintable() and str(error).count(repr(each)[1:-1]) == 3
    assert str(InputError("was folded at 2 Å", where="Käse.pdb")) == "Käse.pdb was folded at 2 Å."
    assert printable(f"a{UNPRINTABLE}").isprintable()


@pytest.mark.parametrize(
    "value",
    [
        *("", "A", "MKT" * 30, UNPRINTABLE, UNPRINTABLE * 10, b"\0" * 5000, None, float("nan")),
        *([UNPRINTABLE] * 99, {UNPRINTABLE: [[[[[[[[1]]]]]]]]}, 10**4000, np.zeros((2, 2))),
    ],
)
def test_a_quoted_value_is_one_short_printable_line(value: object) -> None:
    for most in (10, 60):
        shown = quoted(value, most)
        assert shown.isprintable() and len(shown) <= most
        if isinstance(value, str) and len(repr(value)) <= most:
            assert shown == repr(value)
    assert quoted("MKT" * 30).startswith("'MKT") and "…" in quoted("MKT" * 30)
    assert quoted("M" * 58) == repr("M" * 58) and "…" in quoted("M" * 59)


def test_a_reason_is_one_line_without_full_stop() -> None:
    assert foldry.errors.reason(OSError("a\n  b~. ")) == "a b~"
    assert foldry.errors.reason(ValueError("a . : ")) == "a"
    assert foldry.errors.reason(ValueError(" \n")) == "ValueError"
    assert len(foldry.errors.reason(ValueError("x" * 200))) == 200
    assert foldry.errors.reason(ValueError("x" * 201)) == "x" * 199 + "…"


def test_the_examples_of_errors_run() -> None:
    found = doctest.testmod(foldry.errors)
    assert found.attempted and not found.failed


def test_an_error_is_the_same_in_another_process() -> None:
    error = BusyError("is busy", "wait", where="out", code="busy_here")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301  (as multiprocessing does)
    assert (type(copy), str(copy), copy.code) == (BusyError, "out is busy: wait.", "busy_here")
    named = pickle.loads(pickle.dumps(InputError(what="is empty", advice="fill it")))  # noqa: S301
    assert str(named) == "is empty: fill it."


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (BusyError("busy"), BusyError),
        (MemoryError(), MemoryShortError),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9"),
            MemoryShortError,
        ),
        (ImportError("libtorch.so: failed to map segment from shared object"), MemoryShortError),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), MemoryShortError),
        (OSError(errno.ENOSPC, "No space left on device", "x.cif"), DiskFullError),
        (FileNotFoundError(errno.ENOENT, "No such file", "x.cif"), InputError),
        (RuntimeError("shapes do not match"), FaultError),
        (KeyError("x"), FaultError),
    ],
)
def test_foreign_exceptions_become_our_errors(error: Exception, kind: type[FoldryError]) -> None:
    assert type(as_foldry_error(error)) is kind


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "x.cif"),
            "x.cif cannot be written because no space is left on its disk: "
            "free some space and run the same command again.",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device"),
            "A file cannot be written because no space is left on its disk: "
            "free some space and run the same command again.",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "x.cif"),
            "x.cif cannot be used (Permission denied): check the path.",
        ),
        (
            OSError(errno.EIO, "Input/output error"),
            "Foldry failed (OSError: [Errno 5] Input/output error): please report it.",
        ),
        (
            KeyError("x"),
            "Foldry failed (KeyError: 'x'): please report it.",
        ),
        (
            ValueError("two\n lines. "),
            "Foldry failed (ValueError: two lines): please report it.",
        ),
    ],
    ids=str,
)
def test_messages_of_foreign_exceptions(error: Exception, said: str) -> None:
    assert str(as_foldry_error(error)) == said


def test_the_exit_codes_of_commands() -> None:
    errors = foldry.errors
    assert (errors.SOME_FAILED, errors.INTERRUPTED, errors.BROKEN_PIPE) == (1, 130, 141)


def no_array() -> MemoryError:
    """Return NumPy's error for an array that does not fit into memory."""
    with pytest.raises(MemoryError) as caught:
        np.empty(1 << 60, np.uint8)
    return caught.value


class OpenMMException(Exception):  # noqa: N818
    """OpenMM's exception, which is derived from `Exception` alone."""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("std::bad_alloc"),
        no_array(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:119] err == 0. DefaultCPUAllocator: can't allocate "
            "memory: you tried to allocate 9 bytes. Error code 12 (Cannot allocate memory)"
        ),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
        RuntimeError("std::bad_alloc"),
        RuntimeError("could not create a memory object"),
        RuntimeError("could not create a primitive"),
        RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("can't start new thread"),
        RuntimeError("OpenBLAS : Memory allocation still failed after 10 retries, giving up."),
        OpenMMException("Error creating array posq: CL_MEM_OBJECT_ALLOCATION_FAILURE (-4)"),
        OpenMMException("Error creating array x: CUDA_ERROR_OUT_OF_MEMORY (2)"),
        OpenMMException("std::bad_alloc"),
        zlib.error("Error -4 while decompressing data: insufficient memory"),
        OSError(errno.ENOMEM, "Cannot allocate memory", "x.cif"),
        OSError(errno.EAGAIN, "Resource temporarily unavailable"),
        OSError("libblas.so: cannot map: Cannot allocate memory"),
        ImportError("libtorch.so: failed to map segment from shared object"),
    ],
    ids=str,
)
def test_lack_of_memory_is_recognised_for_every_library(error: Exception) -> None:
    assert is_memory_error(error)
    assert type(as_foldry_error(error)) is MemoryShortError
    wrapped, outer = ValueError("it is damaged"), InputError("cannot be read", where="x.npz")
    wrapped.__cause__, outer.__cause__ = error, wrapped
    assert type(as_foldry_error(outer)) is MemoryShortError


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "No such file", "out of memory/std::bad_alloc.cif"),
        ValueError("the chain 'out of memory' is unknown"),
        KeyError("out of memory"),
        InputError("has no chain 'std::bad_alloc'"),
        RuntimeError("shapes do not match"),
    ],
    ids=str,
)
def test_other_errors_are_not_taken_for_lack_of_memory(error: Exception) -> None:
    assert not is_memory_error(error)


def test_an_error_on_memory_keeps_its_own_sentence() -> None:
    error = MemoryShortError("600 residues do not fit into memory")
    error.__cause__ = MemoryError()
    assert as_foldry_error(error) is error


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, DiskFullError),
        (errno.EDQUOT, DiskFullError),
        (errno.EROFS, InputError),
        (errno.EACCES, InputError),
        (errno.ENOTDIR, InputError),
        (errno.ENOENT, InputError),
        (errno.EIO, OutsideError),
    ],
)
def test_a_file_that_cannot_be_written_is_named(number: int, kind: type[FoldryError]) -> None:
    error = write_error(OSError(number, "reason"), Path("out/ranked_0.cif"))
    assert type(error) is kind
    full = "cannot be written because no space is left on its disk: free some space and run the"
    said = {
        DiskFullError: f"{full} same command again.",
        InputError: "cannot be written (reason): name another place.",
        OutsideError: "cannot be written (reason): check its disk.",
    }
    assert str(error) == f"out/ranked_0.cif {said[kind]}"


def test_the_command_line_names_its_flags() -> None:
    error = InputError("600 residues are too many", "raise `max_length` or `num_ensemble`")
    assert sentence(error) == "600 residues are too many: raise --max-length or --ensemble."
    other = InputError("has no `CA` atom", where="x.pdb", code="official_weights")
    assert sentence(other) == f"x.pdb has no `CA` atom; {HINTS['official_weights']}."


def test_the_docs_list_every_code_of_an_error() -> None:
    page = (Path(__file__).parents[1] / "docs" / "design.md").read_text("utf-8")
    listed = set(re.findall(r"^\| `(\w+)` \| `\w+Error` \|", page, re.MULTILINE))
    source = "".join(path.read_text("utf-8") for path in PACKAGE.rglob("*.py"))
    named = set(re.findall(r"\bcode=\"(\w+)\"", source))
    assert listed == {kind.code for kind in CODES} | set(HINTS) | named


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ([], 0),
        ([None, None], 0),
        ([BusyError("a")], 4),
        ([MissingError("a"), DiskFullError("b")], 3),
        ([None, BusyError("a")], 1),
        ([InputError("a"), MissingError("b")], 1),
    ],
)
def test_the_exit_code_of_several_queries(errors: list[FoldryError | None], code: int) -> None:
    assert exit_code(errors) == code


@pytest.mark.parametrize("where", ["q.a3m~", "q.a3m~,"])
def test_only_a_trailing_comma_is_removed_from_the_place(where: str) -> None:
    assert InputError("is empty", where=where).where == "q.a3m~"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.EROFS, "Read-only file system"), "Read-only file system"),
        (OSError("a quota"), "a quota"),
        (OSError(), "OSError"),
    ],
)
def test_the_reason_why_a_file_cannot_be_written(error: OSError, reason: str) -> None:
    assert str(write_error(error, Path("x.cif"))).startswith(f"x.cif cannot be written ({reason})")


def test_causes_that_form_a_cycle_are_followed_once() -> None:
    first, second = InputError("is wrong"), RuntimeError("unrelated")
    first.__cause__, second.__cause__ = second, first
    assert as_foldry_error(first) is first
    first.__cause__ = first
    assert as_foldry_error(first) is first
    second.__cause__ = MemoryError()
    assert isinstance(as_foldry_error(second), MemoryShortError)
