"""Residues and molecules of a structure file as tokens, in the order of the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby, repeat
from pathlib import Path
from typing import Final, NamedTuple

import gemmi
from gemmi.cif import as_string

from foldry.formats.coordinates import text_or_block
from foldry.formats.mmcif import complete_atoms
from foldry.residues import RESNAMES, SYNONYMS
from foldry.store.files import read_bytes

_SITE: Final = "_atom_site"
_COLUMNS: Final = (
    *("pdbx_PDB_model_num", "group_PDB", "auth_asym_id", "label_asym_id", "auth_seq_id"),
    *("pdbx_PDB_ins_code", "auth_comp_id", "auth_atom_id", "type_symbol"),
)
_STANDARD: Final = {*RESNAMES, *SYNONYMS, *"ACGUN", "DA", "DC", "DG", "DT", "DN"}
_HYDROGEN: Final = {"H", "D"}


class Molecule(NamedTuple):
    """A residue of a polymer, a ligand or an ion.

    Attributes:
        chain: Name of the chain.
        number: Residue number with insertion code.
        is_standard: Whether it is an amino acid or a nucleotide without modification.
        atoms: Names of the atoms except hydrogens, in the order of the file.
    """

    chain: str
    number: str
    is_standard: bool
    atoms: list[str]


class _Atom(NamedTuple):
    record: str
    chain: str
    part: str
    number: str
    monomer: str
    name: str
    element: str


def read_molecules(path: Path) -> list[Molecule]:
    """Return all residues and molecules of the first model, in the order of the file.

    Args:
        path: A structure file that `read_structure` reads, perhaps packed.
    """
    return parse_molecules(read_bytes(path), str(path))


def parse_molecules(data: bytes, source: str) -> list[Molecule]:
    """Read molecules from the bytes of a file, which error messages call `source`."""
    found = text_or_block(data, source)
    atoms = _of_pdb(found.split("\n")) if isinstance(found, str) else _of_block(found, source)
    residues = groupby(atoms, key=lambda atom: (atom.chain, atom.part, atom.number, atom.monomer))
    return [_molecule(list(group)) for _, group in residues]


def _molecule(atoms: list[_Atom]) -> Molecule:
    first = atoms[0]
    names = [atom.name for atom in atoms if atom.element not in _HYDROGEN]
    # An amino acid that is a ligand has HETATM records.
    is_standard = first.monomer in _STANDARD and first.record != "HETATM"
    return Molecule(first.chain, first.number, is_standard, names)


def _of_block(block: gemmi.cif.Block, source: str) -> Iterator[_Atom]:
    complete_atoms(block, source)
    columns = [list(map(as_string, block.find_values(f"{_SITE}.{tag}"))) for tag in _COLUMNS]
    # Columns that may be missing have no values then.
    rows = zip(*(column or repeat("") for column in columns), strict=False)
    _, of_first = next(groupby(rows, key=lambda row: row[0]))
    for _, record, chain, part, number, code, monomer, name, element in of_first:
        yield _Atom(record.upper(), chain, part, number + code, monomer, name, element.upper())


def _of_pdb(lines: Iterable[str]) -> Iterator[_Atom]:
    seen = False
    for line in lines:
        record = line[:6].upper().strip()
        if record in ("ATOM", "HETATM"):
            seen = True
            name = line[12:16].strip()
            element = line[76:78].strip().upper() or name.lstrip("0123456789")[:1]
            chain, number, monomer = line[20:22].strip(), line[22:27].strip(), line[17:20].strip()
            yield _Atom(record, chain, "", number, monomer, name, element)
        elif seen and record in ("ENDMDL", "END"):
            return
