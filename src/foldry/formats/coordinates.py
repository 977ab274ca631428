"""PDB, mmCIF and BinaryCIF ↔ Structure; gemmi parses them.

Only the proteins of one model are kept; waters, ligands, nucleic acids and hydrogens are left out.
Among alternate locations, the one with the highest occupancy is kept, and the first if several are
equal. A modified residue becomes its parent, with the atoms that the parent has; selenomethionine
becomes methionine, and its SE becomes SD. Arginine's NH1 is the one nearer to CD. A second protein
with the chain name `A` becomes chain `A2`; it begins where the same atom occurs a second time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import date
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Final, TypeAlias

import gemmi
import numpy as np
from jaxtyping import Float, Int

from foldry.errors import InputError, check_type, counted, printable, quoted, reason
from foldry.formats.atoms import GIVE, MAX_CHAINS, too_many, unused
from foldry.formats.binarycif import is_binarycif, read_binarycif
from foldry.formats.kinds import STRUCTURE, check_kind
from foldry.formats.mmcif import (
    arrange_atoms,
    check_columns,
    check_search,
    complete_atoms,
    has_atoms,
    no_atoms,
    number_sequences,
)
from foldry.formats.pdb import (
    DECIMAL,
    check_lines,
    not_pdb,
    prepare_pdb,
    release_date,
    title,
)
from foldry.formats.pdb_write import atom_records
from foldry.formats.qa_metric import PLDDT, PREDICTION, b_factors, write_plddt
from foldry.residues import ATOM37_MASK, ATOM37_ORDER, RESNAMES, RESTYPE_ORDER, UNKNOWN
from foldry.store.files import decode, named_path, read_bytes, stem
from foldry.structure import STRUCTURE_ADVICE, Structure

STRUCTURE_CATEGORIES: Final = {
    "_atom_site",
    "_chem_comp",
    "_entity",
    "_entity_poly",
    "_entity_poly_seq",
    "_exptl",
    "_ma_qa_metric",
    "_ma_qa_metric_local",
    "_pdbx_audit_revision_history",
    "_pdbx_struct_mod_residue",
    "_refine",
    "_em_3d_reconstruction",
    "_struct",
    "_struct_asym",
}
"""The categories from which structures are read."""
_PEPTIDES: Final = (gemmi.PolymerType.PeptideL, gemmi.PolymerType.PeptideD)
ATOMS_OF: Final = np.where(np.arange(21)[:, None] == UNKNOWN, 1, ATOM37_MASK).astype(bool)
"""Which atoms a residue may have, by its code: X any, and all an OXT."""
ATOMS_OF[:, ATOM37_ORDER["OXT"]] = True
_SLOT: Final = {name.encode(): slot for name, slot in ATOM37_ORDER.items()}
_MAX_RESIDUES: Final = 500_000
"""Limit on the residues of a model, in mmCIF with molecules; deposited models have fewer."""
_FEW_RESIDUES: Final = 100_000
"""Limit for an empty file; each `_BYTES_A_RESIDUE` bytes of a file allow one more residue."""
_BYTES_A_RESIDUE: Final = 40
_MAX_ALIGNED: Final = 500_000_000
"""Limit on observed residues times residues of the longest sequence, which gemmi aligns."""
_MAX_UNPACKED: Final = 8 * 1024**2
_MAX_RATIO: Final = 20
"""Largest compression ratio of a file that unpacks to more than `_MAX_UNPACKED`. Real files have
ratios of 4 to 8, and endless repetition could fill the memory."""
_MAX_PLAIN: Final = 10_000
"""Different numbers with two decimals differ in single precision if they are below this."""
_DATES: Final = "_pdbx_audit_revision_history.revision_date"
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_BYTE_ORDER_MARKS: Final = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
_BLOCK: Final = re.compile(r"(?:^|\s)data_", re.IGNORECASE)
_START: Final = 4096
"""Number of bytes that show the format."""
_ADVICE: Final = {"session": "save it as mmCIF"}
_NO_PROTEIN: Final = "give a file with a protein"
_CD, _NH1, _NH2 = (ATOM37_ORDER[name] for name in ("CD", "NH1", "NH2"))

_Row: TypeAlias = "tuple[str, str, gemmi.Residue | None]"
"""Chain name and one-letter code of a residue, and its atoms if it was observed."""


@dataclass(frozen=True)
class Deposition:
    """The proteins of a structure file with their full sequences, observed or not.

    Attributes:
        release_date: Day of the first release, e.g. `2005-11-20`; "" if the file has none.
        resolution: Å; 0 if the file has none, as for NMR.
        method: Experimental method in lower case, e.g. `solution nmr`.
        predicted: Whether it is a prediction: the file states pLDDT of residues or of all of it.
        b_factors: What the file states that its B factors are, as `qa_metric.b_factors` returns it.
        chain_to_seqres: One-letter codes of the full sequence of each chain.
        chains: Each chain with one row per letter of the sequence. Rows of residues that were not
            observed have no atoms, and their residue number is their position, counted from 1.
        title: Title of the file, or "".
    """

    release_date: str
    resolution: float
    method: str
    predicted: bool
    b_factors: str
    chain_to_seqres: dict[str, str]
    chains: dict[str, Structure]
    title: str = ""


def read_structure(path: str | Path, model: int = 0) -> Structure:
    """Read all protein residues with coordinates from one model of a file.

    Args:
        path: A PDB, mmCIF or BinaryCIF file, also gzipped; `Structure.chain` selects a chain.
        model: Number of the model in the file, counted from 0.

    Raises:
        InputError: The file is not PDB, mmCIF or BinaryCIF, is damaged, or has no such model or
            no protein.

    Example:
        >>> len(read_structure("examples/kunitz/1adz.cif"))
        63
    """
    path = named_path(path)
    check_type(model, int, "the number of a model", "give a whole number, counted from 0")
    if ":" in path.name and not path.exists():
        advice = "give the file alone, and select a chain with `Structure.chain`"
        raise InputError("does not exist", advice, where=path)
    return parse_structure(read_data(path), str(path), model)


def parse_structure(data: bytes, source: str, model: int = 0) -> Structure:
    """Read a structure from the bytes of a file, which error messages call `source`."""
    parsed, _ = _parse(data, source, model)
    rows = _observed(parsed, source)
    return _structure(rows, _flat(parsed, source), stem(Path(source)), source)


def read_deposition(path: Path) -> Deposition:
    """Read the proteins of the first model with their full sequences.

    Raises:
        InputError: As for `read_structure`.
    """
    return parse_deposition(read_data(path), str(path))


def parse_deposition(data: bytes, source: str) -> Deposition:
    """Read a deposition from the bytes of a file, which error messages call `source`."""
    parsed, block = _parse(data, source, 0)
    chains = _sequences(parsed, max_residues(data), source)
    return _deposition(parsed, block, chains, _flat(parsed, source), source)


def read_both(path: Path) -> tuple[Structure, Deposition]:
    """Return what `read_structure` and `read_deposition` return, and parse the file once."""
    return parse_both(read_data(path), str(path))


def parse_both(data: bytes, source: str) -> tuple[Structure, Deposition]:
    """Read both from the bytes of a file, which error messages call `source`."""
    parsed, block = _parse(data, source, 0)
    rows, chains = _observed(parsed, source), _sequences(parsed, max_residues(data), source)
    atoms = _flat(parsed, source)
    structure = _structure(rows, atoms, stem(Path(source)), source)
    return structure, _deposition(parsed, block, chains, atoms, source)


def _observed(parsed: gemmi.Structure, source: str) -> list[_Row]:
    """Return the residues with coordinates."""
    letter = _one_letter(parsed)
    rows: list[_Row] = [
        (name, letter(residue.name), residue)
        for name, polymer in _proteins(parsed[0])
        for residue in _conformers(polymer)
    ]
    _check_numbers(rows, source)
    if not rows:
        raise InputError("has no amino acid with coordinates", _NO_PROTEIN, where=source)
    return rows


def _sequences(parsed: gemmi.Structure, most: int, source: str) -> dict[str, list[_Row]]:
    """Return all residues of the sequence of each chain, at most `most`."""
    letter = _one_letter(parsed)
    chains: dict[str, list[_Row]] = {}
    num_rows = 0
    for name, polymer in _proteins(parsed[0]):
        residues = list(_conformers(polymer))
        entity = parsed.get_entity_of(polymer)
        whole = entity.full_sequence if entity else []
        sequence = [gemmi.Entity.first_mon(names) for names in whole]
        seen = {residue.label_seq: residue for residue in residues}
        if len(seen) < len(residues) or not set(seen) <= set(range(1, len(sequence) + 1)):
            sequence = [residue.name for residue in residues]
            seen = dict(enumerate(residues, start=1))
        num_rows += len(sequence)
        if num_rows > most:
            raise too_many(most, "residues", source)
        chains[name] = [
            (name, letter(monomer), seen.get(number))
            for number, monomer in enumerate(sequence, start=1)
        ]
    if not chains:
        raise InputError("has no protein", _NO_PROTEIN, where=source)
    return chains


def _deposition(
    parsed: gemmi.Structure,
    block: gemmi.cif.Block | None,
    chains: dict[str, list[_Row]],
    atoms: gemmi.FlatStructure,
    source: str,
) -> Deposition:
    dates = _texts(block, _DATES) or [_info(parsed, _DATES)]
    resolutions = parsed.resolution, _resolution(block)  # gemmi's is NaN if EM's is unknown
    method = _info(parsed, "_exptl.method").lower()
    resolution = next((each for each in resolutions if 0 < each < np.inf), 0.0)
    stated = b_factors(block, method, resolution)
    return Deposition(
        release_date=min(filter(is_date, dates), default=""),
        resolution=resolution,
        method=method,
        predicted=stated in (PLDDT, PREDICTION),
        b_factors=stated,
        chain_to_seqres={
            name: "".join(code for _, code, _ in rows) for name, rows in chains.items()
        },
        chains={
            name: _structure(rows, atoms, f"{stem(Path(source))}_{name}", source)
            for name, rows in chains.items()
        },
        title=_info(parsed, "_struct.title"),
    )


def is_date(text: str) -> bool:
    """Return whether a text is a date such as `2020-05-14`."""
    try:
        date.fromisoformat(text)
    except (TypeError, ValueError):  # such as 30 February
        return False
    return _DATE.fullmatch(text) is not None


def _info(parsed: gemmi.Structure, tag: str) -> str:
    """Return what gemmi keeps of a header, or ""."""
    return dict(parsed.info).get(tag, "")


def _resolution(block: gemmi.cif.Block | None) -> float:
    """Return the resolution (Å), which gemmi misses if its category is incomplete; 0 if unknown."""
    for tag in ("_refine.ls_d_res_high", "_em_3d_reconstruction.resolution"):
        for text in filter(DECIMAL.fullmatch, _texts(block, tag)):
            return float(text)
    return 0.0


def _texts(block: gemmi.cif.Block | None, tag: str) -> list[str]:
    """Return the values of a tag without quotation marks; unknown ones are empty."""
    return list(map(gemmi.cif.as_string, block.find_values(tag))) if block else []


def to_pdb(structure: Structure) -> str:
    """Return the PDB text of a structure, in the layout of the official program.

    Raises:
        InputError: A chain name, residue number, coordinate or the number of atoms does not fit
            into the columns of the format.

    Example:
        >>> model = read_structure("examples/kunitz/1adz.cif")
        >>> parse_structure(to_pdb(model).encode(), "model.pdb").sequence == model.sequence
        True
    """
    check_type(structure, Structure, "a structure", STRUCTURE_ADVICE)
    first, *last = (f"{line:<80}\n" for line in ("MODEL     1", "ENDMDL", "END"))
    return "".join((first, atom_records(structure), *last))


def seqres_records(structure: Structure) -> str:
    """Return the SEQRES records of all chains, which include residues without atoms."""
    lines = []
    for chain in structure.chains:
        names = [RESNAMES[code] for code in structure.aatype[structure.chain_id == chain]]
        for number, start in enumerate(range(0, len(names), 13), start=1):
            part = " ".join(names[start : start + 13])
            lines.append(f"SEQRES {number:>3} {chain:1} {len(names):>4}  {part}")
    return "".join(f"{line:<80}\n" for line in lines)


def _one_letter(parsed: gemmi.Structure) -> Callable[[str], str]:
    """Return a function from residue names to one-letter codes of the residue, its parent, or X."""
    parents = {modified.res_id.name: modified.parent_comp_id for modified in parsed.mod_residues}

    @cache
    def letter(name: str) -> str:
        known = (gemmi.find_tabulated_residue(each) for each in (name, parents.get(name, "")))
        letters = (info.one_letter_code.upper() for info in known if info.is_amino_acid())
        return next((each for each in letters if each.isalpha()), "X")

    return letter


def _parse(data: bytes, source: str, model: int) -> tuple[gemmi.Structure, gemmi.cif.Block | None]:
    """Return one model, with atoms numbered from 1, and the data block unless it is a PDB file."""
    try:
        parsed, block = _read(data, source)
    except InputError:
        raise
    except (RuntimeError, ValueError, IndexError) as error:
        raise damaged(source, error) from None
    if not len(parsed):
        raise InputError("has no atoms", "give a file with coordinates", where=source)
    if not 0 <= model < len(parsed):
        what = f"has {counted(len(parsed), 'model')}, counted from 0, and no model {model}"
        raise InputError(what, "choose one of its models", where=source)
    del parsed[model + 1 :]
    del parsed[:model]
    num_residues, most = sum(map(len, parsed[0])), max_residues(data)
    if num_residues > most:
        raise too_many(most, "residues and molecules", source)
    if len(parsed[0]) > MAX_CHAINS:
        raise too_many(MAX_CHAINS, "chains", source)
    parsed.merge_chain_parts()
    for residue in (each for chain in parsed[0] for each in chain):
        if residue.entity_type == gemmi.EntityType.Unknown:  # others have been left out
            residue.entity_type = gemmi.EntityType.Polymer
    parsed.setup_entities()
    longest = max((len(entity.full_sequence) for entity in parsed.entities), default=0)
    if longest * num_residues <= _MAX_ALIGNED:
        parsed.assign_label_seq_id()
    parsed.assign_serial_numbers()
    return parsed, block


def max_residues(data: bytes) -> int:
    """Return the largest number of residues to read from a file of this size."""
    return min(_MAX_RESIDUES, _FEW_RESIDUES + len(data) // _BYTES_A_RESIDUE)


def read_data(path: Path) -> bytes:
    """Return the content of a structure file, which may be packed.

    Raises:
        InputError: As for `store.files.read_bytes`.
    """
    return read_bytes(path, max_unpacked=_MAX_UNPACKED, max_ratio=_MAX_RATIO)


def _read(data: bytes, source: str) -> tuple[gemmi.Structure, gemmi.cif.Block | None]:
    found = text_or_block(data, source)
    if isinstance(found, str):
        if re.search(r"^(ATOM  |ATOM \d{6}|HETATM)", found, re.MULTILINE | re.IGNORECASE):
            return _read_pdb(found, source), None
        raise not_pdb(found, source)
    complete_atoms(found, source)
    check_columns(found, source)
    write_plddt(found)
    number_sequences(found)
    if has_atoms(found) and arrange_atoms(found):
        check_search(found, source)
    parsed = gemmi.make_structure_from_block(found)
    found.find_mmcif_category("_atom_site.").erase()  # to free its memory
    return parsed, found


def text_or_block(
    data: bytes, source: str, categories: Collection[str] = STRUCTURE_CATEGORIES
) -> str | gemmi.cif.Block:
    """Return the text of a PDB file, or the first data block with atoms of mmCIF or BinaryCIF.

    Args:
        data: Content of the file.
        source: Name of the file in error messages.
        categories: Which categories of a BinaryCIF file are read.

    Raises:
        InputError: The file is empty or damaged, or begins as one of another format.
    """
    check_kind(data[:_START].decode("latin-1"), STRUCTURE, _ADVICE, GIVE, source)
    if is_binarycif(data):
        return read_binarycif(data, categories, source)
    text = _text(data, source)
    if not text.strip():
        raise InputError("is empty", "give a PDB, mmCIF or BinaryCIF file", where=source)
    if not re.match(r"(?:\s+|#.*\n)*+data_", text, re.IGNORECASE):
        return text
    few = text.lower().count("data_") <= MAX_CHAINS
    if not few and len(_BLOCK.findall(text)) > MAX_CHAINS:
        raise too_many(MAX_CHAINS, "data blocks", source)
    try:
        blocks = gemmi.cif.read_string(text)
    except (RuntimeError, ValueError) as error:
        raise damaged(source, error) from None
    block = next(filter(has_atoms, blocks), None)
    if block is None:
        raise no_atoms(blocks, source)
    return block


def _text(data: bytes, source: str) -> str:
    """Return the text of a file; remarks may be of any encoding, and only ASCII matters."""
    if data.startswith(_BYTE_ORDER_MARKS[1:]):
        data = data.decode("utf-16", "replace").encode()
    try:
        data.decode()
    except UnicodeDecodeError:
        data = data.decode("latin-1").encode()
    return decode(data, source)


def damaged(source: str, error: Exception) -> InputError:
    """Return the error for a file that cannot be parsed."""
    said = re.sub(r"^string:(\d+):\d+\(\d+\): ", r"line \1: ", reason(error))
    return InputError(f"is a damaged structure file ({said})", "fix it", where=source)


def _flat(parsed: gemmi.Structure, source: str) -> gemmi.FlatStructure:
    """Return all atoms as arrays; names of chains and entities, which may be too long, are lost."""
    for chain in parsed[0]:
        chain.name = ""
        for residue in chain:
            residue.subchain = residue.entity_id = ""
    try:
        return gemmi.FlatStructure(parsed)
    except RuntimeError as error:  # the name of an atom or a residue is too long
        raise damaged(source, error) from None


def _read_pdb(text: str, source: str) -> gemmi.Structure:
    prepared, names = prepare_pdb(check_lines(text, source), source)
    parsed = gemmi.read_pdb_string(prepared, split_chain_on_ter=True)
    parsed.info[_DATES], parsed.info["_struct.title"] = release_date(text), title(text)
    for part, name in zip((part for model in parsed for part in model), names, strict=True):
        part.name = name
    return parsed


def _check_numbers(rows: list[_Row], source: str) -> None:
    """Refuse chains of the same name without TER between them: their residues would be mixed."""
    seen: set[tuple[str, str]] = set()
    for name, _, residue in rows:
        if residue is None:
            continue
        place = name, str(residue.seqid)
        alphas = list(residue["CA"]) if "CA" in residue else []
        twice = len(alphas) > 1 and [atom.altloc for atom in alphas].count("\0") > 1
        if place in seen or twice:
            what = f"has residue {printable(place[1])} of chain {quoted(name)} twice"
            raise InputError(what, "give each chain another name", where=source)
        seen.add(place)


def _proteins(model: gemmi.Model) -> Iterator[tuple[str, gemmi.ResidueSpan]]:
    names = {chain.name: 2 for chain in model}
    for chain in model:
        for number, polymer in enumerate(filter(_is_protein, chain.subchains())):
            yield unused(chain.name, names) if number else chain.name, polymer


def _is_protein(span: gemmi.ResidueSpan) -> bool:
    first = span[0]
    # Foldry once wrote a chain of one residue as python-modelcif does: atoms of a non-polymer.
    is_other = first.entity_type == gemmi.EntityType.NonPolymer
    if is_other and len(span) == 1 and first.het_flag == "A":
        first.entity_type = gemmi.EntityType.Polymer
    return first.entity_type == gemmi.EntityType.Polymer and span.check_polymer_type() in _PEPTIDES


def _conformers(polymer: gemmi.ResidueSpan) -> Iterator[gemmi.Residue]:
    """Yield one residue per position: of several, the one with the highest occupancy."""
    for _, group in groupby(polymer, key=lambda residue: (str(residue.seqid), residue.label_seq)):
        first, *others = group
        yield max((first, *others), key=_occupancy) if others else first


def _occupancy(residue: gemmi.Residue) -> float:
    return max((atom.occ for atom in residue), default=0.0)


def _structure(rows: list[_Row], atoms: gemmi.FlatStructure, name: str, source: str) -> Structure:
    """Return the structure of rows whose residues are in the first model of `atoms`."""
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
    numbers = [seqid.num for seqid in seqids]
    if None in numbers:
        what = f"has a residue without a number in chain {quoted(rows[numbers.index(None)][0])}"
        raise InputError(what, "number its residues", where=source)
    broken = np.flatnonzero(~(np.isfinite(positions).all(axis=2) & np.isfinite(b_factor)).all(1))
    if len(broken):
        residue = f"residue {seqids[broken[0]]} of chain {rows[broken[0]][0]}"
        what = f"has an atom without finite coordinates or B factor in {printable(residue)}"
        raise InputError(what, "fix the file", where=source)
    swap = (aatype == RESTYPE_ORDER["R"]) & mask[:, [_CD, _NH1, _NH2]].all(axis=1)
    distance = np.linalg.norm(positions[:, [_NH1, _NH2]] - positions[:, [_CD]], axis=-1)
    swap &= distance[:, 0] > distance[:, 1]
    for array in (positions, b_factor):
        array[swap, _NH1], array[swap, _NH2] = array[swap, _NH2], array[swap, _NH1]
    return Structure(
        name=name,
        aatype=aatype,
        residue_number=np.array(numbers),
        insertion_code=np.array([seqid.icode.strip() for seqid in seqids]),
        chain_id=np.array([chain for chain, _, _ in rows]),
        atom_positions=positions,
        atom_mask=mask,
        b_factor=b_factor,
    )


def _places(
    rows: list[_Row], aatype: Int[np.ndarray, " N"], atoms: gemmi.FlatStructure
) -> tuple[Int[np.ndarray, " A"], Int[np.ndarray, " A"], Int[np.ndarray, " A"]]:
    """Return row and slot of each atom that its amino acid has, and its index in `atoms`.

    Among several atoms of one row and slot, the last has the highest occupancy.
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
    belongs = np.flatnonzero((slot >= 0) & ATOMS_OF[aatype[row], slot])
    # Ascending occupancy; among equal ones, the first of the file comes last.
    order = belongs[::-1][np.argsort(atoms.occ[atom[belongs[::-1]]], kind="stable")]
    return row[order], slot[order], atom[order]


def _strings(letters: object) -> np.ndarray:
    """Return names from gemmi's rows of letters, which are padded with zeros."""
    rows = np.asarray(letters)
    return rows.view(f"S{rows.shape[1]}")[:, 0]


def _decimals(values: Float[np.ndarray, " A"]) -> Float[np.ndarray, " A"]:
    """Return gemmi's single-precision numbers as the shortest decimals, which the file has."""
    found = np.round(values.astype(np.float64), 2)
    longer = (found.astype(np.float32) != values) | (np.abs(found) >= _MAX_PLAIN)
    found[longer] = values[longer].astype(str).astype(np.float64)
    return found
