"""Queries → queries with alignments: each different chain is searched for once."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, cast

from foldry.errors import (
    DiskFullError,
    FoldryError,
    InputError,
    MissingError,
    as_foldry_error,
    quoted,
)
from foldry.inputs.folders import FASTA_SUFFIXES, suffix
from foldry.query import Alignment, Chain, Query
from foldry.search import kept, recipes
from foldry.search.databases import NAME, Database, Registry, inspect, user_folder
from foldry.search.engine import Engine, PairingEngine
from foldry.search.recipes import COLABFOLD, Recipe, Step
from foldry.search.result import Found, SearchResult
from foldry.store.cache import Cache
from foldry.store.files import is_hidden, plain_name

logger = logging.getLogger(__name__)

_VARIABLE: Final = "FOLDRY_SEARCHES"
_RECIPES: Final = "recipes"
"""The folder of a user's recipes beside the list of databases."""
_TOML: Final = ".toml"
_KNOWN: Final = {each.name: each for each in (recipes.NONE, recipes.REDUCED, recipes.FULL)}
_ON_REGISTERED: Final = {"small": recipes.small, "colabfold": recipes.colabfold}
"""Recipes that search whatever databases of their kind are registered."""

Begin = Callable[[Step], None]
"""Called before each step of a search."""


