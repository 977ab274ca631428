"""What a user asks for: chains with their alignments and templates."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from jaxtyping import Float, Int, UInt, UInt8

from foldry.errors import InputError
from foldry.residues import RESTYPES_WITH_X
from foldry.store.hashes import Content, content_key
from foldry.structure import Structure

MAX_SEED: Final = 2**32 - 1
MAX_SEEDS: Final = 1000
"""Seeds of one query."""
MAX_CHAINS: Final = 1000
"""Chains of one query, copies counted."""
MAX_ID: Final = 8
"""Characters of a chain's name; some readers of mmCIF cut longer ones."""
MAX_NAME: Final = 100
"""Characters of a query's name, which names its folder."""
GAP_LETTER: Final = ord("-")
"""Stands in `Alignment.letters` where a row has no residue."""

_ID: Final = re.compile(f"[A-Za-z0-9]{{1,{MAX_ID}}}")
_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_SEQUENCE: Final = re.compile(f"[{RESTYPES_WITH_X}]+")
_ROW_LETTERS: Final = f"{string.ascii_letters}-".encode()


@dataclass(frozen=True, eq=False)
class Source(Content):
    """Which search found an alignment's rows.

    Attributes:
        engine: The program, such as `jackhmmer`.
        database: The database, such as `uniref90`.
        e_values: Of each row, NaN where unknown; None if no row's is known.
    """

    engine: str
    database: str
    e_values: Float[np.ndarray, " S"] | None = None


@dataclass(frozen=True, eq=False)
class Insertions(Content):
    """Letters of an alignment's rows that stand between the query's residues.

    Attributes:
        place: row · (N + 1) + the column before which the letters stand (N: after the last),
            rising.
        count: Letters at each place.
        letters: ASCII codes of the letters of all places, lower case.
    """

    place: UInt[np.ndarray, " I"]
    count: UInt[np.ndarray, " I"]
    letters: UInt8[np.ndarray, " L"]

    @classmethod
    def of(cls, places: Int[np.ndarray, " L"], letters: UInt8[np.ndarray, " L"]) -> Insertions:
        """Insertions of the place of each letter, rising."""
        place, count = np.unique(places, return_counts=True)
        return cls(_small(place), _small(count), letters)

    @property
    def places(self) -> Int[np.ndarray, " L"]:
        """The place of each letter."""
        return np.repeat(self.place.astype(np.int64), self.count)


