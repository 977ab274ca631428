"""HH-suite's hhblits: one or several databases of alignments, searched as AlphaFold does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from foldry.errors import OutsideError
from foldry.formats.a3m import parse_a3m
from foldry.query import Alignment, Source
from foldry.search import hhsuite
from foldry.search.databases import Database
from foldry.store.files import scratch_folder, write_text
from foldry.store.hashes import content_key

PROGRAM: Final = "hhblits"


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
        program = hhsuite.version(hhsuite.find(PROGRAM))
        return content_key([PROGRAM, program, 1, self.settings, versions])

    @property
    def source(self) -> Source:
        """The engine and the databases, for people."""
        return Source(PROGRAM, hhsuite.names(self.databases))

    def query(self, sequences: Sequence[str]) -> Iterator[Alignment]:
        """Yield the alignment of each sequence, one call each; see `Engine`.

        Raises:
            OutsideError: hhblits failed, e.g. because a database is damaged.
            DiskFullError: No space is left for the query's file.
        """
        hhsuite.check(PROGRAM, self.databases)
        for sequence in sequences:
            with scratch_folder(self.scratch) as folder:
                query = write_text(folder / "query.fasta", f">query\n{sequence}\n")
                # The alignment is printed as a3m and thus needs no disk.
                arguments = ["-i", query, "-oa3m", "stdout", "-o", "/dev/null"]
                arguments += self.settings.arguments
                text = hhsuite.search(PROGRAM, arguments, self.databases, self.num_threads)
            source = f"The alignment that {PROGRAM} found in {hhsuite.names(self.databases)}"
            found = parse_a3m(text, source)
            if found.query != sequence:
                what = f"{PROGRAM} returned the alignment of another sequence than the query"
                raise OutsideError(what, "run the same command again")
            yield replace(found, source=self.source)
