"""What a user asks for: chains with their alignments and templates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from foldry.structure import Structure


@dataclass(frozen=True, eq=False)  # equal to itself alone, so that what is made of it is kept
class Alignment:
    """Sequences aligned to a query of N residues; row 0 is the query itself.

    Attributes:
        headers: One description a row, without `>`; pairing reads the species from it.
        sequences: One string of N letters a row: upper case, `-` for a gap.
        deletions: Letters of the row that stand before each query residue and were left out.
    """

    headers: tuple[str, ...]
    sequences: tuple[str, ...]
    deletions: Int[np.ndarray, "S N"]


@dataclass(frozen=True, eq=False)
class TemplateHit:
    """One chain of a known structure, aligned to the query.

    Attributes:
        name: Where the template is from, such as `1abc_A`.
        structure: The template's chain.
        pairs: Pairs of (query residue, template residue), both counted from 0.
    """

    name: str
    structure: Structure
    pairs: Int[np.ndarray, "P 2"]


@dataclass(frozen=True)
class Chain:
    """One polypeptide; `ids` has one chain name for every copy of it.

    Attributes:
        ids: Chain names, one a copy.
        sequence: One-letter codes of the 20 amino acids and X.
        alignment: The unpaired alignment, or None.
        paired: Rows that may be paired with those of other chains by species, or None.
        templates: Template hits, best first; a chain without any has an empty tuple.

    Lists become tuples, so that what is made of a chain can be kept by it.
    """

    ids: tuple[str, ...]
    sequence: str
    alignment: Alignment | None = None
    paired: Alignment | None = None
    templates: tuple[TemplateHit, ...] = ()

    def __post_init__(self) -> None:
        for name in ("ids", "templates"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @property
    def alignments(self) -> tuple[Alignment, ...]:
        """Those that there are, the paired one first, as their rows are read."""
        return tuple(rows for rows in (self.paired, self.alignment) if rows is not None)


@dataclass(frozen=True)
class Query:
    """One job: a name, its chains and, where the input file gave them, its seeds.

    Attributes:
        name: Names the results' folder.
        chains: The polypeptides, in the order in which they are written out.
        seeds: Or none.
        paired_by_row: Whether rows of the chains' `paired` alignments belong together by their
            number (ColabFold's paired a3m), and not by their species.

    Lists become tuples, as in `Chain`.
    """

    name: str
    chains: tuple[Chain, ...]
    seeds: tuple[int, ...] = ()
    paired_by_row: bool = False

    def __post_init__(self) -> None:
        for name in ("chains", "seeds"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    @property
    def num_chains(self) -> int:
        """The number of chains, copies counted."""
        return sum(len(chain.ids) for chain in self.chains)

    @property
    def num_residues(self) -> int:
        """The number of residues over all chains and copies."""
        return sum(len(chain.ids) * len(chain.sequence) for chain in self.chains)
