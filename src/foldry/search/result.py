"""What a search found for a query."""

from __future__ import annotations

from dataclasses import dataclass

from foldry.query import Alignment, Query
from foldry.search.recipes import Step


@dataclass(frozen=True)
class Found:
    """The rows that one step of a recipe found for a chain.

    Attributes:
        step: The step.
        alignment: The rows that are kept, the chain's sequence first.
        seconds: Duration of the search, which the other chains of a pass share; None if the rows
            were kept from an earlier search.
        for_pairing: Whether the rows may be paired with those of other chains.
    """

    step: Step
    alignment: Alignment
    seconds: float | None = None
    for_pairing: bool = False


@dataclass(frozen=True)
class SearchResult:
    """A query with the alignments of its chains, and where they come from.

    Attributes:
        query: The query; its chains have their alignments.
        recipe: Name of the recipe.
        found: For each chain of the query, what each step found; empty for a chain that came with
            an alignment.
    """

    query: Query
    recipe: str
    found: tuple[tuple[Found, ...], ...]
