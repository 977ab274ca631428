"""Which files of a folder belong to which protein.

AlphaFold 2 keeps the alignments of a chain in `msas/`, one file for each database. OpenFold and
OpenProteinSet have a folder for each chain, with the files in it or in its `a3m/`. ColabFold writes
one alignment for each query, and the files that its server found into a folder `…_env`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from foldry.errors import InputError, counted
from foldry.formats.table import is_table
from foldry.inputs.structures import is_structure
from foldry.store.files import is_hidden, plain_name, read_bytes, stem

FASTA_SUFFIXES: Final = (".fasta", ".fa", ".faa", ".fas", ".fsa", ".pep", ".pir")
A3M_SUFFIXES: Final = (".a3m", ".a2m")
STOCKHOLM_SUFFIXES: Final = (".sto", ".sth", ".stk", ".stockholm", ".pfam")
JSON_SUFFIXES: Final = (".json",)
CHAIN_MAP: Final = "chain_id_map.json"
"""AlphaFold's list of the chains of a complex, next to their folders."""
SEARCH_RECORD: Final = "search.json"
"""What a search found, beside the query's own file."""
SERVER: Final = "paired_msa_chains_"
"""The part of the names of AlphaFold Server's alignments that is followed by the chains."""
_SEARCHES: Final = ("uniref90", "uniref", "bfd", "small_bfd", "uniclust30", "mgnify")
"""How files of searches for an alignment are named, in the order in which AlphaFold joins them."""
_OTHERS: Final = ("pdb_hits", "pdb70_hits", "hmm_output", "hmmsearch_output", "uniprot_hits")
"""Searches for templates, and for rows that only complexes need."""
_HITS: Final = "_hits"
"""End of the names of other searches' files; they are joined last."""
_INNER: Final = ("msas", "a3m", "alignments", "msa")
"""Folders that are not named after a protein."""
_NOT_READ: Final = "%s is not read: it is for templates or complexes."
_MAX_DEPTH: Final = 3
"""Levels of subfolders in which alignments are looked for."""

logger = logging.getLogger(__name__)


class Source(NamedTuple):
    """Files that are read together.

    Attributes:
        files: One file, the alignments of one chain in the order in which they are joined, or
            those of a complex or the list of its chains.
        folder: Name of the folder of a chain's alignments; "" for a file with queries.
        always: Whether the query is named after the folder even if the files name it.
        is_complex: Whether the files are those of a complex.
    """

    files: tuple[Path, ...]
    folder: str = ""
    always: bool = False
    is_complex: bool = False


def suffix(path: Path) -> str:
    """Return the suffix of a query's format, without that of packed files; "" if unknown."""
    name = plain_name(path).lower()
    known = (*FASTA_SUFFIXES, *A3M_SUFFIXES, *STOCKHOLM_SUFFIXES, *JSON_SUFFIXES)
    return next((each for each in known if name.endswith(each)), "")


def sources(path: Path) -> list[Source]:
    """Return the files of queries that a path names, in the order of names.

    A folder's own files count, or the alignments in its subfolders if it has none. Hidden files and
    folders do not count.

    Raises:
        InputError: A folder has no file of a query.
    """
    if not path.is_dir():
        listed = path.name == CHAIN_MAP
        return [Source((path,), owner(path.parent) if listed else "", is_complex=listed)]
    for folder in (path / "msas", path):
        if folder.is_dir() and (found := _own(folder) or _below(folder)):
            return found
    advice = "check the path"
    for each in _files(path):
        if kind := _other_kind(each):
            advice += f"; {each.name} is {kind}"
            break
    what = "is a folder without a FASTA, a3m, Stockholm or JSON file"
    raise InputError(what, advice, where=path)


def _other_kind(path: Path) -> str:
    """Return what a file is that holds no query; "" if unknown."""
    if is_structure(path):
        return "a structure, for `templates`"
    if _is_json(path):
        return "not a job, as it has no sequences"
    return "a table" if is_table(path) else ""


