"""A structure named as people write it on a command line: `FILE` or `FILE:CHAIN,CHAIN`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foldry.errors import InputError
from foldry.formats.coordinates import read_structure
from foldry.structure import Structure


def read_named(name: str) -> Structure:
    """The structure of a file, or of it the chains after the last colon, such as `x.cif:A,B`.

    Raises:
        InputError: The file is no structure, or has no such chain.
    """
    path, chains = split_name(name)
    structure = read_structure(path)
    missing = [chain for chain in chains if chain not in structure.chains]
    if missing:
        advice = f"choose from {', '.join(structure.chains)}"
        raise InputError(f"has no protein chain {missing[0]!r}", advice, where=path)
    return structure.select(np.isin(structure.chain_id, chains)) if chains else structure


def split_name(name: str) -> tuple[Path, tuple[str, ...]]:
    """The path and the chains of such a name; a file whose own name has the colon goes first.

    Raises:
        InputError: Of several chains one has no name.
    """
    path, colon, chains = name.rpartition(":")
    if not path or not colon or Path(name).exists():
        return Path(name), ()
    found = tuple(map(str.strip, chains.split(",")))
    if len(found) > 1 and not all(found):
        raise InputError(f"{name!r} names no chain beside a comma", "write FILE:A,B without spaces")
    return Path(path), found
