"""Queries → queries with alignments and templates: each different chain is searched for once."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from foldry.errors import (
    DiskFullError,
    FoldryError,
    InputError,
    MissingError,
    as_foldry_error,
    quoted,
)
from foldry.inputs.folders import FASTA_SUFFIXES, suffix
from foldry.inputs.structures import is_structure
from foldry.query import Alignment, Chain, Query
from foldry.search import kept, recipes, structure_index
from foldry.search.databases import (
    FASTA,
    NAME,
    STRUCTURES,
    Database,
    Registry,
    default_cache,
    inspect,
)
from foldry.search.engine import Engine, PairingEngine
from foldry.search.recipes import BY_ROW, COLABFOLD, HHSEARCH, Recipe, Step
from foldry.search.result import Found, FoundTemplates, SearchResult
from foldry.store.cache import Cache
from foldry.store.files import is_hidden, plain_name

if TYPE_CHECKING:
    from foldry.search.server import TicketServer
    from foldry.search.template_search import TemplateSearch

logger = logging.getLogger(__name__)

_RECIPES: Final = "recipes"
"""The folder of a user's recipes beside the list of databases."""
_TOML: Final = ".toml"
_HOST: Final = re.compile(r"\w[\w-]*(\.\w[\w-]*)+(:\d+)?(/.*)?|localhost(:\d+)?(/.*)?")
_ALONE: Final = "templates"
"""What the search is called if structures are all that is registered."""
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
        cache: Where alignments and templates are kept.
        num_threads: Number of threads.
        max_template_date: Date, e.g. `2021-09-30`, after which no template may be released.
        server: The server that searches, in place of databases.
    """

    recipe: Recipe
    databases: Mapping[str, Database]
    cache: Cache
    num_threads: int = 1
    max_template_date: str | None = None
    server: TicketServer | None = None
    _finders: dict[Step, TemplateSearch] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )

    def wants(self, query: Query) -> bool:
        """Return whether a query has a chain for which anything is searched."""
        wants_rows = bool(self.recipe.steps) and bool(unaligned(query))
        return wants_rows or self._template_step(query) is not None

    def run(
        self, queries: Sequence[Query], begin: Begin = lambda _: None
    ) -> Iterator[SearchResult]:
        """Yield the result of each query; all of them share one pass over each database.

        Chains that have an alignment keep it, and those that have templates, or an empty list of
        them, keep these. `begin` is called before each step.

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
            if pairing.engine in BY_ROW:
                paired = self._pairs(pairing, complexes)
            else:
                members = dict.fromkeys(each for sequences in complexes for each in sequences)
                self._search(pairing, list(members), found, for_pairing=True)
        results = [self._result(query, found, paired) for query in queries]
        yield from self._with_templates(results, begin)

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
        return [known if self.wants(each) else self._result(each, {}, {}) for each in queries]

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
        if self.server is not None:
            self.server.check()
            return
        queries = list(queries)
        aligning, for_templates = self.steps(queries)
        names = dict.fromkeys(name for s in (*aligning, *for_templates) for name in s.databases)
        if missing := [name for name in names if name not in self.databases]:
            what = f"The recipe {self.recipe.name} searches {', '.join(missing)}, which "
            advice = "register them under these names"
            if len(missing) == 1:
                what, advice = what + "is not registered", "register it under this name"
            else:
                what += "are not registered"
            raise MissingError(what, advice, code="no_database")
        for step in aligning:
            _ = self._engine(step).identity  # finds the program
        for name in names:
            self.databases[name].check()
        for step in for_templates:
            _ = self._finder(step).engine.identity
        pairing = self.recipe.pairing
        is_paired = any(map(self._pairable, queries))
        if pairing is not None and pairing.engine == COLABFOLD and is_paired:
            database = self.databases[pairing.databases[0]]
            if not database.has_taxonomy:
                what = "has no taxonomy, by which rows are paired"
                raise InputError(what, "run `mmseqs createtaxdb`", where=database.path)

    def steps(self, queries: Sequence[Query]) -> tuple[list[Step], list[Step]]:
        """Return the searches that queries need: for alignments, pairing last, and for templates.

        Without queries, those for alignments are all.
        """
        are_aligned = queries and not any(map(unaligned, queries))
        aligning = [] if are_aligned else [*self.recipe.steps]
        if self.recipe.pairing is not None and any(map(self._pairable, queries)):
            aligning.append(self.recipe.pairing)
        return aligning, [*dict.fromkeys(filter(None, map(self._template_step, queries)))]

    def _engine(self, step: Step) -> Engine:
        if self.server is not None:
            return self.server
        from foldry.search.engines import engine_of  # noqa: PLC0415  (most commands need none)

        return engine_of(step, self.databases, self.num_threads)

    def _template_step(self, query: Query) -> Step | None:
        """Return the search for the templates of a query; None if it needs none."""
        needs = any(map(lacks_templates, query.chains))
        return self.recipe.template_step(query.num_chains) if needs else None

    def _finder(self, step: Step) -> TemplateSearch:
        from foldry.search.engines import server_templates, template_search  # noqa: PLC0415

        date, cache = self.max_template_date, self.cache
        if self.server is None:  # they may have changed since they were opened
            for name in step.databases:
                self.databases[name].check()
        if step not in self._finders:  # a library is opened once
            if self.server is not None:
                found = server_templates(self.server, date, cache)
            else:
                found = template_search(step, self.databases, date, cache, self.num_threads)
            self._finders[step] = found
        return self._finders[step]

    def _with_templates(
        self, results: Sequence[SearchResult], begin: Begin
    ) -> Iterator[SearchResult]:
        """Yield results with the templates of all chains that have none."""
        wanted: dict[Step, list[Alignment]] = {}
        rows: dict[tuple[int, int], Alignment] = {}
        for index, result in enumerate(results):
            if (step := self._template_step(result.query)) is not None:
                for number, chain in enumerate(result.query.chains):
                    if lacks_templates(chain):
                        profile = self._profile(chain, result.found[number])
                        rows[index, number] = profile
                        wanted.setdefault(step, []).append(profile)
        found, opened = {}, dict[str, str]()
        for step, alignments in wanted.items():
            begin(step)
            finder = self._finder(step)
            opened |= finder.versions
            run = finder.run(alignments)
            found[step] = iter([(FoundTemplates(step, each[1]), each[0]) for each in run])
        for index, result in enumerate(results):
            chains, searches = list(result.query.chains), list[FoundTemplates | None]()
            for number, chain in enumerate(chains):
                if (index, number) not in rows:
                    searches.append(None)
                    continue
                step = cast(Step, self._template_step(result.query))
                search, templates = next(found[step])
                searches.append(search)
                chains[number] = replace(
                    chain,
                    templates=templates.hits,
                    templates_known=True,
                    left_out=tuple((each.name, each.reason) for each in templates.left_out),
                )
            complete = replace(result.query, chains=tuple(chains))
            versions = {**result.versions, **opened}
            yield replace(result, query=complete, templates=tuple(searches), versions=versions)

    def _profile(self, chain: Chain, found: Sequence[Found]) -> Alignment:
        """Return the rows with which the templates of a chain are found."""
        of_step = [each.alignment for each in found if each.step == self.recipe.profile]
        known = [*of_step, chain.alignment, chain.paired]
        alone = Alignment.of(["query"], [chain.sequence])  # the same for chains of other names
        return next((each for each in known if each is not None), alone)

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
        versions = {name: each.version for name, each in self.databases.items()}
        return SearchResult(
            complete,
            self.recipe.name,
            tuple(parts),
            versions=versions,
            max_template_date=self.max_template_date,
        )

    def _pairable(self, query: Query) -> tuple[str, ...]:
        """Return the different sequences of a complex whose rows are to be paired; else none."""
        sequences = tuple(dict.fromkeys(chain.sequence for chain in query.chains))
        searched = {chain.sequence for chain in unaligned(query) if chain.paired is None}
        step = self.recipe.pairing
        # Rows that are paired by their number need the rows of all chains.
        if (
            step is None
            or len(sequences) < 2
            or (step.engine in BY_ROW and searched != {*sequences})
        ):
            return ()
        return tuple(each for each in sequences if each in searched)


