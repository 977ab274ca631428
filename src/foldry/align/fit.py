"""Whether a template can be placed on a query: its pairs, its atoms, and the steps of its chain."""

from __future__ import annotations

from typing import Final

import numpy as np

from foldry.errors import InputError, quoted
from foldry.query import Hit
from foldry.residues import CA
from foldry.structure import Structure

MAX_CA_DISTANCE: Final = 150.0
"""Largest distance of consecutive Cα in a sound file, Å."""
MIN_ATOMS: Final = 5
"""An alanine has as many."""


def fitted_structure(length: int, hit: Hit) -> Structure:
    """Return the structure of a hit, checked to fit a query of this length, as AlphaFold does.

    Raises:
        InputError: The pairs are outside the query or template, it has too few atoms there, or
            consecutive residues of its chain are too far apart.
    """
    structure, place = hit.known_structure(), f"The template {quoted(hit.name)}"
    limits = length, len(structure)
    if (hit.pairs < 0).any() or (hit.pairs >= limits).any():
        raise InputError(
            "is aligned to a residue that does not exist",
            f"use 0 to {limits[0] - 1} in the query and 0 to {limits[1] - 1} in the template",
            where=place,
        )
    if structure.atom_mask[hit.pairs[:, 1]].sum() < MIN_ATOMS:
        what = "has no coordinates where it is aligned to the query"
        raise InputError(what, "remove it", where=place)
    known = structure.atom_mask[:, CA]
    steps = np.diff(structure.atom_positions[:, CA], axis=0)
    torn = (np.linalg.norm(steps, axis=-1) > MAX_CA_DISTANCE) & known[1:] & known[:-1]
    if torn.any():
        number = structure.residue_number[1:][torn][0]
        what = f"has residue {number} more than {MAX_CA_DISTANCE:.0f} Å from the previous one"
        raise InputError(what, "fix the file, or remove the template", where=place)
    return structure
