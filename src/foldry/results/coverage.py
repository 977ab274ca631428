"""The rows of an alignment as an image: where they cover the query, and how similar they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from jaxtyping import Float, Int, UInt8

from foldry.query import GAP_LETTER
from foldry.results.embedded import packed

MAX_COVERAGE_ROWS: Final = 400
"""Maximum rows of the coverage plot; of a deeper alignment, rows evenly spaced by identity."""


def coverage(maps: Sequence[UInt8[np.ndarray, "_ _"]]) -> dict[str, object] | None:
    """Return the data of the coverage plot, chains side by side; None for a single sequence.

    Args:
        maps: The `identity_map` of each chain.
    """
    depth = max(len(each) for each in maps)
    if depth < 2:
        return None
    cells = np.hstack([np.pad(each, ((0, depth - len(each)), (0, 0))) for each in maps])
    picked = evenly_spaced(depth, MAX_COVERAGE_ROWS)
    return {
        "depth": depth,
        "perResidue": (cells > 0).sum(axis=0).tolist(),
        "rows": len(picked),
        "cells": packed(cells[picked].tobytes()),
    }


def identity_map(
    query: str, alignments: Sequence[UInt8[np.ndarray, "_ N"]]
) -> UInt8[np.ndarray, "S N"]:
    """Return 0 for gaps and 1 + 254 × the row's identity to the query elsewhere.

    The most similar row comes first.
    """
    letters = np.vstack([np.zeros((0, len(query)), np.uint8), *alignments])
    identity = identities(query, letters)
    order = np.argsort(-identity, kind="stable")
    shade = np.rint(1 + 254 * identity).astype(np.uint8)
    return np.where(letters != GAP_LETTER, shade[:, None], np.uint8(0))[order]


def identities(query: str, letters: UInt8[np.ndarray, "S N"]) -> Float[np.ndarray, " S"]:
    """Return the share of each row's residues that equal the query's; 0 for a row of gaps."""
    covered = letters != GAP_LETTER
    equal = covered & (letters == np.frombuffer(query.encode("ascii"), np.uint8))
    found: np.ndarray = equal.sum(axis=1) / np.maximum(covered.sum(axis=1), 1)
    return found


def evenly_spaced(number: int, most: int) -> Int[np.ndarray, " K"]:
    """Return at most `most` of the indices below `number`, evenly spaced; 0 is one of them."""
    return np.linspace(0, number - 1, min(number, most)).round().astype(int)
