"""FASTA: named sequences."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from foldry.errors import InputError
from foldry.formats.lines import lines
from foldry.query import MAX_LETTERS, MAX_ROWS


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


def parse_fasta(text: str, source: str = "the FASTA text") -> list[FastaRecord]:
    """Return the records of a FASTA text, letters unchanged; empty lines are skipped.

    Raises:
        InputError: There is a sequence before the first header, or there are more than `MAX_ROWS`
            records or `MAX_LETTERS` letters.
    """
    return list(fasta_records(text, source))


def fasta_records(text: str, source: str, skip: int = 0) -> Iterator[FastaRecord]:
    """Yield the records that `parse_fasta` returns one at a time, without the first `skip` lines.

    Raises:
        InputError: As for `parse_fasta`.
    """
    parts: list[str] = []
    header, begin, num_letters, num_records = "", 0, 0, 0
    for number, line in islice(lines(text, source), skip, None):
        stripped = line.strip()
        if stripped.startswith(">"):
            if begin:
                yield FastaRecord(header, "\n".join(parts).rstrip("\n"), begin)
            header, parts, begin = stripped[1:].strip(), [""], number
            num_records += 1
            if num_records > MAX_ROWS:
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
    if begin:
        yield FastaRecord(header, "\n".join(parts).rstrip("\n"), begin)
