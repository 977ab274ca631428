"""The pairs of a screen, one query each, from a table and files of proteins.

Every protein is read once; all its pairs share its alignments.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import combinations, islice, product
from math import comb
from pathlib import Path
from typing import Final, NamedTuple

from foldry.errors import InputError, quoted
from foldry.formats.sequence import at, chain_names, check_num_chains, file_name, safe_name
from foldry.formats.table import is_table, read_table
from foldry.inputs.queries import locate_queries, named_chains, split_chains
from foldry.query import MAX_NAME, Chain, Query
from foldry.store.files import plain_name
from foldry.store.hashes import sha256

MAX_PAIRS: Final = 10_000
"""Maximum number of pairs of a screen, and of rows of a table."""
COLUMNS: Final = ("id", "sequence", "a", "b")
"""Columns that are read: `a` and `b` for pairs of names, else `id` and perhaps `sequence`."""
_CHOSEN: Final = "The screen"
"""Subject of error messages about pairs that are not from a table."""


logger = logging.getLogger(__name__)


class Pair(NamedTuple):
    """One pair, or complex, of a screen.

    Attributes:
        query: All chains, named A, B … in their order.
        a, b: Names of the two proteins; "" for a complex in one row of the table.
        place: File and line of the pair, or another subject for error messages.
        num_first: Number of chains of `a`, which come first; 0 if `a` is "".
    """

    query: Query
    a: str
    b: str
    place: str
    num_first: int = 0


@dataclass(frozen=True)
class _Proteins:
    """The proteins of all files.

    Attributes:
        by_name: Queries by name in lower case.
        chains: Chains by sequence; the first if several are equal.
    """

    by_name: dict[str, Query]
    chains: dict[str, Chain]

    def named(self, name: str, place: str) -> Query:
        """Return the protein with this name."""
        found = self.by_name.get(safe_name(name, place).casefold())
        if found is None:
            what = f"names {quoted(name)}, which is in no file"
            if near := get_close_matches(name.casefold(), self.by_name, 1):
                what += f" (did you mean {self.by_name[near[0]].name!r}?)"
            raise InputError(what, "add its FASTA or a3m file, or its sequence", where=place)
        return found

    def of_row(self, cells: dict[str, str], place: str) -> Query:
        """Return the protein or complex of a row, with the alignments of its chains from files."""
        name, sequences = cells.get("id", ""), cells.get("sequence", "")
        if not name:
            raise InputError("has no id", "give every row a name", where=place)
        if not sequences:
            return self.named(name, place)
        chains = named_chains(split_chains(sequences, place))
        known = [replace(self.chains.get(each.sequence, each), ids=each.ids) for each in chains]
        with at(place):
            return Query(file_name(name, place), tuple(known))


def read_screen(
    paths: Sequence[Path],
    baits: Sequence[str] = (),
    *,
    every: bool = False,
    allow_outside_paths: bool = False,
) -> list[Pair]:
    """Return the pairs of a screen in the order of its table, or of the proteins.

    Args:
        paths: At most one table, and files or folders of proteins. With a table, the proteins
            that it names are screened, otherwise all.
        baits: Proteins that are each folded with every other one.
        every: Whether each protein is folded with every other one.
        allow_outside_paths: Whether the `…Path` keys of a JSON file may name files outside its
            folder.

    Raises:
        InputError: A file is wrong, a name is unknown, there are no pairs or too many, or the
            columns of the table do not fit the choice of pairs.
    """
    tables = [path for path in paths if is_table(path) or _is_text_of_table(path)]
    files = [path for path in paths if path not in tables]
    if tables[1:]:
        advice = "give one table, and files of proteins"
        raise InputError("is a second table", advice, where=tables[1])
    located = locate_queries(files, allow_outside_paths=allow_outside_paths) if files else []
    queries = [query for query, _ in located]
    proteins = _Proteins(
        {query.name.casefold(): query for query in queries},
        {chain.sequence: chain for query in reversed(queries) for chain in query.chains},
    )
    columns, rows = read_table(tables[0], COLUMNS) if tables else (["id"], iter(()))
    source = str(tables[0]) if tables else _CHOSEN
    listed = {"a", "b"} <= set(columns)
    if not (listed or "id" in columns) or (listed and "sequence" in columns):
        raise InputError(
            f"has the columns {quoted(', '.join(columns))}",
            "use id and sequence, only id for proteins of other files, or a and b for their pairs",
            where=source,
        )
    lines = [(row.cells, f"{source}, line {row.line},") for row in islice(rows, MAX_PAIRS + 1)]
    if lines[MAX_PAIRS:]:
        what = f"exceeds the limit of {MAX_PAIRS} rows"
        raise InputError(what, "split the table", where=lines[-1][1])
    num_chains = sum(cells.get("sequence", "").count(":") + 1 for cells, _ in lines)
    check_num_chains(num_chains, source)
    choosing = bool(baits) or every
    if listed and choosing:
        what, advice = "already lists pairs", "do not choose others"
        raise InputError(what, advice, where=source, code="listed_pairs")
    if not tables and not choosing:
        advice = "give a CSV file of pairs"
        raise InputError("No pairs are given", advice, code="pairs_of_screen")
    if listed:
        pairs = _checked(_listed_pair(cells, proteins, place) for cells, place in lines)
    elif choosing:
        members = [proteins.of_row(*line) for line in lines] if tables else queries
        pairs = _checked(_chosen_pairs(members, proteins, baits))
    else:
        pairs = _checked(_complex(proteins.of_row(*line), line[1]) for line in lines)
    if not pairs:
        raise InputError("has no pair", "give two proteins or more", where=source)
    return pairs


def _is_text_of_table(path: Path) -> bool:
    """Return whether a `.txt`, as Excel calls a table with tabs, names the columns of a screen."""
    columns: list[str] = []
    if plain_name(path).lower().endswith(".txt"):
        with suppress(InputError):
            columns, _ = read_table(path, COLUMNS)
    is_fasta = any(name.startswith(">") for name in columns[:1])
    return not is_fasta and ("id" in columns or {"a", "b"} <= set(columns))


def joined(name: str, parts: Sequence[Query], place: str) -> Query:
    """Return the chains of several queries as one complex; equal chains become copies of one.

    Raises:
        InputError: A part is a complex whose rows are paired by its file.
    """
    for part in parts:
        if part.paired_by_row:
            what = f"has {part.name!r}, a complex whose file pairs the rows of its chains"
            raise InputError(what, "give the alignment of each chain in its own file", where=place)
    names = iter(chain_names(sum(part.num_chains for part in parts)))
    copies: dict[Chain, list[str]] = {}
    for part in parts:
        for chain in part.chains:
            copies.setdefault(chain, []).extend(next(names) for _ in chain.ids)
    chains = tuple(replace(chain, ids=tuple(ids)) for chain, ids in copies.items())
    with at(place):
        return Query(name, chains, tuple(seed for part in parts for seed in part.seeds))


def _complex(query: Query, place: str) -> Pair:
    """Return the complex of one row, as in ColabFold's tables."""
    if query.num_chains < 2:
        advice = "write A:B in the column sequence"
        raise InputError("has only one chain", advice, where=place, code="pairs_of_screen")
    return Pair(query, "", "", place)


