"""FASTA: named sequences."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from typing import Final, NamedTuple

from foldry.errors import InputError
from foldry.formats.lines import lines
from foldry.query import MAX_LETTERS, MAX_ROWS

ANNOTATION: Final = r"(?:ss|sa|aa)_(?:dssp|pred|conf)\b"
"""Names of the rows in which HH-suite keeps secondary structure and accessibility."""
_END: Final = "\0"


class FastaRecord(NamedTuple):
    """One record.

    Attributes:
        header: The text after `>`, without surrounding spaces.
        text: The lines of the sequence, each after a newline, so that the number of newlines
            before a letter is its distance from the header in lines.
        line: Line of the header, counted from 1.
    """

    header: str
    text: str
    line: int

    @property
    def sequence(self) -> str:
        """The lines of the sequence, joined."""
        return self.text.replace("\n", "")


def parse_fasta(
    text: str, source: str = "the FASTA text", first: int = 1, comments: str = ";"
) -> list[FastaRecord]:
    """Return the records of a FASTA text, letters unchanged.

    Empty lines, comments and HH-suite's annotation are skipped. NUL, which ends an entry of
    MMseqs2, ends a record.

    Args:
        text: The text.
        source: Where the text was read.
        first: Number of its first line.
        comments: The characters with which a comment line begins.

    Raises:
        InputError: There is a sequence before the first header, or there are more than `MAX_ROWS`
            records or `MAX_LETTERS` letters.
    """
    return list(fasta_records(text, source, first, comments))


def fasta_records(
    text: str, source: str, first: int = 1, comments: str = ";"
) -> Iterator[FastaRecord]:
    """Yield the records that `parse_fasta` returns one at a time.

    Raises:
        InputError: As for `parse_fasta`.
    """
    parts: list[str] = []
    header, begin, num_letters, num_records = "", 0, 0, 0
    numbered = lines(text, source, first)
    for number, line in chain(_pieces(numbered) if _END in text else numbered, [(0, _END)]):
        stripped = line.strip()
        if line == _END or stripped[:1] in comments:
            stripped = ""
        if stripped.startswith(">") or line == _END:
            if begin and not re.match(ANNOTATION, header):
                yield FastaRecord(header, "\n".join(parts).rstrip("\n"), begin)
                num_records += 1
            header, parts, begin = stripped[1:].strip(), [""], number if stripped else 0
            if num_records == MAX_ROWS and begin:
                what, place = f"exceeds the limit of {MAX_ROWS} records", f"{source}, line {number}"
                raise InputError(what, "give fewer records", where=place)
        elif stripped and not begin:
            advice, place = "start with a line such as '>name'", f"{source}, line {number}"
            raise InputError("is not a FASTA header", advice, where=place)
        else:
            parts.append(stripped)
            num_letters += len(stripped)
            if num_letters > MAX_LETTERS:
                what = f"exceeds the limit of {MAX_LETTERS} letters"
                raise InputError(what, "give fewer records", where=f"{source}, line {number}")


def _pieces(numbered: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Yield the numbered lines with each NUL as a line of its own."""
    for number, line in numbered:
        for piece in re.findall(f"{_END}|[^{_END}]+", line) or [""]:
            yield number, piece
