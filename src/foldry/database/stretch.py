"""Which part of a protein a model shows: its sequence compared with that of the whole protein."""

from __future__ import annotations

import re
from typing import Final

_WORD: Final = 5
_MAX_RUNS: Final = 100
"""Limit on the parts between unknown residues, so that comparing takes no time to speak of."""


def place_in(part: str, whole: str) -> int | None:
    """Return the number of the residue of a sequence at which a part of it begins.

    Args:
        part: The part; X stands for any residue.
        whole: The sequence.

    Returns:
        The number, counted from 1; None if the part occurs nowhere or several times.

    Example:
        >>> place_in("TAXIA", "MKTAYIAKQRTAY")
        3
        >>> place_in("TAY", "MKTAYIAKQRTAY")
    """
    runs = [(found.start(), found[0]) for found in re.finditer("[^X]+", part)]
    if not 0 < len(runs) <= _MAX_RUNS:
        return None
    offset, longest = max(runs, key=lambda run: len(run[1]))
    place: int | None = None
    at = whole.find(longest, offset)
    while at >= 0:
        begin = at - offset
        is_within = begin + len(part) <= len(whole)
        if is_within and all(whole.startswith(run, begin + start) for start, run in runs):
            if place is not None:
                return None
            place = begin + 1
        at = whole.find(longest, at + 1)
    return place


def is_related(one: str, other: str) -> bool:
    """Return whether two sequences may be of one protein, which tags and mutations leave alike.

    Half of the words of five letters in the shorter one must occur in the other one.

    Example:
        >>> is_related("MKTAYIAKQRQISFVKSHFSRQ", "MGSSHHHHHHMKTAYIAKQRQISFVKSHFARQ")
        True
        >>> is_related("MKTAYIAKQRQISFVKSHFSRQ", "MGSSHHHHHHSSGLVPRGSHMAS")
        False
    """
    short, long = sorted((one, other), key=len)
    size = min(_WORD, len(short))
    words = {each for each in _words(short, size) if "X" not in each}
    return 2 * len(words & _words(long, size)) >= len(words)


def _words(sequence: str, size: int) -> set[str]:
    return {sequence[begin : begin + size] for begin in range(len(sequence) - size + 1)}
