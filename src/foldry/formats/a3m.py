"""a3m: an alignment as FASTA, in which lower-case letters are insertions to the query.

ColabFold writes the alignments of a complex into one a3m: the distinct chains side by side, below
a line with their lengths and numbers of copies such as `#110,85<tab>2,1`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from itertools import accumulate, islice
from string import ascii_lowercase
from typing import Final

import numpy as np
from jaxtyping import Bool

from foldry.errors import InputError, counted, quoted
from foldry.formats.fasta import fasta_records, pieces
from foldry.formats.lines import MAX_LINE, MAX_LINES, lines
from foldry.formats.sequence import (
    at,
    chain_names,
    check_num_chains,
    check_stop,
    check_width,
    clean_sequence,
)
from foldry.query import (
    GAP_LETTER,
    MAX_CHAINS,
    MAX_LETTERS,
    MAX_ROWS,
    Alignment,
    Chain,
    Query,
    row_codes,
)

logger = logging.getLogger(__name__)

_LETTERS: Final = str.maketrans("_~", "--", ". \t\n")
_COLUMNS: Final = str.maketrans("", "", ascii_lowercase)
_ANNOTATION: Final = ("ss_", "sa_", "aa_")
"""How names of HH-suite's annotation begin, beyond those that every reader of records skips."""
_OTHER_ROWS: Final = re.compile(r"^[ \t]*>(?!\s*(?:ss|sa|aa)_)", re.MULTILINE)
_COMMENTS: Final = re.compile(r"(?:[#;].*\n)*")
"""Comments before the first row."""
FIRST_NAME: Final = 101
"""Name that ColabFold gives to the first chain of a complex; the others count on."""
_MAX_PARTS: Final = 5_000_000
"""Limit on rows plus insertions of a complex, times its distinct chains: each chain reads all."""


def parse_a3m(text: str, source: str = "the a3m text", first: int = 1) -> Alignment:
    """Return the alignment of an a3m text.

    Dots, which only pad insertions, white space, comments (`#` or `;`) and HH-suite's annotation
    are skipped. `_`, `~` and, below the first row, `*` are gaps. The column of a `*` at the end of
    the first row is removed.

    Args:
        text: The text.
        source: Where the text was read.
        first: Number of its first line.

    Raises:
        InputError: There is no row, a row contains anything but letters and gaps, its length
            differs from that of the first, or the text has several entries (see `split_entries`).

    Example:
        >>> parse_a3m(">q\\nMKT\\n>r\\nM-aaT\\n").deletions.tolist()
        [[0, 0, 0], [0, 0, 2]]
    """
    if plain := _parse_plain(text, source):
        return plain
    if "\0" in text and (more := split_entries(text, source)[1:]):
        place = f"{source}, line {first - 1 + more[0][0]}"
        raise InputError("begins a second alignment", "put it into another file", where=place)
    headers: list[str] = []
    numbers: list[int] = []
    lengths: list[int] = []
    codes = bytearray()
    is_mixed, skipped, width, is_stopped = _OTHER_ROWS.search(text) is not None, "", 0, False
    for header, letters, number, *_ in fasta_records(text, source, first, "#;"):
        if is_mixed and header.startswith(_ANNOTATION):
            skipped = skipped or header
            continue
        row = letters.translate(_LETTERS)
        if not headers:
            check_first_row(row, source)
            is_stopped = row.endswith("*")
            row = row.removesuffix("*").replace("*", "-")
            width = len(row.translate(_COLUMNS))
        elif is_stopped or "*" in row:
            row = _without_stop(row, width, is_stopped)
        part = row_codes(row, f"{source}, line {number}")
        headers.append(header)
        numbers.append(number)
        lengths.append(len(part))
        codes += part  # rows are not kept: a large alignment has few copies in memory
    if skipped:
        says = "%s: the row %s is skipped: HH-suite's annotation has such names"
        logger.warning(says, source, quoted(skipped))
    if not headers:
        raise InputError("has no rows", "give the query, then rows aligned to it", where=source)
    return Alignment.of_text(
        headers,
        np.frombuffer(codes, np.uint8),
        np.array(lengths),
        lambda row: f"{source}, line {numbers[row - 1]}",
    )


