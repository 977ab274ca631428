"""Structures named on a command line: `FILE`, `FILE:CHAIN,CHAIN`, or a folder of templates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from foldry.errors import InputError, quoted
from foldry.formats.coordinates import read_structure
from foldry.store.files import is_hidden, plain_name
from foldry.structure import Structure

STRUCTURE_SUFFIXES: Final = (".cif", ".mmcif", ".bcif", ".pdb", ".ent")
MAX_FILES: Final = 1000
"""Maximum number of structures in a folder of templates."""
MAX_RESIDUES: Final = 1_000_000
"""Maximum number of their residues, which need about 1.2 GB of memory."""


def read_named(name: str) -> Structure:
    """Return the structure of a file, or only the chains after the last colon (`x.cif:A,B`).

    Raises:
        InputError: The file is not a structure, or has no such chain.
    """
    path, chains = split_name(name)
    return select_chains(read_structure(path), chains, path)


def select_chains(structure: Structure, chains: Sequence[str], path: Path) -> Structure:
    """Return the chains with these names, or all if there are no names.

    Raises:
        InputError: The structure, which is that of a file, has no such chain.
    """
    missing = [chain for chain in chains if chain not in structure.chains]
    if missing:
        advice = f"choose from {quoted(', '.join(structure.chains))}"
        raise InputError(f"has no protein chain {quoted(missing[0])}", advice, where=path)
    return structure.select(np.isin(structure.chain_id, chains)) if chains else structure


def read_templates(name: str) -> list[Structure]:
    """Return the structure that `read_named` returns, or those in a folder, in the order of names.

    Of a folder, only its own files count, without hidden files and those of other kinds.

    Raises:
        InputError: As for `read_named`; a folder has no structure or too many, or is named with a
            chain.
    """
    path, chains = split_name(name)
    if not path.is_dir():
        return [read_named(name)]
    if chains:
        advice = "name a file in it with the chain, or the folder without one"
        raise InputError("is a folder, in which no chain can be selected", advice, where=path)
    files = [each for each in sorted(path.iterdir()) if each.is_file() and is_structure(each)]
    if not files:
        what = "is a folder without a PDB, mmCIF or BinaryCIF file"
        raise InputError(what, "check the path", where=path)
    if len(files) > MAX_FILES:
        what = f"holds {len(files)} structures, and the limit is {MAX_FILES}"
        raise InputError(what, "keep those that resemble the query", where=path)
    found: list[Structure] = []
    for each in files:
        found.append(read_structure(each))
        if sum(map(len, found)) > MAX_RESIDUES:
            what = f"holds structures of more than {MAX_RESIDUES} residues"
            raise InputError(what, "keep those that resemble the query", where=path)
    return found


def is_structure(path: Path) -> bool:
    """Return whether a file, packed or not, has the name of a structure and is not hidden."""
    return plain_name(path).lower().endswith(STRUCTURE_SUFFIXES) and not is_hidden(path)


def names_structure(name: str) -> bool:
    """Return whether a name is that of a structure file, perhaps with chains: `x.cif:A,B`."""
    return is_structure(Path(name)) or is_structure(Path(name.rpartition(":")[0]))


def split_name(name: str) -> tuple[Path, tuple[str, ...]]:
    """Return the path and the chain names in `FILE` or `FILE:CHAIN,CHAIN`.

    The name of an existing file is not split, even if it contains a colon.

    Raises:
        InputError: A chain name before or after a comma is missing.
    """
    path, colon, chains = name.rpartition(":")
    if not path or not colon or Path(name).exists():
        return Path(name), ()
    found = tuple(map(str.strip, chains.split(",")))
    if len(found) > 1 and not all(found):
        raise InputError(f"{name!r} has no chain beside a comma", "write FILE:A,B without spaces")
    return Path(path), found
