"""The depth of the alignments of a query's chains, and what it means for a prediction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np
from jaxtyping import Bool, Int, UInt8

from foldry.align.weights import row_weights
from foldry.errors import counted
from foldry.features.msa import encode_letters, new_rows
from foldry.features.pairing import align_complex
from foldry.query import GAP_LETTER, Alignment, Chain, Query
from foldry.results.coverage import evenly_spaced
from foldry.search.result import Found, SearchResult

MAX_NEFF_ROWS: Final = 2000
"""Maximum rows for Neff, evenly spaced: its time and memory grow with their square."""
MAX_NEFF_LETTERS: Final = 2**21
"""Maximum rows times residues for Neff."""
FEW_HOMOLOGUES: Final = 30
"""Fewer make a prediction much less accurate (Jumper 2021, Fig. 5a)."""
LOW_NEFF: Final = 10
MANY_ROWS: Final = 10
"""Number of rows with which a residue is well covered."""
FEW_ROWS: Final = 3
"""Residues with fewer rows are worth a warning, if they are `MIN_STRETCH` in a row."""
MIN_STRETCH: Final = 10
FEW_PAIRED: Final = 10
_MAX_NAMED: Final = 6
"""Maximum chains or stretches that a warning lists."""


@dataclass(frozen=True)
class ChainSummary:
    """The depth of a chain's alignment: measures of `foldry.measures`, under their keys.

    Attributes:
        ids: Names of the copies of the chain.
        residues: Number of its residues.
        depth: Number of different rows, the query included.
        neff: Effective depth of at most `MAX_NEFF_ROWS` rows.
        median_depth: Median of the numbers of rows that cover a residue.
        well_covered: Share of the residues that at least `MANY_ROWS` rows cover.
        sparse: First and last residue, from 1, of each stretch that fewer than `FEW_ROWS` cover.
        paired_rows: Rows that are paired with rows of other chains; None if sequences are equal.
        species: Species of the rows that may be paired; None if they are not paired by species.
    """

    ids: tuple[str, ...]
    residues: int
    depth: int
    neff: float
    median_depth: float
    well_covered: float
    sparse: tuple[tuple[int, int], ...]
    paired_rows: int | None = None
    species: int | None = None


@dataclass(frozen=True, eq=False)
class Rows:
    """The different rows of a chain's alignments, the query first.

    Attributes:
        headers: One description per row.
        letters: As in `Alignment`.
        search: The number of the search that was the first to find the row; the number of all
            searches if the row came with the query.
    """

    headers: tuple[str, ...]
    letters: UInt8[np.ndarray, "S N"]
    search: Int[np.ndarray, " S"]


@lru_cache(maxsize=1)  # the page, the warnings and a table need it
def summary(result: SearchResult) -> tuple[ChainSummary, ...]:
    """Return the depth of the alignment of each chain of the query.

    Raises:
        InputError: A letter of an alignment is not an amino acid, or the paired rows of the chains
            differ in number.
    """
    summaries = []
    for chain, found in zip(result.query.chains, result.found, strict=True):
        letters = rows_of(chain, found).letters
        counts = (letters != GAP_LETTER).sum(axis=0)
        most = min(MAX_NEFF_ROWS, MAX_NEFF_LETTERS // len(counts))
        picked = letters[evenly_spaced(len(letters), most)]
        made = ChainSummary(
            ids=chain.ids,
            residues=len(counts),
            depth=len(letters),
            neff=float(row_weights(encode_letters(picked)).sum()),
            median_depth=float(np.median(counts)),
            well_covered=float((counts >= MANY_ROWS).mean()),
            sparse=tuple(_stretches(counts < FEW_ROWS)),
        )
        summaries.append(made)
    return tuple(_with_pairs(summaries, result.query))


def rows_of(chain: Chain, found: Sequence[Found]) -> Rows:
    """Return the different rows of a chain: those of the searches, then those of the query."""
    alignments = [each.alignment for each in found] + list(chain.alignments)
    seen: set[bytes] = set()
    headers, letters, search = [], [], []
    for number, alignment in enumerate(alignments or [alone(chain)]):
        new = new_rows(alignment.letters, seen)
        new = new[(alignment.letters[new] != GAP_LETTER).any(axis=1)]
        headers += [alignment.headers[row] for row in new]
        letters.append(alignment.letters[new])
        search.append(np.full(len(new), min(number, len(found))))
    return Rows(tuple(headers), np.concatenate(letters), np.concatenate(search))


def alone(chain: Chain) -> Alignment:
    """Return the alignment of a chain without homologues."""
    return Alignment.of([chain.ids[0]], [chain.sequence])


def _stretches(marks: Bool[np.ndarray, " N"]) -> Iterator[tuple[int, int]]:
    """Yield the first and the last residue, from 1, of each run of marks."""
    edges = np.flatnonzero(np.diff(np.pad(marks.astype(int), 1)))
    for start, end in edges.reshape(-1, 2).tolist():
        yield start + 1, end


def _with_pairs(summaries: Sequence[ChainSummary], query: Query) -> Iterator[ChainSummary]:
    """Yield the summaries with the rows that chains of different sequences have in common."""
    chains = [replace(chain, ids=chain.ids[:1]) for chain in query.chains]  # copies add nothing
    differ = np.array([[a.sequence != b.sequence for b in chains] for a in chains])
    if not differ.any():
        yield from summaries
        return
    report = align_complex(replace(query, chains=tuple(chains))).report
    there = np.array([[row is not None for row in each.rows] for each in report.rows])[1:]
    paired = (there & (there @ differ)).sum(axis=0).tolist()
    for number, each in enumerate(summaries):
        species = sum(found.counts[number] > 0 for found in report.species)
        yield replace(
            each,
            paired_rows=paired[number],
            species=None if query.paired_by_row else species,
        )


def warnings(result: SearchResult) -> list[str]:
    """Return what makes a low confidence likely, one sentence each.

    Raises:
        InputError: As for `summary`.

    Example:
        >>> alone = Query("q", (Chain(("A",), "MKTAYIAKQR"),))
        >>> warnings(SearchResult(alone, "none", ((),)))
        ['A: no homologues: expect low confidence.']
    """
    chains = summary(result)
    found = [*(each for chain in chains for each in _about_depth(chain)), *_about_pairs(chains)]
    query = result.query
    if query.paired_by_row and any(chain.templates for chain in query.chains):
        found.append(
            f"{query.name}.a3m cannot hold the templates: another search finds them again."
        )
    return found


def _about_depth(chain: ChainSummary) -> Iterator[str]:
    """Yield the warnings about the rows of one chain."""
    name, homologues = joined(chain.ids), chain.depth - 1
    if homologues < FEW_HOMOLOGUES:
        many = counted(homologues, "homologue") if homologues else "no homologues"
        yield f"{name}: {many}: expect low confidence."
    elif chain.median_depth < FEW_HOMOLOGUES:
        rows = counted(int(chain.median_depth), "row")
        yield (
            f"{name}: {homologues} homologues, but at most {rows} at half of the residues: "
            "expect low confidence there."
        )
    elif chain.neff < LOW_NEFF:
        yield (
            f"{name}: {homologues} homologues, but so similar that they count as "
            f"{chain.neff:.1f} (Neff): expect low confidence."
        )
    sparse = [(first, last) for first, last in chain.sparse if last - first + 1 >= MIN_STRETCH]
    if sparse and chain.depth >= FEW_ROWS:
        ranges = joined([f"{first}–{last}" for first, last in sparse])
        yield f"{name}: residues {ranges} are covered by fewer than {FEW_ROWS} rows."


def _about_pairs(chains: Sequence[ChainSummary]) -> Iterator[str]:
    """Yield the warnings about the rows that chains of different sequences have in common."""
    unnamed = [each for each in chains if each.species == 0 and each.depth > 1]
    if unnamed:
        yield (
            f"{_names(unnamed)}: no row names its species, such as OX=9606 in its header, so that "
            "none can be paired with rows of other chains."
        )
    named = [each for each in chains if each.paired_rows is not None and each not in unnamed]
    for count in range(FEW_PAIRED if len(named) > 1 else 0):
        few = [each for each in named if each.paired_rows == count and each.depth > 1]
        many = f"only {counted(count, 'row')}" if count else "no rows"
        if few:
            yield f"{_names(few)}: {many} could be paired by species."


def _names(chains: Iterable[ChainSummary]) -> str:
    return joined([name for chain in chains for name in chain.ids])


def joined(texts: Sequence[str]) -> str:
    """Return texts as `A, B and C`, or as `A, B and 9 more`."""
    if len(texts) > _MAX_NAMED:
        texts = [*texts[: _MAX_NAMED - 1], f"{len(texts) - _MAX_NAMED + 1} more"]
    return " and ".join(filter(None, [", ".join(texts[:-1]), texts[-1]]))