def _parse_plain(text: str, source: str) -> Alignment | None:
    """Return the alignment of a plain text, read in large pieces; None if the text is not plain.

    The rows of a plain text consist of letters and `-`, its comments precede the first row, and it
    has no error: `parse_a3m` reads all other texts line by line and reports errors.
    """
    comments = _COMMENTS.match(text)
    begin = comments.end() if comments else 0
    if "\0" in text or begin > MAX_LINE or text.count("\n") > MAX_LINES:
        return None
    headers: list[str] = []
    lengths: list[int] = []
    codes = bytearray()
    with suppress(InputError):
        for piece in pieces(text, "\n>", begin):
            if not piece.startswith(">") or len(piece) > MAX_LINE:
                return None
            records = [record.partition("\n") for record in piece[1:].split("\n>")]
            names = [header.strip() for header, _, _ in records]
            rows = [row.replace("\n", "") for _, _, row in records]
            if not {name[:3].casefold() for name in names}.isdisjoint(_ANNOTATION):
                return None
            if not headers:
                check_first_row(rows[0], source)
            headers += names
            lengths += map(len, rows)
            codes += row_codes("".join(rows), source)
            if len(headers) > MAX_ROWS or len(codes) > MAX_LETTERS:
                return None
        if headers:
            letters = np.frombuffer(codes, np.uint8)
            return Alignment.of_text(headers, letters, np.array(lengths), str)
    return None


def check_first_row(row: str, source: str) -> None:
    """Check the first row of an a3m text, without padding.

    Raises:
        InputError: It is too long, has no upper-case letter, or a stop codon before its end.
    """
    check_width(row, ascii_lowercase, source)
    if row.islower():
        what, place = "has only lower-case letters, which are insertions", f"{source}, first row"
        raise InputError(what, "write the residues in upper case", where=place)
    check_stop(row, source)


def _without_stop(row: str, width: int, is_stopped: bool) -> str:
    """Return a row without the column of the final `*` of the first row, and `*` as a gap.

    Args:
        row: The row.
        width: Number of columns of the first row, without a final `*`.
        is_stopped: Whether the first row has a final `*`.
    """
    body = row.rstrip(ascii_lowercase)
    if (is_stopped or body.endswith("*")) and len(body.translate(_COLUMNS)) == width + 1:
        # A residue that is aligned to a stop codon is an insertion after the last residue.
        row = body[:-1] + body[-1].strip("*-").lower() + row[len(body) :]
    return row.replace("*", "-")


def split_entries(text: str, source: str = "the a3m text") -> list[tuple[int, str]]:
    """Return the number of the first line and the text of each entry that is not blank.

    NUL ends an entry of an MMseqs2 database, as in the files of ColabFold's server. Each entry is
    an alignment to a query of its own.

    Raises:
        InputError: There are more than `MAX_FILE_CHAINS`.

    Example:
        >>> split_entries(">q\\nMKT\\n\\0>r\\nMKV\\n\\0\\n")
        [(1, '>q\\nMKT\\n'), (3, '>r\\nMKV\\n')]
    """
    if "\0" not in text:  # a large text is not copied
        return [(1, text)] if re.search(r"\S", text) else []
    entries: list[tuple[int, str]] = []
    line, end = 1, 0
    for found in re.finditer(r"[^\0\s][^\0]*", text):
        line, end = line + text.count("\n", end, found.start()), found.start()
        entries.append((line, found[0]))
        check_num_chains(len(entries), source)
    return entries


def to_a3m(alignment: Alignment) -> str:
    """Return the a3m text of an alignment, with each row on one line."""
    rows = zip(alignment.headers, alignment.texts, strict=True)
    return "".join(f">{header}\n{row}\n" for header, row in rows)


def parse_complex_a3m(text: str, source: str = "the a3m text", first: int = 1) -> list[Chain]:
    """Return the distinct chains of a complex; empty if the text has no line of lengths and copies.

    Rows with residues in several chains become the `paired` rows of every chain, with gaps where
    a row does not cover the chain. All other rows become the `alignment` of their chain, after its
    query. Insertions between two chains are dropped.

    Raises:
        InputError: As for `parse_a3m`, or the first line does not fit the rows, or the first row of
            a chain or of its paired rows is not its sequence.
    """
    place, groups = _lengths_and_copies(text, source, first)
    if not groups:
        return []
    lengths, copies = (
        [int(number) for number in group.split(",") if 0 < len(number) < 8]
        for group in [*groups, ""][:2]
    )
    if len(lengths) != len(copies) or 0 in (*lengths, *copies) or sum(copies) > MAX_CHAINS:
        raise InputError(
            f"does not give lengths and copies of at most {MAX_CHAINS} chains",
            "write them as in '#110,85<tab>2,1'",
            where=place,
        )
    rows = parse_a3m(text, source, first)
    if (rows.num_rows + len(rows.insertions.place)) * len(lengths) > _MAX_PARTS:
        what = f"has {rows.num_rows} rows of {len(lengths)} chains"
        raise InputError(what, "keep fewer rows", where=source)
    if sum(lengths) != rows.letters.shape[1]:
        size = counted(sum(lengths), "residue")
        what = f"gives lengths of {size}, but rows have {rows.letters.shape[1]}"
        advice = "give the length of every distinct chain once"
        raise InputError(what, advice, where=place)
    begins = [0, *accumulate(lengths[:-1])]
    covers = np.logical_or.reduceat(rows.letters != GAP_LETTER, begins, axis=1)
    several = covers.sum(axis=1) > 1
    names = iter(chain_names(sum(copies)))
    chains = []
    for number, (begin, length, count) in enumerate(zip(begins, lengths, copies, strict=True)):
        part = _of_chain(rows.columns(begin, begin + length), several, number)
        own, place = covers[:, number], f"{source}, chain {number + 1}"
        if not own.any():
            raise InputError("has no row", "write its sequence as a row", where=place)
        query, alone = own.argmax(), np.flatnonzero(own & ~several)
        # The query is also the first row of the unpaired alignment.
        top = part.rows(alone[:1])
        same = top.num_rows and (top.letters == part.letters[query]).all()
        if not same or (top.insertions.place < length).any():
            alone = np.append(query, alone)
        paired = part.rows(several) if several.any() else None
        sequence = clean_sequence(part.rows([int(query)]).query, place)
        with at(place):
            chains.append(Chain(tuple(islice(names, count)), sequence, part.rows(alone), paired))
    return chains


