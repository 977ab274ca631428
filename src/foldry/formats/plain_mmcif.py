"""Structure → mmCIF with atoms and sequences only, also where the PDB format has no room."""

from __future__ import annotations

from dataclasses import replace

import gemmi
import numpy as np

from foldry.errors import check_type
from foldry.formats.sequence import chain_names
from foldry.residues import ATOM37, RESNAMES
from foldry.structure import STRUCTURE_ADVICE, Structure


def to_mmcif(structure: Structure) -> str:
    """Return the mmCIF text of a structure: Å with 3 decimals, B factors with 2.

    Example:
        >>> from foldry.formats.coordinates import parse_structure, read_structure
        >>> model = read_structure("examples/kunitz/1adz.cif")
        >>> parse_structure(to_mmcif(model).encode(), "model.cif").sequence == model.sequence
        True
    """
    check_type(structure, Structure, "a structure", STRUCTURE_ADVICE)
    rounded = replace(structure, b_factor=np.round(structure.b_factor, 2))
    return str(mmcif_document(rounded).as_string())


def mmcif_document(structure: Structure) -> gemmi.cif.Document:
    """Return the chains of a structure with their names and numbers; B in single precision.

    The sequence of a chain includes its residues without atoms. Equal chains share an entity.
    """
    model, subchains = gemmi.Model(1), dict[tuple[str, ...], list[str]]()
    names = structure.chains
    labels = names if all(map(str.isalnum, names)) else chain_names(len(names))
    for name, asym in zip(names, labels, strict=True):
        rows = np.flatnonzero(structure.chain_id == name).tolist()
        sequence = tuple(RESNAMES[structure.aatype[row]] for row in rows)
        subchains.setdefault(sequence, []).append(asym)
        chain, entity_id = gemmi.Chain(name), str(list(subchains).index(sequence) + 1)
        for number, row in enumerate(rows, start=1):
            if structure.atom_mask[row].any():
                residue = _residue(structure, row)
                residue.label_seq, residue.subchain, residue.entity_id = number, asym, entity_id
                chain.add_residue(residue)
        model.add_chain(chain)
    written = gemmi.Structure()
    written.name = structure.name
    written.add_model(model)
    for number, (sequence, copies) in enumerate(subchains.items(), start=1):
        entity = gemmi.Entity(str(number))
        entity.entity_type = gemmi.EntityType.Polymer
        entity.polymer_type = gemmi.PolymerType.PeptideL
        entity.subchains, entity.full_sequence = copies, list(sequence)
        written.entities.append(entity)
    groups = gemmi.MmcifOutputGroups(True)
    groups.cell = groups.symmetry = False
    return written.make_mmcif_document(groups)


def _residue(structure: Structure, row: int) -> gemmi.Residue:
    """Return one residue with its atoms."""
    residue = gemmi.Residue()
    residue.name = RESNAMES[structure.aatype[row]]
    code = str(structure.insertion_code[row]) or " "
    residue.seqid = gemmi.SeqId(int(structure.residue_number[row]), code)
    places = np.round(structure.atom_positions[row].astype(float), 3).tolist()
    for slot in np.flatnonzero(structure.atom_mask[row]).tolist():
        atom = gemmi.Atom()
        atom.name, atom.element = ATOM37[slot], gemmi.Element(ATOM37[slot][0])
        atom.pos, atom.b_iso = gemmi.Position(*places[slot]), float(structure.b_factor[row, slot])
        residue.add_atom(atom)
    return residue
