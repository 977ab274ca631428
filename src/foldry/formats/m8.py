"""m8: the hits of MMseqs2, one a line, in the thirteen columns of ColabFold's template search."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Int

from foldry.errors import InputError, counted
from foldry.formats.cigar import cigar_of, pairs_of
from foldry.formats.lines import lines
from foldry.query import MAX_RESIDUES

COLUMNS: Final = (
    *("query", "target", "fident", "alnlen", "mismatch", "gapopen"),
    *("qstart", "qend", "tstart", "tend", "evalue", "bits", "cigar"),
)
"""The columns of a line, by their names in MMseqs2."""
MAX_HITS: Final = 1_000_000
"""Maximum number of hits of a text."""
_AGAIN: Final = "run MMseqs2 again, or download the file again"
_MAX_LINE: Final = 1_000_000
"""Maximum length of a line; the longest chains have alignments of that many runs at most."""
_NUMBER: Final = re.compile(r"\d{1,20}(?:\.\d{0,20})?(?:[eE][+-]?\d{1,4})?", re.ASCII)
_PLACE: Final = re.compile(r"\d{1,9}", re.ASCII)
_RUNS: Final = re.compile(r"(?:\d{1,6}[MID])+", re.ASCII)
_RUN: Final = re.compile(r"(\d+)([MID])", re.ASCII)


@dataclass(frozen=True, eq=False)
class M8Record:
    """One hit of an m8 text.

    Attributes:
        query, target: The names.
        identity: Share of equal residues among the aligned ones, 0–1.
        pairs: Pairs of (query residue, target residue), counted from 0.
        begin, end: The target's aligned part: its first residue, and the one after its last.
        e_value: E-value of the search.
    """

    query: str
    target: str
    identity: float
    pairs: Int[np.ndarray, "P 2"]
    begin: int
    end: int
    e_value: float


def parse_m8(text: str, source: str = "the m8 text") -> Iterator[M8Record]:
    """Yield the hits of an m8 text, in the order of the text; blank lines are skipped.

    Raises:
        InputError: A line has too few columns or its values contradict each other, or there are
            more than `MAX_HITS` hits.

    Example:
        >>> row = "q 2crb_A 0.75 4 1 1 3 7 6 9 1e-05 42 2M1I2M".replace(" ", "\\t")
        >>> [hit] = parse_m8(row)
        >>> hit.target, hit.pairs.tolist(), hit.begin, hit.end
        ('2crb_A', [[2, 5], [3, 6], [5, 7], [6, 8]], 5, 9)
    """
    found = 0
    for number, line in lines(text, source):
        if not line.strip():
            continue
        found += 1
        if found > MAX_HITS:
            raise InputError(f"has more than {MAX_HITS} hits", "keep the first ones", where=source)
        yield _record(line, f"{source}, line {number}")


def m8_row(hit: M8Record, bits: int = 0) -> str:
    """Return the line of a hit, without line end, as MMseqs2 writes it.

    Args:
        hit: The hit.
        bits: Its score, bits; 0 if it is not known.
    """
    cigar, aligned = cigar_of(hit.pairs), len(hit.pairs)
    first, last = hit.pairs[[0, -1], 0].tolist()
    runs = _RUN.findall(cigar)
    length = sum(int(count) for count, _ in runs)
    differing, gaps = round((1 - hit.identity) * aligned), len(runs) - cigar.count("M")
    cells = [hit.query, hit.target, f"{hit.identity:.3f}", length, differing, gaps]
    cells += [first + 1, last + 1, hit.begin + 1, hit.end, f"{hit.e_value:.3E}", bits, cigar]
    return "\t".join(map(str, cells))


def _record(line: str, place: str) -> M8Record:
    """Return the hit of a line.

    Raises:
        InputError: The line is not one of `COLUMNS`; `place` names it.
    """
    cells = [cell.strip() for cell in line[:_MAX_LINE].split("\t")]
    if len(cells) < len(COLUMNS) or len(line) > _MAX_LINE:
        what = f"has {counted(len(cells), 'column')} instead of the {len(COLUMNS)} of a hit"
        raise InputError(what, _AGAIN, where=place)
    named = dict(zip(COLUMNS, cells, strict=False))
    for name in ("query", "target"):
        if not named[name].isprintable() or len(named[name].split()) != 1:
            raise InputError(f"has no usable name as its {name}", _AGAIN, where=place)
    for name, form in (
        *((name, _NUMBER) for name in ("fident", "evalue")),
        *((name, _PLACE) for name in ("qstart", "qend", "tstart", "tend")),
        ("cigar", _RUNS),
    ):
        if not form.fullmatch(named[name]):
            raise InputError(f"has no usable value of {name}", _AGAIN, where=place)
    identity = float(named["fident"])
    first, last, begin, end = (int(named[name]) for name in ("qstart", "qend", "tstart", "tend"))
    sizes = dict.fromkeys("MID", 0)
    for count, kind in _RUN.findall(named["cigar"]):
        sizes[kind] += int(count)
    is_sound = sizes["M"] > 0 and 1 <= first <= last and 1 <= begin <= end
    is_sound &= max(last, end) <= MAX_RESIDUES and identity <= 1
    is_sound &= sizes["M"] + sizes["I"] == last - first + 1
    is_sound &= sizes["M"] + sizes["D"] == end - begin + 1
    if not is_sound:
        what = "has places, runs or an identity that contradict each other"
        raise InputError(what, _AGAIN, where=place)
    pairs = pairs_of(named["cigar"], first - 1, begin - 1)
    return M8Record(
        named["query"], named["target"], identity, pairs, begin - 1, end, float(named["evalue"])
    )
