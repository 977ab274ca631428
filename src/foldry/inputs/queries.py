"""Input files → queries: FASTA, a3m, Stockholm, and AlphaFold 3's JSON.

All files are read and checked whole before the first query is returned.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from foldry.errors import InputError
from foldry.formats.a3m import parse_a3m, parse_complex_a3m
from foldry.formats.fasta import FastaRecord, parse_fasta
from foldry.formats.job import parse_jobs
from foldry.formats.sequence import at, chain_names, clean_sequence, safe_name
from foldry.formats.stockholm import parse_stockholm
from foldry.query import MAX_CHAINS, Alignment, Chain, Query
from foldry.store.files import read_text, stem

FASTA_SUFFIXES: Final = (".fasta", ".fa", ".faa", ".fas")
A3M_SUFFIXES: Final = (".a3m",)
STOCKHOLM_SUFFIXES: Final = (".sto", ".stk", ".stockholm")
JSON_SUFFIXES: Final = (".json",)
TABLE_SUFFIX: Final = ".csv"


def read_queries(paths: Sequence[Path], *, together: bool = False) -> list[Query]:
    """The queries of files, in the order given; a folder stands for its files, sorted by name.

    Each may be gzipped. A query's name is safe as a file's name: other characters than letters,
    digits, `.`, `_` and `-` have become `_`.

    Args:
        paths: Files and folders.
        together: Whether the records of a FASTA file are the chains of one complex, which is named
            after the file, and not queries of their own.

    Raises:
        InputError: A file cannot be read or is not one of these formats, a record is not a
            protein, or two queries have the same name.
    """
    return [query for query, _ in locate_queries(paths, together=together)]


def read_query(path: str | Path) -> Query:
    """The query of a FASTA, a3m, Stockholm or JSON file that has one.

    Raises:
        InputError: As `read_queries`, or the file has several queries.

    Example:
        >>> read_query("examples/kunitz/1adz.fasta").num_residues
        63
    """
    queries = read_queries([Path(path)])
    if queries[1:]:
        raise InputError(f"has {len(queries)} queries", "read them one by one", where=path)
    return queries[0]


def locate_queries(paths: Sequence[Path], *, together: bool = False) -> list[tuple[Query, Path]]:
    """As `read_queries`, each query with its file."""
    found: dict[str, tuple[Query, Path]] = {}
    for path in _files(paths):
        for query in _read(path, together):
            first, before = found.setdefault(query.name.casefold(), (query, path))
            if first is not query:
                advice = "give every query its own name (unsafe characters count as _)"
                what = f"has a query {query.name!r} and so has {before}"
                raise InputError(what, advice, where=path)
    if not found:
        raise InputError("There is no query", "give a FASTA, a3m or JSON file")
    return list(found.values())


def stoichiometry(query: Query) -> str:
    """How many chains there are of each distinct sequence, most first, such as `A2B1`."""
    copies = Counter(chain.sequence for chain in query.chains for _ in chain.ids)
    names = chain_names(len(copies))
    counts = (count for _, count in copies.most_common())
    return "".join(f"{name}{count}" for name, count in zip(names, counts, strict=True))


def _files(paths: Sequence[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        found = [path]
        if path.is_dir():
            found = [each for each in sorted(path.iterdir()) if each.is_file() and _suffix(each)]
        if not found:
            what = "is a folder without a FASTA, a3m, Stockholm or JSON file"
            raise InputError(what, "check the path", where=path)
        files += found
    return files


def _suffix(path: Path) -> str:
    """The suffix of the format, `.gz` left out; "" if it is of no known format."""
    name = path.name.lower().removesuffix(".gz")
    known = (*FASTA_SUFFIXES, *A3M_SUFFIXES, *STOCKHOLM_SUFFIXES, *JSON_SUFFIXES)
    return next((suffix for suffix in known if name.endswith(suffix)), "")


def is_table(path: Path) -> bool:
    """Whether the file's name is that of a CSV file, gzipped or not."""
    return path.name.lower().removesuffix(".gz").endswith(TABLE_SUFFIX)


def _read(path: Path, together: bool) -> list[Query]:
    text = read_text(path)
    source = str(path)
    if is_table(path):
        raise InputError("is a table", "give sequences", where=source, code="table_of_queries")
    if not text.strip():
        raise InputError("is empty", "give a FASTA, a3m or JSON file", where=source)
    suffix = _suffix(path)
    if suffix in JSON_SUFFIXES or (not suffix and text.lstrip().startswith(("{", "["))):
        return parse_jobs(text, path)
    if suffix in A3M_SUFFIXES:
        return [_read_a3m(text, path)]
    if suffix in STOCKHOLM_SUFFIXES:
        return [_aligned(parse_stockholm(text, source), path)]
    if not text.lstrip().startswith(">"):
        advice = "begin with a line such as '>name', or name other files .a3m, .sto or .json"
        raise InputError("is not a FASTA header", advice, where=f"{source}, line 1")
    records = parse_fasta(text, source)
    if together and len(records) > 1:
        chains = [
            part
            for record in records
            for part in split_chains(record.sequence, f"{path}, line {record.line},")
        ]
        with at(source):
            return [Query(safe_name(stem(path), source), named_chains(chains))]
    return [_record(record, path, alone=len(records) == 1) for record in records]


def _record(record: FastaRecord, path: Path, alone: bool) -> Query:
    """One FASTA record; `:` separates chains."""
    place = f"{path}, line {record.line},"
    name = next(iter(record.header.split()), stem(path) if alone else "")
    if not name:
        raise InputError("is a header without a name", "write one after '>'", where=place)
    chains = named_chains(split_chains(record.sequence, place))
    with at(place):
        return Query(safe_name(name, place), chains)


def split_chains(sequences: str, place: str) -> list[str]:
    """The sequences of a complex that is written with `:` between its chains.

    Raises:
        InputError: As `clean_sequence`, or there are more than `MAX_CHAINS`.
    """
    number = sequences.count(":") + 1
    if number > MAX_CHAINS:
        raise InputError(f"has {number} chains", f"fold at most {MAX_CHAINS}", where=place)
    return [clean_sequence(part, place) for part in sequences.split(":")]


def named_chains(sequences: Sequence[str]) -> tuple[Chain, ...]:
    """Chains named in this order; equal ones are copies of one."""
    found: dict[str, list[str]] = {}
    for name, sequence in zip(chain_names(len(sequences)), sequences, strict=True):
        found.setdefault(sequence, []).append(name)
    return tuple(Chain(tuple(names), sequence) for sequence, names in found.items())


def _read_a3m(text: str, path: Path) -> Query:
    chains = parse_complex_a3m(text, str(path))
    if not chains:
        comment, _, rest = text.partition("\n")
        rows = "\n" + rest if comment.startswith("#") else text
        return _aligned(parse_a3m(rows, str(path)), path)
    first = chains[0].alignment
    name = next(iter(first.headers[0].split()), "") if first else ""
    # ColabFold numbers the chains from 101 and names the file after the query.
    if chains[1:] or name in ("", "101"):
        name = stem(path)
    return Query(safe_name(name, str(path)), tuple(chains), paired_by_row=len(chains) > 1)


def _aligned(alignment: Alignment, path: Path) -> Query:
    """The query of an alignment: its first row."""
    name = next(iter(alignment.headers[0].split()), stem(path))
    place = f"{path}, first row,"
    sequence = clean_sequence(alignment.query, place)
    with at(path):
        return Query(safe_name(name, place), (Chain(("A",), sequence, alignment),))
