"""The query that predicts a chain of a folder of packs."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from foldry.dataset.packs import Library
from foldry.formats.sequence import safe_name
from foldry.query import Alignment, Chain, Query
from foldry.residues import RESTYPES_WITH_X
from foldry.structure import Structure

_LETTERS: Final = np.array(list(RESTYPES_WITH_X + "-"))


def query_of(
    library: Library, name: str, num_templates: int = 0, *, alignment: bool = True
) -> Query:
    """Return a query of a chain with its alignment, if wanted, and its best template hits."""
    msa, deletions = library.alignment(name)
    rows = slice(None) if alignment else slice(1)
    headers = [name, *(f"row{number}" for number in range(1, len(msa)))][rows]
    # Packs keep the number of inserted letters, not the letters: they become x.
    texts = [
        "".join(int(count) * "x" + letter for letter, count in zip(row, counts, strict=True))
        for row, counts in zip(_LETTERS[msa[rows]], deletions[rows], strict=True)
    ]
    aligned = Alignment.of(headers, texts)
    templates = [
        replace(hit, structure=structure_of(library, hit.name))
        for hit in library.hits(name)[:num_templates]
    ]
    chain = Chain(("A",), aligned.query, aligned, templates=tuple(templates))
    return Query(safe_name(name, name), (chain,))


def structure_of(library: Library, name: str) -> Structure:
    """Return a chain as a structure with residues numbered from 1."""
    chain = library.chain(name)
    size = len(chain)
    return Structure(
        name=name,
        aatype=chain.aatype,
        residue_number=chain.residue_index - chain.residue_index[0] + 1,
        insertion_code=np.full(size, ""),
        chain_id=np.full(size, "A"),
        atom_positions=chain.positions,
        atom_mask=chain.mask.astype(bool),
        b_factor=np.zeros((size, 37), np.float32),
    )
