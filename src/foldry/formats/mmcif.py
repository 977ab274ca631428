"""Data blocks of mmCIF and BinaryCIF, completed and put in order for gemmi.

Columns of `_atom_site` that a program has left out are filled with what they stand for, sequences
are numbered from 1, and the atoms of a chain follow each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import gemmi

from foldry.errors import InputError
from foldry.formats.atoms import Atoms, amino_acids, arrange
from foldry.residues import SYNONYMS

_SITE: Final = "_atom_site."
_SEQUENCE: Final = "_entity_poly_seq."
_NULL: Final = frozenset("?.")
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
_OTHERS: Final = {"non-polymer", "water", "branched", "macrolide"}
"""Types of entities that gemmi leaves out of chains."""


def has_atoms(block: gemmi.cif.Block) -> bool:
    """Return whether a data block has atoms."""
    return bool(len(block.find_mmcif_category(_SITE)))


def complete_atoms(block: gemmi.cif.Block, source: str) -> None:
    """Add the columns of `_atom_site` that are missing or without values.

    Raises:
        InputError: A column is missing that does not follow from others.
    """
    lacking = {tag for tag in _COLUMNS if set(block.find_values(_SITE + tag)) <= _NULL}
    if not has_atoms(block) or lacking <= _DEFAULTS.keys() - {"label_alt_id"}:
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
    column = {tag: list(block.find_values(_SITE + tag)) for tag in _COLUMNS}
    size = len(column["Cartn_x"])
    column |= {tag: [_DEFAULTS[tag]] * size for tag in column if not column[tag]}
    atoms = Atoms(
        model=column["pdbx_PDB_model_num"],
        chain=_texts(column["auth_asym_id"]),
        part=_texts(column["label_asym_id"]),
        number=list(map(_joined, column["auth_seq_id"], column["pdbx_PDB_ins_code"])),
        monomer=_texts(column["auth_comp_id"]),
        atom=_texts(column["auth_atom_id"]),
        altloc=_texts(column["label_alt_id"]),
        occupancy=column["occupancy"],
        position=list(zip(*(column[f"Cartn_{axis}"] for axis in "xyz"), strict=True)),
    )
    names = atoms.atom.copy()
    sequence = set(_texts(block.find_values(_SEQUENCE + "mon_id")))
    rows, renamed, synonyms = amino_acids(atoms, sequence)
    ids, kinds = (block.find_values(f"_entity.{tag}") for tag in ("id", "type"))
    types = dict(zip(ids, kinds, strict=False))
    other = [_text(types.get(entity, "")) in _OTHERS for entity in column["label_entity_id"]]
    used = set(rows)
    stray = any(not other[row] and row not in used for row in range(size))
    rows = [row for row in rows if not other[row] or column["group_PDB"][row][:1] in "Aa"]
    _rename_sequences(block, synonyms)
    chains = arrange(atoms, rows, labelled=True)
    order = [row for chain in chains for row in chain.rows]
    new_names = [chain.name for chain in chains for _ in chain.rows]
    same = order == rows and not renamed and names == atoms.atom
    same &= all(map(str.__eq__, new_names, (atoms.chain[row] for row in order)))
    if not rows or (same and not stray):
        return False
    column["auth_comp_id"] = column["label_comp_id"] = list(map(_quoted, atoms.monomer))
    column["auth_atom_id"] = column["label_atom_id"] = list(map(_quoted, atoms.atom))
    column["group_PDB"] = [
        "ATOM" if row in renamed else group for row, group in enumerate(column["group_PDB"])
    ]
    kept = {tag: [values[row] for row in order] for tag, values in column.items()}
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
    found = block.get_mmcif_category(category, raw=True)
    return {known.get(tag.lower(), tag.lower()): values for tag, values in found.items()}


def _joined(number: str, code: str) -> str:
    return number if code in _NULL else number + code


def _quoted(text: str) -> str:
    return gemmi.cif.quote(text) if text else "."


def _text(value: str) -> str:
    return "" if value in _NULL else gemmi.cif.as_string(value)


def _texts(values: Iterable[str]) -> list[str]:
    """Return values without quotes; "" for `?` and `.`."""
    values = list(values)
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
    asyms, entities, numbers, comps = (list(block.find_values(_SITE + tag)) for tag in tags)
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
