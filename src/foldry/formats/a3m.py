"""a3m: an alignment as FASTA, in which lower-case letters are insertions to the query.

ColabFold writes the alignments of a complex into one a3m, its distinct chains side by side, below a
line with their lengths and copies such as `#110,85<tab>2,1`.
"""

from __future__ import annotations

import re
import string
from itertools import accumulate
from typing import Final, NamedTuple

import numpy as np
from jaxtyping import Int

from foldry.errors import InputError
from foldry.formats.fasta import parse_fasta
from foldry.formats.sequence import MAX_CHAINS
from foldry.query import Alignment

_LENGTHS_AND_COPIES: Final = re.compile(r"#([\d,]+)[\t ]*([\d,]*)\s*")
_LETTERS: Final = re.compile(r"[A-Za-z-]*")
_NO_DOTS: Final = str.maketrans("", "", ".")
_NO_INSERTIONS: Final = str.maketrans("", "", string.ascii_lowercase)


class Segment(NamedTuple):
    """One distinct chain of a complex's a3m.

    Attributes:
        sequence: Its first row, which is whole.
        copies: How many chains it stands for.
        alignment: The rows of this chain alone, the query first.
        paired: Those of several chains, with gaps where they are not of this one; as many in all
            segments. None if there are none.
    """

    sequence: str
    copies: int
    alignment: Alignment
    paired: Alignment | None


def parse_a3m(text: str, source: str = "the a3m text") -> Alignment:
    """The alignment of an a3m text; dots, which only pad insertions, count for nothing.

    Raises:
        InputError: There is no row, a row has something else than letters and gaps, or its length
            is not that of the first.
    """
    records = parse_fasta(text, source)
    if not records:
        raise InputError(
            "has no rows", "give the query first, then the rows aligned to it", where=source
        )
    rows = [record.sequence.translate(_NO_DOTS) for record in records]
    aligned = [row.translate(_NO_INSERTIONS) for row in rows]
    length = len(aligned[0])
    for record, row, columns in zip(records, rows, aligned, strict=True):
        if not _LETTERS.fullmatch(row):
            strange = next(letter for letter in row if not _LETTERS.fullmatch(letter))
            raise InputError(
                f"is a row with {strange!r}",
                "use letters, and '-' for gaps",
                where=f"{source}, line {record.line}",
            )
        if len(columns) != length:
            raise InputError(
                f"is a row of {len(columns)} aligned letters and the first row has {length}",
                "make all rows equally long, insertions in lower case",
                where=f"{source}, line {record.line}",
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


def parse_complex_a3m(text: str, source: str = "the a3m text") -> list[Segment]:
    """The chains of an a3m text, or none if its first line does not tell lengths and copies.

    Insertions between the last residue of one chain and the first of the next are dropped.

    Raises:
        InputError: As `parse_a3m`, or the first line does not fit the rows, or the first row of a
            chain or of the paired ones is not the query.
    """
    line, _, rest = text.partition("\n")
    found = _LENGTHS_AND_COPIES.fullmatch(line)
    if found is None:
        return []
    lengths, copies = (
        [int(number) for number in group.split(",") if 0 < len(number) < 8]
        for group in found.groups()
    )
    if len(lengths) != len(copies) or 0 in (*lengths, *copies) or sum(copies) > MAX_CHAINS:
        raise InputError(
            "does not give a length and a number of copies for every distinct chain, or has more "
            f"than {MAX_CHAINS} chains",
            "write them as in '#110,85<tab>2,1'",
            where=f"{source}, line 1",
        )
    rows = parse_a3m("\n" + rest, source)
    if sum(lengths) != len(rows.sequences[0]):
        raise InputError(
            f"gives lengths of {sum(lengths)} residues in total and the rows have "
            f"{len(rows.sequences[0])}",
            "give the length of every distinct chain once",
            where=f"{source}, line 1",
        )
    begins = [0, *accumulate(lengths[:-1])]
    letters = np.frombuffer("".join(rows.sequences).encode("ascii"), np.uint8)
    letters = letters.reshape(len(rows.sequences), -1)
    covers = np.logical_or.reduceat(letters != ord("-"), begins, axis=1)
    several = covers.sum(axis=1) > 1
    segments = []
    for number, (begin, length, count) in enumerate(zip(begins, lengths, copies, strict=True)):
        part = _columns(rows, number, begin, begin + length)
        own = covers[:, number]
        first = [*np.flatnonzero(own)[:1], *np.flatnonzero(several)[:1]]
        whole = {part.sequences[row] for row in first}
        if len(whole) != 1 or "-" in "".join(whole) or part.deletions[first].any():
            raise InputError(
                "does not begin with its whole sequence, or the rows of several chains do not "
                "begin with all of them",
                "put the queries first",
                where=f"{source}, chain {number + 1}",
            )
        alone = np.flatnonzero(own & ~several)
        # The query is the first row of its own alignment too.
        if not len(alone) or part.sequences[alone[0]] not in whole:
            alone = np.concatenate([first[:1], alone])
        paired = _rows(part, np.flatnonzero(several)) if several.any() else None
        segments.append(Segment(whole.pop(), count, _rows(part, alone), paired))
    return segments


def _columns(rows: Alignment, number: int, begin: int, end: int) -> Alignment:
    """The columns of one chain; a header that names every chain is cut down to this one."""
    names = (header.split("\t") for header in rows.headers)
    deletions = rows.deletions[:, begin:end].copy()
    if begin:
        deletions[:, 0] = 0
    return Alignment(
        headers=tuple(each[min(number, len(each) - 1)] for each in names),
        sequences=tuple(row[begin:end] for row in rows.sequences),
        deletions=deletions,
    )


def _rows(alignment: Alignment, picked: Int[np.ndarray, " P"]) -> Alignment:
    return Alignment(
        headers=tuple(alignment.headers[row] for row in picked),
        sequences=tuple(alignment.sequences[row] for row in picked),
        deletions=alignment.deletions[picked],
    )
