"""Search for entries with similar sequences or structures, by MMseqs2.

Every chain is scored without gaps (MMseqs2's prefilter mode 1), then the best ones are aligned.
Sequences are compared by amino acids, structures by 3Di letters. The best hits by structure are
sorted by the TM-score of their alignment, the mean of the scores by both lengths.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import sqlalchemy as sa
from jaxtyping import Float

from foldry.database import letters_3di, read
from foldry.database.database import Database
from foldry.database.entry import Entry
from foldry.database.filters import Filter, conditions
from foldry.database.schema import entries, store
from foldry.database.segments import AMINO_ACIDS, END, LETTERS_3DI, SEQUENCES, Generation, current
from foldry.errors import InputError, OutsideError, quoted
from foldry.formats.cigar import pairs_of
from foldry.formats.model_record import ModelChain
from foldry.formats.sequence import clean_sequence
from foldry.processes.tuning import num_cores
from foldry.score.best_fit import FitSearch
from foldry.score.tm import search_radius, tm_score
from foldry.search import mmseqs
from foldry.store.files import scratch_folder, write_bytes, write_text
from foldry.structure import Structure

NUM_RANKED: Final = 100
"""Number of hits by structure that are sorted by TM-score."""
MAX_HITS: Final = 1000
"""Number of chains that are aligned."""
_NEEDED: Final = {"ungappedprefilter": ("--max-seqs", "--prefilter-mode"), "align": ("-a",)}
_FOR_3DI: Final = ("--comp-bias-corr", 0)
"""Correction for composition, made for amino acids, hides related folds of one kind of letters."""
_GAPS_3DI: Final = ("--gap-open", 10, "--gap-extend", 1)
MAX_QUERY: Final = 65_535
"""Maximum number of residues of a query, by MMseqs2."""
_BLOCK: Final = 500
_STARTS: Final = 8
"""Fragments of each length from which the search for a TM-score starts."""
_CA: Final = 1


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which hits are wanted.

    Attributes:
        chosen: Which entries are searched.
        limit: Maximum number of hits.
        max_e_value: Largest E-value of a hit.

    Raises:
        InputError: A number is out of range.
    """

    chosen: Filter = field(default_factory=Filter)
    limit: int = 50
    max_e_value: float = 10.0

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= MAX_HITS:
            what = f"{quoted(self.limit)} is not a number of hits"
            raise InputError(what, f"give one from 1 to {MAX_HITS}")
        if not self.max_e_value > 0:
            raise InputError(f"{quoted(self.max_e_value)} is not an E-value", "give one above 0")


@dataclass(frozen=True, kw_only=True)
class SimilarHit:
    """An entry with a chain that is similar to the query.

    Attributes:
        entry: The entry.
        chain: Its most similar chain.
        identity: Share of equal amino acids among the aligned residues, 0–1.
        query_coverage, target_coverage: Share of the residues from the first to the last aligned
            one, 0–1.
        e_value: Number of hits of this score that chance alone gives in the database. Of unrelated
            structures, too, the best have 10⁻⁴ or so: 3Di letters are less random than amino acids.
        bits: Score of the alignment.
        query_start, query_end, target_start, target_end: First and last aligned residue, counted
            from 1.
        cigar: Runs of aligned residues (M) and of those of the query (I) or the target (D) alone.
        query_tm, target_tm: TM-score of the alignment by the length of the query and of the chain,
            0–1; None if it was not computed. A better alignment may exist, which TM-align finds.
    """

    entry: Entry
    chain: ModelChain
    identity: float
    query_coverage: float
    target_coverage: float
    e_value: float
    bits: float
    query_start: int
    query_end: int
    target_start: int
    target_end: int
    cigar: str
    query_tm: float | None = None
    target_tm: float | None = None

    @property
    def tm(self) -> float | None:
        """Mean of both TM-scores, 0–1, by which hits are sorted; None if they were not computed."""
        if self.query_tm is None or self.target_tm is None:
            return None
        return (self.query_tm + self.target_tm) / 2


