"""Hits of a template search as its program aligned them, and the structures they name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Int

from foldry.formats.coordinates import Deposition


@dataclass(frozen=True, eq=False)
class AlignedHit:
    """A chain of a known structure, aligned to the query by the program that found it.

    Unknown scores are None.

    Attributes:
        name: Entry and chain as the database names them, e.g. `2crb_A`.
        pairs: Pairs of (query residue, letter of `sequence`), both counted from 0.
        sequence: The hit's letters from the first to the last that the program reports, without
            gaps, in upper case.
        begin: Number of the first of these letters in the database's sequence, from 0.
        title: The rest of the database's header.
        sum_probs: Sum of the posterior probabilities of the aligned columns.
        probability: Probability that the hit is homologous, 0–1.
        e_value: E-value of the search.
    """

    name: str
    pairs: Int[np.ndarray, "P 2"]
    sequence: str
    begin: int = 0
    title: str = ""
    sum_probs: float | None = None
    probability: float | None = None
    e_value: float | None = None


class Library(Protocol):
    """Known structures by the names of their entries."""

    def successor(self, entry: str) -> str | None:
        """Return the entry that replaces an obsolete one, or this one if it is not obsolete.

        None means that nothing replaces it. Replacements of replacements are followed.
        """
        ...

    def listed_date(self, entry: str) -> str | None:
        """Return the date of an entry's first release, known without reading its file, or None."""
        ...

    def read(self, entry: str) -> Deposition:
        """Return the chains of an entry with their full sequences.

        Raises:
            InputError: The file is damaged, which may change.
            MissingError: There is no file of this entry.
        """
        ...
