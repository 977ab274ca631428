"""hhr: what HHsearch found."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from foldry.errors import InputError

_SUMMARY: Final = re.compile(r"Aligned_cols=(\d+).*Sum_probs=(inf|\d+(?:\.\d*)?)")
_ALIGNED: Final = re.compile(r"\s*(\d+)\s+([A-Za-z-]+)\s+(\d+)\s+\(\d+\)\s*")
_NOT_ALIGNED: Final = ("Consensus", "ss_dssp", "ss_pred", "ss_conf", "sa_dssp")


@dataclass(frozen=True)
class HhrHit:
    """One hit; a column of the alignment is a query letter over a hit's letter.

    Attributes:
        index: The hit's number in the file, from 1.
        name: The hit's whole title.
        aligned_cols: Columns in which neither has a gap.
        sum_probs: Sum of the columns' posterior probabilities.
        query, hit_sequence: The aligned letters, `-` for a gap.
        indices_query, indices_hit: Residue numbers from 0, one a column, −1 for a gap.
    """

    index: int
    name: str
    aligned_cols: int
    sum_probs: float
    query: str
    hit_sequence: str
    indices_query: tuple[int, ...]
    indices_hit: tuple[int, ...]


def parse_hhr(text: str, source: str = "the hhr text") -> list[HhrHit]:
    """The hits of an hhr text, in its order.

    Raises:
        InputError: A hit is incomplete or its two rows do not match.
    """
    lines = text.splitlines()
    starts = [number for number, line in enumerate(lines) if re.match(r"No \d+\s*$", line)]
    ends = [*starts[1:], len(lines)]
    return [_hit(lines, start, end, source) for start, end in zip(starts, ends, strict=True)]


def _hit(lines: list[str], start: int, end: int, source: str) -> HhrHit:
    summary = _SUMMARY.search(lines[start + 2]) if end > start + 2 else None
    if summary is None or not lines[start + 1].startswith(">"):
        raise InputError(
            "is a hit without its title and scores",
            "run HHsearch again",
            where=f"{source}, line {start + 1}",
        )
    query, indices_query = _row("Q ", lines, start, end, source)
    hit_sequence, indices_hit = _row("T ", lines, start, end, source)
    if not query or len(query) != len(hit_sequence):
        raise InputError(
            "is a hit whose two rows differ in length",
            "run HHsearch again",
            where=f"{source}, line {start + 1}",
        )
    return HhrHit(
        index=int(lines[start].split()[1]),
        name=lines[start + 1][1:],
        aligned_cols=int(summary[1]),
        sum_probs=float(summary[2]),
        query=query,
        hit_sequence=hit_sequence,
        indices_query=indices_query,
        indices_hit=indices_hit,
    )


def _row(
    label: str, lines: list[str], start: int, end: int, source: str
) -> tuple[str, tuple[int, ...]]:
    """The letters and residue numbers of the query's (`Q `) or the template's (`T `) row."""
    sequence = ""
    indices: list[int] = []
    for number in range(start, end):
        line = lines[number]
        if not line.startswith(label) or line[2:].startswith(_NOT_ALIGNED):
            continue
        block = _ALIGNED.fullmatch(line[17:])
        first, letters, last = block.groups() if block else ("0", "", "0")
        if not letters or int(last) - int(first) + 1 != len(letters) - letters.count("-"):
            raise InputError(
                "is not a row of an alignment",
                "run HHsearch again",
                where=f"{source}, line {number + 1}",
            )
        sequence += letters
        indices += _count(letters, int(first) - 1)
    return sequence, tuple(indices)


def _count(letters: str, first: int) -> Iterator[int]:
    for letter in letters:
        yield -1 if letter == "-" else first
        first += letter != "-"
