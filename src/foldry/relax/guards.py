"""Two energies beside Amber's, which keep Cα left-handed and peptides flat while clashes go.

Amber alone lets a distorted chain end with D-amino acids and twisted peptides: both are minima that
no minimisation leaves again. Both energies are zero where a structure is sound, and smooth: a
dihedral's own gradient has a pole where three atoms lie in a line, and minimisation ends there.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from foldry.relax.atoms import FullModel
from foldry.residues import CA, CB, C, N
from foldry.score.stereochemistry import CIS
from foldry.score.torsions import structure_torsions

STRENGTH: Final = 2000.0
"""kJ/mol where a Cα lies in the plane of its neighbours, or a peptide half way to cis."""
_SPANNED: Final = 0.0026
"""nm³: what N, C and Cβ span as seen from the Cα of an L-amino acid, (N × C) · Cβ."""
_SOFTENED: Final = 4e-6
"""nm⁴ beside the squares of a peptide's normals Cα→C × C→N and C→N × N→Cα, 3.1e-4, under the root
in the cosine between them: where a normal vanishes the cosine is then 0 and not undefined."""
_FLAT: Final = 0.955
"""What of a trans peptide's −0.99 is enough: 165°."""


def left_hands(model: FullModel) -> Any:
    """OpenMM's force that makes each Cα with a Cβ that of an L-amino acid."""
    force = _force(
        f"max(0, 0.7 - v / {_SPANNED})^2",
        "v = ax*(by*cz - bz*cy) + ay*(bz*cx - bx*cz) + az*(bx*cy - by*cx)",
        *(_difference(name, end, 1) for name, end in (("a", 2), ("b", 3), ("c", 4))),
    )
    place = _places(model)
    for row in np.unique(model.row).tolist():
        if (row, CB) in place:
            force.addBond([place[row, slot] for slot in (CA, N, C, CB)])
    return force


def flat_peptides(model: FullModel) -> Any:
    """OpenMM's force that makes trans what is not a cis peptide in the model."""
    force = _force(
        f"max(0, {_FLAT} + (ab*bc - ac*bb) / sqrt(one * other))^2",
        f"one = aa*bb - ab*ab + {_SOFTENED}; other = bb*cc - bc*bc + {_SOFTENED}",
        *(_product(one, other) for one, other in ("aa", "bb", "cc", "ab", "bc", "ac")),
        *(_difference(name, end, end - 1) for name, end in (("a", 2), ("b", 3), ("c", 4))),
    )
    place = _places(model)
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


def _places(model: FullModel) -> dict[tuple[int, int], int]:
    """Each heavy atom's number, by its residue and its slot."""
    atoms = zip(model.row.tolist(), model.slot.tolist(), strict=True)
    return {atom: number for number, atom in enumerate(atoms)}
