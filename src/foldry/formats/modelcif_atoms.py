"""Atoms of mmCIF files of predictions that leave no question open, read fast and without changes.

Such a file has one model of proteins alone, all its categories agree, and no atom is unusual: the
files of Foldry and of the AlphaFold database. `foldry.formats.coordinates` reads all others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import gemmi
import numpy as np
from gemmi.cif import as_string
from jaxtyping import Int

from foldry.formats.coordinates import ATOMS_OF
from foldry.residues import ATOM37_ORDER, RESNAME_TO_CODE, RESTYPES_WITH_X
from foldry.structure import Structure

_SITE: Final = "_atom_site."
_SCHEME: Final = "_pdbx_poly_seq_scheme."
_NULL: Final = frozenset("?.")


class _UnusualError(ValueError):
    """The file needs the reader of other programs' files."""


@dataclass(frozen=True, eq=False)
class FileChain:
    """A chain of a file.

    Attributes:
        name: `auth_asym_id`.
        label: `label_asym_id`.
        entity: Id of its entity.
        sequence: One-letter codes, of residues without atoms as well.
    """

    name: str
    label: str
    entity: str
    sequence: str


def read_atoms(
    block: gemmi.cif.Block, name: str, most: int
) -> tuple[Structure, list[FileChain]] | None:
    """Return the structure and the chains of a data block, or None if the file is unusual.

    Args:
        block: The data block.
        name: Name of the structure.
        most: Limit on the number of residues.
    """
    try:
        return _read(block, name, most)
    except (LookupError, OverflowError, ValueError):
        return None


def _read(block: gemmi.cif.Block, name: str, most: int) -> tuple[Structure, list[FileChain]]:
    monomers: dict[str, list[int]] = {}
    columns = (
        block.find_values(f"_entity_poly_seq.{tag}") for tag in ("entity_id", "num", "mon_id")
    )
    for entity, number, monomer in zip(*columns, strict=True):
        sequence = monomers.setdefault(entity, [])
        sequence.append(RESNAME_TO_CODE[monomer])
        _check(number == str(len(sequence)))
    asyms = list(block.find_values("_struct_asym.id"))
    entities = list(block.find_values("_struct_asym.entity_id"))
    _check(len(asyms) == len(entities) == len(set(asyms)) > 0)
    lengths = [len(monomers[entity]) for entity in entities]
    _check(sum(lengths) <= most)
    starts = dict(zip(asyms, np.cumsum([0, *lengths]).tolist(), strict=False))
    aatype = np.concatenate([np.array(monomers[entity], np.int64) for entity in entities])
    strands, numbers, codes = _scheme(block, asyms, lengths)
    row, slot, atoms = _places(block, starts, aatype, dict(zip(asyms, lengths, strict=True)))
    _check((numbers[row] == atoms).all())
    site_strands = [strands[each] for each in row.tolist()]
    _check(site_strands == list(block.find_values(f"{_SITE}auth_asym_id")))
    found_codes = block.find_values(f"{_SITE}pdbx_PDB_ins_code")
    if set(found_codes) - _NULL or any(codes):
        _check([codes[each] for each in row.tolist()] == list(map(as_string, found_codes)))
    positions, mask = np.zeros((len(aatype), 37, 3)), np.zeros((len(aatype), 37), bool)
    b_factor = np.zeros((len(aatype), 37))
    for axis, letter in enumerate("xyz"):
        positions[row, slot, axis] = _floats(block.find_values(f"{_SITE}Cartn_{letter}"))
    mask[row, slot] = True
    b_factor[row, slot] = _floats(block.find_values(f"{_SITE}B_iso_or_equiv"))
    names = [as_string(strand) for strand in strands]
    structure = Structure(
        name, aatype, numbers, np.array(codes), np.array(names), positions, mask, b_factor
    )
    chains = [
        FileChain(
            names[start],
            as_string(asym),
            as_string(entity),
            "".join(RESTYPES_WITH_X[code] for code in monomers[entity]),
        )
        for (asym, start), entity in zip(starts.items(), entities, strict=True)
    ]
    _check(len({chain.name for chain in chains}) == len(chains))
    return structure, chains


def _scheme(
    block: gemmi.cif.Block, asyms: Sequence[str], lengths: Sequence[int]
) -> tuple[list[str], Int[np.ndarray, " N"], list[str]]:
    """Return chain name, number and insertion code of each residue, in the order of `asyms`."""

    def column(tag: str) -> list[str]:
        return list(block.find_values(_SCHEME + tag))

    expected = [asym for asym, size in zip(asyms, lengths, strict=True) for _ in range(size)]
    places = [str(place) for size in lengths for place in range(1, size + 1)]
    _check(column("asym_id") == expected and column("seq_id") == places)
    strands = column("pdb_strand_id")
    _check(len(strands) == len(expected))
    ends = np.cumsum(lengths).tolist()
    for end, size in zip(ends, lengths, strict=True):
        _check(len(set(strands[end - size : end])) == 1)
    codes = [as_string(code) for code in column("pdb_ins_code")] or [""] * len(expected)
    return strands, np.array(column("pdb_seq_num")).astype(np.int64), codes


def _places(
    block: gemmi.cif.Block,
    starts: dict[str, int],
    aatype: Int[np.ndarray, " N"],
    lengths: dict[str, int],
) -> tuple[Int[np.ndarray, " A"], Int[np.ndarray, " A"], Int[np.ndarray, " A"]]:
    """Return row, slot and `auth_seq_id` of each atom."""

    def column(tag: str) -> gemmi.cif.Column:
        return block.find_values(_SITE + tag)

    _check(set(column("group_PDB")) == {"ATOM"} and set(column("label_alt_id")) <= _NULL)
    _check(len(set(column("pdbx_PDB_model_num"))) == 1)
    names = list(column("label_atom_id"))
    others = list(column("auth_atom_id"))
    _check(not others or others == names)
    slot = np.array([ATOM37_ORDER[atom] for atom in names])
    asyms = list(column("label_asym_id"))
    position = np.array(list(column("label_seq_id"))).astype(np.int64)
    most = np.array([lengths[asym] for asym in asyms])
    _check(((position > 0) & (position <= most)).all())
    row = np.array([starts[asym] for asym in asyms]) + position - 1
    monomers = np.array([RESNAME_TO_CODE[monomer] for monomer in column("label_comp_id")])
    _check((monomers == aatype[row]).all() and ATOMS_OF[monomers, slot].all())
    _check(len(np.unique(row * len(ATOM37_ORDER) + slot)) == len(row))
    return row, slot, np.array(list(column("auth_seq_id"))).astype(np.int64)


def _floats(column: gemmi.cif.Column) -> np.ndarray:
    values = np.array([float(text) for text in column])
    _check(np.isfinite(values).all())
    return values


def _check(usual: object) -> None:
    if not usual:
        raise _UnusualError
