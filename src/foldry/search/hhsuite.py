"""The programs of HH-suite: found and run on databases that do not change meanwhile."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

from foldry.errors import InputError, OutsideError
from foldry.processes.program import find_program, run_program
from foldry.search.databases import HHSUITE, Database

INSTALL: Final = "install HH-suite (Debian: apt install hhsuite)"
_MOST_QUOTED: Final = 200
"""Characters of a failed program's output in a message."""


def find(program: str) -> str:
    """Return the path of a program.

    Raises:
        MissingError: It is not installed.
    """
    return find_program(program, INSTALL)


@cache  # the keys of many kept searches need it
def version(path: str) -> str:
    """Return the version of a program by its path, e.g. `3.3.0`.

    Raises:
        OutsideError: The program failed, or is not one of HH-suite.
    """
    name = Path(path).name
    found = re.search(rf"{name} (\S+?):?\s", run_program([path, "-h"]), re.IGNORECASE)
    if found is None:
        raise OutsideError(f"{path} does not print its version as {name} does", INSTALL)
    return found[1]


def names(databases: Sequence[Database]) -> str:
    """Return the names of databases, for people."""
    return ", ".join(database.name for database in databases)


def check(program: str, databases: Sequence[Database]) -> None:
    """Check that databases are HH-suite's and did not change since they were recorded.

    Raises:
        MissingError: Files are missing.
        InputError: A database is of another kind, or its files changed.
    """
    for each in databases:
        if each.kind != HHSUITE:
            what = f"is a {each.kind} database, and {program} reads those of HH-suite"
            raise InputError(what, "name another database", where=each.path)
        each.check()


def search(
    program: str, arguments: Sequence[object], databases: Sequence[Database], num_threads: int
) -> str:
    """Return what a program prints when it searches databases.

    Args:
        program: Its name.
        arguments: Its arguments, except the databases and the number of threads.
        databases: The databases, as they were recorded.
        num_threads: Number of threads.

    Raises:
        MissingError: The program is not installed.
        InputError: A database changed while it was searched.
        OutsideError: The program failed.
    """
    # Without `-v 1` other messages would be printed among the results.
    command = [find(program), *map(str, arguments), "-cpu", str(num_threads), "-v", "1"]
    for database in databases:
        command += ["-d", database.path]
    try:
        printed = run_program(command)
    except OutsideError as error:
        check(program, databases)
        paths = ", ".join(database.path for database in databases)
        what = error.what  # a damaged database may make the program print what is in it
        if len(what) > _MOST_QUOTED:
            what = f"{what[:_MOST_QUOTED]}…)"
        advice = f"run the same command again, and if it fails again, check the files of {paths}"
        raise OutsideError(what, advice) from error
    check(program, databases)
    return printed
