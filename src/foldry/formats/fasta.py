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
    headers: list[tuple[str, int]] = []
    parts: list[list[str]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = line.strip()
        if stripped.startswith(">"):
            headers.append((stripped[1:].strip(), number))
            parts.append([])
        elif stripped and not headers:
            raise InputError(
                "is not a FASTA header",
                "begin with a line such as '>name'",
                where=f"{source}, line {number}",
            )
        elif stripped:
            parts[-1].append(stripped)
    return [
        FastaRecord(header, "".join(lines), number)
        for (header, number), lines in zip(headers, parts, strict=True)
    ]