def owner(folder: Path) -> str:
    """Return the name of the protein's folder, in which `msas` and the like may lie."""
    folder = folder.resolve() if ".." in folder.parts else folder.absolute()
    names = (each.name for each in (folder, *folder.parents))
    return next((name for name in names if name not in _INNER), "").removesuffix("_env")


def alignments(folder: Path) -> list[Path]:
    """Return the alignments in the folder of one chain in AlphaFold's order, the others last."""
    return in_order(_files(folder)) if folder.is_dir() else []


def in_order(files: Iterable[Path]) -> list[Path]:
    """Return the alignments of one chain among files in AlphaFold's order, the others last.

    Example:
        >>> [each.name for each in in_order(map(Path, ("mgnify_hits.sto", "uniref90_hits.sto")))]
        ['uniref90_hits.sto', 'mgnify_hits.sto']
    """
    found = (each for each in files if _is_alignment(each) and stem(each) not in _OTHERS)
    return sorted(found, key=_rank)


def _files(folder: Path) -> list[Path]:
    return [each for each in sorted(folder.iterdir()) if each.is_file() and not is_hidden(each)]


def _is_alignment(path: Path) -> bool:
    return suffix(path) in (*A3M_SUFFIXES, *STOCKHOLM_SUFFIXES)


def _own(folder: Path) -> list[Source]:
    """Return the sources among a folder's own files."""
    files = [each for each in _files(folder) if suffix(each)]
    if found := _complex(folder, files):
        return found
    files = [each for each in files if each.name != SEARCH_RECORD or _is_job(each)]
    scores = {each for each in files if _is_json(each) and not _is_job(each)}
    if scores:
        says = "%s: not read: %s without sequences, e.g. %s."
        logger.info(says, folder, counted(len(scores), "JSON file"), min(scores).name)
    searches = sorted((each for each in files if _rank(each) < len(_SEARCHES)), key=_rank)
    found = [Source(tuple(searches), owner(folder))] if searches else []
    for each in sorted({*files} - {*searches} - scores):
        if searches and stem(each) in _OTHERS:
            logger.info(_NOT_READ, each)
        else:
            found.append(Source((each,)))
    return found


def _complex(folder: Path, files: Sequence[Path]) -> list[Source]:
    """Return the files of a complex among those of a folder."""
    of_server = [each for each in files if SERVER in stem(each)]
    found = [folder / CHAIN_MAP] if (folder / CHAIN_MAP).is_file() else of_server
    if found is of_server and found:
        logger.info("%s: the proteins of the job are read, without other molecules.", folder)
    return [Source(tuple(found), owner(folder), is_complex=True)] if found else []


def _is_json(path: Path) -> bool:
    return suffix(path) in JSON_SUFFIXES


def _is_job(path: Path) -> bool:
    """Return whether a JSON file may be a job, not the scores or settings of a prediction."""
    return b'"sequences"' in read_bytes(path)


def _below(folder: Path, depth: int = _MAX_DEPTH) -> list[Source]:
    """Return the jobs or alignments in subfolders, those of a folder as one chain of its name."""
    found: list[Source] = []
    for each in sorted(folder.iterdir()):
        if not each.is_dir() or is_hidden(each):
            continue
        inner = next((each / name for name in _INNER if (each / name).is_dir()), each)
        files = alignments(inner)
        if of_complex := _complex(inner, files):
            found += of_complex
        elif files:
            found.append(Source(tuple(files), owner(inner), always=True))
            for other in _files(inner):
                if _is_alignment(other) and other not in files:
                    logger.info(_NOT_READ, other)
        elif jobs := [path for path in _files(inner) if _is_json(path) and _is_job(path)]:
            found += [Source((path,)) for path in jobs]
        elif depth > 1:
            found += _below(each, depth - 1)
    return found


def _rank(path: Path) -> int:
    """Return the place of a search's file in AlphaFold's order; the last for other files."""
    name = stem(path) if _is_alignment(path) else ""
    ranks = (rank for rank, each in enumerate(_SEARCHES) if name.startswith(each))
    is_search = name.endswith(_HITS) and name not in _OTHERS
    return next(ranks, len(_SEARCHES) - is_search)
