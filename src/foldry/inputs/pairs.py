"""A table and files of proteins → the pairs of a screen, each a query of its own.

Every protein is read once; the pairs that it is in share its alignments.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Final, NamedTuple

from foldry.errors import InputError
from foldry.formats.sequence import chain_names, check_number_of_chains
from foldry.formats.table import TableRow, read_table
from foldry.inputs.queries import (
    MAX_NAME,
    is_table,
    locate_queries,
    named_chains,
    safe_name,
    split_chains,
)
from foldry.query import Chain, Query
from foldry.store.hashes import sha256

MAX_PAIRS: Final = 10_000
"""Of one screen; a table has at most as many rows."""
PROTEINS: Final = ({"id"}, {"id", "sequence"})
"""Columns of a table of proteins, or of complexes where `:` stands in the sequences."""
PAIRS: Final = ({"a", "b"}, {"id", "a", "b"})
"""Columns of a table of pairs of names."""
_CHOSEN: Final = "The screen"
"""The place of pairs that no table lists."""


class Pair(NamedTuple):
    """What is folded together.

    Attributes:
        query: All chains, named A, B … in their order.
        a, b: The two proteins; "" for a complex that the table writes as one sequence.
        place: The file and line, or what else asked for it, for error messages.
        num_first: How many chains are of `a`; their names come first. 0 where there is no `a`.
    """

    query: Query
    a: str
    b: str
    place: str
    num_first: int = 0


@dataclass(frozen=True)
class _Proteins:
    """What the files define.

    Attributes:
        by_name: Their queries, names in lower case.
        chains: Their chains by sequence, of equal ones the first.
    """

    by_name: dict[str, Query]
    chains: dict[str, Chain]

    def named(self, name: str, place: str) -> Query:
        found = self.by_name.get(safe_name(name, place).casefold()) if name else None
        if found is None:
            raise InputError(
                f"names {name!r}, which no file here defines",
                "give its FASTA or a3m file too, or write its sequence",
                where=place,
            )
        return found

    def written(self, name: str, sequences: str, place: str) -> Query:
        """A protein whose sequence stands in the table, with the alignments known of it."""
        chains = named_chains(split_chains(sequences, place))
        known = (replace(self.chains.get(each.sequence, each), ids=each.ids) for each in chains)
        return Query(safe_name(name, place), tuple(known))


def read_screen(
    paths: Sequence[Path], baits: Sequence[str] = (), *, every: bool = False
) -> list[Pair]:
    """The pairs of a screen in the order of its table, or of the proteins.

    Args:
        paths: At most one CSV file, and files or folders of proteins. Without a CSV file all
            proteins are screened, otherwise those that it names.
        baits: Proteins each of which is folded with every other one.
        every: Whether each protein is folded with every other one.

    Raises:
        InputError: A file is wrong, a name is unknown, there are no pairs or too many, or the
            table says less or more than the choice of pairs needs.
    """
    tables = [path for path in paths if is_table(path)]
    files = [path for path in paths if path not in tables]
    if tables[1:]:
        raise InputError(f"{tables[1]} is a second table", "give one, and files of proteins")
    queries = [query for query, _ in locate_queries(files)] if files else []
    proteins = _Proteins(
        {query.name.casefold(): query for query in queries},
        {chain.sequence: chain for query in reversed(queries) for chain in query.chains},
    )
    columns, rows = read_table(tables[0]) if tables else (["id"], iter(()))
    source = str(tables[0]) if tables else _CHOSEN
    _check_columns(source, columns)
    bounded = _bounded(rows, source)
    choosing = bool(baits) or every
    if set(columns) in PAIRS:
        if choosing:
            raise InputError(
                "lists pairs already", "choose no others", where=source, code="listed_pairs"
            )
        pairs = _checked(_listed_pairs(bounded, proteins, source))
    elif choosing:
        members = [_protein(row, proteins, source)[0] for row in bounded] if tables else queries
        pairs = _checked(_chosen_pairs(members, proteins, baits))
    elif not tables:
        raise InputError(
            "There are no pairs", "choose some, or give a CSV file of pairs", code="pairs_of_screen"
        )
    else:
        pairs = _checked(_complexes(bounded, proteins, source))
    if not pairs:
        raise InputError("has no pair", "give two proteins or more", where=source)
    return pairs


def joined(name: str, parts: Sequence[Query], place: str) -> Query:
    """The chains of several queries as one complex; the same chain twice is two copies of it.

    Raises:
        InputError: A part is a complex whose rows are paired by its file.
    """
    for part in parts:
        if part.paired_by_row:
            raise InputError(
                f"has {part.name!r}, a complex whose file pairs the rows of its chains",
                "give the alignment of each chain in a file of its own",
                where=place,
            )
    names = iter(chain_names(sum(part.num_chains for part in parts)))
    copies: dict[Chain, list[str]] = {}
    for part in parts:
        for chain in part.chains:
            copies.setdefault(chain, []).extend(next(names) for _ in chain.ids)
    chains = tuple(replace(chain, ids=tuple(ids)) for chain, ids in copies.items())
    seeds = dict.fromkeys(seed for part in parts for seed in part.seeds)
    return Query(name, chains, tuple(seeds))


def _check_columns(source: str, columns: Sequence[str]) -> None:
    if set(columns) not in (*PROTEINS, *PAIRS) or len(set(columns)) < len(columns):
        raise InputError(
            f"has the columns {', '.join(columns)!r}",
            "name them id and sequence, id alone for proteins of other files, or a and b for "
            "pairs of these",
            where=source,
        )


def _bounded(rows: Iterator[TableRow], source: str) -> Iterator[TableRow]:
    for number, row in enumerate(rows):
        if number == MAX_PAIRS:
            raise InputError(
                f"is beyond the {MAX_PAIRS} rows of one screen",
                "cut the table",
                where=f"{source}, line {row.line}",
            )
        yield row


def _protein(row: TableRow, proteins: _Proteins, source: str) -> tuple[Query, str]:
    """What a row of `id` and, if it is there, `sequence` means, and where it stands."""
    place = f"{source}, line {row.line},"
    name, sequences = row.cells.get("id", ""), row.cells.get("sequence", "")
    if not name:
        raise InputError("has no id", "give every row a name", where=place)
    if sequences:
        return proteins.written(name, sequences, place), place
    return proteins.named(name, place), place


def _complexes(rows: Iterable[TableRow], proteins: _Proteins, source: str) -> Iterator[Pair]:
    """Rows that are complexes by themselves, as in ColabFold's tables."""
    for row in rows:
        query, place = _protein(row, proteins, source)
        if query.num_chains < 2:
            raise InputError(
                "is one chain",
                "write A:B for a pair, or choose pairs",
                where=place.rstrip(","),
                code="pairs_of_screen",
            )
        yield Pair(query, "", "", place)


