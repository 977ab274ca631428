"""AlphaFold's folder `msas`: what each search found, in the files that AlphaFold reads again."""

from __future__ import annotations

import json
from pathlib import PurePath
from typing import Final

from foldry.formats.a3m import to_a3m
from foldry.formats.stockholm import to_stockholm
from foldry.inputs.folders import CHAIN_MAP, STOCKHOLM_SUFFIXES
from foldry.query import Alignment, Chain
from foldry.search.result import Found, SearchResult

GIVEN: Final = "bfd_uniref_hits.a3m"
"""The file of AlphaFold's that gets the alignment of a chain that was not searched for."""
PAIRED: Final = "uniprot_hits"
"""The file, without its suffix, whose rows AlphaFold-Multimer pairs."""


def msa_files(result: SearchResult) -> dict[str, str]:
    """Return the texts of the folder `msas` by the names of its files, relative to the folder.

    Each search has its file. A complex has a folder for each distinct sequence, named after its
    first chain, and AlphaFold-Multimer's list of the chains, which readers sort by their names.

    Example:
        >>> from foldry.query import Query
        >>> complex = Query("trimer", (Chain(("A", "C"), "MKT"), Chain(("B",), "MKV")))
        >>> list(msa_files(SearchResult(complex, "none", ((), ()))))
        ['A/bfd_uniref_hits.a3m', 'B/bfd_uniref_hits.a3m', 'chain_id_map.json']
    """
    query = result.query
    if query.num_chains == 1:
        return _files(query.chains[0], result.found[0])
    texts: dict[str, str] = {}
    folders: dict[str, str] = {}
    for chain, found in zip(query.chains, result.found, strict=True):
        folder = folders.setdefault(chain.sequence, chain.ids[0])
        if folder == chain.ids[0]:  # AlphaFold-Multimer keeps one folder of copies
            texts |= {f"{folder}/{name}": text for name, text in _files(chain, found).items()}
    chains = {
        name: {"description": f"{query.name}_{name}", "sequence": chain.sequence}
        for chain in query.chains
        for name in chain.ids
    }
    texts[CHAIN_MAP] = json.dumps(chains, indent=4, sort_keys=True)
    return texts


def _files(chain: Chain, found: tuple[Found, ...]) -> dict[str, str]:
    """Return the texts of the files of one chain by their names."""
    rows = {each.step.file: each.alignment for each in found if not each.for_pairing}
    if not rows:
        rows[GIVEN] = chain.alignment or Alignment.of(["query"], [chain.sequence])
    paired = {
        f"{PAIRED}{PurePath(each.step.file).suffix}": each.alignment
        for each in found
        if each.for_pairing
    }
    if chain.paired is not None and not paired:
        paired[f"{PAIRED}.a3m"] = chain.paired
    return {name: _text(name, alignment) for name, alignment in (rows | paired).items()}


def _text(name: str, alignment: Alignment) -> str:
    """Return the text of an alignment in the format of a file's name: Stockholm or a3m."""
    return to_stockholm(alignment) if name.endswith(STOCKHOLM_SUFFIXES) else to_a3m(alignment)