@dataclass(frozen=True)
class Similar:
    """The hits of a search, the best first.

    Attributes:
        hits: At most one for each entry.
        state: Number of the database's latest change when it was searched.
        num_chains: Number of chains in the search's data, some of them of old versions.
    """

    hits: tuple[SimilarHit, ...]
    state: int
    num_chains: int


class _Query(NamedTuple):
    """What is searched: amino acids, 3Di letters and Cα positions, NaN if unknown."""

    sequence: str
    letters: str = ""
    ca: Float[np.ndarray, "N 3"] | None = None


class _Aligned(NamedTuple):
    """A line of MMseqs2's alignments; places are counted from 0."""

    row: int
    bits: float
    query_start: int
    query_end: int
    target_start: int
    target_end: int
    cigar: str


def similar_sequences(
    database: Database, sequence: str, wanted: Wanted | None = None, name: str = "The sequence"
) -> Similar:
    """Return the entries with sequences similar to a query.

    Args:
        database: The database.
        sequence: Amino acids.
        wanted: Which hits are wanted.
        name: Where the sequence comes from, for messages.

    Raises:
        InputError: The sequence is not valid.
        MissingError: MMseqs2 is not installed.
        DiskFullError: No space is left for its files.
        OutsideError: MMseqs2 failed.

    Example:
        >>> found = similar_sequences(database, "MKTAYIAKQRQISFVKSHFSRQ")  # doctest: +SKIP
        >>> [(hit.entry.entry_id, hit.identity) for hit in found.hits]  # doctest: +SKIP
        [('AF-P00520-F1', 1.0)]
    """
    query = _Query(clean_sequence(sequence, name))
    return _search(database, query, AMINO_ACIDS, wanted or Wanted())


def similar_structures(
    database: Database, structure: Structure, wanted: Wanted | None = None
) -> Similar:
    """Return the entries with structures similar to a query, by 3Di letters and TM-score.

    Args:
        database: The database.
        structure: One chain.
        wanted: Which hits are wanted.

    Raises:
        InputError: The structure has several chains.
        MissingError: MMseqs2 is not installed.
        DiskFullError: No space is left for its files.
        OutsideError: MMseqs2 failed.
    """
    if len(structure.chains) != 1:
        what = f"has the chains {', '.join(structure.chains)}" if len(structure) else "has no chain"
        raise InputError(what, "search with one, named as in FILE:A", where=structure.name)
    [letters] = letters_3di.letters([structure])
    query = _Query(structure.sequence, letters, _ca(structure))
    return _search(database, query, LETTERS_3DI, wanted or Wanted())


def similar_entries(
    database: Database, entry: Entry, wanted: Wanted | None = None, *, by_structure: bool = False
) -> Similar:
    """Return the entries similar to another one, which is left out.

    Args:
        database: The database.
        entry: An entry of the database; the first chain of a complex is compared.
        wanted: Which hits are wanted.
        by_structure: Whether structures are compared instead of sequences.

    Raises:
        MissingError: MMseqs2 is not installed.
        DiskFullError: No space is left for its files.
        OutsideError: MMseqs2 failed, or the record of the entry is damaged.
    """
    wanted = wanted or Wanted()
    more = replace(wanted, limit=min(wanted.limit + 1, MAX_HITS))
    if by_structure:
        structure = _first_copy(database, entry, 0)
        found = similar_structures(database, structure, more)
    else:
        found = similar_sequences(database, entry.chains[0].sequence, more)
    others = tuple(hit for hit in found.hits if hit.entry.key != entry.key)
    return replace(found, hits=others[: wanted.limit])


def _search(database: Database, query: _Query, alphabet: str, wanted: Wanted) -> Similar:
    if len(query.sequence) > MAX_QUERY:
        what = f"The query has {len(query.sequence)} residues"
        raise InputError(what, f"search with at most {MAX_QUERY}")
    program = mmseqs.find(_NEEDED)
    with current(database) as (connection, generation), scratch_folder() as folder:
        state = int(connection.scalar(sa.select(store.c.state)) or 0)
        lines: list[_Aligned] = []
        if generation.num_rows:
            targets = _targets(connection, generation, alphabet, wanted.chosen, folder)
            if targets is not None:
                lines = list(_align(program, query, targets, alphabet, folder))
        found = list(_hits(connection, generation, query, lines, wanted))
    if alphabet == LETTERS_3DI:
        found = _by_tm(database, query, found)
    return Similar(tuple(found[: wanted.limit]), state, generation.num_rows)


