"""Search for words in names, organisms, descriptions, keywords and tags; filters, order, facets."""

from __future__ import annotations

import base64
import json
import math
import re
from binascii import Error
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from foldry.database import read
from foldry.database.filters import Filter, conditions
from foldry.database.schema import entries, store, tags
from foldry.database.text_index import COLUMNS, LANGUAGE, separated, words
from foldry.errors import InputError, quoted
from foldry.formats.afdb import BANDS
from foldry.store.hashes import content_key

ORDERS: Final = {
    "entry_id": entries.c.entry_id,
    "name": entries.c.name,
    "organism": entries.c.organism,
    "length": entries.c.num_residues,
    "plddt": entries.c.mean_plddt,
    "created": entries.c.created,
}
"""Columns by which results can be sorted; `-` before the name reverses the order."""
MAX_RANKED: Final = 20_000
"""More results than that are not ranked by relevance, which takes 3 µs each, but newest first."""
MAX_LIMIT: Final = 1000
MAX_WORDS: Final = 30
_MAX_EXACT: Final = 200
_MAX_FACETS: Final = 50
_PLDDT_BANDS: Final = tuple(pairwise((0, *BANDS.starts, 100)))
_NAME: Final = re.compile(r"\w[\w.-]{0,99}")
"""What may be an accession, an id, a gene or a name."""
_EXACT, _RANKED, _NEWEST, _SORTED = "exact", "ranked", "newest", "sorted"


@dataclass(frozen=True, kw_only=True)
class TextQuery:
    """A search for words.

    Attributes:
        text: Words that all occur, `word*` for all words that begin with it and `"a phrase"`;
            anything else in it only separates words. Empty for all entries.
        chosen: Which entries are wanted.
        order: A name of `ORDERS`, `-` before it for the reverse; "" for the most relevant first.
        limit: Maximum number of entries of a page.
        cursor: The cursor of the page before, or "".

    Raises:
        InputError: The order or the limit is not valid.
    """

    text: str = ""
    chosen: Filter = field(default_factory=Filter)
    order: str = ""
    limit: int = 20
    cursor: str = ""

    def __post_init__(self) -> None:
        if self.order and self.order.removeprefix("-") not in ORDERS:
            what = f"{quoted(self.order)} is not an order of results"
            raise InputError(what, f"choose from {', '.join(ORDERS)}")
        if not 1 <= self.limit <= MAX_LIMIT:
            what = f"{quoted(self.limit)} is not a number of results"
            raise InputError(what, f"give one from 1 to {MAX_LIMIT}")

    @property
    def identity(self) -> str:
        """What the results depend on besides the database, without `limit` and `cursor`."""
        return content_key([self.text, asdict(self.chosen), self.order])[:12]


@dataclass(frozen=True)
class TextPage:
    """A page of the results of a search.

    Attributes:
        keys: Numbers of the entries, for `Database.load`.
        cursor: Leads to the next page; "" on the last one.
        state: Number of the database's latest change.
    """

    keys: tuple[int, ...]
    cursor: str
    state: int


@dataclass(frozen=True)
class Facets:
    """How the results of a search are distributed: counts by value, the most frequent first.

    Attributes:
        total: Number of results.
        organisms, providers, tools, tags: Counts by value, 50 values at most.
        plddt: Counts by band of the mean pLDDT: `0–50`, `50–70`, `70–90` and `90–100`.
    """

    total: int
    organisms: dict[str, int]
    providers: dict[str, int]
    tools: dict[str, int]
    tags: dict[str, int]
    plddt: dict[str, int]


class _Place(NamedTuple):
    """Where a page ends: the way in which its last entry was found, its sort value and its key.

    `newest` is the number of the newest entry when the first page was made: later ones would shift
    the pages.
    """

    way: str
    value: float | str
    key: int
    newest: int


def search_text(connection: sa.Connection, query: TextQuery) -> TextPage:
    """Return a page of the entries that a search finds.

    A single word that is an accession, an id, a gene or a name gives its entries first. The pages
    of a search show no entry that was published after the first page.

    Args:
        connection: A reader's connection.
        query: What is searched.

    Raises:
        InputError: The cursor is not one of this search.

    Example:
        >>> page = search_text(connection, TextQuery(text="kinase"))  # doctest: +SKIP
        >>> [entry.entry_id for entry in database.load(page.keys)]  # doctest: +SKIP
        ['AF-P00520-F1']
    """
    newest = connection.scalar(sa.select(sa.func.coalesce(sa.func.max(entries.c.key), 0)))
    place = _read_cursor(query) if query.cursor else _Place("", 0, 0, int(newest or 0))
    search = _Search(connection, query, place.newest)
    found: list[tuple[str, Any, int]] = []
    ways = search.ways(place.way)
    for way in ways:
        after = place if way == place.way else None
        wanted = query.limit + 1 - len(found)  # one more tells whether another page follows
        found += [(way, value, key) for value, key in search.rows(way, after, wanted)]
        if len(found) > query.limit:
            break
    shown = found[: query.limit]
    cursor = ""
    if len(found) > len(shown):
        cursor = _as_cursor(_Place(*shown[-1], place.newest), query)
    state = connection.scalar(sa.select(store.c.state))
    return TextPage(tuple(key for _, _, key in shown), cursor, int(state or 0))


