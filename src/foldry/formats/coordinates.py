"""PDB, mmCIF and BinaryCIF ↔ Structure; parsing is gemmi's.

Kept: the proteins of one model. Left out: waters, ligands, nucleic acids and hydrogens. Of
alternate locations the one of highest occupancy is taken, the first of equals. A modified residue
becomes its parent, with the atoms that the parent has; selenomethionine becomes methionine, SE
its SD. Arginine's NH1 is the one nearer to CD. A second protein under a chain's name becomes a
chain of its own, `A2`: in PDB files one after TER that numbers its residues as the first did.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import count, groupby
from pathlib import Path
from typing import Final, TypeAlias

import gemmi
import numpy as np
from jaxtyping import Float, Int

from foldry.errors import InputError
from foldry.formats.binarycif import read_binarycif
from foldry.residues import ATOM37, ATOM37_MASK, ATOM37_ORDER, RESNAMES, RESTYPE_ORDER, UNKNOWN
from foldry.store.files import decode, read_bytes, stem
from foldry.structure import Structure

_CATEGORIES: Final = {
    "_atom_site",
    "_chem_comp",
    "_entity",
    "_entity_poly",
    "_entity_poly_seq",
    "_exptl",
    "_ma_qa_metric",
    "_pdbx_audit_revision_history",
    "_pdbx_struct_mod_residue",
    "_refine",
    "_em_3d_reconstruction",
    "_struct_asym",
}
_PEPTIDES: Final = (gemmi.PolymerType.PeptideL, gemmi.PolymerType.PeptideD)
_ATOMS: Final = np.where(np.arange(21)[:, None] == UNKNOWN, 1, ATOM37_MASK).astype(bool)
_ATOMS[:, ATOM37_ORDER["OXT"]] = True
_SLOT: Final = {name.encode(): slot for name, slot in ATOM37_ORDER.items()}
_MAX_RESIDUES: Final = 500_000
"""Of a model, waters and ligands too: more than any deposited structure has."""
_MAX_PLAIN: Final = 10_000
"""Below it two decimals of different numbers differ in single precision."""
_PDB_WIDTH: Final = 78
"""Columns up to the element, the last that is written."""
_DECIMAL: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)")
_NO_PROTEIN: Final = "give a file with a protein in it"
_CD, _NH1, _NH2 = (ATOM37_ORDER[name] for name in ("CD", "NH1", "NH2"))

_Row: TypeAlias = "tuple[str, str, gemmi.Residue | None]"
"""A residue's chain, its one-letter code and, where it was seen, its atoms."""


@dataclass(frozen=True)
class Deposition:
    """The proteins of a structure file as they were in the experiment, seen or not.

    Attributes:
        release_date: The day of first release, such as `2005-11-20`; "" if the file has none.
        resolution: Å; 0 if the file has none, as for NMR.
        method: In lower case, such as `solution nmr`.
        predicted: Whether the file says that it gives pLDDT, which its B factors then are.
        chain_to_seqres: One-letter codes of each chain's whole sequence.
        chains: Each chain with one row for every letter; the rows of unseen residues have no atoms,
            and their place in the sequence, from 1, for a number.
    """

    release_date: str
    resolution: float
    method: str
    predicted: bool
    chain_to_seqres: dict[str, str]
    chains: dict[str, Structure]


def read_structure(path: str | Path, model: int = 0) -> Structure:
    """The residues with coordinates of all proteins of one model, counted from 0.

    Raises:
        InputError: The file is not PDB, mmCIF or BinaryCIF (each may be gzipped), is damaged, or
            has no such model or no protein in it.

    Example:
        >>> len(read_structure("examples/kunitz/1adz.cif"))
        63
    """
    return parse_structure(read_bytes(Path(path)), str(path), model)


def parse_structure(data: bytes, source: str, model: int = 0) -> Structure:
    """As `read_structure`, of a file's bytes; `source` is what errors call them."""
    parsed, _ = _parse(data, source, model)
    letter = _one_letter(parsed)
    rows: list[_Row] = [
        (name, letter(residue.name), residue)
        for name, polymer in _proteins(parsed[0])
        for residue in _conformers(polymer)
    ]
    _check_numbers(rows, source)
    if not rows:
        raise InputError("has no amino acid with coordinates", _NO_PROTEIN, where=source)
    return _structure(rows, _flat(parsed, source), stem(Path(source)), source)


def read_deposition(path: Path) -> Deposition:
    """The proteins of the first model with their whole sequences.

    Raises:
        InputError: As `read_structure`.
    """
    return parse_deposition(read_bytes(path), str(path))


