"""A small real protein, and ways to damage it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foldry.formats.coordinates import read_structure
from foldry.residues import ATOM37_ORDER
from foldry.structure import Structure

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="session")
def kunitz() -> Structure:
    """The Kunitz domain's first model."""
    return read_structure(EXAMPLES / "kunitz" / "1adz.cif")


@pytest.fixture(scope="session")
def hairpin(kunitz: Structure) -> Structure:
    """Residues 17 to 36 of it, a β-hairpin, with a different pLDDT in each residue."""
    part = kunitz.select(np.arange(16, 36), "hairpin")
    plddt = np.linspace(50, 90, len(part))[:, None]
    mask = part.atom_mask.copy()
    mask[:, ATOM37_ORDER["OXT"]] = False
    return replace(part, b_factor=plddt * mask, atom_mask=mask)


def moved(structure: Structure, rows: object, shift: object) -> Structure:
    """The structure with all atoms of some residues shifted, Å."""
    xyz = structure.atom_positions.copy()
    xyz[rows] += np.asarray(shift)
    return replace(structure, atom_positions=xyz * structure.atom_mask[..., None])


def without(structure: Structure, rows: object, slots: object) -> Structure:
    """The structure without some atoms of some residues."""
    mask = structure.atom_mask.copy()
    mask[np.ix_(np.atleast_1d(rows), np.atleast_1d(slots))] = False
    return replace(
        structure,
        atom_mask=mask,
        atom_positions=structure.atom_positions * mask[..., None],
        b_factor=structure.b_factor * mask,
    )
