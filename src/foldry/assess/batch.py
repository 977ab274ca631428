"""Many pairs at once: a table of files → a table of scores, over all cores."""

from __future__ import annotations

import csv
import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from io import TextIOBase
from pathlib import Path
from typing import Final, TextIO

from foldry.assess.assess import ScoreSettings, assess_files
from foldry.assess.table import NUMBERS, numbers
from foldry.errors import InputError, as_foldry_error
from foldry.formats.table import read_table
from foldry.processes.pool import worker_pool
from foldry.store.files import new_text_file

COLUMNS: Final = ("name", "model", "reference", *NUMBERS, "error")
"""Columns of the table of scores."""
_KILLED: Final = "Its process was killed, probably for lack of memory: score it alone."
_THREADS: Final = "OMP_NUM_THREADS"
_AHEAD: Final = 4
"""Pairs in hand per process: enough to keep it busy, few enough to repeat."""


@dataclass(frozen=True)
class Pair:
    """A model and a reference as `assess_files` takes them, relative to a folder."""

    name: str
    model: str
    reference: str
    folder: Path = Path()


@dataclass(frozen=True)
class Row:
    """How one pair ended.

    Attributes:
        pair: What was scored.
        values: The numbers of `NUMBERS`, None where one has no meaning; all None on an error.
        error: Why there are no scores, in one sentence, or "".
    """

    pair: Pair
    values: tuple[float | None, ...]
    error: str = ""


def read_pairs(path: Path) -> list[Pair]:
    """The pairs of a CSV file with the columns `model`, `reference` and optionally `name`.

    Paths are relative to the file's own folder. Without a name, a pair has that of its model.

    Raises:
        InputError: The file is no such table, or a row has more cells than it has columns.
    """
    header, rows = read_table(path)
    wanted = {"model", "reference"}
    if not wanted <= set(header) <= {*wanted, "name"} or len(set(header)) < len(header):
        raise InputError(
            f"has the columns {', '.join(header)!r}",
            "name them model, reference and optionally name in its first line",
            where=path,
        )
    pairs = []
    for _, cells in rows:
        model, reference = cells.get("model", ""), cells.get("reference", "")
        pairs.append(Pair(cells.get("name") or model, model, reference, path.parent))
    if not pairs:
        raise InputError("has no pair", "write one per line below the header", where=path)
    return pairs


def score_pairs(
    pairs: Iterable[Pair], settings: ScoreSettings, num_processes: int | None = None
) -> Iterator[Row]:
    """Scores every pair, in their order; a pair that fails gives a row with its error.

    Few pairs are in hand at any time, so that memory does not bound their number.

    Args:
        num_processes: Default: one per core. With 1 everything runs in this process; otherwise
            a program that calls this needs the `if __name__ == "__main__"` of multiprocessing.
    """
    num_processes = num_processes or num_cores()
    if num_processes == 1:
        return (score_pair(pair, settings) for pair in pairs)
    return _in_processes(deque(pairs), settings, num_processes)


def num_cores() -> int:
    """The cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def score_pair(pair: Pair, settings: ScoreSettings) -> Row:
    """Scores one pair; whatever fails gives a row with an error."""
    if not (pair.model and pair.reference):
        return _failed(pair, "This row lacks its model or its reference: give both.")
    model, reference = (str(pair.folder / each) for each in (pair.model, pair.reference))
    try:
        return Row(pair, numbers(assess_files(model, reference, settings)))
    except Exception as error:  # whatever it is, it must not end the batch
        return _failed(pair, str(as_foldry_error(error)))


def save_rows(rows: Iterable[Row], path: Path) -> int:
    """As `write_rows`, to a file that appears when it is complete."""
    with new_text_file(path) as file:
        return write_rows(rows, file)


def write_rows(rows: Iterable[Row], file: TextIO | TextIOBase) -> int:
    """Writes the rows as CSV, numbers with four decimals; returns how many have an error."""
    failed = 0
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        failed += bool(row.error)
        names = row.pair.name, row.pair.model, row.pair.reference
        writer.writerow([*names, *row.values, row.error])
    return failed


def _failed(pair: Pair, error: str) -> Row:
    return Row(pair, (None,) * len(NUMBERS), error)


def _in_processes(rest: deque[Pair], settings: ScoreSettings, num: int) -> Iterator[Row]:
    waiting: deque[tuple[Pair, Future[Row]]] = deque()
    while rest:
        executor = worker_pool(min(num, len(rest)))
        try:
            while rest or waiting:
                while rest and len(waiting) < _AHEAD * num:
                    future = _submit(executor, rest[0], settings)
                    waiting.append((rest.popleft(), future))
                row = waiting[0][1].result()
                waiting.popleft()
                yield row
        except BrokenProcessPool:  # a pair in hand killed its process; with several, which one?
            for pair, _ in waiting:
                if num > 1:
                    yield from _in_processes(deque([pair]), settings, 1)
                else:
                    yield _failed(pair, _KILLED)
            waiting.clear()
        finally:
            executor.shutdown(cancel_futures=True)


def _submit(executor: ProcessPoolExecutor, pair: Pair, settings: ScoreSettings) -> Future[Row]:
    """As `submit`; a process that this starts has one thread for NumPy."""
    given = os.environ.get(_THREADS)
    os.environ[_THREADS] = given or "1"
    try:
        return executor.submit(score_pair, pair, settings)
    finally:
        if given is None:
            del os.environ[_THREADS]
