"""hhr: the hits of HHsearch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import islice
from typing import Final

import numpy as np

from foldry.errors import InputError
from foldry.formats.fasta import ANNOTATION
from foldry.formats.lines import lines
from foldry.query import Hit

_AGAIN: Final = "run HHsearch again"
MAX_HITS: Final = 100_000
"""Maximum number of hits of an hhr text."""
_MAX_LINE: Final = 20_000
"""Maximum length of a line; the patterns below read parts of it more than once."""
_NUMBER: Final = r"(?:inf|\d{1,20}(?:\.\d{0,20})?(?:[eE][+-]?\d{1,4})?)"
_HIT: Final = re.compile(
    r"\s*\n>(?P<title>(?P<name>\S+).*)\n"
    rf"Probab=(?P<probability>{_NUMBER})\s+E-value=(?P<e_value>{_NUMBER})\s"
    r".*\sAligned_cols=(?P<columns>\d{1,9})\s+Identities=(?P<identity>\d{1,9})%.*"
    rf"\sSum_probs=(?P<sum_probs>{_NUMBER})(?=\s|$)",
    re.ASCII,
)
_ROW: Final = (
    rf"^{{}} (?!Consensus|{ANNOTATION}).{{{{14}}}}"
    r"\s*(\d{{1,9}})\s+([A-Za-z-]+)\s+(\d{{1,9}}) \(\d+\)"
)


@dataclass(frozen=True)
class HhrRecord:
    """One hit of an hhr file. A column of its alignment has a query and a template letter.

    Attributes:
        hit: The hit, without structure; its pairs count the template's aligned residues from 0.
        title: The text after `>`.
        sum_probs: Sum of the posterior probabilities of the columns.
        query, template: The aligned letters, `-` for a gap.
        begins: Numbers of the first residues of query and template, from 0.
    """

    hit: Hit
    title: str
    sum_probs: float
    query: str
    template: str
    begins: tuple[int, int]


def parse_hhr(text: str, source: str = "the hhr text") -> list[HhrRecord]:
    """Return the hits of an hhr text, in the order of the text.

    Raises:
        InputError: A hit is incomplete, or its two rows do not match.
    """
    for number, line in lines(text, source):
        if len(line) > _MAX_LINE:
            what, place = f"has more than {_MAX_LINE} characters", f"{source}, line {number}"
            raise InputError(what, _AGAIN, where=place)
    found = re.finditer(r"^No \d+[^\S\n]*$", text, flags=re.MULTILINE)
    heads = list(islice(found, MAX_HITS + 1))
    if len(heads) > MAX_HITS:
        raise InputError(f"has more than {MAX_HITS} hits", "keep the first ones", where=source)
    ends = [*(head.start() for head in heads[1:]), len(text)]
    return [
        _record(text[head.end() : end], f"{source}, hit {number}")
        for number, (head, end) in enumerate(zip(heads, ends, strict=False), start=1)
    ]


def _record(block: str, place: str) -> HhrRecord:
    found = _HIT.match(block)
    if found is None or not float(found["probability"]) <= 100:
        raise InputError("has no title, or not all scores", _AGAIN, where=place)
    (query, first), (template, begin) = (_row(block, label, place) for label in "QT")
    if len(query) != len(template):
        raise InputError("has two rows of different length", _AGAIN, where=place)
    there = [np.array(list(row)) != "-" for row in (query, template)]
    both = there[0] & there[1]
    if not both.any() or both.sum() != int(found["columns"]):
        raise InputError("has a wrong number of aligned columns", _AGAIN, where=place)
    residues = first + np.cumsum(there[0]) - 1, np.cumsum(there[1]) - 1
    hit = Hit(
        name=found["name"],
        pairs=np.stack(residues, axis=1)[both],
        e_value=float(found["e_value"]),
        probability=float(found["probability"]) / 100,
        identity=float(found["identity"]) / 100,
    )
    return HhrRecord(
        hit, found["title"], float(found["sum_probs"]), query, template, (first, begin)
    )


def _row(block: str, label: str, place: str) -> tuple[str, int]:
    """Return the letters of the query's (`Q`) or template's (`T`) row, and its first residue."""
    parts = re.findall(_ROW.format(label), block, flags=re.MULTILINE | re.ASCII)
    letters = "".join(part for _, part, _ in parts)
    if not parts or int(parts[-1][2]) - int(parts[0][0]) + 1 != len(letters) - letters.count("-"):
        what = f"has no row {label}, or an incomplete one"
        raise InputError(what, _AGAIN, where=place)
    return letters, int(parts[0][0]) - 1
