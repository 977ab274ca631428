"""Restraints of side-chain torsion angles, which keep side chains in a rotamer.

Where atoms clash, positions say little about a side chain: pushed aside by its neighbours, it ends
in any rotamer. An uncertain network also predicts the mean of two rotamers (chi1 near −92°, between
−65° and 180°), from which a small push leads to either.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float

from foldry.relax.atoms import FullModel
from foldry.relax.expressions import TORSION, force_of_four
from foldry.residues import CHI_ATOM_INDICES, RESTYPE_ORDER
from foldry.score.torsions import angle_difference, structure_torsions
from foldry.structure import Structure

_STAGGERED: Final = np.array([-65.0, 62.0, 180.0])
"""Chi1 of the rotamers, degrees (Lovell et al., Proteins 2000, 40, 389)."""
_PROLINE: Final = RESTYPE_ORDER["P"]


def wanted_chi(structure: Structure, violating: Bool[np.ndarray, " N"]) -> Float[np.ndarray, "N 4"]:
    """Return the chi angles to restrain to, in degrees; NaN if an atom is missing.

    They are the structure's own, except for chi1 of violating residues other than proline, which
    becomes that of the nearest rotamer: −65°, 62° or 180°.
    """
    chi = structure_torsions(structure).chi.copy()
    to_rotamer = violating & np.isfinite(chi[:, 0]) & (structure.aatype != _PROLINE)
    apart = angle_difference(*np.broadcast_arrays(chi[to_rotamer, :1], _STAGGERED))
    chi[to_rotamer, 0] = _STAGGERED[apart.argmin(axis=1)]
    return chi


def hold_chi(model: FullModel, violating: Bool[np.ndarray, " N"], stiffness: float) -> Any:
    """Return OpenMM's force k (1 − cos(chi − wanted chi)), with k = `stiffness` in kJ/mol."""
    energy = f"{stiffness} * (1 - cosine * cos(wanted) - sine * sin(wanted))"
    force = force_of_four(energy, TORSION)
    force.addPerBondParameter("wanted")
    place = model.places()
    wanted = np.radians(wanted_chi(model.structure, violating))
    for row in np.unique(model.row).tolist():
        code = model.structure.aatype[row]
        for number in np.flatnonzero(np.isfinite(wanted[row])).tolist():
            atoms = [place[row, slot] for slot in CHI_ATOM_INDICES[code, number].tolist()]
            force.addBond(atoms, [float(wanted[row, number])])
    return force
