"""PDB text without all that the reader of coordinates does not need, its atoms in order.

Columns and records that are not used are left out before gemmi parses the text: they have had other
contents in older versions of the format and in other programs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from foldry.errors import InputError
from foldry.formats.atoms import Atoms, amino_acids, arrange, is_amino_acid
from foldry.residues import SYNONYMS

_END: Final = 72
"""Number of columns up to the element, which follows from the atom's name."""
_HEADER: Final = ("EXPDTA", "MODRES", "SEQRES", "REMARK   2", "REMARK   3")


def prepare_pdb(text: str, source: str, max_models: int) -> tuple[str, list[str]]:
    """Return a PDB text with only the amino acids, and the name of each chain.

    Chains are separated by TER, and models are numbered from 1.

    Args:
        text: The file.
        source: Name of the file in error messages.
        max_models: Limit on the number of models.

    Raises:
        InputError: The file has more models.
    """
    atoms, lines, header, num_models = _columns(text)
    if num_models > max_models:
        what = f"has more than {max_models} models"
        raise InputError(what, "give a smaller part of it", where=source)
    rows, renamed, synonyms = amino_acids(atoms, set(_sequence_names(header)))
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
            record, residue = line[:6], line[17:20]
            if row in renamed:  # HETATM would end the chain
                record, residue = "ATOM  ", atoms.monomer[row]
            # Serial numbers may be too long, and names in column 13 would be metals.
            field = name if len(name) == 4 else f" {name:<3}"
            models[model].append(f"{record}      {field}{line[16]}{residue}{line[20:_END]}")
        models[model].append("TER")
    body = [
        line
        for number, lines in models.items()
        for line in (f"MODEL {number:>8}", *lines, "ENDMDL")
    ]
    return "\n".join([*header, *body, "END", ""]), [name for _, name, _ in chains]


def _columns(text: str) -> tuple[Atoms, list[str], list[str], int]:
    """Return columns and lines of all atoms, the header, and the number of models."""
    lines, header = [], []
    models, parts = [], []
    model = ter = 0
    inside = False
    for line in text.split("\n"):
        record = line[:6].upper()
        if record[:4] in ("ATOM", "HETA"):
            if not inside:
                model, inside = model + 1, True
            lines.append(line)
            models.append(str(model))
            parts.append(str(ter) if record[:4] == "ATOM" else "")
        elif record[:3] == "TER":
            ter += 1
        elif record[:4] == "MODE":
            model, inside = model + 1, True
        elif record[:4] == "ENDM":
            inside = False
        elif record[:3] == "END":
            break
        elif line.upper().startswith(_HEADER):
            header.append(line[:_END])
    wide = _wide(lines)
    monomers = [line[17 : 21 if line[20:22] in wide else 20].strip() for line in lines]
    lines = [f"{line[:20]} {line[21:]}" if line[20:22] in wide else line for line in lines]
    atoms = Atoms(
        model=models,
        chain=[line[20:22].strip() for line in lines],
        part=parts,
        number=[line[22:27].strip() for line in lines],
        monomer=monomers,
        atom=[line[12:16].strip() for line in lines],
        altloc=[line[16] for line in lines],
        occupancy=[line[54:60] for line in lines],
        position=[(line[30:54],) for line in lines],
    )
    return atoms, lines, header, model


def _wide(lines: list[str]) -> set[str]:
    """Return the contents of columns 21 and 22 that begin with the end of a name such as LYSH.

    They are chain names of two letters if other residues have them, too.
    """
    wide: dict[str, bool] = {}
    for line in lines:
        if line[20] != " ":
            name = line[17:21].strip()
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
