"""Hits of a template search → templates, by AlphaFold's rules (Jumper 2021, SI 1.2.3)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np
from jaxtyping import Int

from foldry.align.fit import fitted_structure
from foldry.errors import InputError, MissingError, OutsideError, counted, quoted
from foldry.formats.coordinates import Deposition, is_date
from foldry.query import Hit
from foldry.residues import encode_sequence
from foldry.search.hits import AlignedHit, Library
from foldry.search.realign import realigned

MAX_HITS: Final = 20
MIN_COVERAGE: Final = 0.1
"""A hit is aligned to a larger share of the query than this."""
MAX_PART: Final = 0.95
"""A hit that is a part of the query, letter for letter, has at most this share of its length."""
MIN_LENGTH: Final = 10
"""Minimum number of residues from the first to the last aligned one."""
SAME_CHAIN: Final = "same chain"
OTHER_CHAIN: Final = "another chain with the same sequence"
UNKNOWN_RESIDUES: Final = "a chain that differs only in unknown residues"
REALIGNED: Final = "realigned by {}"
_OPEN_FILES: Final = 4
"""Entries that are kept, as chains of one entry often follow each other."""


@dataclass(frozen=True)
class Rules:
    """Which hits become templates.

    Attributes:
        max_date: Latest date of the first release, e.g. `2020-05-14`; None for no limit.
        max_hits: Maximum number of templates.
        by_sum_probs: Whether the hits are sorted by the sum of their probabilities, as AlphaFold
            does after hhsearch; otherwise the order of the search is kept.
        unique_sequences: Whether hits that align the same letters to the same residues count once,
            as in AlphaFold after hmmsearch.

    Raises:
        InputError: The date is not one.
    """

    max_date: str | None = None
    max_hits: int = MAX_HITS
    by_sum_probs: bool = False
    unique_sequences: bool = False

    def __post_init__(self) -> None:
        if self.max_date is not None and not is_date(self.max_date):
            shown = quoted(self.max_date) if self.max_date else "empty"
            what = f"`max_template_date` is {shown}"
            raise InputError(what, "give year, month and day, such as 2020-05-14")


@dataclass(frozen=True)
class LeftOut:
    """A hit that did not become a template.

    Attributes:
        name: Entry and chain, as the search named them.
        reason: Why, as the predicate of a sentence, e.g. `has only 9 residues`.
        is_lasting: Whether it would be left out again; its file may be whole the next time.
    """

    name: str
    reason: str
    is_lasting: bool = True


@dataclass(frozen=True, eq=False)
class Templates:
    """What became of the hits of a search.

    Attributes:
        hits: The templates, best first. `how` says how the letters that the search aligned were
            found in the chain.
        left_out: The hits before the last template that are none, in the order of the search. Hits
            beyond the maximum number of templates are not looked at.
    """

    hits: tuple[Hit, ...]
    left_out: tuple[LeftOut, ...]


class _LeftOutError(Exception):
    """Why a hit does not become a template, and whether that lasts."""


def choose(sequence: str, found: Sequence[AlignedHit], library: Library, rules: Rules) -> Templates:
    """Return the templates among the hits of a search, in AlphaFold's order.

    Args:
        sequence: The query's residues.
        found: The hits, in the order of the search.
        library: The structures of their entries.
        rules: Which hits become templates.
    """
    if rules.by_sum_probs:
        found = sorted(found, key=lambda hit: hit.sum_probs or 0.0, reverse=True)
    read = lru_cache(_OPEN_FILES)(library.read)
    hits: dict[object, Hit] = {}
    left_out = []
    for each in found:
        if len(hits) == rules.max_hits:
            break
        try:
            entry = _entry(each, library)
            _check(each, sequence, library.listed_date(entry), rules)
            hit = _template(each, sequence, entry, _read(entry, read, rules))
        except _LeftOutError as error:
            left_out.append(LeftOut(each.name, *error.args))
            continue
        key = _letters(hit) if rules.unique_sequences else len(hits)
        if key in hits:
            reason = f"has the same residues at the same places as {hits[key].name}"
            left_out.append(LeftOut(each.name, reason))
        else:
            hits[key] = hit
    return Templates(tuple(hits.values()), tuple(left_out))


def _entry(found: AlignedHit, library: Library) -> str:
    """Return the entry of a hit, or the one that replaces it.

    An obsolete entry whose date is known is not replaced, as in AlphaFold.
    """
    entry = found.name.rpartition("_")[0]
    successor = library.successor(entry)
    if successor is None:
        raise _LeftOutError("is obsolete, and no other entry replaces it")
    return successor if library.listed_date(entry) is None else entry


def _check(found: AlignedHit, sequence: str, listed: str | None, rules: Rules) -> None:
    """Apply the rules that need no structure."""
    _check_date(listed, rules)
    length, aligned, size = len(sequence), len(found.pairs), len(found.sequence)
    if aligned <= MIN_COVERAGE * length:
        raise _LeftOutError(
            f"covers {100 * aligned / length:.0f} % of the query ({aligned} of {length} residues)"
        )
    if found.sequence in sequence and size > MAX_PART * length:
        raise _LeftOutError("is nearly the whole query itself")
    if size < MIN_LENGTH:
        raise _LeftOutError(f"has only {counted(size, 'residue')}")


def _check_date(released: str | None, rules: Rules) -> None:
    if released and rules.max_date and released > rules.max_date:
        raise _LeftOutError(f"was released on {released}, after {rules.max_date}")


def _read(entry: str, read: Callable[[str], Deposition], rules: Rules) -> Deposition:
    """Return the file of an entry, released in time."""
    try:
        deposition = read(entry)
    except InputError as error:
        raise _LeftOutError(f"cannot be read, as its file {error.what}", False) from error
    except MissingError as error:
        if error.code != MissingError.code:  # memory or disk are short
            raise
        raise _LeftOutError("has no file with its structure") from error
    if rules.max_date and not deposition.release_date:
        raise _LeftOutError("has an unknown date of release")
    _check_date(deposition.release_date, rules)
    return deposition


def _template(found: AlignedHit, sequence: str, entry: str, deposition: Deposition) -> Hit:
    """Return the template of a hit, whose pairs are moved to the residues of its chain."""
    named = found.name.rpartition("_")[2]
    place = _find(named, found.sequence, deposition.chain_to_seqres)
    if place is None:
        chain, pairs, how = named, *_realigned(found, named, deposition.chain_to_seqres)
        codes = deposition.chains[chain].aatype
    else:
        chain, begin, how = place
        pairs = np.add(found.pairs, (0, begin))
        # Unknown residues of the chain get the letters of the hit, and the other way round.
        codes = deposition.chains[chain].aatype.copy()
        codes[begin : begin + len(found.sequence)] = encode_sequence(found.sequence)
    name = f"{entry}_{chain}"
    hit = Hit(
        name=name,
        pairs=pairs,
        structure=replace(deposition.chains[chain], name=name, aatype=codes),
        e_value=found.e_value,
        probability=found.probability,
        coverage=len(pairs) / len(sequence),
        release_date=deposition.release_date or None,
        how=how,
    )
    try:
        fitted_structure(len(sequence), hit)
    except InputError as error:
        raise _LeftOutError(error.what) from error
    here, there = pairs.T
    return replace(hit, identity=float(np.mean(encode_sequence(sequence)[here] == codes[there])))


def _find(named: str, letters: str, sequences: Mapping[str, str]) -> tuple[str, int, str] | None:
    """Return the chain that has the letters of a hit, where they begin, and how it was found."""
    for chain in sorted(sequences, key=lambda chain: chain != named):  # the named one first
        if (begin := sequences[chain].find(letters)) >= 0:
            return chain, begin, SAME_CHAIN if chain == named else OTHER_CHAIN
    pattern = re.compile(
        "".join("." if each == "X" else f"[{re.escape(each)}X]" for each in letters)
    )
    for chain, sequence in sequences.items():
        if match := pattern.search(sequence):
            return chain, match.start(), UNKNOWN_RESIDUES
    return None


def _realigned(
    found: AlignedHit, chain: str, sequences: Mapping[str, str]
) -> tuple[Int[np.ndarray, "P 2"], str]:
    """Return the pairs of a hit whose letters the chain does not have, and how it was realigned.

    Residues of the query whose partner in the hit has none in the chain are left out. AlphaFold
    gives them the last residue of the chain.
    """
    if chain not in sequences:
        raise _LeftOutError(f"has no chain {chain} in its file")
    try:
        moved, program = realigned(found.sequence, sequences[chain])
    except (InputError, OutsideError) as error:
        raise _LeftOutError(error.what) from error
    partners = np.full(len(found.sequence), -1)
    partners[moved[:, 0]] = moved[:, 1]
    pairs = np.stack([found.pairs[:, 0], partners[found.pairs[:, 1]]], axis=1)
    return pairs[pairs[:, 1] >= 0], REALIGNED.format(program)


def _letters(hit: Hit) -> tuple[bytes, bytes]:
    """Return which residues of the query a template covers, and its letters there."""
    there = hit.known_structure().aatype[hit.pairs[:, 1]]
    return hit.pairs[:, 0].tobytes(), there.tobytes()
