"""Conversion of a structure to all atoms that the force field needs, and back."""

from __future__ import annotations

import io
import random
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float, Int

from foldry.errors import InputError
from foldry.residues import ATOM37, ATOM37_MASK, ATOM37_ORDER, CA, CB, RESNAMES, UNKNOWN, C, N
from foldry.score.superpose import superpose
from foldry.score.torsions import bonded_to_next
from foldry.structure import Structure

_OXT: Final = ATOM37_ORDER["OXT"]
_ALANINE, _GLYCINE = RESNAMES.index("ALA"), RESNAMES.index("GLY")
_BACKBONE: Final = [N, CA, C]
_NOT_KEPT: Final = -1
_APART: Final = 7.6
"""Distance of consecutive Cα in Å, twice that of a peptide, beyond which a chain is broken."""


@dataclass(frozen=True)
class FullModel:
    """All M atoms of the residues that Amber can describe.

    Attributes:
        structure: The structure.
        topology: OpenMM's topology, in which each run of bonded residues is a chain.
        positions: Positions, Å.
        row: Residue of each atom in the structure.
        slot: atom37 slot of each atom; −1 for hydrogens and for an OXT added within a chain.
    """

    structure: Structure
    topology: Any
    positions: Float[np.ndarray, "M 3"]
    row: Int[np.ndarray, " M"]
    slot: Int[np.ndarray, " M"]

    @property
    def is_given(self) -> Bool[np.ndarray, " M"]:
        """Mask of the atoms that the structure has; PDBFixer or OpenMM added the others."""
        return np.asarray(self.structure.atom_mask[self.row, self.slot] & (self.slot != _NOT_KEPT))

    def places(self) -> dict[tuple[int, int], int]:
        """Return the index of each heavy atom by its residue and slot."""
        atoms = zip(self.row.tolist(), self.slot.tolist(), strict=True)
        return {atom: number for number, atom in enumerate(atoms)}

    def to_structure(self, positions: Float[np.ndarray, "M 3"]) -> Structure:
        """Return the structure with its atoms at these positions (Å) and with missing atoms added.

        Added atoms get the mean B-factor of their residue. Atoms that Amber does not describe
        (those of an unknown residue beyond CB, and an OXT within a chain) move with their backbone.
        """
        old = self.structure
        kept = self.slot != _NOT_KEPT
        kept &= self.is_given | (old.aatype[self.row] != UNKNOWN)
        row, slot = self.row[kept], self.slot[kept]
        mask, xyz = old.atom_mask.copy(), old.atom_positions.copy()
        b_factor = old.b_factor.copy()
        xyz[row, slot] = positions[kept]
        unseen = old.atom_mask.copy()
        unseen[row, slot] = False
        for each in np.intersect1d(row, np.flatnonzero(unseen.any(axis=1))):
            motion = superpose(old.atom_positions[each, _BACKBONE], xyz[each, _BACKBONE])
            xyz[each, unseen[each]] = motion.apply(old.atom_positions[each, unseen[each]])
        number = np.maximum(mask.sum(axis=1), 1)
        mean = (b_factor * mask).sum(axis=1) / number
        added = ~mask[row, slot]
        b_factor[row[added], slot[added]] = mean[row[added]]
        mask[row, slot] = True
        return replace(old, atom_positions=xyz, atom_mask=mask, b_factor=b_factor)