def facets(connection: sa.Connection, text: str, chosen: Filter) -> Facets:
    """Return how the results of a search are distributed; it takes longer than a page of them."""
    search = _Search(connection, TextQuery(text=text, chosen=chosen), None)
    columns, number = entries.c, sa.func.count()
    band = sa.case(
        *((columns.mean_plddt < limit, k) for k, limit in enumerate(BANDS.starts)), else_=3
    )
    kinds = (columns.organism, columns.provider, columns.tool, band)
    found = search.among(sa.select(*kinds, number).select_from(entries)).group_by(*kinds)
    counts = [Counter[Any]() for _ in kinds]
    for *values, count in connection.execute(found):
        for counter, value in zip(counts, values, strict=True):
            counter[value] += count
    keys = search.among(sa.select(columns.key).select_from(entries))
    of_tags = sa.select(tags.c.tag, number).where(tags.c.entries.in_(keys)).group_by(tags.c.tag)
    tagged = Counter[str](dict(connection.execute(of_tags).all()))
    organisms, providers, tools = map(_most_frequent, counts[:3])
    plddt = {f"{low}–{high}": counts[3][k] for k, (low, high) in enumerate(_PLDDT_BANDS)}
    return Facets(counts[3].total(), organisms, providers, tools, _most_frequent(tagged), plddt)


def _most_frequent(counts: Counter[str]) -> dict[str, int]:
    """Return the largest counts of values that are not empty; equal ones by value."""
    largest = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return dict([(value, count) for value, count in largest if value][:_MAX_FACETS])


class _Search:
    """The statements of a search.

    Args:
        connection: A reader's connection.
        query: What is searched.
        newest: Number of the newest entry that is shown; None for all.
    """

    def __init__(self, connection: sa.Connection, query: TextQuery, newest: int | None) -> None:
        self.connection, self.query = connection, query
        self.where = conditions(query.chosen)
        if newest is not None:
            self.where.append(entries.c.key <= newest)
        is_sqlite = connection.dialect.name == "sqlite"
        self.terms = _terms(query.text)
        self.matches: sa.ColumnElement[bool] | None = None
        self.rank: sa.ColumnElement[float] = sa.literal(0.0)
        if self.terms and is_sqlite:
            self.matches = sa.text(f"{words.name} MATCH :words").bindparams(  # type: ignore[assignment]
                words=" ".join(f'"{text}"{"*" * is_prefix}' for text, is_prefix in self.terms)
            )
            weights = ", ".join(str(weight) for weight, _ in COLUMNS.values())
            self.rank = sa.literal_column(f"bm25({words.name}, {weights})", sa.Float)
        elif self.terms:
            wanted = _postgres_query(self.terms)
            self.matches = words.c.document.op("@@")(wanted)
            score = sa.func.ts_rank_cd(words.c.document, wanted, 1)
            self.rank = -sa.cast(score, sa.Double)

    def among(self, query: sa.Select[Any]) -> sa.Select[Any]:
        """Return a query of `entries` restricted to what is searched."""
        if self.matches is not None:
            query = query.join(words, words.c.rowid == entries.c.key).where(self.matches)
        return query.where(*self.where)

    def ways(self, way: str) -> list[str]:
        """Return the ways in which entries are found, from that of a cursor on."""
        if self.query.order:
            return [_SORTED]
        if way and way != _EXACT:
            return [way]
        few = self.terms and self._num_matches() <= MAX_RANKED
        return [_EXACT] * bool(self.terms) + [_RANKED if few else _NEWEST]

    def rows(self, way: str, after: _Place | None, limit: int) -> list[tuple[Any, int]]:
        """Return sort value and key of the next entries that are found in one way.

        Args:
            way: One of `ways`.
            after: Where the page before ended, if it ended in this way.
            limit: Maximum number of entries.
        """
        if way == _EXACT:
            keys = self.exact
            start = keys.index(after.key) + 1 if after and after.key in keys else 0
            return [(0, key) for key in keys[start : start + limit]]
        column: sa.ColumnElement[Any] = self.rank
        is_reverse = self.query.order.startswith("-")
        if way == _SORTED:
            column = ORDERS[self.query.order.removeprefix("-")]
        key = words.c.rowid if self.matches is not None else entries.c.key
        query = self.among(sa.select(column, entries.c.key).select_from(entries))
        if way != _SORTED and self.exact:
            query = query.where(entries.c.key.not_in(self.exact))
        if way == _NEWEST:
            query = query.with_only_columns(sa.literal(0), entries.c.key).order_by(key.desc())
            query = query.where(key < after.key) if after else query
        else:
            query = query.order_by(column.desc() if is_reverse else column, entries.c.key)
            if after:
                beyond = column < after.value if is_reverse else column > after.value
                query = query.where(
                    beyond | ((column == after.value) & (entries.c.key > after.key))
                )
        return [(value, found) for value, found in self.connection.execute(query.limit(limit))]

    @cached_property
    def exact(self) -> list[int]:
        """The keys of the entries that the text names exactly, the best first."""
        text = self.query.text.strip()
        if not _NAME.fullmatch(text):
            return []
        genes = {text, text.upper(), text.lower(), text.capitalize()}
        named = sa.select(entries.c.key).where(
            entries.c.gene.in_(genes) | (entries.c.uniprot_id == text.upper())
        )
        keys = read.find_keys(self.connection, text)
        keys += self.connection.scalars(named.order_by(entries.c.key).limit(_MAX_EXACT))
        if not keys:
            return []
        keys = list(dict.fromkeys(keys))[:_MAX_EXACT]
        wanted = sa.select(entries.c.key).where(entries.c.key.in_(keys), *self.where)
        chosen = set(self.connection.scalars(wanted))
        return [key for key in keys if key in chosen]

    def _num_matches(self) -> int:
        """Return the number of entries with the words, `MAX_RANKED` + 1 for more."""
        assert self.matches is not None
        some = sa.select(words.c.rowid).where(self.matches).limit(MAX_RANKED + 1).subquery()
        return int(
            self.connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one()
        )


