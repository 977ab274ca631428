"""The alignment of a complex from the alignments of its chains, with rows paired by species.

Evans 2021, AlphaFold-Multimer. The rows of one species are paired across chains, the most similar
to the query first. The other rows follow in one block per distinct sequence, with gaps in the other
chains.

Axes: M rows, N residues of all chains, R rows of one chain, P paired rows, K chains (each copy is a
chain).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod
from typing import Final

import numpy as np
from jaxtyping import Float, Int, Integer

from foldry.errors import InputError, counted
from foldry.features.config import DEFAULT_PAIRING, Pairing
from foldry.features.msa import Rows, encode_letters, merge_alignments, new_rows
from foldry.query import Alignment, Chain, Query
from foldry.residues import GAP

MAX_ROWS: Final = 2048
"""Maximum number of rows of one chain of a complex; at most half of them are paired."""
MAX_SPECIES_ROWS: Final = 600
"""A species with more rows in one chain is not paired: its rows are not from one genome."""

_UNIPROT: Final = re.compile(
    r"(?:sp|tr)\|[A-Za-z0-9]{6,10}(?:_\d)?\|[A-Za-z0-9]+_([A-Za-z0-9]{1,5})(?:_\d+)?"
)
_REPRESENTATIVE: Final = re.compile(r"\bRepID=[A-Za-z0-9]+_([A-Za-z0-9]{1,5})(?!\S)")
_TAXON: Final = re.compile(r"\b(?:TaxID|OX)=(\d+)")


@dataclass(frozen=True)
class PairedRow:
    """One paired row.

    Attributes:
        species: Species of all parts; "" for the query and for rows paired by the file.
        rows: Row number in the alignment of each chain, equal rows counted once, 0 for the query;
            None for a chain without a row, which has gaps.
    """

    species: str
    rows: tuple[int | None, ...]


@dataclass(frozen=True)
class SpeciesPairing:
    """The outcome of pairing for one species.

    Attributes:
        species: UniProt's code, or the number of a taxon.
        counts: Number of rows in each chain.
        num_paired: Number of paired rows.
        reason: Why no row is paired; "" if some are.
    """

    species: str
    counts: tuple[int, ...]
    num_paired: int
    reason: str


@dataclass(frozen=True)
class PairingReport:
    """Which rows were paired, by which species, and why others were not.

    Attributes:
        chains: Names of the chains, in the order of all other attributes.
        rows: The paired rows that are read, the query first.
        species: All species, sorted by name; empty if the file paired the rows.
        without_species: Rows of each chain without a species in the header, except the query.
        num_unpaired: Unpaired rows of each chain that are read; copies share them.
        depths: Different rows in the alignments of each distinct sequence, the query included.
    """

    chains: tuple[str, ...] = ()
    rows: tuple[PairedRow, ...] = ()
    species: tuple[SpeciesPairing, ...] = ()
    without_species: tuple[int, ...] = ()
    num_unpaired: tuple[int, ...] = ()
    depths: tuple[int, ...] = ()

    @property
    def num_paired(self) -> int:
        """Number of paired rows besides the query."""
        return max(len(self.rows) - 1, 0)


@dataclass(frozen=True)
class ComplexAlignment:
    """The alignment of all chains side by side; row 0 is the query.

    Attributes:
        msa: Codes in AlphaFold's order, 20 for X, 21 for a gap.
        deletion_matrix: Number of inserted letters before each position.
        covered: 0 for gaps of an unpaired row of another chain, which carry no information.
        report: The paired rows and species.
    """

    msa: Integer[np.ndarray, "M N"]
    deletion_matrix: Float[np.ndarray, "M N"]
    covered: Float[np.ndarray, "M N"]
    report: PairingReport


def species_of(header: str) -> str:
    """Return the species in the header of a row, or "".

    The species is read from UniProt names (`tr|A0A146SKV9|A0A146SKV9_FUNHE/5-90` → FUNHE), UniRef
    representatives (`RepID=A3X1_LOXLA`), and taxa (`TaxID=9606`, `OX=9606`). Codes such as 9BACT
    cover many species; if a representative has one, its taxon is used instead.

    Example:
        >>> species_of("tr|A0A146SKV9|A0A146SKV9_FUNHE/5-90 Uncharacterized protein")
        'FUNHE'
    """
    words = header.split()
    name = _UNIPROT.fullmatch(words[0].partition("/")[0]) if words else None
    if name:
        return name[1]
    taxon = _TAXON.search(header)
    name = _REPRESENTATIVE.search(header)
    if name and not (taxon and name[1].startswith("9")):
        return name[1]
    return taxon[1] if taxon else ""


def pair_rows(
    species: Sequence[Sequence[str]],
    identity: Sequence[Int[np.ndarray, " _"]],
    pairing: Pairing,
) -> tuple[list[PairedRow], list[SpeciesPairing]]:
    """Return the paired rows of each species, the most similar to the query first.

    Rows with more chains come first. Among rows with equally many chains, those with the smaller
    product of row numbers come first: the searches found them earlier.

    Args:
        species: For each chain, the species of its rows, "" if unknown; row 0 is the query.
        identity: For each chain, the number of residues of each row that equal the query's.
        pairing: Which rows of a species are paired.

    Returns:
        The paired rows without the query, and the outcome for each species.
    """
    ranked = [_by_species(names, alike) for names, alike in zip(species, identity, strict=True)]
    paired: list[PairedRow] = []
    outcomes: list[SpeciesPairing] = []
    for name in sorted(set().union(*ranked)):
        hits = [chain.get(name, []) for chain in ranked]
        counts = tuple(len(rows) for rows in hits)
        reason = _why_not(counts, pairing)
        most = min(count for count in counts if count) if pairing == "alphafold" else 1
        for rank in range(0 if reason else most):
            paired.append(PairedRow(name, tuple(rows[rank] if rows else None for rows in hits)))
        outcomes.append(SpeciesPairing(name, counts, 0 if reason else most, reason))
    return sorted(paired, key=_place), outcomes


@lru_cache(maxsize=1)  # every model and seed of a query needs it
def align_complex(query: Query, pairing: Pairing = DEFAULT_PAIRING) -> ComplexAlignment:
    """Return the alignments of all chains as one alignment of the complex.

    Chains with equal sequences share their alignments: a row of one appears in all of them. With
    a single distinct sequence, no rows are paired. Otherwise the rows of `Chain.paired` are paired,
    or the rows of `Chain.alignment` if a chain has none. Unpaired rows that equal the chain's part
    of a paired row are dropped. The last result is cached: do not change its arrays.

    Raises:
        InputError: A letter is not an amino acid, or the paired rows of the chains of a file differ
            in number.
    """
    sequences = [chain.sequence for chain in query.chains for _ in chain.ids]
    sharing: dict[str, list[Chain]] = {}
    for chain in query.chains:
        sharing.setdefault(chain.sequence, []).append(chain)
    if query.paired_by_row:
        paired, report = _paired_by_row(query)
    elif len(sharing) > 1:
        paired, report = _paired_by_species(sequences, sharing, pairing)
    else:
        size = 0, query.num_residues
        paired = Rows((), np.zeros(size, np.int8), np.zeros(size, np.float32))
        report = PairingReport()
    top = MAX_ROWS // 2
    codes, deletions = [paired.codes[:top]], [paired.deletions[:top]]
    covered = [np.ones(codes[0].shape, np.float32)]
    depth = {}
    for sequence, chains in sharing.items():
        # The number of each residue in the sequence; −1, a gap, for residues of other chains.
        own = [np.where(each == sequence, range(len(each)), -1) for each in sequences]
        place = np.concatenate(own)
        first = np.flatnonzero(place >= 0)[: len(sequence)]
        rows = _unpaired(chains, paired.codes[:, first], query.num_chains > 1)
        if query.num_chains > 1:
            wider = (0, 0), (0, 1)
            rows = Rows(
                (),
                np.pad(rows.codes, wider, constant_values=GAP)[:, place],
                np.pad(rows.deletions, wider)[:, place],
            )
        codes.append(rows.codes)
        deletions.append(rows.deletions)
        covered.append(np.broadcast_to(np.float32(place >= 0), codes[-1].shape))
        depth[sequence] = len(rows.codes)
    report = replace(
        report,
        chains=tuple(name for chain in query.chains for name in chain.ids),
        rows=report.rows[:top],
        num_unpaired=tuple(depth[sequence] for sequence in sequences),
        depths=tuple(
            len(_distinct(tuple(a for chain in chains for a in chain.alignments), sequence).codes)
            for sequence, chains in sharing.items()
        ),
    )
    return ComplexAlignment(_stacked(codes), _stacked(deletions), _stacked(covered), report)


def _stacked(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return the rows of all parts; a single part with rows is not copied."""
    parts = [part for part in parts if len(part)]
    return np.concatenate(parts) if parts[1:] else parts[0]