def _lengths_and_copies(text: str, source: str, first: int) -> tuple[str, list[str]]:
    """Return the place and the words of ColabFold's line of lengths and copies, before any row."""
    for number, line in lines(text, source, first):
        words = line[1:].split(maxsplit=2)
        if re.match("#[0-9,]", line) and all(re.fullmatch("[0-9,]+", each) for each in words):
            return f"{source}, line {number}", words
        if line.strip() and not line.startswith(("#", ";")):
            break
    return "", []


def _of_chain(part: Alignment, several: Bool[np.ndarray, " S"], number: int) -> Alignment:
    """Return the part of a chain with its headers: rows of several chains have one for each."""
    names = [header.split("\t", number + 1) for header in part.headers]
    chosen = (each[min(number, len(each) - 1)] for each in names)
    headers = zip(part.headers, chosen, several.tolist(), strict=True)
    return replace(part, headers=tuple(own if is_own else whole for whole, own, is_own in headers))


def to_complex_a3m(query: Query) -> str:
    """Return a query as the a3m text that ColabFold's search writes for it.

    Below the lengths and copies are the paired rows, then those of each chain. ColabFold's names
    replace those of the chains' sequences. No line end follows the last row.

    Raises:
        InputError: Rows are paired by species, or the chains have unequal numbers of paired rows.

    Example:
        >>> to_complex_a3m(Query("dimer", (Chain(("A",), "MK"), Chain(("B",), "C"))))
        '#2,1\\t1,1\\n>101\\nMK-\\n>102\\n--C'
    """
    chains, place = query.chains, f"Query {query.name}"
    lines = [f"#{_listed(len(c.sequence) for c in chains)}\t{_listed(len(c.ids) for c in chains)}"]
    paired = [chain.paired for chain in chains if chain.paired is not None]
    if paired:
        if len(chains) > 1 and not query.paired_by_row:
            advice = "write them as JSON"
            raise InputError("has rows that are paired by species", advice, where=place)
        if len(paired) < len(chains) or len({rows.num_rows for rows in paired}) > 1:
            what = "has unequal numbers of paired rows"
            raise InputError(what, "give each chain as many", where=place)
        headers = zip(*(_named(rows, n) for n, rows in enumerate(paired)), strict=True)
        texts = zip(*(rows.texts for rows in paired), strict=True)
        for names, row in zip(headers, texts, strict=True):
            one_each = (name.replace("\t", " ") for name in names)
            lines += [">" + "\t".join(one_each), "".join(row)]
    if not paired or any(chain.alignment is not None for chain in chains):
        for number, chain in enumerate(chains):
            gaps = ["-" * len(each.sequence) for each in chains]
            rows = chain.alignment or Alignment.of([""], [chain.sequence])
            before, after = "".join(gaps[:number]), "".join(gaps[number + 1 :])
            for name, text in zip(_named(rows, number), rows.texts, strict=True):
                lines += [f">{name}", before + text + after]
    return "\n".join(lines)


def _named(rows: Alignment, number: int) -> tuple[str, ...]:
    """Return the headers of a chain's rows, with ColabFold's name for its sequence.

    The sequence is the first row, and once more the first of each further database.
    """
    first, name = rows.headers[0], str(FIRST_NAME + number)
    return tuple(name if header == first else header for header in rows.headers)


def _listed(numbers: Iterable[int]) -> str:
    return ",".join(map(str, numbers))
