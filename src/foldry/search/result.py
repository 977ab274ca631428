"""What a search found for a query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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
class FoundTemplates:
    """The search that found a chain's templates, which are in the chain itself.

    Attributes:
        step: The step.
        seconds: As in `Found`.
    """

    step: Step
    seconds: float | None = None


@dataclass(frozen=True)
class SearchResult:
    """A query with the alignments and templates of its chains, and where they come from.

    Attributes:
        query: The query; its chains have their alignments and templates.
        recipe: Name of the recipe.
        found: For each chain of the query, what each step found; empty for a chain that came with
            an alignment.
        templates: For each chain, the search for its templates; None if nothing was searched.
        versions: The versions of the databases by name.
        max_template_date: Date after which no template may be released, or None.
    """

    query: Query
    recipe: str
    found: tuple[tuple[Found, ...], ...]
    templates: tuple[FoundTemplates | None, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict, compare=False)
    max_template_date: str | None = None

    def databases(self) -> list[str]:
        """Return the names of the databases that were searched, in this order."""
        steps = [each.step for found in self.found for each in found]
        steps += [each.step for each in self.templates if each is not None]
        return list(dict.fromkeys(name for step in steps for name in step.databases))

    def templates_of(self, number: int) -> FoundTemplates | None:
        """Return the search for the templates of a chain by its number."""
        return self.templates[number] if self.templates else None