def complete(structure: Structure, platform: Any) -> FullModel:
    """Return all atoms that Amber needs: PDBFixer adds heavy atoms, OpenMM hydrogens (pH 7).

    Residues that lack N, CA or C, and those without a bonded neighbour, are left out: Amber has no
    parameters for a single amino acid. An unknown residue is treated as alanine, or as glycine if
    it has no CB. Cysteines whose SG are nearer than 3 Å form a disulfide bond.

    Raises:
        InputError: No residue is left, or two atoms have the same position.
    """
    from openmm import app, unit  # noqa: PLC0415
    from pdbfixer import PDBFixer  # noqa: PLC0415

    _check_apart(structure)
    runs = bonded_runs(structure)
    if not runs:
        what = "no two consecutive residues have N, CA and C"
        raise InputError(f"{what}, and Amber has no parameters for a single residue")
    topology, positions = _topology(structure, runs)
    text = io.StringIO()
    app.PDBxFile.writeFile(topology, positions * unit.angstrom, text, keepIds=True)
    text.seek(0)
    fixer = PDBFixer(pdbxfile=text, platform=platform)
    fixer.missingResidues = {}
    fixer.findMissingAtoms()
    fixer.addMissingAtoms(seed=0)
    modeller = app.Modeller(fixer.topology, fixer.positions)
    # OpenMM places new hydrogens with the global generator: seed it to get the same ones again.
    state = random.getstate()
    random.seed(0)
    try:
        modeller.addHydrogens(force_field(), platform=platform)
    finally:
        random.setstate(state)
    atoms = list(modeller.topology.atoms())
    chain_ends = np.append(structure.chain_id[1:] != structure.chain_id[:-1], True)
    ends = [rows[-1] for rows in runs if chain_ends[rows[-1]]]
    row = np.array([int(atom.residue.id) for atom in atoms])
    slot = np.array([ATOM37_ORDER.get(atom.name, _NOT_KEPT) for atom in atoms])
    slot[(slot == _OXT) & ~np.isin(row, ends)] = _NOT_KEPT
    # The text has rounded positions; restore the exact ones.
    xyz = np.array(modeller.positions.value_in_unit(unit.angstrom))
    full = FullModel(structure, modeller.topology, xyz, row, slot)
    given = full.is_given
    xyz[given] = structure.atom_positions[row[given], slot[given]]
    return full


def _check_apart(structure: Structure) -> None:
    """Refuse atoms at the same position, between which Amber's energy is not finite.

    Raises:
        InputError: Two atoms have the same position.
    """
    rows, slots = np.nonzero(structure.atom_mask)
    places = structure.atom_positions[rows, slots].round(3)
    _, first, number = np.unique(places, axis=0, return_index=True, return_counts=True)
    shared = first[number > 1]
    if shared.size:
        row, slot = rows[shared.min()], slots[shared.min()]
        residue = f"residue {structure.chain_id[row]} {structure.residue_number[row]}"
        what = f"another atom is at the position of {ATOM37[slot]} of {residue}"
        raise InputError(what, "remove one of them")


@cache
def force_field() -> Any:
    """Return Amber ff99SB (Hornak et al., Proteins 2006, 65, 712) in vacuum, as in AlphaFold."""
    from openmm import app  # noqa: PLC0415

    return app.ForceField("amber99sb.xml")


def bonded_runs(structure: Structure) -> list[Int[np.ndarray, " _"]]:
    """Return runs of two or more consecutive residues of a chain with N, CA and C, as rows."""
    usable = np.asarray(structure.atom_mask[:, _BACKBONE].all(axis=1))
    apart = np.linalg.norm(np.diff(structure.atom_positions[:, CA], axis=0), axis=1)
    joined = bonded_to_next(structure) & usable[1:] & usable[:-1] & (apart < _APART)
    runs = np.split(np.arange(len(structure)), np.flatnonzero(~joined) + 1)
    return [rows for rows in runs if len(rows) > 1]


def _topology(
    structure: Structure, runs: list[Int[np.ndarray, " _"]]
) -> tuple[Any, Float[np.ndarray, "M 3"]]:
    """Return OpenMM's topology and positions of the known atoms; a residue's id is its row."""
    from openmm import app  # noqa: PLC0415

    topology = app.Topology()
    positions = []
    for number, rows in enumerate(runs):
        chain = topology.addChain(str(number))
        for row in rows:
            code, mask = structure.aatype[row], structure.atom_mask[row]
            if code == UNKNOWN:
                code = _ALANINE if mask[CB] else _GLYCINE
            residue = topology.addResidue(RESNAMES[code], chain, str(row))
            known = mask & (ATOM37_MASK[code] > 0)
            known[_OXT] = mask[_OXT] and row == rows[-1]
            for slot in np.flatnonzero(known):
                element = app.Element.getBySymbol(ATOM37[slot][0])
                topology.addAtom(ATOM37[slot], element, residue)
                positions.append(structure.atom_positions[row, slot])
    return topology, np.array(positions)