def _targets(
    connection: sa.Connection,
    generation: Generation,
    alphabet: str,
    chosen: Filter,
    folder: Path,
) -> Path | None:
    """Return the database to search, which holds only what a filter selects; None if nothing."""
    if chosen.is_open:
        return generation.folder / alphabet
    wanted = np.fromiter(
        connection.scalars(sa.select(entries.c.key).where(*conditions(chosen))), np.int64
    )
    rows = np.flatnonzero(np.isin(generation.rows[:, 0], wanted))
    return generation.select(rows, alphabet, folder) if len(rows) else None


def _align(
    program: str, query: _Query, targets: Path, alphabet: str, folder: Path
) -> Iterator[_Aligned]:
    """Yield the alignments of a query with the targets, the best first."""
    text = query.letters if alphabet == LETTERS_3DI else query.sequence
    data = text.encode() + END
    for name, content in ((
        ("query", data), ("query.index", b"0\t0\t%d\n" % len(data)), ("query.dbtype", SEQUENCES),
    )):  # fmt: skip
        write_bytes(folder / name, content)
    options: list[object] = ["--threads", num_cores()]
    gaps: Sequence[object] = ()
    if alphabet == LETTERS_3DI:
        matrix = write_text(folder / letters_3di.MATRIX, letters_3di.matrix())
        options += ["--sub-mat", f"aa:{matrix},nucl:{matrix}", *_FOR_3DI]
        gaps = _GAPS_3DI
    places = [folder / "query", targets, folder / "prefiltered"]
    few = ["--max-seqs", MAX_HITS, "--prefilter-mode", 1, "--min-ungapped-score", 0, "-e", "inf"]
    mmseqs.run(program, folder, "ungappedprefilter", *places, *few, *options)
    places += [folder / "aligned"]
    details = ["-a", 1, "-e", "inf", "--alignment-mode", 3, *gaps]
    mmseqs.run(program, folder, "align", *places, *details, *options)
    lines = (folder / "aligned").read_text("ascii").rstrip("\0").splitlines()
    found = [_aligned(line) for line in lines]
    yield from sorted(found, key=lambda each: (-each.bits, each.row))


def _aligned(line: str) -> _Aligned:
    """Return an alignment of MMseqs2's result database.

    Its columns are row, bits, identity, E-value, then begin, end and length of the query and of
    the target, and the runs.
    """
    row, bits, _, _, begin, end, _, target_begin, target_end, _, cigar = line.split("\t")
    here, there = (int(begin), int(end)), (int(target_begin), int(target_end))
    return _Aligned(int(row), float(bits), *here, *there, cigar)


def _hits(
    connection: sa.Connection,
    generation: Generation,
    query: _Query,
    lines: Sequence[_Aligned],
    wanted: Wanted,
) -> Iterator[SimilarHit]:
    """Yield the hits among alignments: those of entries that are wanted, one for each entry."""
    seen = set[int]()
    size = len(query.sequence) * generation.num_residues
    for start in range(0, len(lines), _BLOCK):
        some = lines[start : start + _BLOCK]
        rows = [tuple(generation.rows[each.row].tolist()) for each in some]
        keys = {key for key, _, _ in rows}
        chosen = sa.select(entries.c.key, entries.c.state).where(
            entries.c.key.in_(keys), *conditions(wanted.chosen)
        )
        states = dict(connection.execute(chosen).all())
        loaded = {each.key: each for each in read.load(connection, list(states))}
        for line, (key, place, state) in zip(some, rows, strict=True):
            e_value = size * 2.0**-line.bits  # Karlin & Altschul 1990
            if states.get(key) != state or key in seen or e_value > wanted.max_e_value:
                continue
            seen.add(key)
            yield _hit(loaded[key], place, query, line, e_value)


