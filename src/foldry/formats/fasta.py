"""FASTA and PIR: named sequences, of proteins or of what their headers say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from typing import Final, NamedTuple

from foldry.errors import InputError
from foldry.formats.lines import lines
from foldry.formats.sequence import MOLECULES
from foldry.query import MAX_LETTERS, MAX_ROWS

ANNOTATION: Final = r"(?i:(?:ss|sa|aa)_(?:dssp|pred|conf))\b"
"""Names of the rows in which HH-suite keeps secondary structure and accessibility."""
PIECE: Final = 1 << 18
"""Characters of a text that are read at once, few enough for the cache."""
_END: Final = "\0"
_PIR: Final = re.compile(r"(P1|F1|XX|[DR][1CL]|N[13]);(.*)")
"""Headers of PIR, with a code of two letters."""
_NUCLEIC_CODES: Final = {"D": "DNA", "R": "RNA", "N": "RNA"}
_NUCLEIC: Final = re.compile(r"mol:na\b|\|(?:DNA|RNA) \((?:5'|3'|\d+-MER)", re.IGNORECASE)
"""Headers of nucleic acids in files of the PDB."""


class FastaRecord(NamedTuple):
    """One record.

    Attributes:
        header: The text after `>`, without surrounding spaces.
        text: The lines of the sequence, each after a newline, so that the number of newlines
            before a letter is its distance from the header in lines.
        line: Line of the header, counted from 1.
        name: The name in the header: its first word, unless the header states the molecule too.
        molecule: What the header says it is, e.g. `RNA`; "" for a protein, or if it does not say.
        is_chain: Whether the header is that of Boltz or Chai, whose files are one complex.
    """

    header: str
    text: str
    line: int
    name: str = ""
    molecule: str = ""
    is_chain: bool = False

    @property
    def sequence(self) -> str:
        """The lines of the sequence, joined."""
        return self.text.replace("\n", "")


def parse_fasta(
    text: str, source: str = "the FASTA text", first: int = 1, comments: str = ";"
) -> list[FastaRecord]:
    """Return the records of a FASTA or PIR text, letters unchanged.

    Empty lines, comments and HH-suite's annotation are skipped. NUL, which ends an entry of
    MMseqs2, ends a record. Titles of PIR, and what follows its final `*`, are left out.

    Args:
        text: The text.
        source: Where the text was read.
        first: Number of its first line.
        comments: The characters with which a comment line begins.

    Raises:
        InputError: There is a sequence before the first header, a record of PIR without `*`, or
            there are more than `MAX_ROWS` records or `MAX_LETTERS` letters.
    """
    return [_described(record, source) for record in fasta_records(text, source, first, comments)]


def _described(record: FastaRecord, source: str) -> FastaRecord:
    """Return a record with its name and molecule, as PIR, Chai, Boltz and the PDB write them."""
    if pir := _PIR.match(record.header):
        text, stop, _ = re.sub(r"^\n.*", "\n", record.text).partition("*")  # without the title
        if not stop:
            what = "begins a record of PIR without a final '*'"
            advice, place = f"add it, or remove {pir[1]};", f"{source}, line {record.line}"
            raise InputError(what, advice, where=place)
        name, molecule = pir[2].strip(), _NUCLEIC_CODES.get(pir[1][0], "")
        return record._replace(text=text, name=name, molecule=molecule)
    fields = [each.strip() for each in record.header.split("|")]
    for kind, name in (fields[:2], fields[1::-1]) if fields[1:] else ():
        if (found := MOLECULES.get(kind.casefold())) is not None:
            given = name.removeprefix("name=")
            return record._replace(name=given, molecule=found, is_chain=True)
    molecule = "a nucleic acid" if _NUCLEIC.search(record.header) else ""
    name = next(iter(record.header.split()), "")
    if re.match(r"Chains? ", "".join(fields[1:2])):  # 4HHB_1|Chains A, C|…
        name = fields[0]
    return record._replace(name=name, molecule=molecule)


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
        elif stripped and not begin and stripped[:2] not in ("C;", "R;"):  # of PIR
            advice, place = "start with a line such as '>name'", f"{source}, line {number}"
            raise InputError("is not a FASTA header", advice, where=place)
        else:
            parts.append(stripped)
            num_letters += len(stripped)
            if num_letters > MAX_LETTERS:
                what = f"exceeds the limit of {MAX_LETTERS} letters"
                raise InputError(what, "give fewer records", where=f"{source}, line {number}")


def pieces(text: str, separator: str, begin: int = 0) -> Iterator[str]:
    """Yield parts of about `PIECE` characters that end with the newline of a separator.

    Args:
        text: The text.
        separator: A newline and what begins the next part.
        begin: Where to begin.
    """
    while begin < len(text):
        end = text.find(separator, begin + PIECE) + 1 or len(text)
        yield text[begin:end]
        begin = end


def _pieces(numbered: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Yield the numbered lines with each NUL as a line of its own."""
    for number, line in numbered:
        for piece in re.findall(f"{_END}|[^{_END}]+", line) or [""]:
            yield number, piece
