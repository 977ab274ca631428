"""a3m: an alignment as FASTA, in which lower-case letters are insertions to the query."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from typing import Final

import numpy as np

from foldry.errors import InputError
from foldry.formats.fasta import FastaRecord, parse_fasta
from foldry.query import Alignment

_LETTERS: Final = re.compile(r"[A-Za-z-]*")
_NO_DOTS: Final = str.maketrans("", "", ".")
_NO_INSERTIONS: Final = str.maketrans("", "", string.ascii_lowercase)


def parse_a3m(text: str, source: str = "the a3m text") -> Alignment:
    """The alignment of an a3m text; dots, which only pad insertions, count for nothing.

    Raises:
        InputError: There is no row, a row has something else than letters and gaps, or its length
            is not that of the first.
    """
    return a3m_alignment(parse_fasta(text, source), source)


def a3m_alignment(records: Sequence[FastaRecord], source: str) -> Alignment:
    """The alignment of an a3m text's records; errors as those of `parse_a3m`."""
    if not records:
        raise InputError(
            f"{source} has no rows: give the query first, then the rows aligned to it."
        )
    rows = [record.sequence.translate(_NO_DOTS) for record in records]
    aligned = [row.translate(_NO_INSERTIONS) for row in rows]
    length = len(aligned[0])
    for record, row, columns in zip(records, rows, aligned, strict=True):
        if not _LETTERS.fullmatch(row):
            strange = next(letter for letter in row if not _LETTERS.fullmatch(letter))
            raise InputError(
                f"{source}, line {record.line}, is a row with {strange!r}: use letters, "
                "and '-' for gaps."
            )
        if len(columns) != length:
            raise InputError(
                f"{source}, line {record.line}, is a row of {len(columns)} aligned letters and the "
                f"first row has {length}: make all rows equally long, insertions in lower case."
            )
    return Alignment(
        headers=tuple(record.header for record in records),
        sequences=tuple(aligned),
        deletions=np.stack([_deletions(row, length) for row in rows]),
    )


def _deletions(row: str, length: int) -> np.ndarray:
    """How many insertions stand before each aligned letter [N]; those at the end are dropped."""
    if len(row) == length:
        return np.zeros(length, np.int32)
    letters = np.frombuffer(row.encode("ascii"), np.uint8)
    aligned = np.flatnonzero(letters < ord("a"))
    return (np.diff(aligned, prepend=-1) - 1).astype(np.int32)
