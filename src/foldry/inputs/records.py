"""Which records of a FASTA file are proteins."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

from foldry.errors import InputError
from foldry.formats.fasta import FastaRecord
from foldry.formats.sequence import no_protein
from foldry.residues import RESNAMES

logger = logging.getLogger(__name__)

_MIN_BASES: Final = 20
_MIN_CODES: Final = 3
"""Different three-letter codes: a peptide of Ala and Leu can be `ALAALA`."""
_ONLY_X: Final = re.compile(r"[\s:/*]*X[\sX:/*]*", re.IGNORECASE)


def proteins(records: Sequence[FastaRecord], source: str) -> list[FastaRecord]:
    """Return the records of a file with at least one known residue, or all if there is none.

    ProteinMPNN writes X for the residues of a backbone without a sequence, and of nucleic acids.

    Raises:
        InputError: A header names another molecule, or the records are an alignment.
    """
    for record in records:
        if record.molecule:
            raise no_protein(record.molecule, f"{source}, line {record.line}")
    if records[1:] and any("-" in record.text for record in records):
        _check_not_aligned([record.sequence for record in records], source)
    known = [record for record in records if not is_unknown(record.text)]
    if known and known != records:
        says = "%s: records with only X, an unknown residue, are left out (%d of %d)"
        logger.warning(says, source, len(records) - len(known), len(records))
    return known or list(records)


def is_unknown(sequences: str) -> bool:
    """Return whether chains have no residue but X."""
    return _ONLY_X.fullmatch(sequences) is not None


def check_amino_acids(sequence: str, where: str) -> None:
    """Check that the letters of a sequence are not bases or parts of three-letter codes.

    Bases are all four, and hardly any other letter. Peptides of few kinds of residues, such as
    poly-Ala, have fewer than four of these letters.

    Raises:
        InputError: It looks like DNA or RNA, or consists of three-letter codes.
    """
    text = "".join(sequence.split()).upper()
    codes = set(re.findall("...", text))
    if len(codes) >= _MIN_CODES and codes <= set(RESNAMES):
        advice = "write one letter for each residue"
        raise InputError("has three-letter codes of amino acids", advice, where=where)
    letters = Counter(text)
    bases, molecule = ("ACGU", "RNA") if letters["U"] else ("ACGT", "DNA")
    number = sum(letters[each] for each in f"{bases}N")
    if number >= max(_MIN_BASES, 0.9 * len(text)) and all(letters[each] for each in bases):
        advice = "translate it; write a protein of such letters in JSON"
        raise InputError(f"looks like {molecule}", advice, where=where)


def _check_not_aligned(sequences: Sequence[str], source: str) -> None:
    """Check that sequences with gaps are not the rows of an alignment, which are equally long."""
    columns = {len(each.rstrip("*")) for each in sequences}
    matches = {len(re.sub("[.a-z]", "", each)) for each in sequences}
    advice = "" if len(matches) > 1 else "give it the suffix .a3m"
    if len(columns) == 1:
        advice = "convert it to a3m, e.g. with HH-suite's reformat.pl fas a3m -M first"
    if advice:
        advice += ", or remove the gaps to fold each sequence by itself"
        raise InputError("is an alignment", advice, where=source)
