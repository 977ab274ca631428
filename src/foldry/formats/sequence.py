"""Valid protein sequences, and names of queries and chains."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, islice, product
from string import ascii_uppercase
from typing import Final
from unicodedata import normalize

from foldry.errors import InputError, quoted
from foldry.query import MAX_NAME, MAX_RESIDUES

MAX_FILE_CHAINS: Final = 100_000
"""Maximum number of chains of a file, over all its queries, copies included."""

MOLECULES: Final = {
    "protein": "",
    "rna": "RNA",
    "dna": "DNA",
    "ligand": "a ligand",
    "ccd": "a ligand",
    "smiles": "a ligand",
    "glycan": "a glycan",
    "ion": "an ion",
}
"""What is no protein, by the words for it in jobs of AlphaFold, Boltz, Chai and ColabFold."""

GAPS: Final = "._~*-"
"""Characters of an alignment's rows that are not residues. `~` (missing data) and `*` (a stop
codon, for example) are Easel's."""


@contextmanager
def at(place: object) -> Iterator[None]:
    """Make a place the subject of input errors that are raised in the block."""
    try:
        yield
    except InputError as error:
        raise InputError(error.what, error.advice, where=place, code=error.code) from None


def check_num_chains(number: int, source: str) -> None:
    """Check that one file does not have more chains than `MAX_FILE_CHAINS`.

    Raises:
        InputError: It has more.
    """
    if number > MAX_FILE_CHAINS:
        what, advice = f"has more than {MAX_FILE_CHAINS} chains", "split it into several files"
        raise InputError(what, advice, where=source)


def no_protein(molecule: str, where: str) -> InputError:
    """Return the error for a molecule that is not a protein, such as `RNA`."""
    return InputError(f"is {molecule}, but Foldry folds only proteins", "remove it", where=where)


def check_width(row: str, inserted: str, source: str) -> None:
    """Check that the first row of an alignment is not too long, before all rows are copied.

    Args:
        row: The row.
        inserted: Letters that do not count.
        source: Where the alignment was read.

    Raises:
        InputError: It has more than `MAX_RESIDUES` residues.
    """
    if len(row) - sum(map(row.count, inserted)) > MAX_RESIDUES:
        what, where = f"has more than {MAX_RESIDUES} residues", f"{source}, first row"
        raise InputError(what, "cut the sequence", where=where)


def check_stop(row: str, source: str) -> None:
    """Check that the first row of an alignment has a stop codon only at its end.

    Raises:
        InputError: It has one before its end.
    """
    before, stop, after = row.partition("*")
    if stop and after.strip("._~-"):
        what = f"has a stop codon at residue {sum(map(str.isalpha, before)) + 1}"
        raise InputError(what, "cut the sequence there", where=f"{source}, first row")


def clean_sequence(sequence: str, place: str, line: int = 0) -> str:
    """Return a sequence as the network reads it: the 20 amino acids and X, in upper case.

    Lower case and one stop codon (`*`) at the end are accepted; U, O, B, Z and J become X.

    Args:
        sequence: Letters; white space between them is removed.
        place: Where the sequence was read, e.g. `q.fasta`; the subject of errors.
        line: Line of `place` on which the text begins, counted from 1; 0 if it has no lines.

    Raises:
        InputError: The sequence is empty or too long, contains only X, or contains a gap,
            a stop codon before its end, or any other character.
    """
    where = f"{place.rstrip(',')}, line {line}" if line else place
    if len(sequence) > 2 * MAX_RESIDUES:  # white space counted: before anything is copied
        raise InputError(f"has more than {MAX_RESIDUES} residues", "cut the sequence", where=where)
    letters = sequence.rstrip().removesuffix("*")
    strange = re.search(r"[^A-Za-z\s]", letters)
    if strange is None:
        known = re.sub(r"[UOBZJ]", "X", "".join(letters.split()).upper())
        if not known:
            raise InputError("has no sequence", "write its amino acids", where=where)
        if len(known) > MAX_RESIDUES:
            what = f"has {len(known)} residues"
            raise InputError(what, f"use at most {MAX_RESIDUES}", where=where)
        if not known.strip("X"):
            advice = "give a sequence with at least one known amino acid"
            raise InputError("contains only X", advice, where=where)
        return known
    before = letters[: strange.start()]
    if strange[0] == "|" and (molecule := MOLECULES.get(before.strip().lower())):
        raise no_protein(molecule, where)  # as ColabFold writes it, e.g. `ccd|ATP`
    what, advice = quoted(strange[0]), "use one-letter codes of amino acids"
    if strange[0] in "-._~":
        what = "a gap"
        advice = "remove it; only the rows below the query of an alignment can have gaps"
    elif strange[0] == "*":
        what, advice = "a stop codon", "cut the sequence there"
    elif strange[0] in "/:":
        advice = "give each chain a sequence of its own"
    if line:
        where = f"{place.rstrip(',')}, line {line + before.count(chr(10))}"
    what = f"has {what} at residue {len(''.join(before.split())) + 1}"
    raise InputError(what, advice, where=where)


def safe_name(name: str, source: str) -> str:
    """Return the name with characters that are unsafe in a file name replaced by `_`.

    Letters and digits of all scripts are safe. At most `MAX_NAME` bytes are kept.

    Raises:
        InputError: No safe character is left.

    Example:
        >>> safe_name("sp|P00974|BPT1_BOVIN", "q.fasta"), safe_name("α-toxin (β)", "q.fasta")
        ('sp_P00974_BPT1_BOVIN', 'α-toxin_β')
    """
    if safe := _safe(name):
        return safe
    what = f"has the name {quoted(name)}, which cannot name a file"
    raise InputError(what, "use letters and digits", where=source)


def file_name(name: str, other: str = "") -> str:
    """Return a name as the safe name of a file, or the other name if no character is safe."""
    return _safe(name) or _safe(other) or "query"


def _safe(name: str) -> str:
    safe = re.sub(r"[^\w.-]+", "_", normalize("NFKC", name)).lstrip("._-")
    return safe.encode()[:MAX_NAME].decode(errors="ignore").rstrip("._-")


def numbered(name: str, number: int) -> list[str]:
    """Return the name for each of several queries of a file, with its number."""
    if number == 1:
        return [name]
    ends = (f"_{each}" for each in range(1, number + 1))
    return [name.encode()[: MAX_NAME - len(end)].decode(errors="ignore") + end for end in ends]


def places(source: str, number: int) -> list[str]:
    """Return the place of each of several alignments of a file, e.g. `q.sto, alignment 2`."""
    return [f"{source}, alignment {each + 1}" for each in range(number)] if number > 1 else [source]


def chain_names(number: int) -> list[str]:
    """Return chain names in AlphaFold 3's order: A, B … Z, AA, BA … ZA, AB …"""
    names = (
        "".join(reversed(letters))
        for length in count(1)
        for letters in product(ascii_uppercase, repeat=length)
    )
    return list(islice(names, number))
