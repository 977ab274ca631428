"""Local alignment with affine gaps (Gotoh 1982), in BLOSUM62 scores or those of a profile.

BLAST measured λ and K of gapped alignments with these gap costs (Altschul et al. 1997). They also
hold for profiles in the units of BLOSUM62.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float, Int

GAP_OPEN: Final = 11
"""Cost of the first residue of a gap."""
GAP_EXTEND: Final = 1
_GAPPED_LAMBDA: Final = 0.267
_GAPPED_K: Final = 0.041

# Henikoff & Henikoff 1992, half-bits, in the order ARNDCQEGHILKMFPSTWYV.
_BLOSUM62_ROWS: Final = """
4
-1 5
-2 0 6
-2 -2 1 6
0 -3 -3 -3 9
-1 1 0 0 -3 5
-1 0 0 2 -4 2 5
0 -2 0 -1 -3 -2 -2 6
-2 0 1 -1 -3 0 0 -2 8
-1 -3 -3 -3 -1 -3 -3 -4 -3 4
-1 -2 -3 -4 -1 -2 -3 -4 -3 2 4
-1 2 0 -1 -3 1 1 -2 -1 -3 -2 5
-1 -1 -2 -3 -1 0 -2 -3 -2 1 2 -1 5
-2 -3 -3 -3 -2 -3 -3 -3 -1 0 0 -3 0 6
-1 -2 -2 -1 -3 -1 -1 -2 -2 -3 -3 -1 -2 -4 7
1 -1 1 0 -1 0 0 0 -1 -2 -2 0 -1 -2 -1 4
0 -1 0 -1 -1 -1 -1 -2 -2 -1 -1 -1 -1 -2 -1 1 5
-3 -3 -4 -4 -2 -2 -3 -2 -2 -3 -2 -3 -1 1 -4 -3 -2 11
-2 -2 -2 -3 -2 -1 -2 -3 2 -1 -1 -2 -1 3 -3 -2 -2 2 7
0 -3 -3 -3 -1 -2 -2 -3 -3 3 1 -2 1 -1 -2 -2 0 -3 -1 4
"""
_PARTS: Final = 1024
_DIAGONAL, _DOWN, _RIGHT, _DOWN_GOES_ON, _RIGHT_GOES_ON = 1, 2, 3, 4, 8
_WHERE_FROM: Final = 3


def _blosum62() -> Float[np.ndarray, "21 21"]:
    table = np.full((21, 21), -1.0)
    for code, row in enumerate(_BLOSUM62_ROWS.split("\n")[1:-1]):
        table[code, : code + 1] = table[: code + 1, code] = [int(score) for score in row.split()]
    return table


BLOSUM62: Final = _blosum62()
"""Substitution scores, 20 for X, which scores −1 with everything."""


@dataclass(frozen=True)
class LocalAlignment:
    """The best local alignment of a query and a template.

    Attributes:
        score: Score in half-bits; 0 if the alignment is empty.
        pairs: Pairs (query residue, template residue), counted from 0, ascending.
    """

    score: float
    pairs: Int[np.ndarray, "P 2"]


def align_local(query: Int[np.ndarray, " N"], template: Int[np.ndarray, " M"]) -> LocalAlignment:
    """Return the local alignment of two sequences (codes) with the highest BLOSUM62 score.

    Example:
        >>> align_local(np.array([0, 1, 2, 3]), np.array([1, 2, 3])).pairs.tolist()
        [[1, 0], [2, 1], [3, 2]]
    """
    return align_scored(BLOSUM62[query], template)


def align_scored(
    scores: Float[np.ndarray, "N 21"], template: Int[np.ndarray, " M"]
) -> LocalAlignment:
    """Return the local alignment of a query and a template (codes) with the highest score.

    Smith & Waterman 1981 with the affine gaps of Gotoh 1982, computed row by row.

    Args:
        scores: Score of each amino acid and X at each residue of the query, half-bits.
        template: Codes of the template.
    """
    # Sums of multiples of a power of 2 are exact, so paths of equal score compare as equal.
    scores = np.rint(scores * _PARTS) / _PARTS
    columns = np.arange(len(template) + 1.0)
    moves = np.zeros((len(scores) + 1, len(template) + 1), np.uint8)
    above = np.zeros_like(columns)
    down = np.full_like(columns, -GAP_OPEN)
    score, end = 0.0, (0, 0)
    for row, substitution in enumerate(scores[:, template], start=1):
        down_goes_on = down - GAP_EXTEND > above - GAP_OPEN
        down = np.maximum(down - GAP_EXTEND, above - GAP_OPEN)
        diagonal = np.concatenate([[0], above[:-1] + substitution])
        cells = np.maximum(np.maximum(diagonal, down), 0)
        # A gap to the right is never best if it starts in another such gap: one running maximum
        # finds all of them.
        openings = np.maximum.accumulate(cells + GAP_EXTEND * columns)
        right = np.concatenate([[-GAP_OPEN], openings[:-1] - GAP_EXTEND * columns[:-1] - GAP_OPEN])
        right_goes_on = right > np.concatenate([[0], cells[:-1]]) - GAP_OPEN
        best = np.maximum(cells, right)
        moves[row] = np.select(
            [best == 0, best == diagonal, best == down], [0, _DIAGONAL, _DOWN], _RIGHT
        )
        moves[row] |= down_goes_on * np.uint8(_DOWN_GOES_ON)
        moves[row] |= right_goes_on * np.uint8(_RIGHT_GOES_ON)
        if best.max() > score:
            score, end = float(best.max()), (row, int(best.argmax()))
        above = best
    return LocalAlignment(score, _trace(moves, *end))


def e_value(score: float, length: int, size: int) -> float:
    """Return the expected number of alignments with at least this score of unrelated sequences.

    K m n exp(−λ S), Karlin & Altschul 1990.

    Args:
        score: Score of a local alignment, half-bits.
        length: Number of residues of the query, m.
        size: Number of residues with which it was aligned, n.
    """
    return _GAPPED_K * length * size * math.exp(-_GAPPED_LAMBDA * score)


def _trace(moves: np.ndarray, row: int, column: int) -> Int[np.ndarray, "P 2"]:
    """Follow the moves from the end of the alignment to its start."""
    pairs = []
    while move := moves[row, column] & _WHERE_FROM:
        if move == _DIAGONAL:
            row, column = row - 1, column - 1
            pairs.append((row, column))
        elif move == _DOWN:
            while moves[row, column] & _DOWN_GOES_ON:
                row -= 1
            row -= 1
        else:
            while moves[row, column] & _RIGHT_GOES_ON:
                column -= 1
            column -= 1
    return np.array(pairs[::-1], np.int64).reshape(-1, 2)