@dataclass(frozen=True)
class Search:
    """A recipe and the databases that it searches.

    Attributes:
        recipe: The recipe.
        databases: The databases by name; all that the recipe names are among them.
        cache: Where alignments are kept.
        num_threads: Number of threads.
    """

    recipe: Recipe
    databases: Mapping[str, Database]
    cache: Cache
    num_threads: int = 1

    def run(
        self, queries: Sequence[Query], begin: Begin = lambda _: None
    ) -> Iterator[SearchResult]:
        """Yield the result of each query; all of them share one pass over each database.

        Chains that have an alignment keep it. `begin` is called before each step.

        Raises:
            InputError: A database is damaged or changes while it is searched, or the cache cannot
                be written.
            MissingError: A database or a program is missing.
            OutsideError: A program failed.
            DiskFullError: No space is left.
        """
        sequences = list(dict.fromkeys(c.sequence for q in queries for c in unaligned(q)))
        found: dict[str, list[Found]] = {each: [] for each in sequences}
        for step in self.recipe.steps:
            begin(step)
            self._search(step, sequences, found)
        paired: dict[tuple[str, ...], tuple[Found, ...]] = {}
        if (pairing := self.recipe.pairing) is not None:
            begin(pairing)
            complexes = list(dict.fromkeys(filter(None, map(self._pairable, queries))))
            if pairing.engine == COLABFOLD:
                paired = self._pairs(pairing, complexes)
            else:
                members = dict.fromkeys(each for sequences in complexes for each in sequences)
                self._search(pairing, list(members), found, for_pairing=True)
        for query in queries:
            yield self._result(query, found, paired)

    def attempt(
        self, queries: Sequence[Query], begin: Begin = lambda _: None
    ) -> list[SearchResult | FoldryError]:
        """Return the result of each query, or why its search failed.

        If a search for several queries fails although the databases are there, one of the queries
        may be the reason, so that halves of them are searched for.

        Raises:
            DiskFullError: No space is left.
        """
        try:
            return list(self.run(queries, begin))
        except Exception as error:  # the other queries are still searched for
            logger.debug("the search for %s failed", queries[0].name, exc_info=True)
            known = as_foldry_error(error)
        if isinstance(known, DiskFullError):
            raise known
        try:
            self.check(queries)
        except FoldryError as error:
            known = error
        else:
            if (half := len(queries) // 2) > 0:
                halves = queries[:half], queries[half:]
                return [each for part in halves for each in self.attempt(part, begin)]
        return [known if unaligned(each) else self._result(each, {}, {}) for each in queries]

    def _search(
        self,
        step: Step,
        sequences: Sequence[str],
        found: Mapping[str, list[Found]],
        *,
        for_pairing: bool = False,
    ) -> None:
        """Add what a step finds for each sequence."""
        if not sequences:
            return
        engine = self._engine(step)
        rows = kept.search(engine, sequences, self.cache)
        for sequence, (alignment, seconds) in zip(sequences, rows, strict=True):
            found[sequence].append(Found(step, step.kept(alignment), seconds, for_pairing))

    def _pairs(
        self, step: Step, complexes: Sequence[tuple[str, ...]]
    ) -> dict[tuple[str, ...], tuple[Found, ...]]:
        """Return the paired rows of the sequences of each complex."""
        engine = cast(PairingEngine, self._engine(step))
        found = kept.search_pairs(engine, complexes, self.cache)
        return {
            sequences: tuple(Found(step, step.kept(each), seconds, True) for each in rows)
            for sequences, (rows, seconds) in zip(complexes, found, strict=True)
        }

    def check(self, queries: Iterable[Query]) -> None:
        """Check that what the queries need is there, before anything is searched.

        Raises:
            InputError: A database changed.
            MissingError: A database or a program is missing.
        """
        steps = [*self.recipe.steps]
        if self.recipe.pairing and any(map(self._pairable, queries)):
            steps.append(self.recipe.pairing)
        names = dict.fromkeys(name for step in steps for name in step.databases)
        if missing := [name for name in names if name not in self.databases]:
            what = f"The recipe {self.recipe.name} searches {', '.join(missing)}, which "
            advice = "register them under these names"
            if len(missing) == 1:
                what, advice = what + "is not registered", "register it under this name"
            else:
                what += "are not registered"
            raise MissingError(what, advice, code="no_database")
        for step in steps:
            _ = self._engine(step).identity  # finds the program
        for name in names:
            self.databases[name].check()
        pairing = self.recipe.pairing
        if pairing in steps[len(self.recipe.steps) :] and pairing.engine == COLABFOLD:
            database = self.databases[pairing.databases[0]]
            if not database.has_taxonomy:
                what = "has no taxonomy, by which rows are paired"
                raise InputError(what, "run `mmseqs createtaxdb`", where=database.path)

    def _engine(self, step: Step) -> Engine:
        from foldry.search.engines import engine_of  # noqa: PLC0415  (most commands need none)

        return engine_of(step, self.databases, self.num_threads)

    def _result(
        self,
        query: Query,
        found: Mapping[str, Sequence[Found]],
        paired: Mapping[tuple[str, ...], tuple[Found, ...]],
    ) -> SearchResult:
        """Return a query with the alignments of its chains."""
        pairable = self._pairable(query)
        by_row = dict(zip(pairable, paired.get(pairable, ()), strict=False))
        searched = {chain.sequence for chain in unaligned(query)}
        chains, parts = list[Chain](), list[tuple[Found, ...]]()
        for chain in query.chains:
            own = found[chain.sequence] if chain.sequence in searched else ()
            own = [each for each in own if chain.sequence in pairable or not each.for_pairing]
            if chain.sequence in by_row:
                own.append(by_row[chain.sequence])
            is_kept = chain.alignment is not None or query.paired_by_row
            chains.append(chain if is_kept else _aligned(chain, own))
            parts.append(() if is_kept else tuple(own))
        is_by_row = query.paired_by_row or bool(by_row)
        complete = replace(query, chains=tuple(chains), paired_by_row=is_by_row)
        return SearchResult(complete, self.recipe.name, tuple(parts))

    def _pairable(self, query: Query) -> tuple[str, ...]:
        """Return the different sequences of a complex whose rows are to be paired; else none."""
        sequences = tuple(dict.fromkeys(chain.sequence for chain in query.chains))
        searched = {chain.sequence for chain in unaligned(query) if chain.paired is None}
        step = self.recipe.pairing
        # Rows that are paired by their number need the rows of all chains.
        if (
            step is None
            or len(sequences) < 2
            or (step.engine == COLABFOLD and searched != {*sequences})
        ):
            return ()
        return tuple(each for each in sequences if each in searched)


def unaligned(query: Query) -> list[Chain]:
    """Return the chains of a query that came without an alignment, and are to be searched for."""
    return [] if query.paired_by_row else [c for c in query.chains if c.alignment is None]


def _aligned(chain: Chain, found: Sequence[Found]) -> Chain:
    """Return a chain with the rows that were found for it."""
    unpaired = [each.alignment for each in found if not each.for_pairing]
    pairing = [each.alignment for each in found if each.for_pairing]
    return replace(
        chain,
        alignment=Alignment.joined(unpaired) if unpaired else None,
        paired=Alignment.joined(pairing) if pairing else chain.paired,
    )


def find_search(
    name: str | None = None,
    *,
    registry: Registry | None = None,
    cache: Cache | None = None,
    num_threads: int = 1,
) -> Search | None:
    """Return the search that a name means; None if there is nothing to search.

    Args:
        name: `none`, `small`, `reduced`, `full`, `colabfold`, a recipe of the user, its TOML file,
            or a folder of FASTA files. None takes `small` if a FASTA file is registered, otherwise
            `colabfold` if a clustered MMseqs2 database is.
        registry: The registered databases; those of the user if left out.
        cache: Where alignments are kept; the user's if left out.
        num_threads: Number of threads.

    Raises:
        InputError: There is no such recipe or folder, or it is damaged.
        MissingError: No database is registered that the recipe could search.
    """
    if name == recipes.NONE.name:
        return None
    try:
        registry = registry or Registry()
    except InputError:
        if name is not None:
            raise
        return None  # nothing is registered where there is no home folder
    databases: Mapping[str, Database] = registry.databases()
    recipe = recipes.NONE
    if name is None:
        recipe = recipes.small(databases.values())
        recipe = recipe if recipe.steps else recipes.colabfold(databases.values())
    elif name in _KNOWN or name in _ON_REGISTERED:  # even if there is a folder of this name
        recipe = _known(name, databases)
    elif "/" in name or Path(name).exists() or name.endswith(_TOML):
        recipe, databases = _from_path(Path(name), databases)
    else:
        recipe = _of_user(name, registry, databases)
    if not recipe.steps:
        return None
    return Search(recipe, databases, cache or Cache(default_cache()), num_threads)


def _known(name: str, databases: Mapping[str, Database]) -> Recipe:
    """Return a recipe of Foldry's."""
    if name in _KNOWN:
        return _KNOWN[name]
    recipe = _ON_REGISTERED[name](databases.values())
    if not recipe.steps:
        kind = "FASTA file" if name == "small" else "clustered MMseqs2 database"
        what = f"The recipe {name} has nothing to search: no {kind} is registered"
        raise MissingError(what, "register one", code="no_database")
    return recipe


def _of_user(name: str, registry: Registry, databases: Mapping[str, Database]) -> Recipe:
    """Return the recipe of this name in the user's folder, or that of a registered FASTA file."""
    if name in databases and (alone := recipes.small([databases[name]])).steps:
        return replace(alone, name=name)
    folder = registry.folder / _RECIPES
    path = folder / f"{name}{_TOML}"
    if not NAME.fullmatch(name) or not path.is_file():
        advice = f"choose one of {', '.join((*_KNOWN, *_ON_REGISTERED))}, a folder of FASTA files"
        advice += f", or a recipe in {folder}"
        raise InputError(f"There is no recipe {quoted(name)}", advice)
    return _read_recipe(path)


def _read_recipe(path: Path) -> Recipe:
    from foldry.search.engines import SETTINGS  # noqa: PLC0415  (most commands need none)

    return recipes.read_recipe(path, SETTINGS)


def _from_path(
    path: Path, databases: Mapping[str, Database]
) -> tuple[Recipe, Mapping[str, Database]]:
    """Return the recipe of a TOML file, a FASTA file or a folder of these, and its databases."""
    inside = sorted(path.iterdir()) if path.is_dir() else [path]
    files = [each for each in inside if suffix(each) in FASTA_SUFFIXES]
    files = [each for each in files if each.is_file() and not is_hidden(each)]
    if not files and not path.is_dir():
        return _read_recipe(path), databases
    if not files:
        raise InputError("is a folder without a FASTA file", "name another", where=path)
    found = {each.name: each for each in map(inspect, files)}
    if len(found) < len(files):
        what = "has several FASTA files that would have one name"
        raise InputError(what, "rename them", where=path)
    return replace(recipes.small(found.values()), name=plain_name(path)), found


def default_cache() -> Path:
    """Return the folder of kept searches: `$FOLDRY_SEARCHES`, or `~/.cache/foldry/searches`.

    Raises:
        InputError: The variable is not set and the user has no home folder.
    """
    return user_folder(_VARIABLE, "searches", "kept searches")
