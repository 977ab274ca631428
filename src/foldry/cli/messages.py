"""Errors as the command line says them: settings become its flags, some gain a command that helps.

The rooms below know neither. A message names a setting in backquotes, such as `max_length`, and an
error that one of our commands can cure has a code that is listed here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from foldry.errors import SOME_FAILED, FoldryError

HINTS: Final = {
    "download_address": "--mirror ADDRESS names another server",
    "foreign_weights": "`foldry weights convert` makes one from an OpenFold checkpoint",
    "listed_pairs": "leave out --bait and --all",
    "multimer_weights": "`foldry weights get --models multimer` downloads such parameters",
    "official_weights": "`foldry weights get` downloads AlphaFold's parameters",
    "pairs_of_screen": "--bait NAME and --all choose pairs",
    "table_of_queries": "`foldry screen` folds what a table lists",
}
"""What else to do about an error, by its code."""

_FLAGS: Final = {"num_ensemble": "--ensemble", "min_plddt": "--set min_plddt="}
"""Flags that are not called as the setting."""


def sentence(error: FoldryError) -> str:
    """What is printed of an error: its sentence in terms of the command line, and a hint.

    Example:
        >>> from foldry.errors import InputError
        >>> sentence(InputError("600 residues are too many", "raise `max_length`"))
        '600 residues are too many: raise --max-length.'
    """
    said = as_flags(str(error))
    hint = HINTS.get(error.code)
    return f"{said.rstrip('.')}; {hint}." if hint else said


def as_flags(text: str) -> str:
    """A text with the settings that it names in backquotes as flags."""
    return re.sub(r"`([a-z][a-z0-9_]*)`", _flag, text)


def _flag(match: re.Match[str]) -> str:
    name = match[1]
    return _FLAGS.get(name, f"--{name.replace('_', '-')}")


def exit_code(errors: Iterable[FoldryError | None]) -> int:
    """The exit code of a command by how each of its queries ended.

    0 where none failed; where all failed in one way, that of their error; else 1.
    """
    found = {error.exit_code if error else 0 for error in errors}
    if found <= {0}:
        return 0
    return found.pop() if len(found) == 1 else SOME_FAILED