def parse_deposition(data: bytes, source: str) -> Deposition:
    """As `read_deposition`, of a file's bytes; `source` is what errors call them."""
    parsed, block = _parse(data, source, 0)
    letter = _one_letter(parsed)
    chains: dict[str, list[_Row]] = {}
    for name, polymer in _proteins(parsed[0]):
        residues = list(_conformers(polymer))
        entity = parsed.get_entity_of(polymer)
        whole = entity.full_sequence if entity else []
        sequence = [gemmi.Entity.first_mon(names) for names in whole]
        seen = {residue.label_seq: residue for residue in residues}
        if len(seen) < len(residues) or not set(seen) <= set(range(1, len(sequence) + 1)):
            sequence = [residue.name for residue in residues]
            seen = dict(enumerate(residues, start=1))
        chains[name] = [
            (name, letter(monomer), seen.get(number))
            for number, monomer in enumerate(sequence, start=1)
        ]
    if not chains:
        raise InputError("has no protein", _NO_PROTEIN, where=source)
    atoms = _flat(parsed, source)
    dates = list(block.find_values("_pdbx_audit_revision_history.revision_date")) if block else []
    return Deposition(
        release_date=min(dates, default=""),
        resolution=parsed.resolution or _resolution(block),
        method=parsed.info["_exptl.method"].lower() if "_exptl.method" in parsed.info else "",
        predicted=block is not None and "pLDDT" in block.find_values("_ma_qa_metric.type"),
        chain_to_seqres={
            name: "".join(code for _, code, _ in rows) for name, rows in chains.items()
        },
        chains={
            name: _structure(rows, atoms, f"{stem(Path(source))}_{name}", source)
            for name, rows in chains.items()
        },
    )


def _resolution(block: gemmi.cif.Block | None) -> float:
    """Å, where gemmi finds none since a category lacks a column that it asks for; 0 if none."""
    for tag in ("_refine.ls_d_res_high", "_em_3d_reconstruction.resolution"):
        for text in block.find_values(tag) if block else ():
            if _DECIMAL.fullmatch(gemmi.cif.as_string(text)):
                return float(gemmi.cif.as_string(text))
    return 0.0


def to_pdb(structure: Structure) -> str:
    """The PDB text of a structure, laid out as the official program's.

    Raises:
        InputError: A chain's name, a residue's number, a coordinate or the number of atoms does
            not fit into PDB's columns.
    """
    lines = ["MODEL     1"]
    serial = 1
    ends = np.append(structure.chain_id[1:] != structure.chain_id[:-1], True)
    for row in range(len(structure)):
        name = RESNAMES[structure.aatype[row]]
        place = f"{name} {structure.chain_id[row]}{structure.residue_number[row]:>4}"
        place += structure.insertion_code[row] or " "
        for slot in np.flatnonzero(structure.atom_mask[row]):
            x, y, z = structure.atom_positions[row, slot]
            atom = ATOM37[slot]
            lines.append(
                f"ATOM  {serial:>5} {atom if len(atom) == 4 else ' ' + atom:<4} {place}   "
                f"{x:>8.3f}{y:>8.3f}{z:>8.3f}{1:>6.2f}{structure.b_factor[row, slot]:>6.2f}"
                f"          {atom[0]:>2}"
            )
            serial += 1
        if ends[row]:
            lines.append(f"TER   {serial:>5}      {place}")
            serial += 1
    lines += ["ENDMDL", "END"]
    if max(map(len, lines)) > _PDB_WIDTH:
        limits = "chain names of one letter, residue numbers and atoms up to 9999 and 99999"
        what = f"{structure.name} does not fit into the PDB format ({limits})"
        raise InputError(what, "use its mmCIF file")
    return "".join(f"{line:<80}\n" for line in lines)


def _one_letter(parsed: gemmi.Structure) -> Callable[[str], str]:
    """One-letter codes by residue name: of the residue, its known parent, or X."""
    parents = {modified.res_id.name: modified.parent_comp_id for modified in parsed.mod_residues}

    @cache
    def letter(name: str) -> str:
        known = (gemmi.find_tabulated_residue(each) for each in (name, parents.get(name, "")))
        letters = (info.one_letter_code.upper() for info in known if info.is_amino_acid())
        return next((each for each in letters if each.isalpha()), "X")

    return letter


