"""What counts as a protein sequence, and how queries and chains are named."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, islice, product
from string import ascii_uppercase

from foldry.errors import InputError
from foldry.query import MAX_NAME


@contextmanager
def at(place: object) -> Iterator[None]:
    """Puts this place into errors of the chain or query that is made here."""
    try:
        yield
    except InputError as error:
        raise InputError(error.what, error.advice, where=place, code=error.code) from None


def clean_sequence(sequence: str, place: str) -> str:
    """A sequence as the network knows it: the 20 amino acids and X, in upper case.

    Lower case and one stop codon (`*`) at the end are accepted; U, O, B, Z and J become X.

    Args:
        sequence: Letters, perhaps with spaces between them.
        place: Where it stands, such as `q.fasta, line 3,`; errors begin with it.

    Raises:
        InputError: The sequence is empty, has no amino acid but X, or has a gap, a stop codon
            inside, or something else.
    """
    letters = "".join(sequence.split()).removesuffix("*")
    if not letters:
        raise InputError("has no sequence", "write its amino acids", where=place)
    strange = re.search(r"[^A-Za-z]", letters)
    if strange is None:
        known = re.sub(r"[UOBZJ]", "X", letters.upper())
        if not known.strip("X"):
            raise InputError("has no known amino acid", "give more than X", where=place)
        return known
    what, advice = f"{strange[0]!r}", "use one-letter codes of amino acids"
    if strange[0] in "-.":
        what, advice = "a gap", "write it without gaps; rows below it in an .a3m may have them"
    elif strange[0] == "*":
        what, advice = "a stop codon", "cut the sequence there"
    raise InputError(f"has {what} at residue {strange.start() + 1}", advice, where=place)


def safe_name(name: str, source: str) -> str:
    """The name with what is unsafe in a file's name replaced by `_`.

    Raises:
        InputError: Nothing is left of it.
    """
    safe = re.sub(r"[^A-Za-z0-9._-]+", "_", name).lstrip("._-")[:MAX_NAME].rstrip("._-")
    if not safe:
        what = f"has the name {name!r}, which cannot name a file"
        raise InputError(what, "use letters and digits", where=source)
    return safe


def chain_names(number: int) -> list[str]:
    """A, B … Z, AA, BA … ZA, AB …, as AlphaFold 3 names chains."""
    names = (
        "".join(reversed(letters))
        for length in count(1)
        for letters in product(ascii_uppercase, repeat=length)
    )
    return list(islice(names, number))
