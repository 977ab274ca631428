"""Reading of queries from FASTA, a3m, Stockholm and AlphaFold 3's JSON files.

All files are read and checked completely before the first query is returned.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from foldry.errors import InputError
from foldry.formats.a3m import parse_a3m, parse_complex_a3m, split_entries
from foldry.formats.fasta import FastaRecord, parse_fasta
from foldry.formats.job import parse_jobs
from foldry.formats.lines import read_bounded_text
from foldry.formats.sequence import at, chain_names, check_num_chains, clean_sequence, safe_name
from foldry.formats.stockholm import parse_stockholm_all
from foldry.formats.table import is_table
from foldry.query import MAX_CHAINS, MAX_NAME, Alignment, Chain, Query
from foldry.store.files import named_path, plain_name, stem

FASTA_SUFFIXES: Final = (".fasta", ".fa", ".faa", ".fas")
A3M_SUFFIXES: Final = (".a3m",)
STOCKHOLM_SUFFIXES: Final = (".sto", ".stk", ".stockholm")
JSON_SUFFIXES: Final = (".json",)


def read_queries(
    paths: Sequence[Path], *, together: bool = False, allow_outside_paths: bool = False
) -> list[Query]:
    """Return the queries of files in the given order, and those of a folder in the order of names.

    Each file may be gzipped. In a query's name, characters other than letters, digits, `.`, `_`
    and `-` are replaced by `_`, which makes it safe as a file name.

    Args:
        paths: Files and folders.
        together: Whether the records of a FASTA file are the chains of one complex, which is named
            after the file, instead of separate queries.
        allow_outside_paths: Whether the `…Path` keys of a JSON file may name files outside its
            folder.

    Raises:
        InputError: A file cannot be read or has an unknown format, a record is not a protein, or
            two queries have the same name.

    Example:
        >>> [query.name for query in read_queries([Path("examples/kunitz/1adz.fasta")])]
        ['1adz']
    """
    located = locate_queries(paths, together=together, allow_outside_paths=allow_outside_paths)
    return [query for query, _ in located]


def read_query(path: str | Path, *, allow_outside_paths: bool = False) -> Query:
    """Return the query of a FASTA, a3m, Stockholm or JSON file with a single query.

    Args:
        path: The file.
        allow_outside_paths: Whether the `…Path` keys of a JSON file may name files outside its
            folder.

    Raises:
        InputError: As for `read_queries`, or the file has several queries.

    Example:
        >>> read_query("examples/kunitz/1adz.fasta").num_residues
        63
    """
    queries = read_queries([named_path(path)], allow_outside_paths=allow_outside_paths)
    if queries[1:]:
        raise InputError(f"has {len(queries)} queries", "give a file with one", where=path)
    return queries[0]


def locate_queries(
    paths: Sequence[Path], *, together: bool = False, allow_outside_paths: bool = False
) -> list[tuple[Query, Path]]:
    """Return the queries that `read_queries` returns, each with its file."""
    found: dict[str, tuple[Query, Path]] = {}
    for path in _files(paths):
        for query in _read(path, together, allow_outside_paths):
            first, before = found.setdefault(query.name.casefold(), (query, path))
            if first is not query:
                raise _same_name(query, path, first, before)
    if not found:
        raise InputError("There is no query", "give a FASTA, a3m, Stockholm or JSON file")
    return list(found.values())


def _same_name(query: Query, path: Path, first: Query, before: Path) -> InputError:
    """Return the error for a query whose name another query has already."""
    advice = "give every query its own name"
    if "_" in query.name:
        advice += " (unsafe characters count as _)"
    if path == before and query.name == first.name:
        return InputError(f"has two queries named {query.name!r}", advice, where=path)
    if path != before:
        advice += ", or give only one of the two files"
    same = "equal" if first.name == query.name else "equal except for case"
    what = f"has the query name {query.name!r}, {same} to {first.name!r} in {before}"
    return InputError(what, advice, where=path)


def stoichiometry(query: Query) -> str:
    """Return the number of chains of each distinct sequence, most frequent first, e.g. `A2B1`."""
    copies = Counter(chain.sequence for chain in query.chains for _ in chain.ids)
    names = chain_names(len(copies))
    counts = (count for _, count in copies.most_common())
    return "".join(f"{name}{count}" for name, count in zip(names, counts, strict=True))


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        found = [path]
        if path.is_dir():
            found = [each for each in sorted(path.iterdir()) if each.is_file() and _suffix(each)]
        if not found:
            what = "is a folder without a FASTA, a3m, Stockholm or JSON file"
            raise InputError(what, "check the path; subfolders are not searched", where=path)
        yield from found


def _suffix(path: Path) -> str:
    """Return the suffix of the format, without that of packed files; "" if unknown."""
    name = plain_name(path).lower()
    known = (*FASTA_SUFFIXES, *A3M_SUFFIXES, *STOCKHOLM_SUFFIXES, *JSON_SUFFIXES)
    return next((suffix for suffix in known if name.endswith(suffix)), "")


def _read(path: Path, together: bool, allow_outside_paths: bool) -> list[Query]:
    text = read_bounded_text(path)
    source = str(path)
    if is_table(path):
        raise InputError("is a table", "give sequences", where=source, code="table_of_queries")
    # A large text is not copied.
    start = text[:1000].lstrip() or text.lstrip()[:1000]
    if not start:
        advice = "give a FASTA, a3m, Stockholm or JSON file"
        raise InputError("is empty", advice, where=source)
    suffix = _suffix(path)
    if suffix in JSON_SUFFIXES or (not suffix and start.startswith(("{", "["))):
        return parse_jobs(text, path, allow_outside_paths=allow_outside_paths)
    if suffix in A3M_SUFFIXES:
        return [_read_a3m(entry, path, first) for first, entry in split_entries(text, source)]
    if suffix in STOCKHOLM_SUFFIXES:
        return [_aligned(rows, path) for rows in parse_stockholm_all(text, source)]
    if not start.startswith((">", ";", "\0")):
        advice = (
            "start with a line such as '>name', or use the suffix .a3m, .sto or .json for a file "
            "of another format"
        )
        raise InputError("is not a FASTA header", advice, where=f"{source}, line 1")
    records = parse_fasta(text, source)
    separators = sum(record.text.count(each) for record in records for each in ":/")
    check_num_chains(len(records) + separators, source)
    if together and len(records) > 1:
        chains = [
            part for record in records for part in split_chains(record.text, source, record.line)
        ]
        with at(source):
            return [Query(file_name("", path), named_chains(chains))]
    names = _record_names(records, path)
    return [_record(record, name, path) for record, name in zip(records, names, strict=True)]


def _record_names(records: Sequence[FastaRecord], path: Path) -> list[str]:
    """Return the name of each record: its first word, or the file's name and its number.

    The latter names records whose first word cannot name a file, or is that of another record with
    another header, as in the files of ProteinMPNN.
    """
    headers = {record.header for record in records}
    frequent = Counter(next(iter(header.split()), "") for header in headers)
    names = []
    for number, record in enumerate(records, start=1):
        word = next(iter(record.header.split()), "" if records[1:] else stem(path))
        if not word:
            where = f"{path}, line {record.line}"
            raise InputError("is a header without a name", "write one after '>'", where=where)
        names.append(file_name(word if frequent[word] < 2 else "", path, number))
    return names


def file_name(name: str, path: Path, number: int = 0) -> str:
    """Return a safe name, or the name of the file, with a number, if no character is safe."""
    with suppress(InputError):
        return safe_name(name, "")
    end = f"_{number}" if number else ""
    with suppress(InputError):
        name = safe_name(stem(path), "")
        return name.encode()[: MAX_NAME - len(end)].decode(errors="ignore").rstrip("._-") + end
    return f"query{end}"


def _record(record: FastaRecord, name: str, path: Path) -> Query:
    """Return the query of one FASTA record; `:` or `/` separates chains."""
    chains = named_chains(split_chains(record.text, str(path), record.line))
    with at(f"{path}, line {record.line}"):
        return Query(name, chains)


def split_chains(sequences: str, place: str, line: int = 0) -> list[str]:
    """Return the sequences of a complex, which are separated by `:` or, as by ProteinMPNN, `/`.

    Args:
        sequences: The text.
        place: The same as for `clean_sequence`.
        line: The same as for `clean_sequence`.

    Raises:
        InputError: As for `clean_sequence`, a chain is empty, or there are more than `MAX_CHAINS`.
    """
    number = sequences.count(":") + sequences.count("/") + 1
    if number > MAX_CHAINS:
        where = f"{place}, line {line}" if line else place
        raise InputError(f"has {number} chains", f"fold at most {MAX_CHAINS}", where=where)
    found: list[str] = []
    for part in re.split("[:/]", sequences):
        if number > 1 and not part.strip():
            where = f"{place}, line {line + part.count(chr(10))}" if line else place
            separator = ":" if ":" in sequences else "/"
            advice = f"write its amino acids, or remove the {separator!r} beside it"
            raise InputError(f"has an empty chain {len(found) + 1}", advice, where=where)
        found.append(clean_sequence(part, place, line))
        line += part.count("\n")
    return found


def named_chains(sequences: Sequence[str]) -> tuple[Chain, ...]:
    """Return chains named A, B … in this order; equal sequences are copies of one chain."""
    found: dict[str, list[str]] = {}
    for name, sequence in zip(chain_names(len(sequences)), sequences, strict=True):
        found.setdefault(sequence, []).append(name)
    return tuple(Chain(tuple(names), sequence) for sequence, names in found.items())


def _read_a3m(text: str, path: Path, line: int) -> Query:
    chains = parse_complex_a3m(text, str(path), line)
    if not chains:
        return _aligned(parse_a3m(text, str(path), line), path)
    first = chains[0].alignment
    name = next(iter(first.headers[0].split()), "") if first else ""
    # ColabFold numbers the chains from 101 and names the file after the query.
    if chains[1:] or name in ("", "101"):
        name = stem(path)
    return Query(file_name(name, path), tuple(chains), paired_by_row=len(chains) > 1)


def _aligned(alignment: Alignment, path: Path) -> Query:
    """Return the query of an alignment, which is its first row."""
    name = next(iter(alignment.headers[0].split()), stem(path))
    place = f"{path}, first row,"
    sequence = clean_sequence(alignment.query, place)
    with at(path):
        return Query(file_name(name, path), (Chain(("A",), sequence, alignment),))
