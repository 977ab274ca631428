"""Recipes: what is searched for alignments and templates, and how many rows are kept."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from foldry.errors import InputError, quoted, reason
from foldry.query import MAX_ROWS, Alignment
from foldry.search.databases import FASTA, HHSUITE, NAME, STRUCTURES, Database
from foldry.store.files import decode, read_bytes

JACKHMMER: Final = "jackhmmer"
HHBLITS: Final = "hhblits"
COLABFOLD: Final = "colabfold"
HMMSEARCH: Final = "hmmsearch"
HHSEARCH: Final = "hhsearch"
MMSEQS_PROFILES: Final = "mmseqs"
SERVER: Final = "server"
BY_ROW: Final = (COLABFOLD, SERVER)
"""Engines that pair rows by their number."""
ALIGNERS: Final = (JACKHMMER, HHBLITS, COLABFOLD)
"""Engines that find alignments."""
TEMPLATE_ENGINES: Final = (HMMSEARCH, HHSEARCH, MMSEQS_PROFILES)
"""Engines that find templates with an alignment."""
SMALL_ROWS: Final = 10_000
"""Maximum number of rows of each database in the recipe `small`."""
_MAX_FILE: Final = 2**20
"""Maximum size of a recipe's file, bytes."""
_PDB70: Final = "pdb70"
_PDB_SEQRES: Final = "pdb_seqres"
_TEMPLATE_FILE: Final = "pdb_hits"
_ADVICE: Final = "write [[search]] with an engine and databases for each search"


@dataclass(frozen=True)
class Step:
    """One search.

    Attributes:
        engine: Name of the engine.
        databases: Names of the databases that it searches at once.
        file: Name of its alignment in AlphaFold's folder `msas`.
        max_rows: Maximum number of rows that are kept, the query's included; None keeps all.
        settings: Settings of the engine by name, where they are not its defaults.
        described: Whether rows of jackhmmer keep the descriptions of the database, which may name
            species; AlphaFold leaves them out.
    """

    engine: str
    databases: tuple[str, ...]
    file: str
    max_rows: int | None = None
    settings: tuple[tuple[str, Any], ...] = ()
    described: bool = False

    def kept(self, found: Alignment) -> Alignment:
        """Return the rows of an alignment that are kept."""
        most = self.max_rows
        return found if most is None or found.num_rows <= most else found.rows(slice(most))


@dataclass(frozen=True)
class Recipe:
    """The searches for a protein.

    Attributes:
        name: Its name.
        steps: The searches for its alignment, in the order in which their rows are joined.
        pairing: The search for rows that may be paired with those of other chains of a complex.
        templates: The search for templates of single chains. Its databases are the libraries of
            structures, and what is searched in place of their sequences.
        complex_templates: The search for templates of chains in complexes; None if it is the same.
        profile: The search whose rows find templates; None if all rows do.
    """

    name: str
    steps: tuple[Step, ...]
    pairing: Step | None = None
    templates: Step | None = None
    complex_templates: Step | None = None
    profile: Step | None = None

    def template_step(self, num_chains: int) -> Step | None:
        """Return the search for templates of the chains of a query."""
        return (num_chains > 1 and self.complex_templates) or self.templates


_UNIREF90: Final = Step(JACKHMMER, ("uniref90",), "uniref90_hits.sto", 10_000)
_MGNIFY: Final = Step(JACKHMMER, ("mgnify",), "mgnify_hits.sto", 501)
_UNIPROT: Final = Step(JACKHMMER, ("uniprot",), "uniprot_hits.sto", 50_000)

NONE: Final = Recipe("none", ())
"""No search."""
REDUCED: Final = Recipe(
    "reduced",
    (_UNIREF90, Step(JACKHMMER, ("small_bfd",), "small_bfd_hits.sto"), _MGNIFY),
    _UNIPROT,
    profile=_UNIREF90,
)
"""AlphaFold's `reduced_dbs`."""
FULL: Final = Recipe(
    "full",
    (_UNIREF90, Step(HHBLITS, ("bfd", "uniref30"), "bfd_uniref_hits.a3m"), _MGNIFY),
    _UNIPROT,
    profile=_UNIREF90,
)
"""AlphaFold's `full_dbs`."""


