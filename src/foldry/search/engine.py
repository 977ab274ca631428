"""What every engine does: one pass over a database for many sequences or alignments."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from foldry.query import Alignment, Source
from foldry.search.hits import AlignedHit


class Engine(Protocol):
    """A program or a library that finds the homologues of sequences in its databases."""

    @property
    def identity(self) -> str:
        """What the results depend on: the engine, its parameters and the databases' content."""
        ...

    @property
    def source(self) -> Source:
        """The engine and the databases, for people."""
        ...

    def query(self, sequences: Sequence[str]) -> Iterator[Alignment]:
        """Yield the alignment of each sequence, in order, with the sequence itself as row 0.

        Args:
            sequences: Proteins as one-letter codes; they share one pass over the database.

        Raises:
            InputError: The database is damaged, or changes while it is read.
            MissingError: The database or the program is missing.
        """
        ...


class PairingEngine(Engine, Protocol):
    """An engine that also pairs the rows of different chains."""

    def pairs(self, complexes: Sequence[Sequence[str]]) -> Iterator[tuple[Alignment, ...]]:
        """Yield the paired rows of each complex: rows of equal number belong together.

        Args:
            complexes: For each complex, its different sequences.

        Raises:
            InputError: As for `query`.
            MissingError: As for `query`.
        """
        ...


@dataclass(frozen=True)
class Targets:
    """A FASTA file of the chains of known structures.

    Attributes:
        fasta: The file, which may be compressed with gzip or zstd.
        name: The name of the database that it belongs to.
        version: What is derived from its content.
    """

    fasta: Path
    name: str
    version: str


class TemplateEngine(Protocol):
    """A program or a library that finds chains of known structures with alignments."""

    @property
    def identity(self) -> str:
        """What the hits depend on besides the alignments; see `Engine`."""
        ...

    @property
    def source(self) -> Source:
        """The engine and the databases, for people."""
        ...

    def hits(self, alignments: Sequence[Alignment]) -> Iterator[list[AlignedHit]]:
        """Yield the hits of each alignment, in order; they are in the program's order.

        Args:
            alignments: Each begins with the query (`template_input`), which may be its only row;
                they share one pass over the databases.

        Raises:
            InputError: As for `Engine.query`.
            MissingError: As for `Engine.query`.
            OutsideError: The program failed.
        """
        ...
