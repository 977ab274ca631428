"""hhr: what HHsearch found."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

import numpy as np

from foldry.errors import InputError
from foldry.query import Hit

_HIT: Final = re.compile(
    r"\s*\n>(?P<title>(?P<name>\S+).*)\nProbab=(?P<probability>[\d.]+)\s+E-value=(?P<e_value>[\d.+-eE]+)"
    r".*\sAligned_cols=(?P<columns>\d+)\s+Identities=(?P<identity>\d+)%.*"
    r"\sSum_probs=(?P<sum_probs>inf|\d+(?:\.\d*)?)"
)
_ROW: Final = (
    r"^{} (?!Consensus|ss_dssp|ss_pred|ss_conf|sa_dssp).{{14}}"
    r"\s*(\d+)\s+([A-Za-z-]+)\s+(\d+) \(\d+\)"
)


@dataclass(frozen=True)
class HhrRecord:
    """One hit of an hhr file; a column of its alignment is a query letter over a template letter.

    Attributes:
        hit: Without structure; its pairs count the template's aligned residues from 0.
        title: What stands after `>`.
        sum_probs: Sum of the columns' posterior probabilities.
        query, template: The aligned letters, `-` for a gap.
        begins: Numbers of the first residues of both, from 0.
    """

    hit: Hit
    title: str
    sum_probs: float
    query: str
    template: str
    begins: tuple[int, int]


def parse_hhr(text: str, source: str = "the hhr text") -> list[HhrRecord]:
    """The hits of an hhr text, in its order.

    Raises:
        InputError: A hit is incomplete, or its two rows do not match.
    """
    blocks = re.split(r"^No \d+(?=\s*$)", text, flags=re.MULTILINE)[1:]
    return [_record(block, f"{source}, hit {i}") for i, block in enumerate(blocks, start=1)]


def _record(block: str, place: str) -> HhrRecord:
    found = _HIT.match(block)
    if found is None:
        raise InputError("is a hit without its title and scores", "run HHsearch again", where=place)
    (query, first), (template, begin) = (_row(block, label, place) for label in "QT")
    there = [np.array(list(row)) != "-" for row in (query, template)]
    both = there[0] & there[1] if len(query) == len(template) else np.zeros(0, bool)
    if both.sum() != int(found["columns"]):
        raise InputError("is a hit whose two rows do not match", "run HHsearch again", where=place)
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
    """The letters of the query's (`Q`) or the template's (`T`) row, and its first residue."""
    parts = re.findall(_ROW.format(label), block, flags=re.MULTILINE)
    letters = "".join(part for _, part, _ in parts)
    if not parts or int(parts[-1][2]) - int(parts[0][0]) + 1 != len(letters) - letters.count("-"):
        raise InputError(f"has no whole row {label}", "run HHsearch again", where=place)
    return letters, int(parts[0][0]) - 1