def small(databases: Iterable[Database]) -> Recipe:
    """Return the recipe `small`: one round of HMMER on each database that `has_homologues`."""
    return of_files(filter(has_homologues, databases))


def has_homologues(database: Database) -> bool:
    """Return whether a database is a FASTA file for alignments; `pdb_seqres` is for templates."""
    return database.kind == FASTA and database.name != _PDB_SEQRES


def of_files(databases: Iterable[Database]) -> Recipe:
    """Return the recipe `small` of all FASTA files, because they were named."""
    return Recipe("small", tuple(_step(each.name) for each in databases if each.kind == FASTA))


def of_structures(library: Database) -> Recipe:
    """Return the recipe that finds templates in one library of structures, and no alignments."""
    return Recipe(library.name, (), templates=_template_step(HMMSEARCH, [library.name]))


def colabfold(databases: Iterable[Database]) -> Recipe:
    """Return ColabFold's recipe on the clustered MMseqs2 databases.

    A database with `env` in its name is the environmental one, which is optional. Rows are paired
    if the other one has a taxonomy.

    Raises:
        InputError: More than one database could be either.
    """
    clustered = [each for each in databases if each.is_clustered]
    names = [each.name for each in clustered]
    environmental = [each for each in names if "env" in each]
    others = [each for each in clustered if each.name not in environmental]
    if len(environmental) > 1 or len(others) > 1:
        what = f"The recipe colabfold could search {', '.join(names)}"
        raise InputError(what, "write a recipe that names one of them, and one with env")
    if not others:
        return Recipe(COLABFOLD, ())
    step = Step(COLABFOLD, (others[0].name, *environmental), "colabfold_hits.a3m")
    return Recipe(COLABFOLD, (step,), step if others[0].has_taxonomy else None)


def of_server(url: str) -> Recipe:
    """Return the recipe in which a server does everything."""
    step = Step(SERVER, (url,), "server_hits.a3m")
    return Recipe(url, (step,), step, replace(step, file=_TEMPLATE_FILE))


def with_templates(
    recipe: Recipe, databases: Mapping[str, Database], *, has_hhsearch: bool
) -> Recipe:
    """Return a recipe with its searches for templates, if there are libraries of structures.

    AlphaFold's recipes search `pdb70` for single chains if hhsearch can, otherwise by hmmsearch as
    for complexes. That of ColabFold searches with the profiles of MMseqs2. The search for templates
    of a user's recipe gets all libraries if it names none.

    Args:
        recipe: The recipe.
        databases: The databases by name.
        has_hhsearch: Whether the program is installed.

    Raises:
        InputError: The user's recipe finds templates in sequences, but names no structures of them.
    """
    libraries = [each.name for each in databases.values() if each.kind == STRUCTURES]
    if recipe.templates is not None:
        names = recipe.templates.databases
        if not {*libraries} & {*names}:
            if alone := [n for n in names if n != _PDB_SEQRES and _is(databases, n, FASTA)]:
                what = f"The recipe {recipe.name} finds templates in {alone[0]}, which has "
                advice = "name a library of structures beside it, or in its place"
                raise InputError(f"{what}no structures", advice)
            names = (*names, *libraries)
        return replace(recipe, templates=replace(recipe.templates, databases=names))
    if not libraries:
        return recipe
    if recipe.name == COLABFOLD:
        return replace(recipe, templates=_template_step(MMSEQS_PROFILES, libraries))
    by_sequence = _template_step(HMMSEARCH, libraries)
    if recipe.profile is None:
        return replace(recipe, templates=by_sequence)
    of_complexes = by_sequence
    if _is(databases, _PDB_SEQRES, FASTA):
        of_complexes = _template_step(HMMSEARCH, [_PDB_SEQRES, *libraries])
    by_profile = of_complexes
    if has_hhsearch and _is(databases, _PDB70, HHSUITE):
        by_profile = _template_step(HHSEARCH, [_PDB70, *libraries])
    return replace(recipe, templates=by_profile, complex_templates=of_complexes)


