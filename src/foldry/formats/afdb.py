"""Confidence and PAE of a prediction as JSON, as the official program and AlphaFold DB write it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from jaxtyping import Float, Int, UInt

from foldry.errors import InputError

_MAX_ERROR: Final = 1000
"""Largest error of a file, Å; networks express at most 32 Å."""
_BLOCK: Final = 2**20
"""Number of values that are written at once."""
_HALF: Final = 1e-9
"""Largest distance to a half that the product of a number and 100 can have by rounding."""


@dataclass(frozen=True)
class Bands:
    """Categories of pLDDT.

    Attributes:
        letters: Their letters, from the lowest.
        starts: Where each but the lowest begins, 0–100.
    """

    letters: str
    starts: tuple[float, ...]


BANDS: Final = Bands("DLMH", (50, 70, 90))
"""Very low (disordered), low, medium (confident) and high confidence."""


@dataclass(frozen=True)
class PaeChain:
    """The rows of one chain in the errors of a complex.

    Attributes:
        name: Name of the chain for readers.
        label_asym_id: Name of the chain in the mmCIF file.
        start, end: First and last row, counted from 1.
    """

    name: str
    label_asym_id: str
    start: int
    end: int


def confidence_category(plddt: float) -> str:
    """Return the category of a pLDDT: D below 50, L below 70, M below 90, H up to 100.

    The letters stand for very low (disordered), low, medium (confident) and high confidence.

    Raises:
        InputError: The value is not between 0 and 100.

    Example:
        >>> confidence_category(70)
        'M'
    """
    return _categories(np.array([plddt], np.float64), BANDS)[0]


def confidence_json(plddt: Float[np.ndarray, " N"], bands: Bands = BANDS) -> str:
    """Return the JSON of pLDDT (0–100, two decimals) and category of each residue, counted from 1.

    Args:
        plddt: The pLDDT of each residue.
        bands: The categories.

    Raises:
        InputError: A value is not between 0 and 100.

    Example:
        >>> confidence_json(np.array([95.5, 49.0]))
        '{"residueNumber":[1,2],"confidenceScore":[95.5,49.0],"confidenceCategory":["H","D"]}'
    """
    values = plddt.astype(np.float64)
    categories = _compact(_categories(values, bands))
    numbers = _compact(list(range(1, len(values) + 1)))
    scaled = values * 100
    points = np.rint(scaled)
    # The product may be a half although the value is not: Python's rounding is exact.
    for place in np.flatnonzero(np.abs(np.abs(scaled - points) - 0.5) < _HALF):
        points[place] = round(100 * round(float(values[place]), 2))
    scores = _rows(points.astype(np.int64)[None], 2)
    return (
        f'{{"residueNumber":{numbers},"confidenceScore":[{scores}],'
        f'"confidenceCategory":{categories}}}'
    )


def pae_json(
    pae: Float[np.ndarray, "N N"],
    max_pae: float,
    decimals: int = 1,
    chains: Sequence[PaeChain] = (),
) -> str:
    """Return the JSON of the predicted aligned error, Å.

    Args:
        pae: Row i is aligned on residue i.
        max_pae: The largest error that the head of the model can express, Å.
        decimals: Number of decimals, at most 2. AlphaFold DB has whole numbers for single chains
            and two decimals for complexes, the official program has one.
        chains: The chains of a complex, which AlphaFold DB lists; empty to leave them out.

    Raises:
        InputError: The matrix is not square, or an error is negative or larger than 1000 Å.

    Example:
        >>> pae_json(np.array([[0.25, 3.0], [4.75, 0.0]]), 31.75, decimals=0)
        '[{"predicted_aligned_error":[[0,3],[5,0]],"max_predicted_aligned_error":31.75}]'
    """
    if pae.ndim != 2 or pae.shape[0] != pae.shape[1]:
        raise InputError(f"A PAE matrix of shape {pae.shape} is not square", "give N by N errors")
    if not ((pae >= 0) & (pae <= _MAX_ERROR)).all():
        what = f"A predicted aligned error is not between 0 and {_MAX_ERROR} Å"
        raise InputError(what, "check the prediction")
    points = np.rint(pae.astype(np.float64) * 10**decimals).astype(np.int64)
    matrix = f"[{_rows(points, decimals)}]" if len(pae) else ""
    others: dict[str, object] = {"max_predicted_aligned_error": max_pae}
    if chains:
        others["chains"] = [
            {
                "name": chain.name,
                "label_asym_id": chain.label_asym_id,
                "sequenceStart": chain.start,
                "sequenceEnd": chain.end,
            }
            for chain in chains
        ]
    return f'[{{"predicted_aligned_error":[{matrix}],{_compact(others)[1:]}]'


def _categories(values: Float[np.ndarray, " N"], bands: Bands) -> list[str]:
    """Return the category of each pLDDT."""
    wrong = values[~((values >= 0) & (values <= 100))]
    if len(wrong):
        raise InputError(f"pLDDT {wrong[0]} is not between 0 and 100", "give per-residue pLDDT")
    found = np.searchsorted(bands.starts, values, side="right")
    return list(map(bands.letters.__getitem__, found.tolist()))


def _rows(points: Int[np.ndarray, "R C"], decimals: int) -> str:
    """Return the text of rows of numbers, in units of the last decimal, with `],[` between rows.

    Each number is looked up as bytes of fixed width, with zeros at its end, which are removed.
    """
    numbers, last_numbers = _numbers(decimals, int(points.max(initial=0)).bit_length())
    step = max(1, _BLOCK // max(points.shape[1], 1))
    parts = []
    for start in range(0, len(points), step):
        block = points[start : start + step]
        text = numbers.take(block)
        text[:, -1:] = last_numbers.take(block[:, -1:])
        parts.append(text.tobytes().translate(None, b"\0").replace(b"\n", b"],["))
    return b"".join(parts).removesuffix(b"],[").decode()


@lru_cache(8)
def _numbers(decimals: int, num_bits: int) -> UInt[np.ndarray, "2 words"]:
    """Return the texts of numbers below 2^bits with a comma, and with a line break, as integers."""
    unit = 10**decimals
    texts = [str(each) if decimals == 0 else str(each / unit) for each in range(2**num_bits)]
    words = np.array([[f"{text}{end}".encode() for text in texts] for end in ",\n"])
    width = 4 if words.itemsize <= 4 else 8
    return words.astype(f"S{width}").view(f"u{width}")


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