def _parse(data: bytes, source: str, model: int) -> tuple[gemmi.Structure, gemmi.cif.Block | None]:
    """One model, its atoms numbered from 1, and the data block of a file that is no PDB file."""
    try:
        parsed, block = _read(data, source)
    except InputError:
        raise
    except (RuntimeError, ValueError, IndexError) as error:
        raise _damaged(source, error) from None
    if not len(parsed):
        raise InputError("has no atoms", "give a file with coordinates", where=source)
    if not 0 <= model < len(parsed):
        what = f"has {len(parsed)} models, counted from 0, and no model {model}"
        raise InputError(what, "choose one of its models", where=source)
    del parsed[model + 1 :]
    del parsed[:model]
    if sum(map(len, parsed[0])) > _MAX_RESIDUES:
        what = f"has more than {_MAX_RESIDUES} residues and molecules"
        raise InputError(what, "give some of its chains in a file of their own", where=source)
    parsed.merge_chain_parts()
    parsed.setup_entities()
    parsed.assign_label_seq_id()
    parsed.assign_serial_numbers()
    return parsed, block


def _read(data: bytes, source: str) -> tuple[gemmi.Structure, gemmi.cif.Block | None]:
    block = None
    if data[:1] >= b"\x80" and not data.startswith(b"\xef\xbb\xbf"):
        block = read_binarycif(data, _CATEGORIES, source)
    else:
        text = decode(data, source)
        if not text.strip():
            raise InputError("is empty", "give a PDB, mmCIF or BinaryCIF file", where=source)
        if re.match(r"(?:\s+|#.*\n)*+data_", text, re.IGNORECASE):
            blocks = gemmi.cif.read_string(text)
            block = next((each for each in blocks if each.find_values("_atom_site.id")), blocks[0])
    if block is not None:
        return gemmi.make_structure_from_block(block), block
    if re.search(r"^(ATOM  |HETATM)", text, re.MULTILINE):
        _check_coordinates(text, source)
        return _read_pdb(text), None
    raise InputError("is not a PDB, mmCIF or BinaryCIF file", "give one of these", where=source)


def _damaged(source: str, error: Exception) -> InputError:
    reason = " ".join(str(error).split()).rstrip(".")
    reason = re.sub(r"^string:(\d+):\d+\(\d+\): ", r"line \1: ", reason)
    return InputError(f"is a damaged structure file ({reason})", "fix it", where=source)


def _flat(parsed: gemmi.Structure, source: str) -> gemmi.FlatStructure:
    """All atoms as arrays. Names of chains and entities, which may be too long, are lost."""
    for chain in parsed[0]:
        chain.name = ""
        for residue in chain:
            residue.subchain = residue.entity_id = ""
    try:
        return gemmi.FlatStructure(parsed)
    except RuntimeError as error:  # the name of an atom or a residue is too long
        raise _damaged(source, error) from None


