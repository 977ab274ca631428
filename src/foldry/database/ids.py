"""Names of entries: accessions, ids as AlphaFold DB forms them, and local names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from foldry.errors import InputError, quoted

LOWEST_BLOCK: Final = 1_000_000
HIGHEST_BLOCK: Final = 9_999_999
_MAX_COUNTED: Final = 999_999_999
_MAX_NAME: Final = 100
_MAX_FRAGMENT: Final = 100_000
_ANY_CASE: Final = re.IGNORECASE | re.ASCII
_UNIPROT: Final = r"[OPQ][0-9][A-Z0-9]{3}[0-9]|[A-NR-Z][0-9](?:[A-Z][A-Z0-9]{2}[0-9]){1,2}"
_ACCESSION: Final = re.compile(rf"({_UNIPROT})(?:-([1-9][0-9]{{0,3}}))?", _ANY_CASE)
_UNIPROT_NAME: Final = re.compile(r"(?:sp|tr)[|_]([^|_]+)[|_][A-Z0-9]+_[A-Z0-9]+", _ANY_CASE)
_AFDB: Final = re.compile(r"AFDB[:_]", re.IGNORECASE)
"""Begins names in FASTA files of AlphaFold DB; names of queries have `_` for `:`."""
_MODEL: Final = re.compile(
    rf"AF-({_UNIPROT})(?:-([1-9][0-9]{{0,3}}))?-F([1-9][0-9]{{0,4}})", re.IGNORECASE
)
_COUNTED: Final = re.compile(r"AF-([0-9]{7})([0-9]{9})", _ANY_CASE)
_VERSION: Final = re.compile(r"(.+)[-_]v([1-9][0-9]{0,5})", _ANY_CASE)
_UNFIT: Final = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Accession:
    """A UniProt accession.

    Attributes:
        base: Without the isoform, e.g. `P00520`.
        isoform: Number of the isoform; 0 for the canonical sequence.
    """

    base: str
    isoform: int = 0

    def __str__(self) -> str:
        return f"{self.base}-{self.isoform}" if self.isoform else self.base

    def entry_id(self, fragment: int = 1) -> str:
        """Return the id of its entry, e.g. `AF-P00520-4-F1`."""
        return f"AF-{self}-F{fragment}"


def accession(text: str) -> Accession:
    """Return a UniProt accession, perhaps with an isoform, in any case.

    Raises:
        InputError: It is not an accession.

    Example:
        >>> accession("p00520-4")
        Accession(base='P00520', isoform=4)
    """
    found = _ACCESSION.fullmatch(text)
    if not found:
        raise InputError(f"{quoted(text)} is not a UniProt accession", "give one like P00520")
    return Accession(found[1].upper(), int(found[2] or 0))


def check_fragment(number: int) -> int:
    """Return the number of a fragment, counted from 1.

    Raises:
        InputError: It is out of range.
    """
    if not 1 <= number < _MAX_FRAGMENT:
        raise InputError(f"{quoted(number)} is not a number of a fragment", "count from 1")
    return number


def counted_id(block: int, number: int) -> str:
    """Return the id that a database with a block gives to its next entry.

    Args:
        block: The database's seven digits.
        number: How many ids it has given before, plus 1.

    Raises:
        InputError: All ids of the block are used.

    Example:
        >>> counted_id(1234567, 8)
        'AF-1234567000000008'
    """
    if number > _MAX_COUNTED:
        raise InputError("All ids of this database are used", "make another database")
    return f"AF-{block:07d}{number:09d}"


def counted_parts(entry_id: str) -> tuple[int, int] | None:
    """Return the block and the number of an `AF-{16 digits}` id; None for any other text."""
    found = _COUNTED.fullmatch(entry_id)
    return (int(found[1]), int(found[2])) if found else None


def model_parts(entry_id: str) -> tuple[Accession, int] | None:
    """Return the accession and the fragment of an `AF-P00520-F1` id; None for any other text."""
    found = _MODEL.fullmatch(entry_id)
    return (Accession(found[1].upper(), int(found[2] or 0)), int(found[3])) if found else None


def without_version(qualifier: str) -> tuple[str, int | None]:
    """Return a qualifier without `-vN` or `_vN` at its end, and the version it names.

    Example:
        >>> without_version("AF-Q14676-F1-v4")
        ('AF-Q14676-F1', 4)
        >>> without_version("Q14676")
        ('Q14676', None)
    """
    found = _VERSION.fullmatch(qualifier)
    return (found[1], int(found[2])) if found else (qualifier, None)


def named_version(qualifier: str, *names: str) -> int | None:
    """Return the version that a qualifier of an entry with these names states, or None.

    Example:
        >>> named_version("example-v2", "AF-1234567000000001", "example")
        2
        >>> named_version("example-v2", "AF-1234567000000001", "example-v2")
    """
    is_name = qualifier.upper() in (name.upper() for name in names)
    return None if is_name else without_version(qualifier)[1]


def named_accession(name: str) -> tuple[Accession, int] | None:
    """Return the accession and the fragment that a name of a sequence gives; None if it gives none.

    Example:
        >>> named_accession("sp|P00520-4|ABL1_MOUSE")
        (Accession(base='P00520', isoform=4), 1)
        >>> named_accession("AFDB:AF-P00520-F2")
        (Accession(base='P00520', isoform=0), 2)
        >>> named_accession("P00520_mutant")
    """
    if parts := model_parts(_AFDB.sub("", name)):
        return parts
    found = _UNIPROT_NAME.fullmatch(name)
    try:
        return accession(found[1] if found else name), 1
    except InputError:
        return None


def local_name(text: str) -> str:
    """Return a name of an entry that is a valid qualifier, from any text.

    Letters, digits, `.`, `_` and `-` stay; everything else becomes `_`.

    Example:
        >>> local_name("sp|P00520|ABL1 mouse")
        'sp_P00520_ABL1_mouse'
        >>> local_name("../..")
        'entry'
    """
    return _UNFIT.sub("_", text)[:_MAX_NAME].strip("._-") or "entry"
