"""The hierarchy of errors: sentences, codes, and what foreign exceptions become."""

from __future__ import annotations

import errno
import pickle
from pathlib import Path

import pytest

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
    write_error,
)
from foldry.features.templates import UnlikeError

CODES = {
    InputError: (2, 400, "input"),
    UnlikeError: (2, 400, "input"),
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


def test_a_worker_that_fails_hands_its_exit_code_on() -> None:
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


def test_an_error_is_the_same_in_another_process() -> None:
    error = BusyError("is busy", "wait", where="out", code="busy_here")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301  (as multiprocessing does)
    assert (type(copy), str(copy), copy.code) == (BusyError, "out is busy: wait.", "busy_here")


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
def test_what_a_foreign_exception_becomes(error: Exception, kind: type[FoldryError]) -> None:
    assert type(as_foldry_error(error)) is kind


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, DiskFullError),
        (errno.EDQUOT, DiskFullError),
        (errno.EROFS, InputError),
        (errno.EACCES, InputError),
        (errno.EIO, OutsideError),
    ],
)
def test_a_file_that_cannot_be_written_is_named(number: int, kind: type[FoldryError]) -> None:
    error = write_error(OSError(number, "reason"), Path("out/ranked_0.cif"))
    assert type(error) is kind
    assert str(error).startswith("out/ranked_0.cif cannot be written")


def test_the_command_line_speaks_of_its_flags() -> None:
    error = InputError("600 residues are too many", "raise `max_length` or `num_ensemble`")
    assert sentence(error) == "600 residues are too many: raise --max-length or --ensemble."
    other = InputError("has no `CA` atom", where="x.pdb", code="official_weights")
    assert sentence(other) == f"x.pdb has no `CA` atom; {HINTS['official_weights']}."


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
