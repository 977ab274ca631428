"""HH-suite's hhsearch: profiles of known structures, searched as AlphaFold does for one chain."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from foldry.errors import OutsideError
from foldry.formats.a3m import to_a3m
from foldry.query import Alignment, Source
from foldry.search import hhsuite
from foldry.search.databases import Database
from foldry.search.hits import AlignedHit
from foldry.search.templates_read import hits_of_hhr
from foldry.store.files import scratch_folder, write_text
from foldry.store.hashes import content_key

PROGRAM: Final = "hhsearch"


@dataclass(frozen=True)
class HHSearchSettings:
    """The parameters of a search; the defaults are AlphaFold's.

    Attributes:
        maxseq: Maximum number of rows of an alignment that is read.
    """

    maxseq: int = 1_000_000


@dataclass(frozen=True)
class HHSearch:
    """An engine for HH-suite databases of known structures such as `pdb70`.

    Attributes:
        databases: The databases, as they were recorded; one call searches all.
        settings: The parameters.
        num_threads: Number of threads.
        scratch: Folder for the temporary file of an alignment; None for the system's.

    Example:
        >>> from foldry.search.databases import inspect
        >>> engine = HHSearch((inspect(Path("pdb70")),))  # doctest: +SKIP
        >>> [found] = engine.hits([template_input(alignment)])  # doctest: +SKIP
    """

    databases: tuple[Database, ...]
    settings: HHSearchSettings = HHSearchSettings()
    num_threads: int = 1
    scratch: Path | None = None

    @property
    def identity(self) -> str:
        """What the hits depend on besides the alignments; see `TemplateEngine`.

        Raises:
            MissingError: hhsearch is not installed.
        """
        versions = [database.version for database in self.databases]
        program = hhsuite.version(hhsuite.find(PROGRAM))
        return content_key([PROGRAM, program, 1, self.settings, versions])

    @property
    def source(self) -> Source:
        """The engine and the databases, for people."""
        return Source(PROGRAM, hhsuite.names(self.databases))

    def hits(self, alignments: Sequence[Alignment]) -> Iterator[list[AlignedHit]]:
        """Yield the hits of each alignment, one call each; see `TemplateEngine`.

        Raises:
            DiskFullError: No space is left for the alignment's file.
        """
        hhsuite.check(PROGRAM, self.databases)
        source = f"The result of {PROGRAM} in {hhsuite.names(self.databases)}"
        for alignment in alignments:
            # The program takes some names for annotation, and cuts long ones.
            names = ("query", *map(str, range(1, alignment.num_rows)))
            with scratch_folder(self.scratch) as folder:
                text = to_a3m(replace(alignment, headers=names))
                query = write_text(folder / "query.a3m", text)
                arguments = ["-i", query, "-o", "stdout", "-maxseq", self.settings.maxseq]
                printed = hhsuite.search(PROGRAM, arguments, self.databases, self.num_threads)
            found = hits_of_hhr(printed, source)
            length = alignment.letters.shape[1]
            is_whole = printed.startswith("Query ")
            if not is_whole or any(each.pairs[:, 0].max() >= length for each in found):
                what = f"{PROGRAM} did not return the hits of the query"
                raise OutsideError(what, "run the same command again")
            yield found