def _hit(entry: Entry, place: int, query: _Query, line: _Aligned, e_value: float) -> SimilarHit:
    chain = entry.chains[place]
    here, there = pairs_of(line.cigar, line.query_start, line.target_start).T
    ours, theirs = (
        np.frombuffer(text.encode(), np.uint8) for text in (query.sequence, chain.sequence)
    )
    return SimilarHit(
        entry=entry,
        chain=chain,
        identity=float((ours[here] == theirs[there]).mean()),
        query_coverage=(line.query_end - line.query_start + 1) / len(ours),
        target_coverage=(line.target_end - line.target_start + 1) / len(theirs),
        e_value=e_value,
        bits=line.bits,
        query_start=line.query_start + 1,
        query_end=line.query_end + 1,
        target_start=line.target_start + 1,
        target_end=line.target_end + 1,
        cigar=line.cigar,
    )


def _by_tm(database: Database, query: _Query, hits: Sequence[SimilarHit]) -> list[SimilarHit]:
    """Return hits, the best `NUM_RANKED` with TM-scores and sorted by them."""
    ranked = []
    for hit in hits[:NUM_RANKED]:
        scores: tuple[float | None, float | None] = None, None
        with suppress(OutsideError):  # a damaged record, which `verify` reports
            place = hit.entry.chains.index(hit.chain)
            scores = _tm(query, hit, _kept_ca(database, hit.entry, place))
        ranked.append(replace(hit, query_tm=scores[0], target_tm=scores[1]))
    ranked.sort(key=lambda hit: -(hit.tm or 0))
    return [*ranked, *hits[NUM_RANKED:]]


def _tm(query: _Query, hit: SimilarHit, ca: Float[np.ndarray, "N 3"]) -> tuple[float, float]:
    """Return the TM-score of an alignment by both lengths."""
    assert query.ca is not None
    pairs = pairs_of(hit.cigar, hit.query_start - 1, hit.target_start - 1)
    model, reference = query.ca[pairs[:, 0]], ca[pairs[:, 1]]
    known = np.isfinite(model).all(axis=1) & np.isfinite(reference).all(axis=1)
    if not known.any():
        return 0.0, 0.0
    lengths = len(query.ca), len(ca)
    radius = search_radius(min(lengths))
    search = FitSearch(model[known], reference[known], radius, _STARTS)
    one, other = (tm_score(search, length).score for length in lengths)
    return one, other


def _ca(structure: Structure) -> Float[np.ndarray, "N 3"]:
    """Return the Cα positions; NaN if absent."""
    positions = structure.atom_positions[:, _CA].astype(np.float64)
    positions[~structure.atom_mask[:, _CA]] = np.nan
    return positions


def _kept_ca(database: Database, entry: Entry, place: int) -> Float[np.ndarray, "N 3"]:
    """Return the Cα positions of the first chain with a sequence, in the latest version.

    Raises:
        OutsideError: The record is missing or damaged.
    """
    try:
        ca = database.record(entry).ca()
    except ValueError as error:
        advice = "restore it from a copy"
        raise OutsideError("has a damaged record", advice, where=entry.entry_id) from error
    start = sum(len(chain.ids) * len(chain.sequence) for chain in entry.chains[:place])
    return ca[start : start + len(entry.chains[place].sequence)]


def _first_copy(database: Database, entry: Entry, place: int) -> Structure:
    """Return the first chain with a sequence of an entry, in its latest version.

    Raises:
        OutsideError: The record is missing or damaged.
    """
    try:
        structure = database.record(entry).record().structure
    except ValueError as error:
        advice = "restore it from a copy"
        raise OutsideError("has a damaged record", advice, where=entry.entry_id) from error
    start = sum(len(chain.ids) * len(chain.sequence) for chain in entry.chains[:place])
    return structure.select(start + np.arange(len(entry.chains[place].sequence)))
