"""Input files → queries: FASTA, a3m, Stockholm, and AlphaFold 3's JSON.

All files are read and checked whole before the first query is returned.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from foldry.errors import InputError
from foldry.formats.a3m import a3m_alignment
from foldry.formats.fasta import FastaRecord, parse_fasta
from foldry.formats.files import read_text, stem
from foldry.formats.job import parse_jobs
from foldry.formats.sequence import chain_names, clean_sequence
from foldry.formats.stockholm import parse_stockholm
from foldry.query import Alignment, Chain, Query

FASTA_SUFFIXES: Final = (".fasta", ".fa", ".faa", ".fas")
A3M_SUFFIXES: Final = (".a3m",)
STOCKHOLM_SUFFIXES: Final = (".sto", ".stk", ".stockholm")
JSON_SUFFIXES: Final = (".json",)
MAX_NAME: Final = 100


def read_queries(paths: Sequence[Path]) -> list[Query]:
    """The queries of files, in the order given; a folder stands for its files, sorted by name.

    Each may be gzipped. A query's name is safe as a file's name: other characters than letters,
    digits, `.`, `_` and `-` have become `_`.

    Raises:
        InputError: A file cannot be read or is not one of these formats, a record is not a
            protein, or two queries have the same name.
    """
    return [query for query, _ in locate_queries(paths)]


def locate_queries(paths: Sequence[Path]) -> list[tuple[Query, Path]]:
    """As `read_queries`, each query with its file."""
    found: dict[str, tuple[Query, Path]] = {}
    for path in _files(paths):
        for query in _read(path):
            first, before = found.setdefault(query.name.casefold(), (query, path))
            if first is not query:
                raise InputError(
                    f"{path} has a query {query.name!r} and so has {before}: give every query a "
                    "name of its own (characters that are not safe in a file's name count as _)."
                )
    if not found:
        raise InputError("There is no query: give a FASTA, a3m or JSON file.")
    return list(found.values())


def safe_name(name: str, source: str) -> str:
    """The name with what is unsafe in a file's name replaced by `_`.

    Raises:
        InputError: Nothing is left of it.
    """
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", name).lstrip("._-")[:MAX_NAME].rstrip("._-")
    if not safe:
        raise InputError(
            f"{source} has the name {name!r}, which cannot name a file: use letters and digits."
        )
    return safe


def _files(paths: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        found = [each for each in sorted(path.iterdir()) if each.is_file() and _suffix(each)]
        if not found:
            raise InputError(
                f"{path} is a folder without a FASTA, a3m, Stockholm or JSON file: check the path."
            )
        files += found
    return files


def _suffix(path: Path) -> str:
    """The suffix that tells the format, `.gz` aside; "" if it tells none."""
    name = path.name.lower().removesuffix(".gz")
    known = (*FASTA_SUFFIXES, *A3M_SUFFIXES, *STOCKHOLM_SUFFIXES, *JSON_SUFFIXES)
    return next((suffix for suffix in known if name.endswith(suffix)), "")


def _read(path: Path) -> list[Query]:
    text = read_text(path)
    source = str(path)
    if not text.strip():
        raise InputError(f"{source} is empty: give a FASTA, a3m or JSON file.")
    suffix = _suffix(path)
    if suffix in JSON_SUFFIXES or (not suffix and text.lstrip().startswith(("{", "["))):
        jobs = parse_jobs(text, path)
        return [Query(safe_name(job.name, source), job.chains, job.seeds) for job in jobs]
    if suffix in A3M_SUFFIXES:
        return [_read_a3m(text, path)]
    if suffix in STOCKHOLM_SUFFIXES:
        return [_aligned(parse_stockholm(text, source), path)]
    if not text.lstrip().startswith(">"):
        raise InputError(
            f"{source}, line 1, is not a FASTA header: begin with a line such as '>name', or name "
            "the file .a3m, .sto or .json after its format."
        )
    records = parse_fasta(text, source)
    return [_record(record, path, alone=len(records) == 1) for record in records]


def _record(record: FastaRecord, path: Path, alone: bool) -> Query:
    """One FASTA record; `:` separates chains."""
    place = f"{path}, line {record.line},"
    name = next(iter(record.header.split()), stem(path) if alone else "")
    if not name:
        raise InputError(f"{place} is a header without a name: write one after '>'.")
    copies: dict[str, list[str]] = {}
    parts = record.sequence.split(":")
    for chain_id, part in zip(chain_names(len(parts)), parts, strict=True):
        copies.setdefault(clean_sequence(part, place), []).append(chain_id)
    chains = tuple(Chain(tuple(ids), sequence) for sequence, ids in copies.items())
    return Query(safe_name(name, place), chains)


def _read_a3m(text: str, path: Path) -> Query:
    comment, _, rest = text.partition("\n")
    if comment.startswith("#"):
        if len(re.findall(r"\d+", comment)) > 2 or re.search(r"\t(?!1\s*$)", comment):
            raise InputError(
                f"{path}, line 1, says that the alignment is of several chains, and complexes are "
                "not read from a3m files: give one alignment a chain in a JSON file."
            )
        text = "\n" + rest
    return _aligned(a3m_alignment(parse_fasta(text, str(path)), str(path)), path)


def _aligned(alignment: Alignment, path: Path) -> Query:
    """The query of an alignment: its first row."""
    name = next(iter(alignment.headers[0].split()), stem(path))
    place = f"{path}, first row,"
    first = alignment.sequences[0]
    if "-" in first or alignment.deletions[0].any():
        raise InputError(
            f"{place} has gaps or insertions: put the query itself first, in upper case."
        )
    chain = Chain(("A",), clean_sequence(first, place), alignment)
    return Query(safe_name(name, place), (chain,))
