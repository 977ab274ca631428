"""Recipes: which databases are searched for a protein, and how many rows of each are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from foldry.query import Alignment


@dataclass(frozen=True)
class Step:
    """One search.

    Attributes:
        engine: Name of the engine.
        databases: Names of the databases that it searches at once.
        file: Name of its alignment in AlphaFold's folder `msas`.
        max_rows: Maximum number of rows that are kept, the query's included; None keeps all.
    """

    engine: str
    databases: tuple[str, ...]
    file: str
    max_rows: int | None = None

    def kept(self, found: Alignment) -> Alignment:
        """Return the rows of an alignment that are kept."""
        return found.rows(slice(self.max_rows))


@dataclass(frozen=True)
class Recipe:
    """The searches for a protein.

    Attributes:
        name: Its name.
        steps: The searches for its alignment, in the order in which their rows are joined.
        pairing: The search for rows that may be paired with those of other chains of a complex.
    """

    name: str
    steps: tuple[Step, ...]
    pairing: Step | None = None

    def joined(self, found: Sequence[Alignment]) -> Alignment:
        """Return the kept rows of all searches; features leave out rows that occur twice.

        Args:
            found: The alignment of each step.
        """
        parts = [step.kept(each) for step, each in zip(self.steps, found, strict=True)]
        return Alignment.joined(parts)


_UNIREF90: Final = Step("jackhmmer", ("uniref90",), "uniref90_hits.sto", 10_000)
_MGNIFY: Final = Step("jackhmmer", ("mgnify",), "mgnify_hits.sto", 501)
_UNIPROT: Final = Step("jackhmmer", ("uniprot",), "uniprot_hits.sto", 50_000)

REDUCED: Final = Recipe(
    "reduced",
    (_UNIREF90, Step("jackhmmer", ("small_bfd",), "small_bfd_hits.sto"), _MGNIFY),
    _UNIPROT,
)
"""AlphaFold's `reduced_dbs`."""
FULL: Final = Recipe(
    "full",
    (_UNIREF90, Step("hhblits", ("bfd", "uniref30"), "bfd_uniref_hits.a3m"), _MGNIFY),
    _UNIPROT,
)
"""AlphaFold's `full_dbs`."""
