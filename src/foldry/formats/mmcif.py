"""Data blocks of mmCIF and BinaryCIF, completed and put in order for gemmi.

Columns of `_atom_site` that a program has left out are filled with what they stand for, sequences
are numbered from 1, and the atoms of a chain follow each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby, repeat
from typing import Final

import gemmi

from foldry.errors import InputError, quoted
from foldry.formats.atoms import (
    FEWER,
    GIVE,
    MAX_CHAINS,
    Atoms,
    amino_acids,
    arrange,
    shared,
    too_many,
)
from foldry.residues import RESNAME_TO_CODE, SYNONYMS

_SITE: Final = "_atom_site."
_SEQUENCE: Final = "_entity_poly_seq."
_NULL: Final = frozenset("?.")
_MAX_SEARCH: Final = 5_000_000_000
"""Limit on the residues that gemmi passes while it looks for the residue of each atom."""
_DEFAULTS: Final = {
    "label_alt_id": ".",
    "label_entity_id": "?",
    "label_seq_id": ".",
    "pdbx_PDB_ins_code": "?",
    "occupancy": "1",
    "B_iso_or_equiv": "0",
    "pdbx_PDB_model_num": "1",
    "group_PDB": "ATOM",
}
_PAIRS: Final = {
    f"{kind}_{name}_id": f"{other}_{name}_id"
    for name in ("atom", "comp", "asym")
    for kind, other in (("label", "auth"), ("auth", "label"))
} | {"auth_seq_id": "label_seq_id"}
"""Columns and those from which they can be taken."""
_NEEDED: Final = ("Cartn_x", "Cartn_y", "Cartn_z", *_PAIRS)
_COLUMNS: Final = (*_NEEDED, *_DEFAULTS, "id", "type_symbol")
_ANY_CASE: Final = re.ASCII | re.IGNORECASE
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?(\(\d+\))?", _ANY_CASE)
_NUMBER_OR_NONE: Final = re.compile(rf"{_NUMBER.pattern}|[.?]", _ANY_CASE)
_LETTER: Final = re.compile(r"(['\"]?).?\1")
_NAME: Final = re.compile(r"(?![.?'\"]+$).+")
_WITHOUT_ATOMS: Final = {
    "_atom_site_fract_x": "has fractional coordinates only, as of a small molecule",
    "_refln.index_h": "has structure factors, and no atoms",
    "_chem_comp_atom.atom_id": "describes chemical components, and no structure",
    "_chem_link.id": "describes chemical components, and no structure",
}
"""What a CIF file without `_atom_site` has, by a tag."""
_MODEL: Final = "pdbx_PDB_model_num"
_CIF_FIELDS: Final = {
    "Cartn_x": (_NUMBER, "a coordinate"),
    "Cartn_y": (_NUMBER, "a coordinate"),
    "Cartn_z": (_NUMBER, "a coordinate"),
    "occupancy": (_NUMBER_OR_NONE, "an occupancy"),
    "B_iso_or_equiv": (_NUMBER_OR_NONE, "a B factor"),
    "auth_seq_id": (re.compile(r"(['\"]?)-?[0-9]{1,9}[A-Za-z]?\1|[.?]"), "a residue number"),
    "label_seq_id": (re.compile(r"-?[0-9]{1,9}|[.?]"), "a residue number"),
    "label_atom_id": (_NAME, "an atom name"),
    "label_comp_id": (_NAME, "a residue name"),
    "label_alt_id": (_LETTER, "one letter"),
    "pdbx_PDB_ins_code": (_LETTER, "one letter"),
    "_entity_poly_seq.num": (re.compile(r"-?[0-9]{1,9}|[.?]"), "a residue number"),
    "_entity_poly_seq.mon_id": (_NAME, "a residue name"),
    _MODEL: (re.compile(r"[0-9]{1,9}"), "a model number"),
}
"""Columns of `_atom_site`, or of the category that is named, and their content."""
_OTHERS: Final = {"non-polymer", "water", "branched", "macrolide"}
"""Types of entities that gemmi leaves out of chains."""


def has_atoms(block: gemmi.cif.Block) -> bool:
    """Return whether a data block has atoms."""
    return bool(len(block.find_mmcif_category(_SITE)))


def no_atoms(blocks: gemmi.cif.Document, source: str) -> InputError:
    """Return the error for a CIF file without the atoms of a structure."""
    found = (
        what
        for tag, what in _WITHOUT_ATOMS.items()
        if any(len(block.find_values(tag)) for block in blocks)
    )
    return InputError(next(found, "has no atoms"), GIVE, where=source)


def complete_atoms(block: gemmi.cif.Block, source: str) -> None:
    """Add the columns of `_atom_site` that are missing or without values.

    Raises:
        InputError: A column is missing that does not follow from others.
    """
    lacking = {
        tag for tag in _COLUMNS if all(value in _NULL for value in block.find_values(_SITE + tag))
    }
    if len(block.find_values(f"{_SITE}label_alt_id")):  # gemmi needs this column alone
        lacking.discard("label_alt_id")
    if not has_atoms(block) or lacking <= _DEFAULTS.keys() - {"label_alt_id", "B_iso_or_equiv"}:
        return
    columns = _columns(block)
    rows = len(block.find_mmcif_category(_SITE))
    for tag in sorted(lacking):
        other = _PAIRS.get(tag, tag)
        if other not in lacking:
            columns[tag] = list(block.find_values(_SITE + other))
        elif tag in _DEFAULTS:
            columns[tag] = [_DEFAULTS[tag]] * rows
        elif other == "label_asym_id":
            columns[tag] = columns[other] = ["A"] * rows
        elif tag not in ("id", "type_symbol", "label_asym_id"):
            what = f"has no values in the column {_SITE}{tag}, and none that replaces it"
            raise InputError(what, "add the column", where=source)
    if "id" in lacking:
        columns["id"] = [str(number) for number in range(1, rows + 1)]
    if "type_symbol" in lacking:
        columns["type_symbol"] = _elements(columns["label_comp_id"], columns["label_atom_id"])
    block.set_mmcif_category(_SITE, columns, raw=True)


def check_columns(block: gemmi.cif.Block, source: str) -> None:
    """Refuse values of mmCIF and BinaryCIF that gemmi would misread as other numbers or unknown."""
    for tag, (pattern, kind) in _CIF_FIELDS.items():
        row_of = "row" if tag.startswith("_") else "atom"
        column = block.find_values(tag if row_of == "row" else f"_atom_site.{tag}")
        values = set(column)
        if tag == _MODEL:
            if len(values) > MAX_CHAINS:
                raise too_many(MAX_CHAINS, "models", source)
            if values <= _NULL:  # one model without a number
                continue
        wrong = {value for value in values if not pattern.fullmatch(value)}
        if wrong:
            row, value = next(pair for pair in enumerate(column, start=1) if pair[1] in wrong)
            what = f"has {quoted(value)} in {tag}, which is not {kind}"
            raise InputError(what, "fix the file", where=f"{source}, {row_of} {row}")
        if tag == "B_iso_or_equiv" and values & _NULL:  # gemmi would read 20
            for index, text in enumerate(column):
                column[index] = "0" if text in _NULL else text
    charges = block.find_values("_atom_site.pdbx_formal_charge")
    if not _NULL.issuperset(charges):  # not used, and gemmi refuses some
        for row in range(len(charges)):
            charges[row] = "?"
    # gemmi reads an atom without `auth_seq_id` as a residue numbered by its `label_seq_id`.
    columns = [block.find_values(f"_atom_site.{each}_seq_id") for each in ("auth", "label")]
    pairs = zip(*columns, strict=False)
    unset = [None if label in _NULL else auth in _NULL for auth, label in pairs]
    if {True, False} <= set(unset):
        what = "has no residue number in auth_seq_id, which other atoms have"
        raise InputError(what, "fix the file", where=f"{source}, atom {unset.index(True) + 1}")
    check_search(block, source)


def check_search(block: gemmi.cif.Block, source: str) -> None:
    """Refuse chains in which gemmi, which compares each residue with all others, takes minutes."""

    def column(*tags: str) -> Iterable[str]:
        found = (block.find_values(f"_atom_site.{tag}") for tag in tags)
        return next(filter(len, found), repeat(""))

    x = block.find_values("_atom_site.Cartn_x")
    if len(x) ** 2 <= _MAX_SEARCH:
        return
    chains = zip(column(_MODEL), column("auth_asym_id", "label_asym_id"), strict=False)
    residues = column("auth_seq_id", "label_seq_id"), column("label_comp_id", "auth_comp_id")
    codes = column("pdbx_PDB_ins_code")
    atoms = ((chain, each) for chain, *each, _ in zip(chains, *residues, codes, x, strict=False))
    runs = groupby(chain for (chain, _), _ in groupby(atoms))
    if sum(sum(1 for _ in run) ** 2 for _, run in runs) > _MAX_SEARCH:
        raise InputError("has too many residues in one chain", FEWER, where=source)


def number_sequences(block: gemmi.cif.Block) -> None:
    """Number each sequence of `_entity_poly_seq` from 1, and `label_seq_id` with it.

    The numbers of a chain that do not agree with the sequence are removed; gemmi then aligns it.
    """
    columns = _columns(block, _SEQUENCE)
    entities, monomers = columns.get("entity_id", []), columns.get("mon_id", [])
    if not entities or not monomers:
        return
    numbers = columns.get("num", [str(number) for number in range(1, len(entities) + 1)])
    places, rows = _places(entities, numbers)
    new = [str(places[entities[row], numbers[row]]) for row in rows]
    if rows != list(range(len(rows))) or new != columns.get("num"):
        columns = {"num": new}
        columns["entity_id"] = [entities[row] for row in rows]
        columns["mon_id"] = [monomers[row] for row in rows]
        block.set_mmcif_category(_SEQUENCE, columns, raw=True)
    _number_atoms(block, places, set(zip(entities, numbers, monomers, strict=True)))


def arrange_atoms(block: gemmi.cif.Block) -> bool:
    """Put the amino acids of `_atom_site` in order, if they are not; return whether they were not.

    Standard names replace those of force fields.
    """
    places = [block.find_values(f"{_SITE}Cartn_{axis}") for axis in "xyz"]
    size = len(places[0])

    def column(tag: str) -> list[str]:
        return shared(block.find_values(_SITE + tag)) or [_DEFAULTS[tag]] * size

    group = column("group_PDB")
    ids, kinds = (block.find_values(f"_entity.{tag}") for tag in ("id", "type"))
    types = dict(zip(ids, map(_text, kinds), strict=False))
    entities = [types.get(entity, "") for entity in column("label_entity_id")]
    sequence = set(_texts(block.find_values(_SEQUENCE + "mon_id")))
    monomers = _texts(column("auth_comp_id"))
    fixed = [
        each[:1] in "Aa"
        or entity == "polymer"
        or (monomer in sequence and monomer not in RESNAME_TO_CODE)
        for each, entity, monomer in zip(group, entities, monomers, strict=True)
    ]
    labels = _texts(column("label_asym_id"))
    atoms = Atoms(
        model=column("pdbx_PDB_model_num"),
        chain=_texts(column("auth_asym_id")),
        part=[label if each else "" for label, each in zip(labels, fixed, strict=True)],
        fixed=fixed,
        number=shared(map(_joined, column("auth_seq_id"), column("pdbx_PDB_ins_code"))),
        monomer=monomers,
        atom=_texts(column("auth_atom_id")),
        altloc=_texts(column("label_alt_id")),
        occupancy=column("occupancy"),
        position=lambda row: tuple(place[row] for place in places),
    )
    given = monomers.copy(), atoms.atom.copy()
    rows, synonyms = amino_acids(atoms, sequence)
    rows = [row for row in rows if entities[row] not in _OTHERS]
    used, with_protein = set(rows), {labels[row] for row in rows}
    stray = any(  # gemmi leaves out the other entities, unless their label is that of a protein
        row not in used and (entities[row] not in _OTHERS or labels[row] in with_protein)
        for row in range(size)
    )
    _rename_sequences(block, synonyms)
    chains = arrange(atoms, rows, labelled=True)
    order = [row for chain in chains for row in chain.rows]
    new_names = [chain.name for chain in chains for _ in chain.rows]
    same = order == rows and given == (atoms.monomer, atoms.atom)
    same &= all(map(str.__eq__, new_names, (atoms.chain[row] for row in order)))
    if not rows or (same and not stray):
        return False
    kept = {tag: list(map(column(tag).__getitem__, order)) for tag in _COLUMNS}
    kept["auth_comp_id"] = kept["label_comp_id"] = [_quoted(atoms.monomer[row]) for row in order]
    kept["auth_atom_id"] = kept["label_atom_id"] = [_quoted(atoms.atom[row]) for row in order]
    kept["auth_asym_id"] = list(map(_quoted, new_names))
    block.set_mmcif_category(_SITE, kept, raw=True)
    return True


def _rename_sequences(block: gemmi.cif.Block, synonyms: set[str]) -> None:
    """Give the monomers of `_entity_poly_seq` their standard names."""
    monomers = block.find_values(_SEQUENCE + "mon_id")
    for row, name in enumerate(_texts(monomers)):
        if name in synonyms:
            monomers[row] = SYNONYMS[name]


def _columns(block: gemmi.cif.Block, category: str = _SITE) -> dict[str, list[str]]:
    """Return the columns of a category as in the file, by tags in lower case except known ones."""
    known = {tag.lower(): tag for tag in _COLUMNS}
    found = {}
    for tag in block.find_mmcif_category(category).tags:  # one by one, to save memory
        name = tag[len(category) :].lower()
        found[known.get(name, name)] = shared(block.find_values(tag))
    return found


def _joined(number: str, code: str) -> str:
    return number if code in _NULL else number + code


def _quoted(text: str) -> str:
    return gemmi.cif.quote(text) if text else "."


def _text(value: str) -> str:
    return "" if value in _NULL else gemmi.cif.as_string(value)


def _texts(values: Iterable[str]) -> list[str]:
    """Return values without quotes; "" for `?` and `.`."""
    values = shared(values)
    known = {value: _text(value) for value in set(values)}
    return [known[value] for value in values]


def _elements(monomers: list[str], names: list[str]) -> list[str]:
    """Return an element for each atom name: all of it in ions, otherwise its first letter."""
    found = {}
    for monomer, name in set(zip(monomers, names, strict=True)):
        letters = "".join(filter(str.isalpha, _text(name)))
        found[monomer, name] = letters if _text(monomer) == letters else letters[:1] or "?"
    return [found[pair] for pair in zip(monomers, names, strict=True)]


def _places(
    entities: list[str], numbers: list[str]
) -> tuple[dict[tuple[str, str], int], list[int]]:
    """Return the place of each number in the sequence of its entity, and the rows in this order."""
    found: dict[str, dict[str, list[int]]] = {}
    for row, (entity, number) in enumerate(zip(entities, numbers, strict=True)):
        found.setdefault(entity, {}).setdefault(number, []).append(row)
    places, rows = {}, []
    for entity, ids in found.items():
        decimal = all(each.removeprefix("-").isdecimal() and len(each) < 10 for each in ids)
        for place, number in enumerate(sorted(ids, key=int) if decimal else ids, start=1):
            places[entity, number] = place
            rows += ids[number]
    return places, rows


def _number_atoms(
    block: gemmi.cif.Block,
    places: dict[tuple[str, str], int],
    known: set[tuple[str, str, str]],
) -> None:
    """Write the places of residues in their sequences into `label_seq_id`."""
    tags = "label_asym_id", "label_entity_id", "label_seq_id", "label_comp_id"
    asyms, entities, numbers, comps = (shared(block.find_values(_SITE + tag)) for tag in tags)
    ids, of = (block.find_values(f"_struct_asym.{tag}") for tag in ("id", "entity_id"))
    entity_of = dict(zip(ids, of, strict=False))
    if not entities:
        entities = [entity_of.get(asym, "?") for asym in asyms]
    if not len(asyms) == len(entities) == len(numbers) == len(comps):
        return
    with_sequence = {entity for entity, _ in places}
    agreeing: dict[str, int] = {}
    lost = set()
    for asym, entity, number, comp in set(zip(asyms, entities, numbers, comps, strict=True)):
        if entity in with_sequence and number not in _NULL:
            agreement = 1 if (entity, number, comp) in known else -1
            agreeing[asym] = agreeing.get(asym, 0) + agreement
            if (entity, number) not in places:
                lost.add(asym)
    lost |= {asym for asym, sum_ in agreeing.items() if sum_ < 0}
    new = [
        number
        if entity not in with_sequence or number in _NULL
        else "?"
        if asym in lost
        else str(places[entity, number])
        for asym, entity, number in zip(asyms, entities, numbers, strict=True)
    ]
    if new != numbers:
        column = block.find_values(_SITE + "label_seq_id")
        for row, number in enumerate(new):
            column[row] = number