def _listed_pair(cells: dict[str, str], proteins: _Proteins, place: str) -> Pair:
    for column in "ab":
        if not cells.get(column):
            raise InputError(f"has no protein in column {column}", "name one", where=place)
    a, b = (proteins.named(cells[column], place) for column in "ab")
    return _pair(a, b, place, cells.get("id", ""))


def _chosen_pairs(
    members: Sequence[Query], proteins: _Proteins, baits: Sequence[str]
) -> Iterator[Pair]:
    """Yield all pairs of members or, if there are baits, the pairs that contain one."""
    by_name = {member.name.casefold(): member for member in members}
    if len(by_name) < len(members):
        [(twice, _)] = Counter(member.name.casefold() for member in members).most_common(1)
        what = f"has the protein {twice!r} twice (names that differ only by case count as equal)"
        raise InputError(what, "name it once", where=_CHOSEN)
    everything = replace(proteins, by_name={**proteins.by_name, **by_name})
    chosen = {bait.name: bait for bait in (everything.named(name, "`baits`") for name in baits)}
    others = [member for member in members if member.name not in chosen]
    among, beside = (list(chosen.values()), others) if baits else (others, [])
    number = comb(len(among), 2) + len(among) * len(beside)
    if number > MAX_PAIRS:
        what = f"has {number} pairs and the limit is {MAX_PAIRS}"
        raise InputError(what, "split it into several screens", where=_CHOSEN)
    for a, b in (*combinations(among, 2), *product(among, beside)):
        yield _pair(a, b, _CHOSEN)


def _pair(a: Query, b: Query, place: str, name: str = "") -> Pair:
    name = file_name(name, pair_name(a.name, b.name)) if name else pair_name(a.name, b.name)
    return Pair(joined(name, (a, b), place), a.name, b.name, place, a.num_chains)


def pair_name(a: str, b: str) -> str:
    """Return `a_and_b`; if it is too long, both names are shortened and a hash is appended."""
    name = f"{a}_and_{b}"
    if len(name.encode()) <= MAX_NAME:
        return name
    digest = sha256(name.encode())[:8]
    most = (MAX_NAME - len(f"_and__{digest}")) // 2
    one, two = (each.encode()[:most].decode(errors="ignore") for each in (a, b))
    return f"{one}_and_{two}_{digest}"


def _checked(pairs: Iterable[Pair]) -> list[Pair]:
    """Return all pairs; warn of two pairs of the same proteins, e.g. in another order.

    Names must differ by more than case, because folders have these names.
    """
    found: dict[str, Pair] = {}
    proteins: dict[frozenset[str], Pair] = {}
    again: list[tuple[str, str]] = []
    for pair in pairs:
        other = found.setdefault(pair.query.name.casefold(), pair)
        if other is not pair:
            what = f"gives a second pair the name {pair.query.name!r}"
            if pair.query.name != other.query.name:
                what += " (names that differ only by case count as equal)"
            elif (pair.a, pair.b) == (other.a, other.b) and pair.query == other.query:
                line = other.place.rstrip(",").rpartition(", ")[2]
                raise InputError(f"repeats {line}", "remove it", where=pair.place)
            raise InputError(what, "rename it or one of its proteins", where=pair.place)
        first = proteins.setdefault(frozenset((pair.a, pair.b)), pair)
        if pair.a and first is not pair:
            again.append((first.query.name, pair.query.name))
    if again:
        says = "Pairs of the same proteins as another pair, folded too: %d, e.g. %s and %s."
        logger.warning(says, len(again), *again[0])
    return list(found.values())
