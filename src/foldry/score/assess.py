"""Everything that can be told of one model, with a reference or without."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from foldry.errors import InputError
from foldry.formats.chains import read_named
from foldry.score.report import Scores, compare
from foldry.structure import Structure

MAX_RESIDUES: Final = 50_000
"""More than any deposited assembly but capsids; a million atoms are 125,000 residues."""
_CELL: Final = 15.0
_MAX_CROWDING: Final = 1e9
"""Sum of squared numbers of atoms in cells of 15 Å, half the distances that are to be judged. A
protein of 50,000 residues has 1e8."""


@dataclass(frozen=True)
class ScoreSettings:
    """What the user of `foldry score` may choose.

    Attributes:
        align: Match residues by sequence alignment instead of by number.
    """

    align: bool = False


@dataclass(frozen=True)
class Assessment:
    """What is known of one model.

    Attributes:
        scores: How well it agrees with the reference.
    """

    scores: Scores


def score_files(model: str, reference: str, settings: ScoreSettings) -> Assessment:
    """Reads two files, or chains of them (`FILE:A,B`), and assesses the first by the second.

    Raises:
        InputError: As `assess`, or a file is no structure.
    """
    return assess(read_named(model), read_named(reference), settings)


def assess(model: Structure, reference: Structure, settings: ScoreSettings) -> Assessment:
    """Everything of a model.

    Raises:
        InputError: A structure is too large, or nothing of the two belongs together.
    """
    for structure in (model, reference):
        _check_size(structure)
    return Assessment(compare(model, reference, settings.align))


def _check_size(structure: Structure) -> None:
    if len(structure) > MAX_RESIDUES:
        raise InputError(
            f"{structure.name!r} has {len(structure)} residues and the limit is {MAX_RESIDUES}: "
            "choose chains of it as FILE:CHAIN,CHAIN."
        )
    points = structure.atom_positions[structure.atom_mask]
    cells = np.floor(points / _CELL)
    _, counts = np.unique(cells[np.isfinite(cells).all(axis=1)], axis=0, return_counts=True)
    if (counts.astype(np.float64) ** 2).sum() > _MAX_CROWDING:
        raise InputError(
            f"The {len(points)} atoms of {structure.name!r} lie nearly all in one place: check the "
            "coordinates."
        )