def _by_species(species: Sequence[str], identity: Int[np.ndarray, " R"]) -> dict[str, list[int]]:
    """Return the rows of each species, most similar to the query first; ties keep their order."""
    found: dict[str, list[int]] = {}
    for row in np.argsort(-identity, kind="stable"):
        if row and species[row]:
            found.setdefault(species[row], []).append(int(row))
    return found


def _why_not(counts: Sequence[int], pairing: Pairing) -> str:
    """Return why a species with these numbers of rows is not paired; "" if it is."""
    if pairing == "none":
        return "pairing is off"
    if sum(count > 0 for count in counts) < 2:
        return "in one chain only"
    if pairing == "complete" and not all(counts):
        return "not in all chains"
    if max(counts) > MAX_SPECIES_ROWS:
        return f"more than {MAX_SPECIES_ROWS} rows in one chain"
    return ""


def _place(row: PairedRow) -> tuple[int, int]:
    there = [number for number in row.rows if number is not None]
    return -len(there), prod(there)


def _paired_by_species(
    sequences: Sequence[str], sharing: dict[str, list[Chain]], pairing: Pairing
) -> tuple[Rows, PairingReport]:
    """Return the rows paired by the species in their headers, and the report."""
    sources, names, identity = {}, {}, {}
    for sequence, chains in sharing.items():
        alignments = [c.paired for c in chains if c.paired]
        alignments = alignments or [c.alignment for c in chains if c.alignment]
        rows = sources[sequence] = _distinct(tuple(alignments), sequence)
        names[sequence] = [species_of(header) for header in rows.headers]
        identity[sequence] = (rows.codes == rows.codes[0]).sum(axis=1)
    paired, outcomes = pair_rows(
        [names[sequence] for sequence in sequences],
        [identity[sequence] for sequence in sequences],
        pairing,
    )
    paired.insert(0, PairedRow("", (0,) * len(sequences)))
    codes, deletions = [], []
    for k, sequence in enumerate(sequences):
        rows = sources[sequence]
        # The additional last row, −1, has the gaps of a chain without a partner.
        numbers = [row.rows[k] for row in paired]
        picked = [-1 if number is None else number for number in numbers]
        codes.append(np.pad(rows.codes, ((0, 1), (0, 0)), constant_values=GAP)[picked])
        deletions.append(np.pad(rows.deletions, ((0, 1), (0, 0)))[picked])
    without = tuple(names[sequence][1:].count("") for sequence in sequences)
    report = PairingReport((), tuple(paired), tuple(outcomes), without)
    return Rows((), np.concatenate(codes, axis=1), np.concatenate(deletions, axis=1)), report