def unaligned(query: Query) -> list[Chain]:
    """Return the chains of a query that came without an alignment, and are to be searched for."""
    return [] if query.paired_by_row else [c for c in query.chains if c.alignment is None]


def is_address(name: str) -> bool:
    """Return whether the name of a search is an address, if not always one of a server."""
    return re.match("[a-z][a-z0-9+.-]*://", name.lower()) is not None


def lacks_templates(chain: Chain) -> bool:
    """Return whether templates of a chain may be searched for: it came without a list of them."""
    return not chain.templates and not chain.templates_known


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
    search_templates: bool = True,
    max_template_date: str | None = None,
) -> Search | None:
    """Return the search that a name means; None if there is nothing to search.

    Templates are searched for in the registered libraries of structures or, if the name is that of
    a folder, in the structures below it.

    Args:
        name: `none`, `small`, `reduced`, `full`, `colabfold`, a registered FASTA file or library of
            structures, a recipe of the user, its TOML file, or a folder of FASTA files and
            structures. None takes `small` if a FASTA file for alignments is registered, otherwise
            `colabfold` if a clustered MMseqs2 database is, otherwise templates alone. The address
            of a server, e.g. `https://…`, has the server search, which gets the sequences.
        registry: The registered databases; those of the user if left out.
        cache: Where alignments and templates are kept; the user's if left out.
        num_threads: Number of threads.
        search_templates: Whether templates are searched for.
        max_template_date: Date, e.g. `2021-09-30`, after which no template may be released.

    Raises:
        InputError: There is no such recipe or folder, it is damaged, or the date is none.
        MissingError: No database is registered that the recipe could search.
    """
    if max_template_date is not None:
        from foldry.search.templates import Rules  # noqa: PLC0415  (most commands need none)

        Rules(max_template_date)  # checks it
    if name == recipes.NONE.name:
        return None
    if name is not None and is_address(name):
        from foldry.search.server import TicketServer  # noqa: PLC0415  (most commands need none)

        place = cache or Cache(default_cache())
        server = TicketServer(name, place)
        recipe = recipes.of_server(server.source.database)
        recipe = recipe if search_templates else replace(recipe, templates=None)
        return Search(recipe, {}, place, num_threads, max_template_date, server)
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
        recipe = recipe if recipe.steps else replace(recipe, name=_ALONE)
    elif name in _KNOWN or name in _ON_REGISTERED:  # even if there is a folder of this name
        recipe = _known(name, databases, search_templates=search_templates)
    elif Path(name).exists() or name.endswith(_TOML) or ("/" in name and not _HOST.fullmatch(name)):
        kept = cache or Cache(default_cache())
        recipe, databases = _from_path(Path(name), databases, kept if search_templates else None)
    else:
        recipe = _of_user(name, registry, databases)
    if search_templates:
        has_hhsearch = shutil.which(HHSEARCH) is not None
        recipe = recipes.with_templates(recipe, databases, has_hhsearch=has_hhsearch)
    else:
        recipe = replace(recipe, templates=None)
    if not recipe.steps and not recipe.templates:
        return None
    place = cache or Cache(default_cache())
    return Search(recipe, databases, place, num_threads, max_template_date)


