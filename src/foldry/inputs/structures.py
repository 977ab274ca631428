"""Structures named on a command line: `FILE` or `FILE:CHAIN,CHAIN`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foldry.errors import InputError, quoted
from foldry.formats.coordinates import read_structure
from foldry.structure import Structure


def read_named(name: str) -> Structure:
    """Return the structure of a file, or only the chains after the last colon (`x.cif:A,B`).

    Raises:
        InputError: The file is not a structure, or has no such chain.
    """
    path, chains = split_name(name)
    structure = read_structure(path)
    missing = [chain for chain in chains if chain not in structure.chains]
    if missing:
        advice = f"choose from {quoted(', '.join(structure.chains))}"
        raise InputError(f"has no protein chain {quoted(missing[0])}", advice, where=path)
    return structure.select(np.isin(structure.chain_id, chains)) if chains else structure


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
