"""a3m: an alignment as FASTA, in which lower-case letters are insertions to the query.

ColabFold writes the alignments of a complex into one a3m: the distinct chains side by side, below
a line with their lengths and numbers of copies such as `#110,85<tab>2,1`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import accumulate, islice
from string import ascii_lowercase
from typing import Final

import numpy as np

from foldry.errors import InputError, counted
from foldry.formats.fasta import fasta_records
from foldry.formats.lines import lines
from foldry.formats.sequence import at, chain_names, check_width, clean_sequence
from foldry.query import GAP_LETTER, MAX_CHAINS, Alignment, Chain, row_codes

_NOTHING: Final = {ord("."): None, ord("\n"): None}
_MAX_PARTS: Final = 5_000_000
"""Limit on rows plus insertions of a complex, times its distinct chains: each chain reads all."""


def parse_a3m(text: str, source: str = "the a3m text", skip: int = 0) -> Alignment:
    """Return the alignment of an a3m text; dots, which only pad insertions, are skipped.

    Args:
        text: The text.
        source: Where it was read.
        skip: Number of lines before the first row.

    Raises:
        InputError: There is no row, a row contains anything but letters and gaps, or its length
            differs from that of the first.

    Example:
        >>> parse_a3m(">q\\nMKT\\n>r\\nM-aaT\\n").deletions.tolist()
        [[0, 0, 0], [0, 0, 2]]
    """
    headers: list[str] = []
    numbers: list[int] = []
    lengths: list[int] = []
    codes = bytearray()
    for header, row, number in fasta_records(text, source, skip):
        if not headers:
            check_width(row, ".\n" + ascii_lowercase, source)
        part = row_codes(row.translate(_NOTHING), f"{source}, line {number}")
        headers.append(header)
        numbers.append(number)
        lengths.append(len(part))
        codes += part  # rows are not kept: a large alignment has few copies in memory
    if not headers:
        raise InputError("has no rows", "give the query, then rows aligned to it", where=source)
    return Alignment.of_text(
        headers,
        np.frombuffer(codes, np.uint8),
        np.array(lengths),
        lambda row: f"{source}, line {numbers[row - 1]}",
    )


def to_a3m(alignment: Alignment) -> str:
    """Return the a3m text of an alignment, with each row on one line."""
    rows = zip(alignment.headers, alignment.texts, strict=True)
    return "".join(f">{header}\n{row}\n" for header, row in rows)


def parse_complex_a3m(text: str, source: str = "the a3m text") -> list[Chain]:
    """Return the distinct chains of a complex; empty if the text has no line of lengths and copies.

    Rows with residues in several chains become the `paired` rows of every chain, with gaps where
    a row does not cover the chain. All other rows become the `alignment` of their chain, after its
    query. Insertions between two chains are dropped.

    Raises:
        InputError: As for `parse_a3m`, or the first line does not fit the rows, or the first row of
            a chain or of its paired rows is not its sequence.
    """
    _, line = next(lines(text, source), (1, ""))
    groups = line[1:].split(maxsplit=2)
    if not re.match("#[0-9,]", line) or not all(re.fullmatch("[0-9,]+", each) for each in groups):
        return []
    lengths, copies = (
        [int(number) for number in group.split(",") if 0 < len(number) < 8]
        for group in [*groups, ""][:2]
    )
    if len(lengths) != len(copies) or 0 in (*lengths, *copies) or sum(copies) > MAX_CHAINS:
        raise InputError(
            f"does not give lengths and copies of at most {MAX_CHAINS} chains",
            "write them as in '#110,85<tab>2,1'",
            where=f"{source}, line 1",
        )
    rows = parse_a3m(text, source, skip=1)
    if (rows.num_rows + len(rows.insertions.place)) * len(lengths) > _MAX_PARTS:
        what = f"has {rows.num_rows} rows of {len(lengths)} chains"
        raise InputError(what, "keep fewer rows", where=source)
    if sum(lengths) != rows.letters.shape[1]:
        size = counted(sum(lengths), "residue")
        what = f"gives lengths of {size}, but rows have {rows.letters.shape[1]}"
        advice = "give the length of every distinct chain once"
        raise InputError(what, advice, where=f"{source}, line 1")
    begins = [0, *accumulate(lengths[:-1])]
    covers = np.logical_or.reduceat(rows.letters != GAP_LETTER, begins, axis=1)
    several = covers.sum(axis=1) > 1
    names = iter(chain_names(sum(copies)))
    chains = []
    for number, (begin, length, count) in enumerate(zip(begins, lengths, copies, strict=True)):
        part = rows.columns(begin, begin + length)
        own, place = covers[:, number], f"{source}, chain {number + 1}"
        if not own.any():
            raise InputError("has no row", "write its sequence as a row", where=place)
        query, alone = own.argmax(), np.flatnonzero(own & ~several)
        # The query is also the first row of the unpaired alignment.
        first = part.rows(alone[:1])
        same = first.num_rows and (first.letters == part.letters[query]).all()
        if not same or (first.insertions.place < length).any():
            alone = np.append(query, alone)
        paired = part.rows(several) if several.any() else None
        sequence = clean_sequence(part.rows([int(query)]).query, place)
        with at(place):
            unpaired = _of_chain(part.rows(alone), number)
            paired = paired and _of_chain(paired, number)
            chains.append(Chain(tuple(islice(names, count)), sequence, unpaired, paired))
    return chains


def _of_chain(part: Alignment, number: int) -> Alignment:
    """Return the part with the header of one chain, if headers have one entry for every chain."""
    names = (header.split("\t", number + 1) for header in part.headers)
    return replace(part, headers=tuple(each[min(number, len(each) - 1)] for each in names))
