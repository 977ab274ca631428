"""The engine of each step of a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Final

from foldry.errors import InputError, MissingError, quoted
from foldry.search.colabfold import ColabFold, ColabFoldSettings
from foldry.search.databases import FASTA, HHSUITE, MMSEQS, STRUCTURES, Database
from foldry.search.engine import Engine, Targets, TemplateEngine
from foldry.search.hhblits import HHblits, HHblitsSettings
from foldry.search.hhsearch import HHSearch, HHSearchSettings
from foldry.search.hmmer import Hmmer, HmmerSettings
from foldry.search.hmmsearch import HmmSearch, HmmSearchSettings
from foldry.search.mmseqs_templates import MmseqsTemplates, MmseqsTemplatesSettings
from foldry.search.recipes import (
    COLABFOLD,
    HHBLITS,
    HHSEARCH,
    HMMSEARCH,
    JACKHMMER,
    MMSEQS_PROFILES,
    Step,
)
from foldry.search.server import TicketServer
from foldry.search.server_templates import ServerTemplates
from foldry.search.structures import StructureLibrary
from foldry.search.template_search import JoinedLibraries, TemplateSearch
from foldry.search.templates import Rules
from foldry.store.cache import Cache

_MOST: Final = 10**9
"""Largest value of a setting."""
_KINDS: Final = {
    JACKHMMER: FASTA,
    HHBLITS: HHSUITE,
    COLABFOLD: MMSEQS,
    HMMSEARCH: FASTA,
    HHSEARCH: HHSUITE,
    MMSEQS_PROFILES: FASTA,
}
"""The kind of database that each engine reads."""
_DEFAULTS: Final[Mapping[str, Any]] = {
    JACKHMMER: HmmerSettings(),
    HHBLITS: HHblitsSettings(),
    COLABFOLD: ColabFoldSettings(),
    HMMSEARCH: HmmSearchSettings(),
    HHSEARCH: HHSearchSettings(),
    MMSEQS_PROFILES: MmseqsTemplatesSettings(),
}
SETTINGS: Final[Mapping[str, frozenset[str]]] = {
    name: frozenset(each.name for each in fields(default)) for name, default in _DEFAULTS.items()
}
"""The names of the settings of each engine."""


def engine_of(step: Step, databases: Mapping[str, Database], num_threads: int) -> Engine:
    """Return the engine of a step.

    Args:
        step: The step.
        databases: The databases by name; those of the step are among them.
        num_threads: Number of threads.

    Raises:
        InputError: A database is of another kind, or a setting is not usable.
        MissingError: The engine's program is missing.
    """
    chosen = tuple(databases[name] for name in step.databases)
    for each in chosen:
        _check_kind(step, each)
        if step.engine == COLABFOLD and not each.is_clustered:
            what = "is not a clustered MMseqs2 database"
            raise InputError(what, "give one such as ColabFold's UniRef30", where=each.path)
    settings = _settings(step)
    if step.engine == JACKHMMER:
        if len(chosen) > 1:
            what = f"jackhmmer searches one database at a time, not {', '.join(step.databases)}"
            raise InputError(what, "write a search for each")
        database, most = chosen[0], step.max_rows
        return Hmmer(database, settings, num_threads, described=step.described, max_rows=most)
    if step.engine == HHBLITS:
        return HHblits(chosen, settings, num_threads)
    return ColabFold(chosen, settings, num_threads)


def template_search(
    step: Step,
    databases: Mapping[str, Database],
    max_date: str | None,
    cache: Cache,
    num_threads: int,
) -> TemplateSearch:
    """Return the search for templates of a step.

    Its databases that are libraries of structures have the structures; the others, or if there are
    none the sequences of the libraries, are searched.

    Args:
        step: The step.
        databases: The databases by name; those of the step are among them.
        max_date: Date after which no template may be released, or None.
        cache: Where templates are kept.
        num_threads: Number of threads.

    Raises:
        InputError: A database is of another kind, a library cannot be read, or a setting is not
            usable.
        MissingError: The engine's program, or a library, is missing.
    """
    chosen = [databases[name] for name in step.databases]
    libraries = {d.name: StructureLibrary.open(d) for d in chosen if d.kind == STRUCTURES}
    if not libraries:
        what = f"{step.engine} finds templates, but no library of structures is registered"
        raise MissingError(what, "register one", code="no_database")
    others = [each for each in chosen if each.kind != STRUCTURES]
    for each in others:
        _check_kind(step, each)
    targets = tuple(Targets(Path(each.path), each.name, each.version) for each in others) or tuple(
        Targets(each.fasta, name, each.version) for name, each in libraries.items()
    )
    settings = _settings(step)
    engine: TemplateEngine
    if step.engine == HMMSEARCH:
        engine = HmmSearch(targets, settings, num_threads)
    elif step.engine == MMSEQS_PROFILES:
        engine = MmseqsTemplates(targets, settings, num_threads)
    elif not others:
        what = "hhsearch needs a database of profiles such as pdb70"
        raise InputError(what, "name it beside the library of structures")
    else:
        engine = HHSearch(tuple(others), settings, num_threads)
    rules = Rules(
        max_date,
        by_sum_probs=step.engine == HHSEARCH,
        unique_sequences=step.engine == HMMSEARCH,
    )
    found = tuple(libraries.values())
    library = found[0] if len(found) == 1 else JoinedLibraries(found)
    versions = {name: each.version for name, each in libraries.items()}
    return TemplateSearch(engine, library, versions, rules, cache)


def server_templates(server: TicketServer, max_date: str | None, cache: Cache) -> TemplateSearch:
    """Return the search for templates of a server, which also sends their structures."""
    engine = ServerTemplates(server)
    return TemplateSearch(engine, engine, {}, Rules(max_date), cache, engine.has_all)


def _check_kind(step: Step, database: Database) -> None:
    """Refuse a database that an engine cannot read."""
    if database.kind != _KINDS[step.engine]:
        what = f"is the {database.kind} database {database.name}"
        advice = f"give {step.engine} a database of the kind {_KINDS[step.engine]}"
        raise InputError(what, advice, where=database.path)


def _settings(step: Step) -> Any:
    """Return the settings of a step's engine, each a number of the default's type."""
    default = _DEFAULTS[step.engine]
    values: dict[str, Any] = {}
    for name, value in step.settings:
        kind = type(getattr(default, name))
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        is_right = type(value) is kind or (kind is float and is_number)
        if not is_right or (is_number and not 0 <= value <= _MOST):
            what = f"The recipe sets {name} of {step.engine} to {quoted(value)}"
            raise InputError(what, f"give a value such as {getattr(default, name)!r}")
        values[name] = kind(value)
    return replace(default, **values)