def _known(name: str, databases: Mapping[str, Database], *, search_templates: bool) -> Recipe:
    """Return a recipe of Foldry's."""
    if name in _KNOWN:
        return _KNOWN[name]
    recipe = _ON_REGISTERED[name](databases.values())
    has_structures = any(each.kind == STRUCTURES for each in databases.values())
    if not recipe.steps and not (name == "small" and search_templates and has_structures):
        kind = "FASTA file for alignments" if name == "small" else "clustered MMseqs2 database"
        what = f"The recipe {name} has nothing to search: no {kind} is registered"
        raise MissingError(what, "register one", code="no_database")
    return recipe


def _of_user(name: str, registry: Registry, databases: Mapping[str, Database]) -> Recipe:
    """Return the recipe of this name in the user's folder, or that of a registered database."""
    if name in databases and databases[name].kind == STRUCTURES:
        return recipes.of_structures(databases[name])
    if name in databases and (alone := recipes.of_files([databases[name]])).steps:
        return replace(alone, name=name)
    folder = registry.folder / _RECIPES
    path = folder / f"{name}{_TOML}"
    if not NAME.fullmatch(name) or not path.is_file():
        registered = [each.name for each in databases.values() if each.kind in (FASTA, STRUCTURES)]
        advice = f"choose one of {', '.join((*_KNOWN, *_ON_REGISTERED, *registered))}, a folder of "
        advice += "FASTA files and structures, the address of a server (https://…), or a recipe in "
        advice += str(folder)
        if _HOST.fullmatch(name):
            advice = f"if it is a server, write https:// before it; otherwise {advice}"
        raise InputError(f"There is no recipe {quoted(name)}", advice)
    return _read_recipe(path)


