"""PDB text without all that the reader of coordinates does not need, its atoms in order.

Columns and records that are not used are left out before gemmi parses the text: they have had other
contents in older versions of the format and in other programs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from foldry.errors import InputError, quoted
from foldry.formats.atoms import (
    GIVE,
    MAX_CHAINS,
    Atoms,
    amino_acids,
    arrange,
    is_amino_acid,
    shared,
    too_many,
)
from foldry.residues import RESNAME_TO_CODE, SYNONYMS

_END: Final = 72
"""Number of columns up to the element, which follows from the atom's name."""
_HEADER: Final = ("EXPDTA", "MODRES", "SEQRES", "REMARK   2", "REMARK   3")
_PDB_NUMBERS: Final = 66
"""Number of columns up to the B factor, the last field that is read."""
DECIMAL: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)", re.ASCII)
_PQR: Final = re.compile(r"\s-?\d+\.\d{4}\s+\d+\.\d{3,4}\s*$")
"""The last two columns of a PQR file."""
_NUMBER: Final = 22
"""Column of the residue number."""
_OVERFLOW: Final = re.compile(r"\*{4}|[0-9a-f]{4}")
"""Numbers above 9999 of solvent in files of VMD and Amber."""
_ATOM_FIELDS: Final = (
    *((start, start + 8, DECIMAL, "a coordinate") for start in (30, 38, 46)),
    # Numbers above 9999 are hybrid-36: four letters and digits.
    (12, 16, re.compile(r".+"), "an atom name"),
    (17, 20, re.compile(r".+"), "a residue name"),
    (_NUMBER, 26, re.compile(r"-?[0-9]+|[A-Z][0-9A-Z]{3}|[a-z][0-9a-z]{3}"), "a residue number"),
    (54, 60, re.compile(rf"{DECIMAL.pattern}|"), "an occupancy"),
    (60, 66, re.compile(rf"{DECIMAL.pattern}|"), "a B factor"),
)
_PDB_FIELDS: Final = {
    "ATOM": _ATOM_FIELDS,
    "HETA": _ATOM_FIELDS,
    "MODE": ((5, 14, re.compile(r"[0-9]*"), "a model number"),),
}
"""Columns of a PDB line and their content, by the first four letters of the line."""


def check_lines(text: str, source: str) -> list[str]:
    """Refuse fields of a PDB file that gemmi would misread as 0, another number or unknown.

    Returns:
        The lines, with occupancy 1 and B factor 0 in the atoms without them. gemmi reads them as 0
        in long lines and as 1 and 20 in short ones, even if a short line has a B factor.
    """
    lines = text.split("\n")
    last = text.rstrip().count("\n") + 1
    for number, line in enumerate(lines, start=1):
        fields = _PDB_FIELDS.get(line[:4].upper(), ())
        where = f"{source}, line {number}"
        if fields and not line[:_PDB_NUMBERS].isascii():  # gemmi counts bytes, not letters
            what = f"has letters that are not ASCII in columns 1 to {_PDB_NUMBERS}"
            raise InputError(what, "fix the line", where=where)
        for start, end, pattern, kind in fields:
            field = line[start:end].strip()
            if pattern.fullmatch(field):
                continue
            if start == _NUMBER and _OVERFLOW.fullmatch(field) and not _is_residue(line):
                continue
            if number == last and len(line) < end:
                raise InputError("is cut off", "give the whole file", where=where)
            if _PQR.search(line):
                what = (
                    "has a charge and a radius instead of occupancy and B factor, as in PQR files"
                )
                raise InputError(what, "give a PDB file", where=where)
            what = f"has {quoted(field)} in columns {start + 1} to {end}, which is not {kind}"
            raise InputError(what, "fix the line", where=where)
        if fields is _ATOM_FIELDS:
            occupancy, b_factor = line[54:60].strip(), line[60:_PDB_NUMBERS].strip()
            if not occupancy or len(line) < _PDB_NUMBERS:
                numbers = f"{occupancy or 1:>6}{b_factor or 0:>6}"
                lines[number - 1] = f"{line[:54].rstrip():<54}{numbers}{line[_PDB_NUMBERS:]}"
    return lines


def _is_residue(line: str) -> bool:
    """Return whether the name in a line is an amino acid's."""
    name = line[17:20].strip().upper()
    return is_amino_acid(name) or name in SYNONYMS


