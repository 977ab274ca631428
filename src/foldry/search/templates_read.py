"""Hits of template searches in the files that HMMER and HHsearch write."""

from __future__ import annotations

import re
from typing import Final

import numpy as np

from foldry.errors import InputError, quoted
from foldry.formats.hhr import parse_hhr
from foldry.formats.stockholm import stockholm_rows
from foldry.search.hits import AlignedHit

_AGAIN: Final = "give the alignment that hmmsearch writes for this query"
_RANGE: Final = re.compile(r"(?P<name>.+)/(?P<begin>\d{1,9})-\d{1,9}", re.ASCII)
_PART: Final = "[subseq from] "
"""Easel's remark before the description of a row that is a part of a sequence."""
_MOLECULE: Final = re.compile(r"\bmol:(?!protein)")
_GAPS: Final = str.maketrans("_~*", "---", ".")
_DEPOSITED: Final = re.compile(r"[A-Za-z0-9]{4}_", re.ASCII)
"""The entry of the PDB at the beginning of a name."""


def is_protein(title: str) -> bool:
    """Return whether a chain is a protein, or its title does not state what it is.

    Example:
        >>> is_protein("mol:protein length:97  SANTA"), is_protein("mol:na length:12  DNA")
        (True, False)
    """
    return _MOLECULE.search(title) is None


def hits_of_stockholm(
    text: str, query: str, source: str = "the Stockholm text"
) -> list[AlignedHit]:
    """Return the hits of the alignment that `hmmsearch -A` writes, in its order.

    A column of the query's profile has a capital letter or `-`, an insertion a small letter or `.`.
    Rows whose description states another molecule than protein are left out.

    Args:
        text: The alignment; empty if nothing was found.
        query: The query's residues, one per column of the profile.
        source: Name of the text in errors.

    Raises:
        InputError: The text is damaged, a row is not named after an entry, a chain and a range, or
            the profile does not have one column per residue.

    Example:
        >>> text = "# STOCKHOLM 1.0\\n1abc_A/3-6 -TaAY\\n//\\n"
        >>> [hit] = hits_of_stockholm(text, "MTAY")
        >>> hit.name, hit.begin, hit.sequence, hit.pairs.tolist()
        ('1abc_A', 2, 'TAAY', [[1, 0], [2, 2], [3, 3]])
    """
    if not text.strip():
        return []
    rows, descriptions = stockholm_rows(text, source)
    hits = []
    for name, row in rows.items():
        title = descriptions.get(name, "").removeprefix(_PART)
        if not is_protein(title):
            continue
        place = f"{source}, row {quoted(name)}"
        found = _RANGE.fullmatch(name)
        if found is None:
            raise InputError(
                "is not named after an entry, a chain and a range", _AGAIN, where=place
            )
        letters = np.array(list(row.translate(_GAPS)))
        is_letter = letters != "-"
        is_column = ~is_letter | np.char.isupper(letters)
        if is_column.sum() != len(query):
            what = f"has {is_column.sum()} columns of the profile and not {len(query)}"
            raise InputError(what, _AGAIN, where=place)
        places = np.stack([np.cumsum(is_column) - 1, np.cumsum(is_letter) - 1], axis=1)
        hits.append(
            AlignedHit(
                name=found["name"],
                pairs=places[is_column & is_letter],
                sequence="".join(letters[is_letter]).upper(),
                begin=int(found["begin"]) - 1,
                title=title,
            )
        )
    return hits


def hits_of_hhr(text: str, source: str = "the hhr text") -> list[AlignedHit]:
    """Return the hits of an hhr text, in its order.

    Entries of the PDB, which `pdb70` names in capital letters, get small ones.

    Raises:
        InputError: As for `parse_hhr`.
    """
    return [
        AlignedHit(
            name=_DEPOSITED.sub(lambda entry: entry[0].lower(), record.hit.name, count=1),
            pairs=record.hit.pairs,
            sequence=record.template.replace("-", "").upper(),
            begin=record.begins[1],
            title=record.title.removeprefix(record.hit.name).strip(),
            sum_probs=record.sum_probs,
            probability=record.hit.probability,
            e_value=record.hit.e_value,
        )
        for record in parse_hhr(text, source)
    ]
