"""Error messages of the command line: settings become flags, and some errors get a hint.

Messages of other modules contain neither flags nor commands. They name a setting in backquotes,
such as `max_length`, and the code of an error selects its hint.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from foldry.errors import SOME_FAILED, FoldryError

HINTS: Final = {
    "archived_models": "ptm, multimer and all name groups of them",
    "download_address": "--mirror URL names another server",
    "foreign_weights": "`foldry weights convert` makes one from an OpenFold checkpoint",
    "listed_pairs": "leave out --bait and --all",
    "multimer_weights": "`foldry weights get --models multimer` downloads such parameters",
    "no_database": "`foldry search db add` and `foldry search db get` register databases",
    "not_a_database": "`foldry db init DB --provider NAME` makes a new one",
    "official_weights": "`foldry weights get` downloads AlphaFold's parameters",
    "old_database": "`foldry db migrate DB` does",
    "pairs_of_screen": "--bait NAME and --all choose pairs",
    "table_of_queries": "`foldry screen` folds what a table lists",
}
"""Hints by error code."""

_FLAGS: Final = {
    "baits": "--bait",
    "num_ensemble": "--ensemble",
    "max_rows": "--rows",
    "max_rounds": "--rounds",
    "max_seconds": "--seconds",
    "min_plddt": "--set min_plddt=",
}
"""Flags whose name differs from the setting."""


def sentence(error: FoldryError) -> str:
    """Return an error's sentence with flags in place of settings, and with its hint.

    Example:
        >>> from foldry.errors import InputError
        >>> sentence(InputError("600 residues are too many", "raise `max_length`"))
        '600 residues are too many: raise --max-length.'
    """
    said = as_flags(str(error))
    hint = HINTS.get(error.code)
    return f"{said.rstrip('.')}; {hint}." if hint else said


def as_flags(text: str) -> str:
    """Return a text with the settings in backquotes replaced by flags.

    Backquotes within a word belong to the name of a file or chain.
    """
    return re.sub(r"(?<![^\s(])`([a-z][a-z0-9_]*)`(?![^\s.,:;)])", _flag, text)


def _flag(match: re.Match[str]) -> str:
    name = match[1]
    return _FLAGS.get(name, f"--{name.replace('_', '-')}")


def exit_code(errors: Iterable[FoldryError | None]) -> int:
    """Return the exit code of a command from the errors of its queries (None: no error).

    0 if none failed; the errors' code if all failed with the same code; otherwise 1.
    """
    found = {error.exit_code if error else 0 for error in errors}
    if found <= {0}:
        return 0
    return found.pop() if len(found) == 1 else SOME_FAILED
