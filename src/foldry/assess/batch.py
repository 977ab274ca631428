"""Scores of many pairs: from a table of files to a table of scores, on all cores."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from io import TextIOBase
from pathlib import Path
from typing import Final, TextIO

from foldry.assess.assess import Assessment, ScoreSettings, assess_files
from foldry.assess.table import NUMBERS, numbers, plddt_from
from foldry.errors import InputError, as_foldry_error, quoted
from foldry.formats.table import read_table, safe_cell
from foldry.processes.pool import for_each
from foldry.processes.tuning import num_cores
from foldry.store.files import new_text_file

COLUMNS: Final = ("name", "model", "reference", *NUMBERS, "plddt_from", "error")
"""Columns of the table of scores."""
MAX_PAIRS: Final = 500_000
"""Pairs of one table."""
_KILLED: Final = "Its process was killed, probably for lack of memory: score it alone."


@dataclass(frozen=True)
class Pair:
    """The name of a pair, its model and reference for `assess_files`, and their folder."""

    name: str
    model: str
    reference: str
    folder: Path = Path()


@dataclass(frozen=True)
class Row:
    """The result of one pair.

    Attributes:
        pair: The pair.
        values: The values of `NUMBERS`, None if a score does not apply; all None after an error.
        plddt_from: Source of the pLDDT, as from `foldry.assess.table.plddt_from`.
        error: The reason why there are no scores, in one sentence, or "".
    """

    pair: Pair
    values: tuple[float | None, ...]
    plddt_from: str = ""
    error: str = ""

    @classmethod
    def of(cls, pair: Pair, assessment: Assessment) -> Row:
        """Return the row of an assessment."""
        return cls(pair, numbers(assessment), plddt_from(assessment))


def read_pairs(path: Path) -> list[Pair]:
    """Read the pairs of a table with the columns `model`, `reference` and optionally `name`.

    Other columns are ignored. Paths are relative to the folder of the file. The default name of a
    pair is its model.

    Raises:
        InputError: The file is not such a table, or a row has more cells than columns.
    """
    header, rows = read_table(path, ("model", "reference", "name"))
    if not {"model", "reference"} <= set(header):
        raise InputError(
            f"has the columns {quoted(', '.join(header))}",
            "name them model, reference and optionally name in its first line",
            where=path,
        )
    pairs: list[Pair] = []
    for line, cells in rows:
        if len(pairs) == MAX_PAIRS:
            where = f"{path}, line {line}"
            raise InputError(f"is beyond {MAX_PAIRS} pairs", "split the table", where=where)
        model, reference = cells.get("model", ""), cells.get("reference", "")
        pairs.append(Pair(cells.get("name") or model, model, reference, path.parent))
    if not pairs:
        raise InputError("has no pair", "write one per line below the header", where=path)
    return pairs


def score_pairs(
    pairs: Iterable[Pair], settings: ScoreSettings, num_processes: int | None = None
) -> Iterator[Row]:
    """Yield the scores of every pair, in order; a pair that fails gives a row with its error.

    Only a few pairs are submitted at a time, so memory does not limit their number.

    Args:
        pairs: The pairs.
        settings: How they are scored.
        num_processes: Number of processes. Default: one per core. With 1, everything runs in this
            process; otherwise the calling program needs `if __name__ == "__main__"`, as always
            with multiprocessing.
    """
    num_processes = num_processes or num_cores()
    if num_processes == 1:
        return (score_pair(pair, settings) for pair in pairs)
    score = partial(score_pair, settings=settings)
    return for_each(score, pairs, num_processes, lambda pair: _failed(pair, _KILLED))


def score_pair(pair: Pair, settings: ScoreSettings) -> Row:
    """Return the scores of one pair; any failure gives a row with an error."""
    if not (pair.model and pair.reference):
        return _failed(pair, "This row lacks its model or its reference: give both.")
    model, reference = (str(pair.folder / each) for each in (pair.model, pair.reference))
    try:
        return Row.of(pair, assess_files(model, reference, settings))
    except Exception as error:  # no failure may end the batch
        return _failed(pair, str(as_foldry_error(error)))


def save_rows(rows: Iterable[Row], path: Path) -> int:
    """Write the rows as CSV to a file, which appears only when complete; return how many failed."""
    with new_text_file(path) as file:
        return write_rows(rows, file)


def write_rows(rows: Iterable[Row], file: TextIO | TextIOBase) -> int:
    """Write the rows as CSV, numbers with four decimals; return how many have an error."""
    failed = 0
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        failed += bool(row.error)
        names = row.pair.name, row.pair.model, row.pair.reference
        writer.writerow([*map(safe_cell, names), *row.values, row.plddt_from, safe_cell(row.error)])
    return failed


def _failed(pair: Pair, error: str) -> Row:
    return Row(pair, (None,) * len(NUMBERS), error=error)