def _paired_by_row(query: Query) -> tuple[Rows, PairingReport]:
    """Return the rows paired by the file: rows with the same number belong together."""
    parts = [chain.paired or _single(chain.sequence) for chain in query.chains for _ in chain.ids]
    depths = {part.num_rows for part in parts}
    if len(depths) > 1:
        raise InputError(
            f"{query.name!r} has chains with {min(depths)} and with "
            f"{counted(max(depths), 'paired row')}",
            "give every chain the same number",
        )
    picked = new_rows(np.concatenate([part.letters for part in parts], axis=1), set())
    parts = [part.rows(picked) for part in parts]
    codes = [encode_letters(part.letters) for part in parts]
    there = [(part != GAP).any(axis=1) for part in codes]
    rows = tuple(
        PairedRow("", tuple(number if each else None for each in covers))
        for number, covers in enumerate(zip(*there, strict=True))
    )
    deletions = np.concatenate([part.deletions for part in parts], axis=1).astype(np.float32)
    return Rows((), np.concatenate(codes, axis=1), deletions), PairingReport(rows=rows)


def _unpaired(chains: Sequence[Chain], paired: Int[np.ndarray, "P L"], of_complex: bool) -> Rows:
    """Return the rows of one distinct sequence that do not equal its part of a paired row."""
    alignments = tuple(
        rows
        for chain in chains
        for rows in ((chain.alignment,) if len(paired) else chain.alignments)
        if rows is not None
    )
    rows = _distinct(alignments, chains[0].sequence)
    if not of_complex and not len(paired):
        return rows
    seen = {row.tobytes() for row in paired}
    kept = [number for number, row in enumerate(rows.codes) if row.tobytes() not in seen]
    if of_complex:
        # The limit is for paired and unpaired rows of a chain together.
        kept = kept[: MAX_ROWS - int((paired[: MAX_ROWS // 2] != GAP).any(axis=1).sum())]
    return Rows((), rows.codes[kept], rows.deletions[kept])


@lru_cache(maxsize=8)  # the bait of a screen is in every pair
def _distinct(alignments: tuple[Alignment, ...], sequence: str) -> Rows:
    """Return the distinct rows of all alignments; without an alignment, the sequence."""
    return merge_alignments(alignments or (_single(sequence),))


def _single(sequence: str) -> Alignment:
    return Alignment.of([""], [sequence])