def _is(databases: Mapping[str, Database], name: str, kind: str) -> bool:
    return name in databases and databases[name].kind == kind


def _template_step(engine: str, databases: Collection[str]) -> Step:
    return Step(engine, tuple(databases), _TEMPLATE_FILE)


def _step(database: str) -> Step:
    return Step(JACKHMMER, (database,), f"{database}_hits.sto", SMALL_ROWS, described=True)


def read_recipe(path: Path, settings: Mapping[str, frozenset[str]]) -> Recipe:
    """Return the recipe of a TOML file, named after the file.

    Args:
        path: The file.
        settings: The names of the settings of each engine.

    Raises:
        InputError: The file is missing, is not TOML, or is not a recipe.
    """
    data = read_bytes(path, _MAX_FILE)
    try:
        content = tomllib.loads(decode(data, str(path)))
    except RecursionError:
        raise InputError("is nested too deeply", "use fewer brackets", where=path) from None
    except ValueError as error:
        what = f"is not valid TOML ({reason(error)})"
        raise InputError(what, "fix the file", where=path) from None
    searches = content.pop("search", None)
    pairing = content.pop("pairing", None)
    templates = content.pop("templates", None)
    if content:
        what = f"has the unknown key {quoted(min(content))}"
        raise InputError(what, "use only [[search]], [pairing] and [templates]", where=path)
    if searches is None and pairing is None and templates is not None:
        searches = []
    elif not isinstance(searches, list) or not searches:
        raise InputError("is not a recipe", _ADVICE, where=path)
    aligners = {name: settings[name] for name in ALIGNERS}
    steps = [
        _read_step(each, f"{path}, search {number}", aligners)
        for number, each in enumerate(searches, start=1)
    ]
    files = [each.file for each in steps]
    if twice := [each for each in files if files.count(each) > 1]:
        what = f"searches {twice[0].partition('_hits')[0]} twice"
        raise InputError(what, "search each database once", where=path)
    of_pairs = None if pairing is None else _read_step(pairing, f"{path}, pairing", aligners)
    of_templates = None
    if templates is not None:
        finders = {name: settings[name] for name in TEMPLATE_ENGINES}
        step = _read_step(templates, f"{path}, templates", finders)
        if step.max_rows is not None:
            advice = "leave it out: the first usable hits become templates"
            raise InputError("has the key 'max_rows'", advice, where=f"{path}, templates")
        of_templates = replace(step, file=_TEMPLATE_FILE)
    return Recipe(path.stem, tuple(steps), of_pairs, of_templates)


def _read_step(entry: Any, place: str, settings: Mapping[str, frozenset[str]]) -> Step:
    """Return one search of a recipe's file."""
    if not isinstance(entry, dict):
        raise InputError("is not a table", _ADVICE, where=place)
    left = dict(entry)
    engine = left.pop("engine", None)
    if not isinstance(engine, str) or engine not in settings:
        advice = f"choose one of {', '.join(settings)}"
        what = "has no engine" if engine is None else f"has the engine {quoted(engine)}"
        raise InputError(what, advice, where=place)
    databases = left.pop("databases", None)
    names = databases if isinstance(databases, list) else [databases]
    if not names or not all(isinstance(each, str) and NAME.fullmatch(each) for each in names):
        what = f"has the databases {quoted(databases)}"
        raise InputError(what, "list names of registered databases", where=place)
    max_rows = left.pop("max_rows", None)
    if max_rows is not None and (type(max_rows) is not int or not 1 <= max_rows <= MAX_ROWS):
        advice = f"give a whole number from 1 to {MAX_ROWS}"
        raise InputError(f"has the max_rows {quoted(max_rows)}", advice, where=place)
    if unknown := left.keys() - settings[engine]:
        advice = f"use only {', '.join(sorted(settings[engine]))}"
        raise InputError(f"has the unknown key {quoted(min(unknown))}", advice, where=place)
    file = f"{'_'.join(names)}_hits.{'sto' if engine == JACKHMMER else 'a3m'}"
    settings_given = tuple(sorted(left.items()))
    return Step(engine, tuple(names), file, max_rows, settings_given, engine == JACKHMMER)
