"""HH-suite's hhblits: one or several databases of alignments, searched as AlphaFold does."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Final

from foldry.errors import InputError, OutsideError
from foldry.formats.a3m import parse_a3m
from foldry.processes.program import find_program, run_program
from foldry.query import Alignment, Source
from foldry.search.databases import HHSUITE, Database
from foldry.store.files import scratch_folder, write_text
from foldry.store.hashes import content_key

PROGRAM: Final = "hhblits"
_MOST_QUOTED: Final = 200
"""Characters of a failed program's output in a message."""


@dataclass(frozen=True)
class HHblitsSettings:
    """The parameters of a search; the defaults are AlphaFold's.

    Attributes:
        num_iterations: Rounds; each begins with the rows that the last one found.
        e: Maximum E-value of a hit in the alignment.
        maxseq: Maximum number of rows of an alignment that is read or built.
        realign_max: Maximum number of hits that are realigned.
        maxfilt: Maximum number of hits that pass the prefilter.
        min_prefilter_hits: Number of hits that pass the prefilter in any case.
    """

    num_iterations: int = 3
    e: float = 0.001
    maxseq: int = 1_000_000
    realign_max: int = 100_000
    maxfilt: int = 100_000
    min_prefilter_hits: int = 1000

    @property
    def arguments(self) -> list[str]:
        """The parameters as the program reads them."""
        named = {
            "-n": self.num_iterations,
            "-e": self.e,
            "-maxseq": self.maxseq,
            "-realign_max": self.realign_max,
            "-maxfilt": self.maxfilt,
            "-min_prefilter_hits": self.min_prefilter_hits,
        }
        return [word for name, value in named.items() for word in (name, str(value))]


@dataclass(frozen=True)
class HHblits:
    """An engine for HH-suite databases, all searched in one call for each sequence.

    Attributes:
        databases: The databases, as they were recorded.
        settings: The parameters.
        num_threads: Number of threads.
        scratch: Folder for the temporary file of a query; None for the system's.

    Example:
        >>> from foldry.search.databases import inspect
        >>> databases = tuple(map(inspect, map(Path, ["bfd", "uniref30"])))  # doctest: +SKIP
        >>> [found] = HHblits(databases).query(["MKTAYIAKQR"])  # doctest: +SKIP
    """

    databases: tuple[Database, ...]
    settings: HHblitsSettings = HHblitsSettings()
    num_threads: int = 1
    scratch: Path | None = None

    @property
    def identity(self) -> str:
        """What the results depend on besides the sequence; see `Engine`.

        Raises:
            MissingError: hhblits is not installed.
        """
        versions = [database.version for database in self.databases]
        return content_key([PROGRAM, _version(_find()), 1, self.settings, versions])

    @property
    def source(self) -> Source:
        """The engine and the databases, for people."""
        return Source(PROGRAM, self._names)

    @property
    def _names(self) -> str:
        return ", ".join(database.name for database in self.databases)

    def query(self, sequences: Sequence[str]) -> Iterator[Alignment]:
        """Yield the alignment of each sequence, one call each; see `Engine`.

        Raises:
            OutsideError: hhblits failed, e.g. because a database is damaged.
            DiskFullError: No space is left for the query's file.
        """
        self._check()
        for sequence in sequences:
            with scratch_folder(self.scratch) as folder:
                text = self._run(write_text(folder / "query.fasta", f">query\n{sequence}\n"))
            found = parse_a3m(text, f"The alignment that {PROGRAM} found in {self._names}")
            if found.query != sequence:
                what = f"{PROGRAM} returned the alignment of another sequence than the query"
                raise OutsideError(what, "run the same command again")
            yield replace(found, source=self.source)

    def _check(self) -> None:
        """Check that the databases are HH-suite's and did not change since they were recorded.

        Raises:
            MissingError: Files are missing.
            InputError: A database is of another kind, or its files changed.
        """
        for each in self.databases:
            if each.kind != HHSUITE:
                what = f"is a {each.kind} database, and {PROGRAM} reads those of HH-suite"
                raise InputError(what, "name another database", where=each.path)
            each.check()

    def _run(self, query: Path) -> str:
        """Return what hhblits prints: the alignment as a3m, which thus needs no disk.

        Raises:
            InputError: A database changed while it was searched.
            OutsideError: hhblits failed.
        """
        command = [_find(), "-i", str(query), "-cpu", str(self.num_threads)]
        # Without `-v 1` the report of the hits would be printed among the rows.
        command += ["-oa3m", "stdout", "-o", "/dev/null", "-v", "1", *self.settings.arguments]
        for database in self.databases:
            command += ["-d", database.path]
        try:
            printed = run_program(command)
        except OutsideError as error:
            self._check()
            paths = ", ".join(database.path for database in self.databases)
            what = error.what  # a damaged database may make the program print what is in it
            if len(what) > _MOST_QUOTED:
                what = f"{what[:_MOST_QUOTED]}…)"
            advice = (
                f"run the same command again, and if it fails again, check the files of {paths}"
            )
            raise OutsideError(what, advice) from error
        self._check()
        return printed


def _find() -> str:
    """Return the path of hhblits.

    Raises:
        MissingError: It is not installed.
    """
    return find_program(PROGRAM, "install HH-suite (Debian: apt install hhsuite)")


@lru_cache(maxsize=1)  # the keys of many kept searches need it
def _version(program: str) -> str:
    """Return the version of hhblits, e.g. `3.3.0`.

    Raises:
        OutsideError: The program failed, or is not hhblits.
    """
    found = re.search(r"HHblits (\S+?):?\s", run_program([program, "-h"]))
    if found is None:
        advice = "install HH-suite (Debian: apt install hhsuite)"
        raise OutsideError(f"{program} does not tell its version as {PROGRAM} does", advice)
    return found[1]
