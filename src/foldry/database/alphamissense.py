"""Scores of single substitutions by AlphaMissense: read, packed, and written as AlphaFold DB does.

A protein of N residues has 19 N substitutions, each with a pathogenicity (0–1, four decimals) and a
class. They take about 30 bytes per residue; the table of AlphaFold DB takes 320.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import UInt8, UInt16

from foldry.store.hashes import Content
from foldry.store.objects import ZLIB

ALPHABET: Final = "ACDEFGHIKLMNPQRSTVWY"
CLASSES: Final = ("LBen", "Amb", "LPath")
"""Names of likely benign, ambiguous and likely pathogenic in AlphaFold DB's tables."""
_ALSO: Final = {
    "likely_benign": "LBen",
    "benign": "LBen",
    "ambiguous": "Amb",
    "likely_pathogenic": "LPath",
    "pathogenic": "LPath",
}
_STEP: Final = 10_000
_NO_SCORE: Final = 65535
_NO_CLASS: Final = 255
_HEADER: Final = "protein_variant,am_pathogenicity,am_class\n"


@dataclass(frozen=True, eq=False)
class Substitutions(Content):
    """Scores of the substitutions of one protein.

    Attributes:
        sequence: The protein's sequence.
        scores: Pathogenicity in steps of 0.0001 by residue and letter of `ALPHABET`; 65535 if
            unknown.
        classes: Places in `CLASSES`; 255 if unknown.
    """

    sequence: str
    scores: UInt16[np.ndarray, "N 20"]
    classes: UInt8[np.ndarray, "N 20"]


def no_substitutions(sequence: str) -> Substitutions:
    """Return the table of a protein without scores, to be filled by `put`."""
    shape = len(sequence), len(ALPHABET)
    scores = np.full(shape, _NO_SCORE, np.uint16)
    return Substitutions(sequence, scores, np.full(shape, _NO_CLASS, np.uint8))


def put(table: Substitutions, variant: str, score: str, kind: str) -> None:
    """Enter one row of AlphaMissense's tables.

    Args:
        table: The table.
        variant: The substitution, e.g. `M1A`.
        score: Its pathogenicity, 0–1.
        kind: Its class, as AlphaFold DB or AlphaMissense name it.

    Raises:
        ValueError: The row is not valid, or the letter is another one in the sequence.
    """
    old, new, digits = variant[:1], variant[-1:], variant[1:-1]
    if not (digits.isdecimal() and digits.isascii() and len(digits) < 7 and new in ALPHABET):
        raise ValueError("is not a substitution, e.g. M1A")
    place = int(digits) - 1
    if not 0 <= place < len(table.sequence):
        raise ValueError(f"is not one of the residues 1 to {len(table.sequence)}")
    if table.sequence[place] != old:
        raise ValueError(f"does not fit the sequence, in which it is {table.sequence[place]}")
    try:
        value = float(score)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise ValueError("has a pathogenicity that is not between 0 and 1")
    name = _ALSO.get(kind, kind)
    if name not in CLASSES:
        raise ValueError(f"has a class other than {', '.join(CLASSES)}")
    column = ALPHABET.index(new)
    table.scores[place, column] = round(value * _STEP)
    table.classes[place, column] = CLASSES.index(name)


def merged(old: Substitutions, new: Substitutions) -> Substitutions:
    """Return the scores of two tables of one sequence; where both have one, that of the new."""
    is_new = new.classes != _NO_CLASS
    scores = np.where(is_new, new.scores, old.scores)
    return Substitutions(old.sequence, scores, np.where(is_new, new.classes, old.classes))


def pack(table: Substitutions) -> bytes:
    """Return the scores and classes as compressed bytes."""
    scores = table.scores.astype("<u2").tobytes()
    return ZLIB.compress(scores[::2] + scores[1::2] + table.classes.tobytes())


def unpack(sequence: str, data: bytes) -> Substitutions:
    """Return the substitutions that `pack` has packed.

    Raises:
        ValueError: The bytes are damaged.
    """
    size = len(sequence) * len(ALPHABET)
    planes = np.frombuffer(ZLIB.decompress(data, 3 * size), np.uint8)
    if len(planes) != 3 * size:
        raise ValueError("the scores of substitutions are of another protein")
    low, high, classes = planes.reshape(3, len(sequence), len(ALPHABET))
    return Substitutions(sequence, low.astype(np.uint16) | high.astype(np.uint16) << 8, classes)


def to_csv(table: Substitutions) -> str:
    """Return the table as AlphaFold DB's file `AF-…-F1-aa-substitutions.csv`."""
    lines = [_HEADER]
    for place, column in zip(*np.nonzero(table.classes != _NO_CLASS), strict=True):
        score = int(table.scores[place, column]) / _STEP
        kind = CLASSES[table.classes[place, column]]
        lines.append(f"{table.sequence[place]}{place + 1}{ALPHABET[column]},{score},{kind}\n")
    return "".join(lines)
