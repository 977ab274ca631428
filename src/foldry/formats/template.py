"""Conversion between template structures and the mmCIF of AlphaFold 3's jobs, one chain each."""

from __future__ import annotations

from typing import Final

import gemmi
import numpy as np

from foldry.errors import InputError
from foldry.formats.coordinates import parse_deposition
from foldry.query import Hit
from foldry.residues import ATOM37, RESNAMES
from foldry.structure import Structure

_DATE: Final = "_pdbx_audit_revision_history.revision_date"


def parse_template(data: str | bytes, source: str) -> tuple[Structure, str | None]:
    """Return the only chain of a structure file, with unobserved residues, and its release date.

    Raises:
        InputError: The file is damaged, or does not have exactly one protein chain.
    """
    data = data.encode(errors="replace") if isinstance(data, str) else data
    deposition = parse_deposition(data, source)
    if len(deposition.chains) != 1:
        what = f"has {len(deposition.chains)} protein chains"
        raise InputError(what, "give a file with one chain", where=source)
    [structure] = deposition.chains.values()
    return structure, deposition.release_date or None


def entry_of(text: str) -> str:
    """Return the entry of an mmCIF text, or its data block; "template" for other texts."""
    try:
        block = gemmi.cif.read_string(text)[0]
    except (RuntimeError, ValueError, IndexError):  # a PDB file
        return "template"
    return gemmi.cif.as_string(block.find_value("_entry.id") or "") or block.name


def template_mmcif(hit: Hit) -> str:
    """Return the chain of a hit as mmCIF: all residues of its sequence, and all known atoms.

    Coordinates (Å) have 3 decimals, B factors single precision.

    Raises:
        InputError: The hit has no structure.
    """
    structure = hit.known_structure()
    chain = gemmi.Chain(str(structure.chain_id[0]))
    places = np.round(structure.atom_positions.astype(float), 3).tolist()
    for row in np.flatnonzero(structure.atom_mask.any(axis=1)).tolist():
        residue = gemmi.Residue()
        residue.name = RESNAMES[structure.aatype[row]]
        residue.seqid = gemmi.SeqId(
            int(structure.residue_number[row]), str(structure.insertion_code[row]) or " "
        )
        residue.label_seq, residue.subchain, residue.entity_id = row + 1, chain.name, "1"
        for slot in np.flatnonzero(structure.atom_mask[row]).tolist():
            atom = gemmi.Atom()
            atom.name, atom.element = ATOM37[slot], gemmi.Element(ATOM37[slot][0])
            atom.pos = gemmi.Position(*places[row][slot])
            atom.b_iso = float(structure.b_factor[row, slot])
            residue.add_atom(atom)
        chain.add_residue(residue)
    entity = gemmi.Entity("1")
    entity.entity_type, entity.polymer_type = gemmi.EntityType.Polymer, gemmi.PolymerType.PeptideL
    entity.subchains = [chain.name]
    entity.full_sequence = [RESNAMES[code] for code in structure.aatype]
    model = gemmi.Model(1)
    model.add_chain(chain)
    written = gemmi.Structure()
    written.name = hit.name
    written.add_model(model)
    written.entities.append(entity)
    document = written.make_mmcif_document()
    document[0].set_pair("_entry.id", gemmi.cif.quote(hit.name))
    if hit.release_date:
        document[0].set_pair(_DATE, gemmi.cif.quote(hit.release_date))
    return str(document.as_string())
