"""a3m: an alignment as FASTA, in which lower-case letters are insertions to the query.

ColabFold writes the alignments of a complex into one a3m, its distinct chains side by side, below a
line with their lengths and copies such as `#110,85<tab>2,1`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import accumulate, islice
from typing import Final

import numpy as np

from foldry.errors import InputError
from foldry.formats.fasta import parse_fasta
from foldry.formats.sequence import at, chain_names, clean_sequence
from foldry.query import GAP_LETTER, MAX_CHAINS, Alignment, Chain

_LENGTHS_AND_COPIES: Final = re.compile(r"#([\d,]+)[\t ]*([\d,]*)\s*")


def parse_a3m(text: str, source: str = "the a3m text") -> Alignment:
    """The alignment of an a3m text; dots, which only pad insertions, count for nothing.

    Raises:
        InputError: There is no row, a row has something else than letters and gaps, or its length
            is not that of the first.
    """
    records = parse_fasta(text, source)
    if not records:
        raise InputError("has no rows", "give the query, then rows aligned to it", where=source)
    return Alignment.of(
        [record.header for record in records],
        [record.sequence.replace(".", "") for record in records],
        lambda row: f"{source}, line {records[row - 1].line}",
    )


def to_a3m(alignment: Alignment) -> str:
    """The a3m text of an alignment, one line per row."""
    rows = zip(alignment.headers, alignment.texts, strict=True)
    return "".join(f">{header}\n{row}\n" for header, row in rows)


def parse_complex_a3m(text: str, source: str = "the a3m text") -> list[Chain]:
    """The distinct chains of an a3m text; none if its first line has no lengths and copies.

    Rows of several chains are their `paired` ones, as many for each, with gaps where they are not
    of this one; the others are the `alignment` of their chain, the query first.

    Insertions between the last residue of one chain and the first of the next are dropped.

    Raises:
        InputError: As `parse_a3m`, or the first line does not fit the rows, or the first row of a
            chain has a gap, or the first of the paired ones is another.
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
            f"does not give length and copies of each chain, or has more than {MAX_CHAINS} chains",
            "write them as in '#110,85<tab>2,1'",
            where=f"{source}, line 1",
        )
    rows = parse_a3m("\n" + rest, source)
    if sum(lengths) != rows.letters.shape[1]:
        what = f"gives lengths of {sum(lengths)} residues, the rows have {rows.letters.shape[1]}"
        advice = "give the length of every distinct chain once"
        raise InputError(what, advice, where=f"{source}, line 1")
    begins = [0, *accumulate(lengths[:-1])]
    covers = np.logical_or.reduceat(rows.letters != GAP_LETTER, begins, axis=1)
    several = covers.sum(axis=1) > 1
    names = iter(chain_names(sum(copies)))
    chains = []
    for number, (begin, length, count) in enumerate(zip(begins, lengths, copies, strict=True)):
        part = _of_chain(rows.columns(begin, begin + length), number)
        own, place = covers[:, number], f"{source}, chain {number + 1}"
        if not own.any():
            raise InputError("has no row", "put the queries first", where=place)
        query, alone = own.argmax(), np.flatnonzero(own & ~several)
        # The query is the first row of its own alignment too.
        first = part.rows(alone[:1])
        same = first.num_rows and (first.letters == part.letters[query]).all()
        if not same or (first.insertions.place < length).any():
            alone = np.append(query, alone)
        paired = part.rows(several) if several.any() else None
        sequence = clean_sequence(part.rows([int(query)]).query, place)
        with at(place):
            chains.append(Chain(tuple(islice(names, count)), sequence, part.rows(alone), paired))
    return chains


def _of_chain(part: Alignment, number: int) -> Alignment:
    """The part with headers that name every chain cut down to this one."""
    names = (header.split("\t") for header in part.headers)
    return replace(part, headers=tuple(each[min(number, len(each) - 1)] for each in names))