def _terms(text: str) -> list[tuple[str, bool]]:
    """Return the words and phrases of a text, each with whether more letters may follow.

    Example:
        >>> _terms('kin* "tyrosine protein" AF-P00520-F1 --')
        [('kin', True), ('tyrosine protein', False), ('AF P00520 F1', False)]
    """
    found = []
    for number, part in enumerate(text.split('"')):
        for term in [part] if number % 2 else part.split():
            if letters := separated(term):
                found.append((letters, term.rstrip().endswith("*")))
    if text.strip() and not found:
        raise InputError(f"The search {quoted(text)} has no word", "give letters or digits")
    if len(found) > MAX_WORDS:
        what = f"The search has {len(found)} words"
        raise InputError(what, f"search for {MAX_WORDS} at most")
    return found


def _postgres_query(terms: Sequence[tuple[str, bool]]) -> sa.ColumnElement[Any]:
    """Return the terms as a `tsquery`."""
    language: sa.ColumnElement[str] = sa.literal_column(f"'{LANGUAGE}'::regconfig")
    parts: list[sa.ColumnElement[Any]] = []
    for text, is_prefix in terms:
        phrase = sa.func.phraseto_tsquery(language, text)
        if is_prefix:  # of words without any sign, which `separated` has removed
            phrase = sa.func.to_tsquery(language, " <-> ".join(text.split()) + ":*")
        parts.append(phrase)
    query = parts[0]
    for each in parts[1:]:
        query = query.op("&&")(each)
    return query


def _as_cursor(place: _Place, query: TextQuery) -> str:
    data = json.dumps([query.identity, *place]).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _read_cursor(query: TextQuery) -> _Place:
    """Return the place that the cursor of a query names.

    Raises:
        InputError: It is not a cursor of this search.
    """
    text = query.cursor[:4096]
    try:
        identity, way, value, key, newest = json.loads(
            base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        )
    except (Error, ValueError, TypeError, RecursionError):
        identity = way = value = key = newest = None
    is_sound = identity == query.identity and way in (_EXACT, _RANKED, _NEWEST, _SORTED)
    is_sound &= all(type(number) is int and 0 <= number < 2**31 for number in (key, newest))
    is_number = type(value) in (int, float) and math.isfinite(value)
    kind = ORDERS[query.order.removeprefix("-")].type if way == _SORTED and query.order else None
    is_sound &= isinstance(value, str) if isinstance(kind, sa.Text | sa.String) else is_number
    if not is_sound or (way == _SORTED) != bool(query.order):
        raise InputError(f"{quoted(query.cursor)} is not a cursor of this search", "leave it out")
    return _Place(way, value, key, newest)
