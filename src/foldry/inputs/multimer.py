"""Complexes in folders: a list or the names of files say which alignment belongs to which chain.

AlphaFold-Multimer writes `chain_id_map.json` beside a folder for each chain. AlphaFold Server
writes two files for each chain, such as `job_unpaired_msa_chains_a_b.a3m` for the copies A and B.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from foldry.errors import InputError, quoted
from foldry.formats.a3m import parse_a3m
from foldry.formats.lines import read_bounded_text
from foldry.formats.sequence import at, clean_sequence
from foldry.formats.stockholm import parse_stockholm
from foldry.inputs.folders import A3M_SUFFIXES, CHAIN_MAP, SERVER, alignments, suffix
from foldry.query import Alignment, Chain, Query
from foldry.store.files import stem

_PAIRED: Final = "uniprot_hits"
"""The search of AlphaFold-Multimer whose rows it pairs by species."""
_ADVICE: Final = "give the folder as AlphaFold wrote it"


class _Part(NamedTuple):
    """A chain and its files; without a sequence, the first row of an alignment is the chain's."""

    ids: tuple[str, ...]
    unpaired: list[Path]
    paired: list[Path]
    sequence: str = ""


def read_complex(files: Sequence[Path], name: str) -> Query:
    """Return the complex of a `chain_id_map.json`, or of AlphaFold Server's alignments.

    Raises:
        InputError: The list is not AlphaFold's, an alignment is wrong, or a chain has none.
    """
    chains = []
    for part in _listed(files[0]) if files[0].name == CHAIN_MAP else _named(files):
        rows = {path: _rows(path) for path in (*part.unpaired, *part.paired)}
        first, alignment = next(iter(rows.items()))
        sequence = part.sequence or clean_sequence(alignment.query, str(first))
        for path, alignment in rows.items():
            with at(path):  # check that it begins with the sequence
                Chain(part.ids, sequence, alignment)
        unpaired, paired = (
            Alignment.joined([rows[path] for path in paths]) if paths else None
            for paths in (part.unpaired, part.paired)
        )
        chains.append(Chain(part.ids, sequence, unpaired, paired))
    with at(files[0]):
        return Query(name, tuple(chains))


def _listed(path: Path) -> Iterator[_Part]:
    """Yield the chains of AlphaFold-Multimer's list.

    It searches once for chains with the same sequence, so only one of them has a folder.
    """
    text = read_bounded_text(path)
    try:
        entries = {chain: str(entry["sequence"]) for chain, entry in json.loads(text).items()}
    except (ValueError, RecursionError, AttributeError, KeyError, TypeError):
        raise InputError("is not AlphaFold's list of chains", _ADVICE, where=path) from None
    copies: dict[str, list[str]] = {}
    # The file is sorted by name, and AlphaFold names chains A to Z, a to z, 0 to 9.
    for chain in sorted(entries, key=lambda each: (each.isdigit(), each)):
        if not (chain.isascii() and chain.isalnum()):  # it could lead out of the folder
            what = f"lists the chain {quoted(chain)}"
            raise InputError(what, "name chains by letters and digits", where=path)
        sequence = clean_sequence(entries[chain], f"{path}, chain {chain},")
        copies.setdefault(sequence, []).append(chain)
    for sequence, ids in copies.items():
        found = next((files for each in ids if (files := alignments(path.parent / each))), None)
        if found is None:
            what = f"lists chain {ids[0]}, but the folder {ids[0]} beside it has no alignment"
            raise InputError(what, _ADVICE, where=path)
        beside = sorted(found[0].parent.iterdir())
        paired = [each for each in beside if stem(each) == _PAIRED and suffix(each)]
        yield _Part(tuple(ids), found, paired, sequence)


def _named(files: Sequence[Path]) -> list[_Part]:
    """Return the chains that are named at the ends of the files' names."""
    parts: dict[tuple[str, ...], _Part] = {}
    if len({stem(path).partition(SERVER)[0].removesuffix("un") for path in files}) > 1:
        what = "holds the alignments of several jobs"
        raise InputError(what, "give each job its own folder", where=files[0].parent)
    for path in files:
        kind, _, letters = stem(path).partition(SERVER)
        ids = tuple(letters.upper().split("_"))
        part = parts.setdefault(ids, _Part(ids, [], []))
        (part.unpaired if kind.endswith("un") else part.paired).append(path)
    return [parts[ids] for ids in sorted(parts)]


def _rows(path: Path) -> Alignment:
    parse = parse_a3m if suffix(path) in A3M_SUFFIXES else parse_stockholm
    return parse(read_bounded_text(path), str(path))
