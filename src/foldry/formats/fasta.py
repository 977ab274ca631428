"""FASTA: named sequences."""

from __future__ import annotations

from typing import NamedTuple

from foldry.errors import InputError


class FastaRecord(NamedTuple):
    """One record.

    Attributes:
        header: What follows `>`, without spaces around it.
        sequence: The lines of the record, joined.
        line: Where in the text the record begins, counted from 1.
    """

    header: str
    sequence: str
    line: int


def parse_fasta(text: str, source: str = "the FASTA text") -> list[FastaRecord]:
    """The records of a FASTA text, letters as they are; empty lines count for nothing.

    Raises:
        InputError: There is a sequence before the first header.
    """
    found: list[tuple[str, list[str], int]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = line.strip()
        if stripped.startswith(">"):
            found.append((stripped[1:].strip(), [], number))
        elif stripped and not found:
            advice, place = "begin with a line such as '>name'", f"{source}, line {number}"
            raise InputError("is not a FASTA header", advice, where=place)
        elif stripped:
            found[-1][1].append(stripped)
    return [FastaRecord(header, "".join(lines), number) for header, lines, number in found]