def _read_recipe(path: Path) -> Recipe:
    from foldry.search.engines import SETTINGS  # noqa: PLC0415  (most commands need none)

    return recipes.read_recipe(path, SETTINGS)


def _from_path(
    path: Path, databases: Mapping[str, Database], cache: Cache | None
) -> tuple[Recipe, Mapping[str, Database]]:
    """Return the recipe of a TOML file, a FASTA file or a folder of these, and its databases.

    Of a folder, the structures below it are a library, whose index is kept in `cache`; None leaves
    them out. To a FASTA file, the registered libraries belong.
    """
    inside = sorted(path.iterdir()) if path.is_dir() else [path]
    files = [each for each in inside if suffix(each) in FASTA_SUFFIXES]
    files = [each for each in files if each.is_file() and not is_hidden(each)]
    if is_structure(path) and path.is_file():
        advice = "give the folder that holds it, or give it as one of the `templates`"
        raise InputError("is a structure, not a place to search", advice, where=path)
    if not files and not path.is_dir():
        return _read_recipe(path), databases
    libraries = [each for each in databases.values() if each.kind == STRUCTURES]
    if path.is_dir():
        libraries = _structures_below(path, cache, is_needed=not files) if cache else []
    if not files and not libraries:
        what = "is a folder without a FASTA file" + " or a structure" * (cache is not None)
        raise InputError(what, "name another", where=path)
    found = {each.name: each for each in map(inspect, files)}
    if len(found) < len(files):
        what = "has several FASTA files that would have one name"
        raise InputError(what, "rename them", where=path)
    recipe = replace(recipes.of_files(found.values()), name=plain_name(path))
    for each in libraries:
        name = each.name if each.name not in found else f"{each.name}_structures"
        found[name] = replace(each, name=name)
    return recipe, found


def _structures_below(folder: Path, cache: Cache, *, is_needed: bool) -> list[Database]:
    """Return the structures in a folder and its folders as a library, or nothing if it has none.

    Raises:
        InputError: They are not usable, and there is nothing else to search: `is_needed`.
    """
    from foldry.search.structures import inspect_structures  # noqa: PLC0415  (as above)

    try:
        if not structure_index.has_structures(folder):
            return []
        return [inspect_structures(folder, kept=cache.folder)]
    except InputError as error:
        if is_needed:
            raise
        logger.warning("No templates are searched for: %s", error)
        return []