def prepare_pdb(lines: list[str], source: str) -> tuple[str, list[str]]:
    """Return a PDB text with only the amino acids of chains, and the name of each chain.

    Chains are separated by TER, and models are numbered from 1.

    Args:
        lines: The lines of the file.
        source: Name of the file in error messages.

    Raises:
        InputError: The file has more than `MAX_CHAINS` models.
    """
    atoms, lines, header, num_models = _columns(lines)
    if num_models > MAX_CHAINS:
        raise too_many(MAX_CHAINS, "models", source)
    rows, synonyms = amino_acids(atoms, set(_sequence_names(header)))
    chains = arrange(atoms, rows)
    header = [
        re.sub(r"\w+", lambda word: SYNONYMS[word[0]] if word[0] in synonyms else word[0], line)
        if line.startswith("SEQRES")
        else line
        for line in header
    ]
    models: dict[str, list[str]] = {str(number): [] for number in range(1, num_models + 1)}
    for model, _, chain in chains:
        for row in chain:
            line, name = lines[row], atoms.atom[row]
            # Serial numbers may be too long, and names in column 13 would be metals.
            field = name if len(name) == 4 else f" {name:<3}"
            residue = atoms.monomer[row][:3]
            models[model].append(f"ATOM        {field}{line[16]}{residue:>3}{line[20:_END]}")
        models[model].append("TER")
    body = [
        line
        for number, lines in models.items()
        for line in (f"MODEL {number:>8}", *lines, "ENDMDL")
    ]
    return "\n".join([*header, *body, "END", ""]), [name for _, name, _ in chains]


def _columns(text: list[str]) -> tuple[Atoms, list[str], list[str], int]:
    """Return columns and lines of all atoms, the header, and the number of models."""
    lines, header = [], []
    models, parts = [], []
    ended: set[int] = set()
    model = ter = begun = 0
    inside = False
    for line in text:
        record = line[:6].upper()
        if record[:4] in ("ATOM", "HETA"):
            if not inside:
                model, inside = model + 1, True
            lines.append(line)
            models.append(str(model))
            parts.append(str(ter) if record[:4] == "ATOM" else "")
        elif record[:3] == "TER":
            if any(parts[begun:]):  # HETATM before TER is in the chain
                ended.update(row for row in range(begun, len(parts)) if not parts[row])
            ter, begun = ter + 1, len(parts)
        elif record[:4] == "MODE":
            model, inside, begun = model + 1, True, len(parts)
        elif record[:4] == "ENDM":
            inside, begun = False, len(parts)
        elif record.split()[:1] == ["END"]:  # ENDBRANCH of PDBQT ends nothing
            break
        elif line.upper().startswith(_HEADER):
            header.append(line[:_END])
    wide = _wide(lines)
    monomers = shared(
        line[17 : 21 if line[20:22] in wide else 20].strip().upper() for line in lines
    )
    lines = [f"{line[:20]} {line[21:]}" if line[20:22] in wide else line for line in lines]
    listed = set(_sequence_names(header))
    atoms = Atoms(
        model=shared(models),
        chain=shared(line[20:22].strip() for line in lines),
        part=shared(parts),
        fixed=[
            part != "" or (name not in RESNAME_TO_CODE and (row in ended or name in listed))
            for row, (name, part) in enumerate(zip(monomers, parts, strict=True))
        ],
        number=shared(line[22:27].strip() for line in lines),
        monomer=monomers,
        atom=shared(line[12:16].strip().upper() for line in lines),
        altloc=shared(line[16] for line in lines),
        occupancy=shared(line[54:60] for line in lines),
        position=lambda row: tuple(lines[row][start : start + 8] for start in (30, 38, 46)),
    )
    return atoms, lines, header, model


def _wide(lines: list[str]) -> set[str]:
    """Return the contents of columns 21 and 22 that begin with the end of a name such as LYSH.

    They are chain names of two letters if other residues have them, too.
    """
    wide: dict[str, bool] = {}
    for line in lines:
        if line[20] != " ":
            name = line[17:21].strip().upper()
            fits = name in SYNONYMS or (line[17] == " " and is_amino_acid(name))
            wide[line[20:22]] = fits and wide.get(line[20:22], True)
    return {field for field, fits in wide.items() if fits}


def _sequence_names(header: list[str]) -> Iterator[str]:
    """Yield the residue names in SEQRES, and modified residues whose parent is an amino acid."""
    for line in header:
        if line.startswith("SEQRES"):
            yield from (line[start : start + 3].strip() for start in range(19, 68, 4))
        elif line.startswith("MODRES") and is_amino_acid(line[24:27].strip()):
            yield line[12:15].strip()


def not_pdb(text: str, source: str) -> InputError:
    """Return the error for a text without the atoms of a PDB file."""
    what = "is not a PDB, mmCIF or BinaryCIF file"
    if re.search(r"^\s*(ATOM|HETATM)\s", text, re.MULTILINE):
        what = "has ATOM records whose fields are not in the columns of the PDB format"
    elif re.search(r"^(HEADER|REMARK|TITLE |CRYST1|SEQRES)", text, re.MULTILINE):
        what = "has no atoms"
    return InputError(what, GIVE, where=source)
