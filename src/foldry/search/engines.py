"""The engine of each step of a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Final

from foldry.errors import InputError, quoted
from foldry.search.colabfold import ColabFold, ColabFoldSettings
from foldry.search.databases import FASTA, HHSUITE, MMSEQS, Database
from foldry.search.engine import Engine
from foldry.search.hhblits import HHblits, HHblitsSettings
from foldry.search.hmmer import Hmmer, HmmerSettings
from foldry.search.recipes import COLABFOLD, HHBLITS, JACKHMMER, Step

_MOST: Final = 10**9
"""Largest value of a setting."""
_KINDS: Final = {JACKHMMER: FASTA, HHBLITS: HHSUITE, COLABFOLD: MMSEQS}
"""The kind of database that each engine reads."""
_DEFAULTS: Final[Mapping[str, Any]] = {
    JACKHMMER: HmmerSettings(),
    HHBLITS: HHblitsSettings(),
    COLABFOLD: ColabFoldSettings(),
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
        if each.kind != _KINDS[step.engine]:
            what = f"is the {each.kind} database {each.name}"
            advice = f"give {step.engine} a database of the kind {_KINDS[step.engine]}"
            raise InputError(what, advice, where=each.path)
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