@dataclass(frozen=True, eq=False)
class Alignment(Content):
    """Sequences aligned to a query of N residues; row 0 is the query itself.

    Attributes:
        headers: One description per row, without `>`; pairing reads the species from it.
        letters: ASCII codes of upper-case letters and, for gaps, `-`.
        insertions: Letters of the rows that have no column.
        source: Where the rows were found; None where unknown. Does not count in comparisons.
    """

    headers: tuple[str, ...]
    letters: UInt8[np.ndarray, "S N"]
    insertions: Insertions
    source: Source | None = field(default=None, compare=False)

    @classmethod
    def of(
        cls,
        headers: Sequence[str],
        rows: Sequence[str],
        place: Callable[[int], str] = "row {} of the alignment".format,
    ) -> Alignment:
        """The alignment of a3m rows: upper-case letters and `-`, insertions in lower case.

        Args:
            headers: One per row.
            rows: At least one.
            place: What errors call a row, by its number from 1.

        Raises:
            InputError: A row contains something else, or has another length than the first.
        """
        if not rows or len(headers) != len(rows) or any("\n" in header for header in headers):
            advice = "give at least one row, and one header of one line for each"
            raise InputError("An alignment has no rows, or other headers", advice)
        data = "".join(rows).encode("ascii", "replace")
        if data.translate(None, _ROW_LETTERS):
            found = ((n, re.search("[^A-Za-z-]", row)) for n, row in enumerate(rows, start=1))
            bad, strange = next((n, match[0]) for n, match in found if match)
            advice = "use letters, and '-' for gaps"
            raise InputError(f"is a row with {strange!r}", advice, where=place(bad))
        text = np.frombuffer(data, np.uint8)
        lengths = np.array([len(row) for row in rows])
        ends = np.cumsum(lengths)
        is_inserted = text >= ord("a")
        inserted = np.flatnonzero(is_inserted)
        row = np.searchsorted(ends, inserted, "right")
        widths = lengths - np.bincount(row, minlength=len(rows))
        if (widths != widths[0]).any():
            bad = int((widths != widths[0]).argmax())
            what = f"is a row of {widths[bad]} aligned letters and the first row has {widths[0]}"
            advice = "make all rows equally long, insertions in lower case"
            raise InputError(what, advice, where=place(bad + 1))
        aligned = text[~is_inserted] if len(inserted) else text
        # Before inserted letter k stand inserted[k] − k aligned ones; each earlier row has one more
        # place than it has columns.
        places = inserted - np.arange(len(inserted)) + row
        insertions = Insertions.of(places, text[inserted])
        return cls(tuple(headers), aligned.reshape(len(rows), widths[0]), insertions)

    @property
    def num_rows(self) -> int:
        """S."""
        return len(self.letters)

    @property
    def query(self) -> str:
        """Row 0 without its insertions."""
        return str(self.letters[0].tobytes(), "ascii")

    @property
    def deletions(self) -> Int[np.ndarray, "S N"]:
        """Inserted letters before each column; those after the last one do not count."""
        num_rows, length = self.letters.shape
        dense = np.zeros(num_rows * (length + 1), np.int32)
        dense[self.insertions.place] = self.insertions.count
        return dense.reshape(num_rows, length + 1)[:, :length]

    @property
    def sequences(self) -> tuple[str, ...]:
        """The rows without their insertions."""
        return _split(self.letters, np.full(*self.letters.shape))

    @property
    def texts(self) -> tuple[str, ...]:
        """The rows as in a3m, with their insertions."""
        num_rows, length = self.letters.shape
        row, column = np.divmod(self.insertions.places, length + 1)
        letters = np.insert(self.letters.ravel(), row * length + column, self.insertions.letters)
        return _split(letters, length + np.bincount(row, minlength=num_rows))

    def rows(self, picked: np.ndarray | Sequence[int] | slice) -> Alignment:
        """The rows that a mask, a slice or an index array picks, in its order."""
        numbers = np.arange(self.num_rows)[picked]
        row, column = np.divmod(self.insertions.places, self.letters.shape[1] + 1)
        begins = np.searchsorted(row, np.arange(self.num_rows + 1))
        counts = np.diff(begins)[numbers]
        ends = np.cumsum(counts)
        # The insertions of one picked row follow each other, so each range counts up.
        each = np.repeat(begins[numbers] - ends + counts, counts) + np.arange(counts.sum())
        places = np.repeat(np.arange(len(numbers)), counts) * (self.letters.shape[1] + 1)
        source = self.source
        if source is not None and source.e_values is not None:
            source = Source(source.engine, source.database, source.e_values[numbers])
        return Alignment(
            tuple(self.headers[number] for number in numbers),
            self.letters[numbers],
            Insertions.of(places + column[each], self.insertions.letters[each]),
            source,
        )

    def columns(self, begin: int, end: int) -> Alignment:
        """The columns begin … end − 1; insertions where the alignment is cut are left out."""
        length = self.letters.shape[1]
        row, column = np.divmod(self.insertions.places, length + 1)
        kept = (begin < column) & (column < end)
        kept |= (column == begin) & (begin == 0) | (column == end) & (end == length)
        places = row[kept] * (end - begin + 1) + column[kept] - begin
        insertions = Insertions.of(places, self.insertions.letters[kept])
        letters = np.ascontiguousarray(self.letters[:, begin:end])
        return Alignment(self.headers, letters, insertions, self.source)


def _small(numbers: Int[np.ndarray, " I"]) -> UInt[np.ndarray, " I"]:
    """The same numbers in as few bytes as hold the largest."""
    return numbers.astype(np.min_scalar_type(numbers.max(initial=0)))


def _split(letters: UInt8[np.ndarray, ...], lengths: Int[np.ndarray, " S"]) -> tuple[str, ...]:
    """Rows of these lengths, which follow each other in `letters`."""
    text = letters.tobytes().decode("ascii")
    ends = np.cumsum(lengths).tolist()
    return tuple(text[begin:end] for begin, end in zip([0, *ends], ends, strict=False))


@dataclass(frozen=True, eq=False)
class Hit(Content):
    """One chain of a known structure, aligned to the query.

    Scores that no search gave are None; they do not count in comparisons.

    Attributes:
        name: The template's entry and chain, such as `1abc_A`.
        pairs: Pairs of (query residue, template residue), both counted from 0.
        structure: The template's chain; None where only the alignment is known.
        e_value: The search's E-value.
        probability: The search's probability that the template is homologous, 0–1.
        identity: Share of the aligned residues that are equal, 0–1.
        coverage: Share of the query's residues that are aligned, 0–1.
        release_date: The day of the entry's first release, such as `2005-11-20`.
    """

    name: str
    pairs: Int[np.ndarray, "P 2"]
    structure: Structure | None = None
    e_value: float | None = field(default=None, compare=False)
    probability: float | None = field(default=None, compare=False)
    identity: float | None = field(default=None, compare=False)
    coverage: float | None = field(default=None, compare=False)
    release_date: str | None = None

    @property
    def chain(self) -> str:
        """The template's chain: what follows the last `_` of its name."""
        return self.name.rpartition("_")[2]

    def known_structure(self) -> Structure:
        """The structure.

        Raises:
            InputError: There is none.
        """
        if self.structure is None:
            raise InputError(f"The template {self.name!r} has no structure", "give one")
        return self.structure


