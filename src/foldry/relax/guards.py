"""Two guard energies, which keep Cα in the L configuration and peptides planar.

With Amber alone, a distorted chain can end with D-amino acids and twisted peptides: both are minima
that a minimisation does not leave. Both guards are zero for a sound structure.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from foldry.relax.atoms import FullModel
from foldry.relax.expressions import TORSION, VOLUME, force_of_four, vectors
from foldry.residues import CA, CB, C, N
from foldry.score.stereochemistry import CIS
from foldry.score.torsions import structure_torsions

HAND: Final = 2000.0
"""Scale of the energy of a Cα, kJ/mol."""
PEPTIDE: Final = 3500.0
"""Scale of the energy of a peptide, kJ/mol. In models full of clashes, 2000 leaves twice as many
twisted, and with 5000 more O and N of neighbours clash."""
_SPANNED: Final = 0.0026
"""Volume (N × C) · Cβ spanned by N, C and Cβ as seen from the Cα of an L-amino acid, nm³."""
_FLAT: Final = 0.955
"""Negative cosine of the angle between the normals from which a peptide counts as trans (165°); a
planar peptide has 0.99."""


def left_hands(model: FullModel) -> Any:
    """Return OpenMM's force that gives each Cα with a Cβ the L configuration."""
    force = force_of_four(f"{HAND} * max(0, 0.7 - volume / {_SPANNED})^2", VOLUME, vectors(1, 1, 1))
    place = model.places()
    for row in np.unique(model.row).tolist():
        if (row, CB) in place:
            force.addBond([place[row, slot] for slot in (CA, N, C, CB)])
    return force


def flat_peptides(model: FullModel) -> Any:
    """Return OpenMM's force that makes every peptide trans unless it is cis in the model."""
    force = force_of_four(f"{PEPTIDE} * max(0, {_FLAT} + cosine)^2", TORSION)
    place = model.places()
    is_cis = np.abs(structure_torsions(model.structure).omega) < CIS
    for one, other in model.topology.bonds():
        row, after = sorted((int(one.residue.id), int(other.residue.id)))
        if {one.name, other.name} == {"C", "N"} and row != after and not is_cis[after]:
            ends = ((row, CA), (row, C), (after, N), (after, CA))
            force.addBond([place[end] for end in ends])
    return force
