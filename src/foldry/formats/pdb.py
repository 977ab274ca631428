"""PDB text without all that the reader of coordinates does not need, its atoms in order.

Columns and records that are not used are left out before gemmi parses the text: they have had other
contents in older versions of the format and in other programs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Final

from foldry.errors import InputError, quoted
from foldry.formats.atoms import (
    GIVE,
    MAX_CHAINS,
    Atoms,
    amino_acids,
    arrange,
    is_amino_acid,
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
_THREE: Final = r"(?:  | [-\d]|[-\d]\d)\d"
_FOUR: Final = r"(?: (?:  | [-\d]|[-\d]\d)|[-\d]\d\d)\d"
_START: Final = 2**20
"""Characters among which the title and the dates of a file are."""
_TITLE: Final = re.compile(r"^TITLE  [ \d]{2}[ \d](.{1,70})", re.MULTILINE)
_REVISION: Final = re.compile(
    r"^REVDAT +1 +(?P<day>[0-3]\d)-(?P<month>[A-Za-z]{3})-(?P<year>\d\d)\b", re.MULTILINE | re.ASCII
)
MONTHS: Final = "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC"
_FIRST_YEAR: Final = 71
"""The PDB began in 1971; earlier years are of this century."""
_PLAIN: Final = re.compile(
    r"(?:ATOM|HETA)[ -~]{8}(?! {4})[ -~]{5}(?! {3})[ -~]{5}"
    rf"{_FOUR}[ -~]{{4}}(?:{_FOUR}\.\d{{3}}){{3}}(?:{_THREE}\.\d\d){{2}}",
    re.ASCII,
)
"""Atoms whose fields are as most programs write them, so that they need no further check."""


def check_lines(text: str, source: str) -> list[str]:
    """Refuse fields of a PDB file that gemmi would misread as 0, another number or unknown.

    Returns:
        The lines, with occupancy 1 and B factor 0 in the atoms without them. gemmi reads them as 0
        in long lines and as 1 and 20 in short ones, even if a short line has a B factor.
    """
    lines = text.split("\n")
    last = text.rstrip().count("\n") + 1
    for number, line in enumerate(lines, start=1):
        if _PLAIN.match(line):
            continue
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
    # Serial numbers may be too long, and names in column 13 would be metals.
    fields = {name: name if len(name) == 4 else f" {name:<3}" for name in set(atoms.atom)}
    residues = {name: f"{name[:3]:>3}" for name in set(atoms.monomer)}
    models: dict[str, list[str]] = {str(number): [] for number in range(1, num_models + 1)}
    for model, _, chain in chains:
        for row in chain:
            line, field, residue = lines[row], fields[atoms.atom[row]], residues[atoms.monomer[row]]
            models[model].append(f"ATOM        {field}{line[16]}{residue}{line[20:_END]}")
        models[model].append("TER")
    body = [
        line
        for number, lines in models.items()
        for line in (f"MODEL {number:>8}", *lines, "ENDMDL")
    ]
    return "\n".join([*header, *body, "END", ""]), [name for _, name, _ in chains]


def _columns(text: list[str]) -> tuple[Atoms, list[str], list[str], int]:
    """Return columns and lines of all atoms, the header, and the number of models."""
    lines, header = list[str](), list[str]()
    models, parts = list[str](), list[str]()
    ended: set[int] = set()
    model = ter = begun = 0
    inside = False
    for start, group in groupby(text, key=itemgetter(slice(6))):
        record = start.upper()
        if record[:4] in ("ATOM", "HETA"):
            if not inside:
                model, inside = model + 1, True
            lines += group
            num = len(lines) - len(parts)
            models += [str(model)] * num
            parts += [str(ter) if record[:4] == "ATOM" else ""] * num
        elif record[:3] == "TER":
            if any(parts[begun:]):  # HETATM before TER is in the chain
                ended.update(row for row in range(begun, len(parts)) if not parts[row])
            ter, begun = ter + len(list(group)), len(parts)
        elif record[:4] == "MODE":
            model, inside, begun = model + len(list(group)), True, len(parts)
        elif record[:4] == "ENDM":
            inside, begun = False, len(parts)
        elif record.split()[:1] == ["END"]:  # ENDBRANCH of PDBQT ends nothing
            break
        else:
            header += (line[:_END] for line in group if line.upper().startswith(_HEADER))
    wide = _wide(lines)
    monomers = _column(lines, 17, 22, lambda name: name[: 4 if name[3:] in wide else 3].upper())
    if wide:
        lines = [f"{line[:20]} {line[21:]}" if line[20:22] in wide else line for line in lines]
    listed = set(_sequence_names(header))
    atoms = Atoms(
        model=models,
        chain=_column(lines, 20, 22),
        part=parts,
        fixed=[
            part != "" or (name not in RESNAME_TO_CODE and (row in ended or name in listed))
            for row, (name, part) in enumerate(zip(monomers, parts, strict=True))
        ],
        number=_column(lines, 22, 27),
        monomer=monomers,
        atom=_column(lines, 12, 16, str.upper),
        altloc=list(map(itemgetter(16), lines)),
        occupancy=_column(lines, 54, 60),
        position=lambda row: tuple(lines[row][start : start + 8] for start in (30, 38, 46)),
    )
    return atoms, lines, header, model


def _column(
    lines: Sequence[str], start: int, end: int, change: Callable[[str], str] = str
) -> list[str]:
    """Return columns of all lines, changed and without blanks; equal texts are one object."""
    fields = list(map(itemgetter(slice(start, end)), lines))
    known = {field: change(field).strip() for field in set(fields)}
    return list(map(known.__getitem__, fields))


def _wide(lines: list[str]) -> set[str]:
    """Return the contents of columns 21 and 22 that begin with the end of a name such as LYSH.

    They are chain names of two letters if other residues have them, too.
    """
    wide: dict[str, bool] = {}
    for field in set(map(itemgetter(slice(17, 22)), lines)):
        if field[3] != " ":
            name = field[:4].strip().upper()
            fits = name in SYNONYMS or (field[0] == " " and is_amino_acid(name))
            wide[field[3:]] = fits and wide.get(field[3:], True)
    return {field for field, fits in wide.items() if fits}


def _sequence_names(header: list[str]) -> Iterator[str]:
    """Yield the residue names in SEQRES, and modified residues whose parent is an amino acid."""
    for line in header:
        if line.startswith("SEQRES"):
            yield from (line[start : start + 3].strip() for start in range(19, 68, 4))
        elif line.startswith("MODRES") and is_amino_acid(line[24:27].strip()):
            yield line[12:15].strip()


def title(text: str) -> str:
    """Return the title of a PDB file, or ""."""
    return " ".join(" ".join(_TITLE.findall(text[:_START])).split())


def release_date(text: str) -> str:
    """Return the date of the first revision of a PDB file, such as `1997-03-12`, or ""."""
    found = _REVISION.search(text[:_START])
    if not found or found["month"].upper() not in MONTHS:
        return ""
    century = 19 if int(found["year"]) >= _FIRST_YEAR else 20
    month = MONTHS.index(found["month"].upper()) // 4 + 1
    return f"{century}{found['year']}-{month:02}-{found['day']}"


def not_pdb(text: str, source: str) -> InputError:
    """Return the error for a text without the atoms of a PDB file."""
    what = "is not a PDB, mmCIF or BinaryCIF file"
    if re.search(r"^\s*(ATOM|HETATM)\s", text, re.MULTILINE):
        what = "has ATOM records whose fields are not in the columns of the PDB format"
    elif re.search(r"^(HEADER|REMARK|TITLE |CRYST1|SEQRES)", text, re.MULTILINE):
        what = "has no atoms"
    return InputError(what, GIVE, where=source)