@dataclass(frozen=True, eq=False)
class Chain(Content):
    """One polypeptide; `ids` has one chain name for every copy of it.

    Both alignments begin with its sequence, where letters of theirs may be X in it.

    Attributes:
        ids: Chain names, one per copy: at most `MAX_ID` ASCII letters and digits.
        sequence: One-letter codes of the 20 amino acids and X.
        alignment: The unpaired alignment, or None.
        paired: Rows that may be paired with those of other chains by species, or None.
        templates: Template hits with structures, best first; empty for none.

    Raises:
        InputError: The ids or the sequence are something else, or an alignment begins with another
            sequence.
    """

    ids: tuple[str, ...]
    sequence: str
    alignment: Alignment | None = None
    paired: Alignment | None = None
    templates: tuple[Hit, ...] = ()

    def __post_init__(self) -> None:
        for name in ("ids", "templates"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        sound = [isinstance(name, str) and _ID.fullmatch(name) for name in self.ids]
        if not sound or not all(sound):
            advice = f"give each copy one of at most {MAX_ID} letters and digits"
            raise InputError(f"has the ids {list(self.ids)}", advice, where="A chain")
        place = f"Chain {self.ids[0]}"
        if not _SEQUENCE.fullmatch(self.sequence):
            advice = "write one-letter codes of the 20 amino acids and X, in upper case"
            raise InputError(f"has the sequence {self.sequence[:40]!r}", advice, where=place)
        for kind, rows in (("paired", self.paired), ("unpaired", self.alignment)):
            if rows and (fault := self._fault(rows)):
                what = f"has {kind} rows, the first of which {fault}"
                raise InputError(what, "put the chain's sequence first", where=place)

    def _fault(self, rows: Alignment) -> str:
        """Why the first row of an alignment is not the sequence; "" if it is."""
        if not rows.num_rows:
            return "is missing"
        length, first = len(self.sequence), rows.query
        if len(first) != length:
            return f"has {len(first)} residues and not {length}"
        if (rows.insertions.place < length).any():
            return "has insertions"
        for number, (ours, theirs) in enumerate(zip(self.sequence, first, strict=True), start=1):
            if ours != theirs and (ours != "X" or theirs == "-"):
                return f"is another sequence ({theirs} for {ours} at residue {number})"
        return ""

    @property
    def alignments(self) -> tuple[Alignment, ...]:
        """The alignments that there are, the paired one first, as their rows are read."""
        return tuple(rows for rows in (self.paired, self.alignment) if rows is not None)


@dataclass(frozen=True, eq=False)
class Query(Content):
    """One job: a name, its chains and, where the input file gave them, its seeds.

    Attributes:
        name: Names the results' folder: letters and digits, between them `.`, `_` and `-` too; at
            most `MAX_NAME` characters.
        chains: The polypeptides, in the order in which they are written out; at least one.
        seeds: Random seeds, 0 … 2³² − 1; empty if the input gave none.
        paired_by_row: Whether rows of the chains' `paired` alignments belong together by their
            number (ColabFold's paired a3m), and not by their species.

    Raises:
        InputError: The name, the chains' ids or the seeds are something else.
    """

    name: str
    chains: tuple[Chain, ...]
    seeds: tuple[int, ...] = ()
    paired_by_row: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "chains", tuple(self.chains))
        if not _NAME.fullmatch(self.name) or len(self.name) > MAX_NAME:
            raise InputError(
                f"A query cannot be named {self.name!r}",
                f"use at most {MAX_NAME} letters and digits, '.', '_' and '-' between them",
            )
        place = f"Query {self.name}"
        if not self.chains:
            raise InputError("has no chain", "give at least one", where=place)
        ids = [each for chain in self.chains for each in chain.ids]
        if len(ids) > MAX_CHAINS:
            advice = f"fold at most {MAX_CHAINS} together"
            raise InputError(f"has {len(ids)} chains", advice, where=place)
        if twice := [each for each in ids if ids.count(each) > 1]:
            advice = "give every chain its own id"
            raise InputError(f"has two chains named {twice[0]!r}", advice, where=place)
        seeds = tuple(self.seeds)
        for seed in seeds:
            whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool)
            if not whole or not 0 <= seed <= MAX_SEED:
                advice = f"use whole numbers from 0 to {MAX_SEED}"
                raise InputError(f"has the seed {seed!r}", advice, where=place)
        object.__setattr__(self, "seeds", tuple(dict.fromkeys(map(int, seeds))))
        if len(self.seeds) > MAX_SEEDS:
            advice = f"give at most {MAX_SEEDS}"
            raise InputError(f"has {len(self.seeds)} seeds", advice, where=place)

    @property
    def inputs_key(self) -> str:
        """The content key of all that a prediction depends on: neither the name nor the seeds."""
        return content_key([self.chains, self.paired_by_row])

    @property
    def num_chains(self) -> int:
        """The number of chains, copies counted."""
        return sum(len(chain.ids) for chain in self.chains)

    @property
    def num_residues(self) -> int:
        """The number of residues over all chains and copies."""
        return sum(len(chain.ids) * len(chain.sequence) for chain in self.chains)