def _listed_pairs(rows: Iterable[TableRow], proteins: _Proteins, source: str) -> Iterator[Pair]:
    for row in rows:
        place = f"{source}, line {row.line},"
        a, b = (proteins.named(row.cells.get(column, ""), place) for column in "ab")
        yield _pair(a, b, place, row.cells.get("id", ""))


def _chosen_pairs(
    members: Sequence[Query], proteins: _Proteins, baits: Sequence[str]
) -> Iterator[Pair]:
    """Every two of the members, or with baits those pairs that have one."""
    by_name = {member.name.casefold(): member for member in members}
    if len(by_name) < len(members):
        names = [member.name.casefold() for member in members]
        twice = next(member for member in members if names.count(member.name.casefold()) > 1)
        raise InputError(f"The screen has the protein {twice.name!r} twice", "name it once")
    everything = replace(proteins, by_name={**proteins.by_name, **by_name})
    chosen = {bait.name: bait for bait in (everything.named(name, "The bait") for name in baits)}
    others = [member for member in members if member.name not in chosen]
    number = len(chosen) * len(others) + len(chosen) * (len(chosen) - 1) // 2
    if not baits:
        number = len(others) * (len(others) - 1) // 2
    if number > MAX_PAIRS:
        raise InputError(
            f"The screen has {number} pairs and the limit is {MAX_PAIRS}", "cut it into several"
        )
    two: Iterator[tuple[Query, Query]] = combinations(chosen.values() if baits else others, 2)
    yield from (_pair(a, b, _CHOSEN) for a, b in two)
    yield from (_pair(a, b, _CHOSEN) for a in chosen.values() for b in others)


def _pair(a: Query, b: Query, place: str, name: str = "") -> Pair:
    name = safe_name(name, place) if name else pair_name(a.name, b.name)
    return Pair(joined(name, (a, b), place), a.name, b.name, place, a.num_chains)


def pair_name(a: str, b: str) -> str:
    """`a_and_b`; where that is too long, both cut to one length and a hash of the whole added."""
    name = f"{a}_and_{b}"
    if len(name) <= MAX_NAME:
        return name
    digest = sha256(name.encode())[:8]
    each = (MAX_NAME - len(f"_and__{digest}")) // 2
    return f"{a[:each]}_and_{b[:each]}_{digest}"


def _checked(pairs: Iterable[Pair]) -> list[Pair]:
    """All pairs, whose names must differ by more than case, for their folders' sake."""
    found: dict[str, Pair] = {}
    for pair in pairs:
        check_number_of_chains(pair.query.num_chains, pair.place)
        if found.setdefault(pair.query.name.casefold(), pair) is not pair:
            if pair.place == _CHOSEN:
                raise InputError(
                    f"The screen has two pairs called {pair.query.name!r}",
                    "name one of their proteins otherwise",
                )
            raise InputError(
                f"is called {pair.query.name!r} as an earlier pair is",
                "give every pair an id of its own",
                where=pair.place,
            )
    return list(found.values())
