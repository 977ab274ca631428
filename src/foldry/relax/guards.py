"""Two energies beside Amber's, which keep Cα left-handed and peptides flat while clashes go.

Amber alone lets a distorted chain end with D-amino acids and twisted peptides: both are minima that
no minimisation leaves again. Both energies are zero where a structure is sound.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from foldry.relax.atoms import FullModel
from foldry.residues import CA, CB, C, N
from foldry.score.stereochemistry import CIS
from foldry.score.torsions import structure_torsions

FLATTEST: Final = 20.0
"""Degrees that the dihedral of N, C, Cβ and Cα, −33 in an L-amino acid, may come near to zero."""
LEAST_OMEGA: Final = 165.0
"""Degrees from which on a peptide is flat enough."""
_HAND_STRENGTH: Final = 5000.0
"""kJ/mol/rad²."""
_PLANE_STRENGTH: Final = 2000.0
"""kJ/mol."""


def left_hands(model: FullModel) -> Any:
    """OpenMM's force that makes each Cα with a Cβ that of an L-amino acid."""
    import openmm  # noqa: PLC0415

    force = openmm.CustomTorsionForce(
        f"{_HAND_STRENGTH} * max(0, theta + {np.radians(FLATTEST)})^2"
    )
    place = _places(model)
    for row in np.unique(model.row).tolist():
        if (row, CB) in place:
            force.addTorsion(*(place[row, slot] for slot in (N, C, CB, CA)))
    return force


def flat_peptides(model: FullModel) -> Any:
    """OpenMM's force that makes trans what is not a cis peptide in the model."""
    import openmm  # noqa: PLC0415

    force = openmm.CustomTorsionForce(
        f"{_PLANE_STRENGTH} * max(0, cos(theta) - {np.cos(np.radians(LEAST_OMEGA))})^2"
    )
    place = _places(model)
    is_cis = np.abs(structure_torsions(model.structure).omega) < CIS
    for one, other in model.topology.bonds():
        row, after = sorted((int(one.residue.id), int(other.residue.id)))
        if {one.name, other.name} == {"C", "N"} and row != after and not is_cis[after]:
            ends = ((row, CA), (row, C), (after, N), (after, CA))
            force.addTorsion(*(place[end] for end in ends))
    return force


def _places(model: FullModel) -> dict[tuple[int, int], int]:
    """Each heavy atom's number, by its residue and its slot."""
    atoms = zip(model.row.tolist(), model.slot.tolist(), strict=True)
    return {atom: number for number, atom in enumerate(atoms)}
