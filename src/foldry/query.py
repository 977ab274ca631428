"""Queries: chains with their alignments and templates."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import NoneType
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float, Int, Integer, UInt, UInt8

from foldry.errors import InputError, check_type, counted, quoted
from foldry.residues import RESTYPES_WITH_X
from foldry.store.hashes import Content, content_key
from foldry.structure import Structure

MAX_SEED: Final = 2**32 - 1
MAX_SEEDS: Final = 1000
"""Maximum number of seeds of a query."""
MAX_CHAINS: Final = 1000
"""Maximum number of chains of a query, copies included."""
MAX_ID: Final = 8
"""Maximum length of a chain name; some mmCIF readers truncate longer ones."""
MAX_NAME: Final = 100
"""Maximum number of bytes of a query name, which is also the name of a folder."""
MAX_RESIDUES: Final = 100_000
"""Maximum length of a chain; the longest known proteins have fewer than 50,000 residues."""
MAX_ROWS: Final = 1_000_000
"""Maximum number of rows of an alignment."""
MAX_LETTERS: Final = 200_000_000
"""Maximum number of letters and gaps of an alignment, insertions included."""
MAX_INSERTED: Final = 20_000_000
"""Maximum number of inserted letters of an alignment; each needs far more memory than an aligned
one."""
GAP_LETTER: Final = ord("-")
"""The code of a gap in `Alignment.letters`."""

_ID: Final = re.compile(f"[A-Za-z0-9]{{1,{MAX_ID}}}")
_NAME: Final = re.compile(r"[^\W_]([\w.-]*[^\W_])?")
_SEQUENCE: Final = re.compile(f"[{RESTYPES_WITH_X}]+")
_BLOCK: Final = 1 << 23
"""Letters of an alignment in which insertions are searched at a time."""
_USE_LETTERS: Final = "use letters, and '-' for gaps"
_ROW_LETTERS: Final = f"{string.ascii_letters}-".encode()


@dataclass(frozen=True, eq=False)
class Source(Content):
    """The search that found the rows of an alignment.

    Attributes:
        engine: The program, e.g. `jackhmmer`.
        database: The database, e.g. `uniref90`.
        e_values: E-value of each row, NaN if unknown; None if all are unknown.
    """

    engine: str
    database: str
    e_values: Float[np.ndarray, " S"] | None = None


@dataclass(frozen=True, eq=False)
class Insertions(Content):
    """Letters that the rows of an alignment have between the query's residues.

    Attributes:
        place: row · (N + 1) + the column that follows the letters (N: after the last column),
            ascending.
        count: Number of letters at each place.
        letters: ASCII codes of the letters of all places, lower case.
    """

    place: UInt[np.ndarray, " I"]
    count: UInt[np.ndarray, " I"]
    letters: UInt8[np.ndarray, " L"]

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
        insertions: Letters of the rows between the columns.
        source: The search that found the rows; None if unknown. Ignored in comparisons.

    Example:
        >>> alignment = Alignment.of(["q", "r"], ["MKT", "M-aaT"])
        >>> alignment.sequences
        ('MKT', 'M-T')
        >>> alignment.deletions.tolist()
        [[0, 0, 0], [0, 0, 2]]
    """

    headers: tuple[str, ...]
    letters: UInt8[np.ndarray, "S N"]
    insertions: Insertions
    source: Source | None = field(default=None, compare=False)

    def __repr__(self) -> str:
        columns = counted(self.letters.shape[1], "column")
        return f"Alignment({counted(self.num_rows, 'row')}, {columns})"

    @classmethod
    def of(
        cls,
        headers: Sequence[str],
        rows: Sequence[str],
        place: Callable[[int], str] = "row {} of the alignment".format,
    ) -> Alignment:
        """Return the alignment of a3m rows: upper-case letters and `-`, insertions in lower case.

        Args:
            headers: One description per row.
            rows: The rows, at least one.
            place: Function from the number of a row, from 1, to its name in errors.

        Raises:
            InputError: A row contains anything else, rows differ in length, or there are more
                than `MAX_ROWS` rows, `MAX_LETTERS` letters or `MAX_INSERTED` insertions.
        """
        for given in (headers, rows):
            if isinstance(given, str) or not all(isinstance(each, str) for each in members(given)):
                advice = "give headers and rows as lists"
                raise InputError(f"{quoted(given)} is not a list of text", advice)
        if not rows or len(headers) != len(rows) or any("\n" in header for header in headers):
            advice = "give at least one row, and for each a header of one line"
            raise InputError("An alignment has no rows, or its headers do not fit", advice)
        lengths = np.array([len(row) for row in rows])
        if len(rows) > MAX_ROWS or lengths.sum() > MAX_LETTERS:
            what = f"begins an alignment of {len(rows)} rows and {lengths.sum()} letters"
            advice = f"keep at most {MAX_ROWS} rows and {MAX_LETTERS} letters"
            raise InputError(what, advice, where=place(1))
        codes = b"".join(row_codes(row, place(n)) for n, row in enumerate(rows, start=1))
        return cls.of_text(headers, np.frombuffer(codes, np.uint8), lengths, place)

    @classmethod
    def of_text(
        cls,
        headers: Sequence[str],
        text: UInt8[np.ndarray, " L"],
        lengths: Int[np.ndarray, " S"],
        place: Callable[[int], str],
    ) -> Alignment:
        """Return the alignment of a3m rows that are already one array of ASCII codes.

        Args:
            headers: One description per row.
            text: All rows, one after the other.
            lengths: Number of letters of each row.
            place: As in `of`.

        Raises:
            InputError: Rows differ in length, or there are too many inserted letters.
        """
        num_inserted = np.count_nonzero(text >= ord("a"))
        if num_inserted > MAX_INSERTED:
            what = f"begins an alignment with more than {MAX_INSERTED} inserted letters"
            raise InputError(what, "keep fewer rows or insertions", where=place(1))
        # Insertions of a block of rows at a time: each takes tens of bytes while it is found.
        step = max(1, _BLOCK * len(lengths) // max(1, len(text)))
        aligned = np.empty(len(text) - num_inserted, np.uint8) if num_inserted else text
        found, width, begin, filled = [], 0, 0, 0
        for first in range(0, len(lengths), step):
            size = lengths[first : first + step]
            part = text[begin : begin + size.sum()]
            begin += len(part)
            is_inserted = part >= ord("a")
            places, count, widths = _insertions(is_inserted, size)
            width = width if first else widths[0]
            if (widths != width).any():
                bad = int((widths != width).argmax())
                what = (
                    f"has {counted(widths[bad], 'aligned letter')}, but the first row has {width}"
                )
                advice = "make all rows equally long, insertions in lower case"
                raise InputError(what, advice, where=place(first + bad + 1))
            found.append((_small(places + first * (width + 1)), _small(count), part[is_inserted]))
            if num_inserted:
                kept = part[~is_inserted]
                aligned[filled : filled + len(kept)] = kept
                filled += len(kept)
        insertions = Insertions(*map(np.concatenate, zip(*found, strict=True)))
        return cls(tuple(headers), aligned.reshape(len(lengths), width), insertions)

    @property
    def num_rows(self) -> int:
        """The number of rows, S."""
        return len(self.letters)

    @property
    def query(self) -> str:
        """The first row without its insertions."""
        return str(self.letters[0].tobytes(), "ascii")

    @property
    def deletions(self) -> Int[np.ndarray, "S N"]:
        """The number of inserted letters before each column; those after the last are ignored."""
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
        """The rows with their insertions, as in a3m."""
        num_rows, length = self.letters.shape
        row, column = np.divmod(self.insertions.places, length + 1)
        letters = np.insert(self.letters.ravel(), row * length + column, self.insertions.letters)
        return _split(letters, length + np.bincount(row, minlength=num_rows))

    def rows(self, picked: np.ndarray | Sequence[int] | slice) -> Alignment:
        """Return the rows that a mask, a slice or an index array picks, in its order."""
        numbers, width = np.arange(self.num_rows)[picked], self.letters.shape[1] + 1
        old = self.insertions
        row, column = np.divmod(old.place.astype(np.int64), width)
        begins = np.searchsorted(row, np.arange(self.num_rows + 1))
        counts = np.diff(begins)[numbers]
        ends = np.cumsum(counts)
        # The insertions of one row are adjacent, so each picked row is one ascending range.
        each = np.repeat(begins[numbers] - ends + counts, counts) + np.arange(counts.sum())
        places = np.repeat(np.arange(len(numbers)), counts) * width + column[each]
        cuts = np.append(0, np.cumsum(old.count, dtype=np.int64))[begins].tolist()
        letters = [old.letters[cuts[number] : cuts[number + 1]] for number in numbers]
        letters.append(old.letters[:0])  # at least one array
        insertions = Insertions(_small(places), _small(old.count[each]), np.concatenate(letters))
        source = self.source
        if source is not None and source.e_values is not None:
            source = Source(source.engine, source.database, source.e_values[numbers])
        return Alignment(
            tuple(self.headers[number] for number in numbers),
            self.letters[numbers],
            insertions,
            source,
        )

    @classmethod
    def joined(cls, parts: Sequence[Alignment]) -> Alignment:
        """Return the rows of several alignments to one query, which is the first row of each.

        Raises:
            InputError: There are more than `MAX_ROWS` rows, or the queries differ in length.
        """
        rows = [parts[0], *(part.rows(slice(1, None)) for part in parts[1:])]
        ends = np.cumsum([part.num_rows for part in rows])
        widths = {part.letters.shape[1] for part in rows}
        if ends[-1] > MAX_ROWS or len(widths) > 1:
            what = f"Alignments of {counted(int(ends[-1]), 'row')} cannot be joined"
            raise InputError(what, f"join at most {MAX_ROWS} rows to one query")
        step = widths.pop() + 1
        places = [
            part.insertions.place.astype(np.int64) + (end - part.num_rows) * step
            for part, end in zip(rows, ends.tolist(), strict=True)
        ]
        insertions = Insertions(
            _small(np.concatenate(places)),
            _small(np.concatenate([part.insertions.count.astype(np.int64) for part in rows])),
            np.concatenate([part.insertions.letters for part in rows]),
        )
        headers = tuple(header for part in rows for header in part.headers)
        return cls(headers, np.concatenate([part.letters for part in rows]), insertions)

    def columns(self, begin: int, end: int) -> Alignment:
        """Return the columns begin … end − 1, without insertions at the cuts."""
        length = self.letters.shape[1]
        old = self.insertions
        row, column = np.divmod(old.place.astype(np.int64), length + 1)
        kept = (begin < column) & (column < end)
        kept |= (column == begin) & (begin == 0) | (column == end) & (end == length)
        places = row[kept] * (end - begin + 1) + column[kept] - begin
        of_kept = old.letters[np.repeat(kept, old.count)]
        insertions = Insertions(_small(places), _small(old.count[kept]), of_kept)
        letters = np.ascontiguousarray(self.letters[:, begin:end])
        return Alignment(self.headers, letters, insertions, self.source)


def members(values: object) -> tuple[Any, ...]:
    """Return the members of a list or the like; text or any other value is the only member."""
    if isinstance(values, Iterable) and not isinstance(values, str):
        return tuple(values)
    return (values,)


def row_codes(row: str, place: str) -> bytes:
    """Return the ASCII codes of an a3m row.

    Raises:
        InputError: The row contains anything but letters and `-`; `place` names it.
    """
    codes = row.encode("ascii", "replace")
    if codes.translate(None, _ROW_LETTERS):
        strange = re.sub("[A-Za-z-]+", "", row)[0]
        raise InputError(f"is a row with {quoted(strange)}", _USE_LETTERS, where=place)
    return codes


def _insertions(
    is_inserted: Bool[np.ndarray, " L"], lengths: Int[np.ndarray, " S"]
) -> tuple[Int[np.ndarray, " I"], Int[np.ndarray, " I"], Int[np.ndarray, " S"]]:
    """Return place and number of letters of each insertion, and the aligned letters of each row."""
    ends = np.cumsum(lengths)
    # An insertion is a run of inserted letters in one row.
    begins = is_inserted.copy()
    np.greater(is_inserted[1:], is_inserted[:-1], out=begins[1:])
    starts = (ends - lengths)[lengths > 0]
    begins[starts] = is_inserted[starts]
    first = np.flatnonzero(begins)
    before = np.flatnonzero(begins[is_inserted])  # inserted letters before each insertion
    count = np.diff(before, append=np.count_nonzero(is_inserted))
    row = np.searchsorted(ends, first, "right")
    widths = lengths - np.bincount(row, count, len(lengths)).astype(np.int64)
    # Aligned letters before each insertion; each earlier row has one more place than columns.
    return first - before + row, count, widths


def _small(numbers: Integer[np.ndarray, " I"]) -> UInt[np.ndarray, " I"]:
    """Return the same numbers in the smallest type that can hold the largest."""
    return numbers.astype(np.min_scalar_type(numbers.max(initial=0)))


def _split(letters: UInt8[np.ndarray, ...], lengths: Int[np.ndarray, " S"]) -> tuple[str, ...]:
    """Return rows of these lengths from `letters`, in which they follow each other."""
    text = letters.tobytes().decode("ascii")
    ends = np.cumsum(lengths).tolist()
    return tuple(text[begin:end] for begin, end in zip([0, *ends], ends, strict=False))


@dataclass(frozen=True, eq=False)
class Hit(Content):
    """One chain of a known structure, aligned to the query.

    Unknown scores are None. Comparisons ignore scores.

    Attributes:
        name: Entry and chain of the template, e.g. `1abc_A`.
        pairs: Pairs of (query residue, template residue), both counted from 0.
        structure: The chain of the template; None if only the alignment is known.
        e_value: E-value of the search, or of the alignment of a given template alone.
        probability: Probability from the search that the template is homologous, 0–1.
        identity: Fraction of the aligned residues that are equal, 0–1.
        coverage: Fraction of the query's residues that are aligned, 0–1.
        release_date: Date of the entry's first release, e.g. `2005-11-20`.
        how: How the letters that a search aligned were found in the chain, in words; "" for a
            template that was given.
    """

    name: str
    pairs: Int[np.ndarray, "P 2"]
    structure: Structure | None = None
    e_value: float | None = field(default=None, compare=False)
    probability: float | None = field(default=None, compare=False)
    identity: float | None = field(default=None, compare=False)
    coverage: float | None = field(default=None, compare=False)
    release_date: str | None = None
    how: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        pairs = np.asarray(self.pairs)
        if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
            what = f"The pairs of hit {quoted(self.name)} are {quoted(self.pairs)}"
            raise InputError(what, "give an array of whole numbers with two columns")
        object.__setattr__(self, "pairs", pairs)

    def __repr__(self) -> str:
        return f"Hit({self.name!r}, {counted(len(self.pairs), 'aligned residue')})"

    @property
    def chain(self) -> str:
        """The chain of the template: the part of its name after the last `_`."""
        return self.name.rpartition("_")[2]

    def known_structure(self) -> Structure:
        """Return the structure.

        Raises:
            InputError: The hit has no structure.
        """
        if self.structure is None:
            raise InputError(f"The template {quoted(self.name)} has no structure", "give one")
        return self.structure


@dataclass(frozen=True, eq=False)
class Chain(Content):
    """One polypeptide and its copies.

    The first row of both alignments is the sequence, except that an X of the sequence may be any
    letter there.

    Attributes:
        ids: Chain names, one per copy: at most `MAX_ID` ASCII letters and digits.
        sequence: One-letter codes of the 20 amino acids and X.
        alignment: The unpaired alignment, or None.
        paired: Rows that may be paired with rows of other chains by species, or None.
        templates: Template hits with structures, best first.
        templates_known: Whether no templates are to be searched for even if there are none.
            Ignored in comparisons.
        left_out: Names of the structures that a search found but are no templates, and why. Ignored
            in comparisons.

    Raises:
        InputError: The ids or the sequence are invalid, or an alignment begins with another
            sequence.

    Example:
        >>> homodimer = Query("homodimer", (Chain(("A", "B"), "MKTAYIAKQR"),))
        >>> homodimer.num_chains, homodimer.num_residues
        (2, 20)
    """

    ids: tuple[str, ...]
    sequence: str
    alignment: Alignment | None = None
    paired: Alignment | None = None
    templates: tuple[Hit, ...] = ()
    templates_known: bool = field(default=False, compare=False)
    left_out: tuple[tuple[str, str], ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        for name in ("ids", "templates"):
            object.__setattr__(self, name, members(getattr(self, name)))
        sound = [isinstance(name, str) and _ID.fullmatch(name) for name in self.ids]
        if not sound or not all(sound):
            advice = f"give each copy one of at most {MAX_ID} letters and digits"
            raise InputError(f"has the ids {quoted(list(self.ids))}", advice, where="A chain")
        place = f"Chain {self.ids[0]}"
        if not isinstance(self.sequence, str) or not _SEQUENCE.fullmatch(self.sequence):
            advice = "write one-letter codes of the 20 amino acids and X, in upper case"
            raise InputError(f"has the sequence {quoted(self.sequence)}", advice, where=place)
        for hit in self.templates:
            check_type(hit, Hit, "a template", "give a tuple of foldry.Hit")
        for kind, rows in (("paired", self.paired), ("unpaired", self.alignment)):
            check_type(rows, (Alignment, NoneType), "an alignment", "give a foldry.Alignment")
            if rows and (fault := self._fault(rows)):
                what = f"has {kind} rows, the first of which {fault}"
                raise InputError(what, "put the chain's sequence first", where=place)

    def __repr__(self) -> str:
        rows = counted(sum(each.num_rows for each in self.alignments), "row")
        return f"Chain({', '.join(self.ids)}: {counted(len(self.sequence), 'residue')}, {rows})"

    def _fault(self, rows: Alignment) -> str:
        """Return why the first row of an alignment is not the sequence; "" if it is."""
        if not rows.num_rows:
            return "is missing"
        length, first = len(self.sequence), rows.query
        if len(first) != length:
            return f"has {counted(len(first), 'residue')} and not {length}"
        if (rows.insertions.place < length).any():
            return "has insertions"
        for number, (ours, theirs) in enumerate(zip(self.sequence, first, strict=True), start=1):
            if ours != theirs and (ours != "X" or theirs == "-"):
                return f"is another sequence ({theirs} for {ours} at residue {number})"
        return ""

    @property
    def alignments(self) -> tuple[Alignment, ...]:
        """The alignments of the chain, the paired one first, which is the order of reading."""
        return tuple(rows for rows in (self.paired, self.alignment) if rows is not None)


@dataclass(frozen=True, eq=False)
class Query(Content):
    """One job: a name, its chains and its seeds.

    Attributes:
        name: Name of the results' folder: letters and digits of any script, and between them `.`,
            `_` and `-`; at most `MAX_NAME` bytes in UTF-8.
        chains: The polypeptides in the order of the output; at least one.
        seeds: Random seeds, 0 … 2³² − 1; empty if the input gave none.
        paired_by_row: Whether the `paired` rows of different chains belong together by number (as
            in ColabFold's paired a3m) instead of by species.

    Raises:
        InputError: The name, the chain ids or the seeds are invalid.

    Example:
        >>> Query("dimer", (Chain(("A",), "MKTAYI"), Chain(("B",), "MKV"))).num_residues
        9
    """

    name: str
    chains: tuple[Chain, ...]
    seeds: tuple[int, ...] = ()
    paired_by_row: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "chains", members(self.chains))
        sound = isinstance(self.name, str) and _NAME.fullmatch(self.name)
        if not sound or len(self.name.encode()) > MAX_NAME:
            raise InputError(
                f"A query cannot be named {quoted(self.name)}",
                f"use at most {MAX_NAME} letters and digits, '.', '_' and '-' between them",
            )
        place = f"Query {self.name}"
        for each in self.chains:
            check_type(each, Chain, f"a chain of query {self.name}", "give a tuple of foldry.Chain")
        if not self.chains:
            raise InputError("has no chain", "give at least one", where=place)
        ids = [each for chain in self.chains for each in chain.ids]
        if len(ids) > MAX_CHAINS:
            advice = f"fold at most {MAX_CHAINS} together"
            raise InputError(f"has {len(ids)} chains", advice, where=place)
        if twice := [each for each in ids if ids.count(each) > 1]:
            advice = "give every chain its own id"
            raise InputError(f"has two chains named {twice[0]!r}", advice, where=place)
        seeds = members(self.seeds)
        for seed in seeds:
            whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool)
            if not whole or not 0 <= seed <= MAX_SEED:
                advice = f"use whole numbers from 0 to {MAX_SEED}"
                raise InputError(f"has the seed {quoted(seed)}", advice, where=place)
        object.__setattr__(self, "seeds", tuple(dict.fromkeys(map(int, seeds))))
        if len(self.seeds) > MAX_SEEDS:
            advice = f"give at most {MAX_SEEDS}"
            raise InputError(f"has {len(self.seeds)} seeds", advice, where=place)

    def __repr__(self) -> str:
        chains, residues = counted(self.num_chains, "chain"), counted(self.num_residues, "residue")
        return f"Query({self.name!r}, {chains}, {residues})"

    @property
    def inputs_key(self) -> str:
        """The content key of everything a prediction depends on except the name and the seeds."""
        return content_key([self.chains, self.paired_by_row])

    @property
    def num_chains(self) -> int:
        """The number of chains, copies counted."""
        return sum(len(chain.ids) for chain in self.chains)

    @property
    def num_residues(self) -> int:
        """The number of residues over all chains and copies."""
        return sum(len(chain.ids) * len(chain.sequence) for chain in self.chains)
