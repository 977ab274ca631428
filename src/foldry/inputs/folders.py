"""Which files of a folder belong to which protein.

AlphaFold 2 keeps the alignments of a chain in `msas/`, one file for each database. OpenFold and
OpenProteinSet have a folder for each chain, with the files in it or in its `a3m/`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from foldry.errors import InputError
from foldry.formats.table import is_table
from foldry.store.files import plain_name, stem

FASTA_SUFFIXES: Final = (".fasta", ".fa", ".faa", ".fas")
A3M_SUFFIXES: Final = (".a3m",)
STOCKHOLM_SUFFIXES: Final = (".sto", ".stk", ".stockholm")
JSON_SUFFIXES: Final = (".json",)
CHAIN_MAP: Final = "chain_id_map.json"
"""AlphaFold's list of the chains of a complex, next to their folders."""
_SEARCHES: Final = ("uniref90", "bfd", "small_bfd", "uniclust30", "uniref30", "mgnify")
"""How files of searches for an alignment are named, in the order in which AlphaFold joins them."""
_OTHERS: Final = ("pdb_hits", "pdb70_hits", "hmm_output", "hmmsearch_output", "uniprot_hits")
"""Searches for templates, and for rows that only complexes need."""
_INNER: Final = ("msas", "a3m", "alignments", "msa")
"""Folders that are not named after a protein."""

logger = logging.getLogger(__name__)


class Source(NamedTuple):
    """Files that are read together.

    Attributes:
        files: One file, or the alignments of one chain in the order in which they are joined.
        folder: Name of the folder of a chain's alignments; "" for a file with queries.
        always: Whether the query is named after the folder even if the files name it.
    """

    files: tuple[Path, ...]
    folder: str = ""
    always: bool = False


def suffix(path: Path) -> str:
    """Return the suffix of a query's format, without that of packed files; "" if unknown."""
    name = plain_name(path).lower()
    known = (*FASTA_SUFFIXES, *A3M_SUFFIXES, *STOCKHOLM_SUFFIXES, *JSON_SUFFIXES)
    return next((each for each in known if name.endswith(each)), "")


def sources(path: Path) -> list[Source]:
    """Return the files of queries that a path names, in the order of names.

    A folder's own files count, or those of its subfolders if it has none.

    Raises:
        InputError: A folder has no file of a query.
    """
    if not path.is_dir():
        return [Source((path,))]
    folder = path / "msas" if (path / "msas").is_dir() else path
    files = [each for each in sorted(folder.iterdir()) if each.is_file() and suffix(each)]
    if folder / CHAIN_MAP in files:
        what = "holds AlphaFold's alignments of a complex"
        advice = "fold each chain by its folder, or write the alignments into a JSON file"
        raise InputError(what, advice, where=folder)
    if files:
        searches = [each for each in files if _rank(each) < len(_SEARCHES)]
        others = [Source((each,)) for each in files if each not in searches]
        return [*_group(searches, owner(folder)), *_without_others(others, bool(searches))]
    found = []
    for each in sorted(folder.iterdir()):
        inner = next((each / name for name in _INNER if (each / name).is_dir()), each)
        found += _group(_alignments(inner), each.name, always=True) if inner.is_dir() else []
    if not found:
        what = "is a folder without a FASTA, a3m, Stockholm or JSON file"
        tables = [each.name for each in folder.iterdir() if is_table(each)]
        advice = "check the path" + (f"; {tables[0]} is a table" if tables else "")
        raise InputError(what, advice, where=path)
    return found


def owner(folder: Path) -> str:
    """Return the name of the protein's folder, in which `msas` and the like may lie."""
    folder = folder.resolve()
    return next((each.name for each in (folder, *folder.parents) if each.name not in _INNER), "")


def _alignments(folder: Path) -> list[Path]:
    """Return the alignments in a chain's folder."""
    files = [each for each in sorted(folder.iterdir()) if each.is_file()]
    found = [each for each in files if suffix(each) in (*A3M_SUFFIXES, *STOCKHOLM_SUFFIXES)]
    return [each for each in found if stem(each) not in _OTHERS]


def _rank(path: Path) -> int:
    """Return the place of a search's file in AlphaFold's order; the last for other files."""
    is_alignment = suffix(path) in (*A3M_SUFFIXES, *STOCKHOLM_SUFFIXES)
    name = stem(path) if is_alignment else ""
    ranks = (rank for rank, each in enumerate(_SEARCHES) if name.startswith(each))
    return next(ranks, len(_SEARCHES))


def _group(files: Sequence[Path], folder: str, always: bool = False) -> list[Source]:
    return [Source(tuple(sorted(files, key=_rank)), folder, always)] if files else []


def _without_others(others: Sequence[Source], of_searches: bool) -> list[Source]:
    """Return the sources without other searches' files beside those of searches for alignments."""
    kept = []
    for each in others:
        if of_searches and stem(each.files[0]) in _OTHERS:
            logger.info("%s is not read: it is for templates or complexes.", each.files[0])
        else:
            kept.append(each)
    return kept
