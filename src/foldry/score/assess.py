"""Everything that can be told of one model, with a reference or without."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float

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
        model, reference: What was read.
        scores: How well the model agrees with the reference.
        plddt: The model's confidence in each of its residues, 0–100; None if it is no prediction.
    """

    model: Structure
    reference: Structure
    scores: Scores
    plddt: Float[np.ndarray, " N"] | None


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
    return Assessment(model, reference, compare(model, reference, settings.align), plddt_of(model))


def plddt_of(structure: Structure) -> Float[np.ndarray, " N"] | None:
    """pLDDT of each residue, or None where the B factors are none.

    They are taken for pLDDT where all atoms of a residue share one value, as AlphaFold writes it,
    from 0 to 100 and not the same everywhere. Values up to 1 are shares of 100, as ESMFold's.
    """
    mask, values = structure.atom_mask, structure.b_factor
    lowest = np.where(mask, values, np.inf).min(axis=1)
    highest = np.where(mask, values, -np.inf).max(axis=1)
    one_each = (mask.sum(axis=1) > 1).any() and (lowest == highest).all()
    if not one_each or not 0 <= highest.min() < highest.max() <= 100:
        return None
    return np.asarray(highest * (100 if highest.max() <= 1 else 1))


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
