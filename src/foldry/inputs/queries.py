"""Reading of queries from FASTA, a3m, Stockholm and AlphaFold 3's JSON files.

All files are read and checked completely before the first query is returned.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, Final

from foldry.errors import InputError, quoted
from foldry.formats.a3m import parse_a3m, parse_complex_a3m, split_entries
from foldry.formats.fasta import FastaRecord, parse_fasta
from foldry.formats.job import parse_jobs
from foldry.formats.kinds import ALIGNMENT, QUERY, check_kind
from foldry.formats.lines import read_bounded_text
from foldry.formats.sequence import (
    at,
    chain_names,
    check_num_chains,
    clean_sequence,
    file_name,
    numbered,
    places,
)
from foldry.formats.stockholm import parse_stockholm_all
from foldry.formats.table import is_table
from foldry.inputs.folders import (
    A3M_SUFFIXES,
    JSON_SUFFIXES,
    STOCKHOLM_SUFFIXES,
    Source,
    sources,
    suffix,
)
from foldry.inputs.multimer import read_complex
from foldry.inputs.records import check_amino_acids, is_unknown, proteins
from foldry.inputs.same import Entry, settle
from foldry.query import GAP_LETTER, MAX_CHAINS, Alignment, Chain, Query
from foldry.store.files import named_path, stem

_GENERIC: Final = re.compile(r"query(?:[_-]?\d+)?|1\d\d|", re.IGNORECASE)
"""Names that programs give to every query, such as ColabFold's 101 or BLAST's Query_1."""
_CONSENSUS: Final = re.compile(r"consensus|(?:^|[_-])cons$", re.IGNORECASE)
_SEPARATORS: Final = re.compile(r"[|/]|^uniref\d+_")
"""What separates the entry of a protein from its database and range, in lower case."""

_KIND_ADVICE: Final = {
    ALIGNMENT: "convert it to Stockholm or a3m, with the query as the first row",
    "profile": "give the alignment behind it",
    "text": "save its sequences as plain text",
}

logger = logging.getLogger(__name__)


def read_queries(
    paths: Sequence[str | Path], *, together: bool = False, allow_outside_paths: bool = False
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
        >>> [query.name for query in read_queries(["examples/kunitz/1adz.fasta"])]
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
    queries = read_queries([path], allow_outside_paths=allow_outside_paths)
    if queries[1:]:
        raise InputError(f"has {len(queries)} queries", "give a file with one", where=path)
    return queries[0]


def locate_queries(
    paths: Sequence[str | Path], *, together: bool = False, allow_outside_paths: bool = False
) -> list[tuple[Query, Path]]:
    """Return the queries that `read_queries` returns, each with its file."""
    found = [
        entry
        for source in chain.from_iterable(sources(named_path(path)) for path in paths)
        for entry in _entries(source, together, allow_outside_paths)
    ]
    if not found:
        raise InputError("There is no query", "give a FASTA, a3m, Stockholm or JSON file")
    settled: dict[str, Entry] = {}
    for entry in settle(found):
        first = settled.setdefault(entry.query.name.casefold(), entry)
        if first is not entry:
            raise _same_name(entry.query, entry.path, first.query, first.path)
    return [(entry.query, entry.path) for entry in settled.values()]


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


def _entries(source: Source, together: bool, allow_outside_paths: bool) -> list[Entry]:
    """Return the queries of files that are read together, alignments of one chain as one query."""
    if source.is_complex:
        query = read_complex(source.files, file_name(source.folder))
        return [Entry(query, source.files[0], "")]
    found: list[Entry] = []
    for path in source.files:
        other = file_name(source.folder or stem(path))
        found += _read(path, other, together, allow_outside_paths)
    if not (source.folder and found):
        return found
    if len({tuple(each.sequence for each in entry.query.chains) for entry in found}) > 1:
        # different proteins, each named by its own file
        return [entry._replace(other=file_name(stem(entry.path))) for entry in found]
    name = file_name(source.folder) if source.always else found[0].query.name
    return [entry._replace(query=replace(entry.query, name=name)) for entry in found]


def _read(path: Path, other: str, together: bool, allow_outside_paths: bool) -> list[Entry]:
    """Return the queries of one file; those without a name are named `other`, and numbered."""
    text = read_bounded_text(path)
    source = str(path)
    # A large text is not copied.
    start = text[:1000].lstrip() or text.lstrip()[:1000]
    if not start:
        advice = "give a FASTA, a3m, Stockholm or JSON file"
        raise InputError("is empty", advice, where=source)
    check_kind(start, QUERY, _KIND_ADVICE, "give its sequence as FASTA", source)
    if is_table(path):
        raise InputError("is a table", "give sequences", where=source, code="table_of_queries")
    kind = suffix(path)
    if kind in JSON_SUFFIXES or (not kind and start.startswith(("{", "["))):
        jobs = parse_jobs(text, path, allow_outside_paths=allow_outside_paths)
        return [Entry(query, path, "") for query in jobs]
    if kind in STOCKHOLM_SUFFIXES or start.startswith("# STOCKHOLM"):
        parts = _parts(parse_stockholm_all(text, source), source, other)
        return [Entry(_aligned(rows, path, place, name), path, name) for rows, place, name in parts]
    if kind in A3M_SUFFIXES:
        parts = _parts(split_entries(text, source), source, other)
        return [
            Entry(_read_a3m(each, path, place, name), path, name) for each, place, name in parts
        ]
    if not re.match(r"[>;\0]|[CR];", start):
        advice = (
            "start with a line such as '>name', or use the suffix .a3m, .sto or .json for a file "
            "of another format"
        )
        raise InputError("is not a FASTA header", advice, where=f"{source}, line 1")
    records = parse_fasta(text, source)
    numbers = numbered(other, len(records))
    names = {record.line: name for record, name in zip(records, numbers, strict=True)}
    records = proteins(records, source)
    separators = sum(record.text.count(each) for record in records for each in ":/")
    check_num_chains(len(records) + separators, source)
    if together and len(records) > 1:
        chains = [
            part for record in records for part in split_chains(record.text, source, record.line)
        ]
        with at(source):
            return [Entry(Query(other, named_chains(chains)), path, other)]
    if records[1:] and all(record.is_chain for record in records):
        says = "%s has the chains of a complex, folded one by one unless `together` is set"
        logger.warning(says, source)
    named = [(record, names[record.line]) for record in records]
    return [Entry(_record(record, path, name), path, name) for record, name in named]


def _parts(parts: Sequence[Any], source: str, other: str) -> Iterable[tuple[Any, str, str]]:
    """Return each alignment of a file with its place and another name."""
    number = len(parts)
    return zip(parts, places(source, number), numbered(other, number), strict=True)


def _record(record: FastaRecord, path: Path, other: str) -> Query:
    """Return the query of one FASTA record; `:` or `/` separates chains."""
    chains = named_chains(split_chains(record.text, str(path), record.line))
    with at(f"{path}, line {record.line}"):
        return Query(file_name(record.name, other), chains)


def split_chains(sequences: str, place: str, line: int = 0) -> list[str]:
    """Return the sequences of a complex, which are separated by `:` or, as by ProteinMPNN, `/`.

    Chains of X alone are left out, unless there is no other.

    Args:
        sequences: The text.
        place: The same as for `clean_sequence`.
        line: The same as for `clean_sequence`.

    Raises:
        InputError: As for `clean_sequence`, a chain is empty or fails `check_amino_acids`, or there
            are more than `MAX_CHAINS`.
    """
    number = sequences.count(":") + sequences.count("/") + 1
    if number > MAX_CHAINS:
        where = f"{place}, line {line}" if line else place
        raise InputError(f"has {number} chains", f"fold at most {MAX_CHAINS}", where=where)
    found: list[str] = []
    is_known = not is_unknown(sequences)
    for index, part in enumerate(re.split("[:/]", sequences), start=1):
        begin = line + len(part) - len(part.lstrip("\n"))
        where = f"{place}, line {begin}" if line else place
        if number > 1 and not part.replace("*", "").strip():
            separator = ":" if ":" in sequences else "/"
            advice = f"write its amino acids, or remove the {separator!r} beside it"
            raise InputError(f"has an empty chain {index}", advice, where=where)
        if is_known and is_unknown(part):
            says = "%s: chain %d has only unknown residues (X) and is left out"
            logger.warning(says, where, index)
        else:
            found.append(clean_sequence(part, place, line))
            check_amino_acids(part, where)
        line += part.count("\n")
    return found


def named_chains(sequences: Sequence[str]) -> tuple[Chain, ...]:
    """Return chains named A, B … in this order; equal sequences are copies of one chain."""
    found: dict[str, list[str]] = {}
    for name, sequence in zip(chain_names(len(sequences)), sequences, strict=True):
        found.setdefault(sequence, []).append(name)
    return tuple(Chain(tuple(names), sequence) for sequence, names in found.items())


def _read_a3m(entry: tuple[int, str], path: Path, place: str, other: str) -> Query:
    """Return the query of an entry of `split_entries`."""
    line, text = entry
    chains = parse_complex_a3m(text, place, line)
    if not chains:
        return _aligned(parse_a3m(text, place, line), path, place, other)
    first = chains[0].alignment
    name = next(iter(first.headers[0].split()), "") if first else ""
    # ColabFold numbers the chains from 101 and names the file after the query.
    if chains[1:] or _GENERIC.fullmatch(name):
        name = other
    return Query(file_name(name, other), tuple(chains), paired_by_row=len(chains) > 1)


def _aligned(alignment: Alignment, path: Path, place: str, other: str) -> Query:
    """Return the query of an alignment, which is its first row."""
    alignment = _without_consensus(alignment, place)
    name = next(iter(alignment.headers[0].split()), "").removesuffix(f"/1-{len(alignment.query)}")
    name = "" if _GENERIC.fullmatch(name) else name
    meant = stem(path).casefold()
    words = (header.partition(" ")[0].casefold() for header in alignment.headers)
    are_meant = (meant in word and meant in _SEPARATORS.split(word) for word in words)
    if not next(are_meant) and name and not _CONSENSUS.search(name) and any(are_meant):
        says = "%s: the query is the first row, %s, not the row %s: put it first if it is meant"
        logger.warning(says, place, quoted(name), stem(path))
    row = f"{place}, first row,"
    if GAP_LETTER in alignment.letters[0]:
        advice = "put the query first, without gaps, as HH-suite's reformat.pl -M first does"
        raise InputError("has gaps", advice, where=row)
    if (alignment.insertions.place <= len(alignment.query)).any():
        what = "has lower-case letters, which are insertions"
        raise InputError(what, "write its residues in upper case", where=row)
    check_amino_acids(alignment.query, row)
    sequence = clean_sequence(alignment.query, row)
    with at(place):
        return Query(file_name(name, other), (Chain(("A",), sequence, alignment),))


def _without_consensus(alignment: Alignment, place: str) -> Alignment:
    """Return an alignment whose first row is not a consensus, if the second can be the query."""
    names = [next(iter(header.split()), "") for header in alignment.headers[:2]]
    if not _CONSENSUS.search(names[0]):
        return alignment
    second = alignment.rows(slice(1, 2))
    is_whole = second.num_rows and GAP_LETTER not in second.letters
    if is_whole and not len(second.insertions.place):
        says = "%s: the query is the second row, %s, because the first, %s, is a consensus"
        logger.warning(says, place, quoted(names[1]), quoted(names[0]))
        return alignment.rows(slice(1, None))
    says = "%s: the query is the first row, %s, a consensus: put the protein first if it is meant"
    logger.warning(says, place, quoted(names[0]))
    return alignment