def _check_coordinates(text: str, source: str) -> None:
    """Refuses what gemmi reads as 0 or as some number in a PDB file's coordinates."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.startswith(("ATOM  ", "HETATM")):
            for end in (38, 46, 54):
                field = line[end - 8 : end].strip()
                if not _DECIMAL.fullmatch(field):
                    what = f"has {field!r} in columns {end - 7} to {end}, which is not a coordinate"
                    raise InputError(what, "fix the line", where=f"{source}, line {number}")


def _read_pdb(text: str) -> gemmi.Structure:
    parsed = gemmi.read_pdb_string(text, split_chain_on_ter=True)
    for model in parsed:
        names = {part.name for part in model}
        seen: set[tuple[str, str]] = set()
        for part in model:
            numbers = {(part.name, str(residue.seqid)) for residue in part}
            if numbers & seen:
                part.name = _unused(part.name, names)
            seen |= numbers
    return parsed


def _check_numbers(rows: list[_Row], source: str) -> None:
    """Refuses chains of one name that nothing parts: the residues of one number are one residue."""
    seen: set[tuple[str, str]] = set()
    for name, _, residue in rows:
        if residue is None:
            continue
        place = name, str(residue.seqid)
        twice = "CA" in residue and [atom.altloc for atom in residue["CA"]].count("\0") > 1
        if place in seen or twice:
            what = f"has residue {place[1]} of chain {name!r} twice"
            raise InputError(what, "give each chain a name of its own", where=source)
        seen.add(place)


def _unused(name: str, names: set[str]) -> str:
    """The name with a number after it that no chain has; it is taken from now on."""
    free = next(each for each in (f"{name}{n}" for n in count(2)) if each not in names)
    names.add(free)
    return free


def _proteins(model: gemmi.Model) -> Iterator[tuple[str, gemmi.ResidueSpan]]:
    names = {chain.name for chain in model}
    for chain in model:
        polymers = (
            span
            for span in chain.subchains()
            if span[0].entity_type == gemmi.EntityType.Polymer
            and span.check_polymer_type() in _PEPTIDES
        )
        for number, polymer in enumerate(polymers):
            yield _unused(chain.name, names) if number else chain.name, polymer


def _conformers(polymer: gemmi.ResidueSpan) -> Iterator[gemmi.Residue]:
    """One residue a place: where several were modelled, that of highest occupancy."""
    for _, group in groupby(polymer, key=lambda residue: (str(residue.seqid), residue.label_seq)):
        first, *others = group
        yield max((first, *others), key=_occupancy) if others else first


def _occupancy(residue: gemmi.Residue) -> float:
    return max((atom.occ for atom in residue), default=0.0)


def _structure(rows: list[_Row], atoms: gemmi.FlatStructure, name: str, source: str) -> Structure:
    """The structure of rows whose residues are in the first model of `atoms`."""
    aatype = np.array([RESTYPE_ORDER.get(letter, UNKNOWN) for _, letter, _ in rows])
    row, slot, atom = _places(rows, aatype, atoms)
    positions = np.zeros((len(rows), 37, 3))
    mask = np.zeros((len(rows), 37), bool)
    b_factor = np.zeros((len(rows), 37))
    positions[row, slot], mask[row, slot] = atoms.pos[atom], True
    b_factor[row, slot] = _decimals(atoms.b_iso)[atom]
    seqids = [
        residue.seqid if residue else gemmi.SeqId(place, " ")
        for place, (_, _, residue) in enumerate(rows, start=1)
    ]
    broken = np.flatnonzero(~np.isfinite(positions).all(axis=(1, 2)))
    if len(broken):
        residue = f"residue {seqids[broken[0]]} of chain {rows[broken[0]][0]}"
        what = f"has an atom without finite coordinates in {residue}"
        raise InputError(what, "fix the file", where=source)
    swap = (aatype == RESTYPE_ORDER["R"]) & mask[:, [_CD, _NH1, _NH2]].all(axis=1)
    distance = np.linalg.norm(positions[:, [_NH1, _NH2]] - positions[:, [_CD]], axis=-1)
    swap &= distance[:, 0] > distance[:, 1]
    for array in (positions, b_factor):
        array[swap, _NH1], array[swap, _NH2] = array[swap, _NH2], array[swap, _NH1]
    return Structure(
        name=name,
        aatype=aatype,
        residue_number=np.array([seqid.num for seqid in seqids]),
        insertion_code=np.array([seqid.icode.strip() for seqid in seqids]),
        chain_id=np.array([chain for chain, _, _ in rows]),
        atom_positions=positions,
        atom_mask=mask,
        b_factor=b_factor,
    )


def _places(
    rows: list[_Row], aatype: Int[np.ndarray, " N"], atoms: gemmi.FlatStructure
) -> tuple[Int[np.ndarray, " A"], Int[np.ndarray, " A"], Int[np.ndarray, " A"]]:
    """The row and slot of each atom that its amino acid has, and which of the atoms it is.

    Of atoms of one row and slot the last is to be taken: it has the highest occupancy.
    """
    seen = [(row, residue) for row, (_, _, residue) in enumerate(rows) if residue and len(residue)]
    lengths = np.array([len(residue) for _, residue in seen], np.int64)
    starts = np.array([residue[0].serial - 1 for _, residue in seen], np.int64)
    row = np.repeat(np.array([row for row, _ in seen], np.int64), lengths)
    atom = np.arange(len(row)) + np.repeat(starts - np.cumsum(lengths) + lengths, lengths)
    names, residue_names = _strings(atoms.atom_names)[atom], _strings(atoms.residue_names)[atom]
    known, which = np.unique(names, return_inverse=True)
    slot = np.array([_SLOT.get(name, -1) for name in known.tolist()], np.int64)[which]
    slot[(names == b"SE") & (residue_names == b"MSE")] = ATOM37_ORDER["SD"]
    belongs = np.flatnonzero((slot >= 0) & _ATOMS[aatype[row], slot])
    # Ascending occupancy, of equal ones the first at the end.
    order = belongs[::-1][np.argsort(atoms.occ[atom[belongs[::-1]]], kind="stable")]
    return row[order], slot[order], atom[order]


def _strings(letters: object) -> np.ndarray:
    """Names of gemmi's rows of letters, which end in zeros."""
    rows = np.asarray(letters)
    return rows.view(f"S{rows.shape[1]}")[:, 0]


def _decimals(values: Float[np.ndarray, " A"]) -> Float[np.ndarray, " A"]:
    """The numbers of a file of which gemmi keeps single precision: the shortest decimals."""
    found = np.round(values.astype(np.float64), 2)
    longer = (found.astype(np.float32) != values) | (np.abs(found) >= _MAX_PLAIN)
    found[longer] = values[longer].astype(str).astype(np.float64)
    return found
