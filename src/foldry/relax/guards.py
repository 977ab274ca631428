"""Two guard energies, which keep Cα in the L configuration and peptides planar.

With Amber alone, a distorted chain can end with D-amino acids and twisted peptides: both are minima
that a minimisation does not leave. Both guards are zero for a sound structure. They use products of
vectors instead of dihedral angles, because the gradient of a dihedral has a pole where three atoms
are in a line, and the minimisation would stop there.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from foldry.relax.atoms import FullModel
from foldry.residues import CA, CB, C, N
from foldry.score.stereochemistry import CIS
from foldry.score.torsions import structure_torsions

STRENGTH: Final = 2000.0
"""Scale of both energies, kJ/mol."""
_SPANNED: Final = 0.0026
"""Volume (N × C) · Cβ spanned by N, C and Cβ as seen from the Cα of an L-amino acid, nm³."""
_SOFTENED: Final = 4e-6
"""Term in nm⁴ added to the squared lengths (3.1e-4) of a peptide's normals Cα→C × C→N and
C→N × N→Cα, so that the cosine between them is 0 instead of undefined if a normal vanishes."""
_FLAT: Final = 0.955
"""Negative cosine of the angle between the normals from which a peptide counts as trans (165°); a
planar peptide has 0.99."""


def left_hands(model: FullModel) -> Any:
    """Return OpenMM's force that gives each Cα with a Cβ the L configuration."""
    force = _force(
        f"max(0, 0.7 - v / {_SPANNED})^2",
        "v = ax*(by*cz - bz*cy) + ay*(bz*cx - bx*cz) + az*(bx*cy - by*cx)",
        *(_difference(name, end, 1) for name, end in (("a", 2), ("b", 3), ("c", 4))),
    )
    place = model.places()
    for row in np.unique(model.row).tolist():
        if (row, CB) in place:
            force.addBond([place[row, slot] for slot in (CA, N, C, CB)])
    return force


def flat_peptides(model: FullModel) -> Any:
    """Return OpenMM's force that makes every peptide trans unless it is cis in the model."""
    force = _force(
        f"max(0, {_FLAT} + (ab*bc - ac*bb) / sqrt(one * other))^2",
        f"one = aa*bb - ab*ab + {_SOFTENED}; other = bb*cc - bc*bc + {_SOFTENED}",
        *(_product(one, other) for one, other in ("aa", "bb", "cc", "ab", "bc", "ac")),
        *(_difference(name, end, end - 1) for name, end in (("a", 2), ("b", 3), ("c", 4))),
    )
    place = model.places()
    is_cis = np.abs(structure_torsions(model.structure).omega) < CIS
    for one, other in model.topology.bonds():
        row, after = sorted((int(one.residue.id), int(other.residue.id)))
        if {one.name, other.name} == {"C", "N"} and row != after and not is_cis[after]:
            ends = ((row, CA), (row, C), (after, N), (after, CA))
            force.addBond([place[end] for end in ends])
    return force


def _force(energy: str, *terms: str) -> Any:
    import openmm  # noqa: PLC0415

    return openmm.CustomCompoundBondForce(4, f"{STRENGTH} * {'; '.join([energy, *terms])}")


def _difference(name: str, end: int, start: int) -> str:
    return "; ".join(f"{name}{axis} = {axis}{end} - {axis}{start}" for axis in "xyz")


def _product(one: str, other: str) -> str:
    terms = " + ".join(f"{one}{axis}*{other}{axis}" for axis in "xyz")
    return f"{one}{other} = {terms}"
