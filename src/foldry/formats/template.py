"""Conversion between template structures and the mmCIF of AlphaFold 3's jobs, one chain each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from types import MappingProxyType
from typing import Final

import gemmi
import numpy as np

from foldry.errors import InputError
from foldry.formats.coordinates import Deposition, parse_deposition
from foldry.formats.plain_mmcif import mmcif_document
from foldry.query import Hit
from foldry.structure import Structure

FOUND: Final = "found by an earlier search"
UNDATED: Final = "1971-01-01"
"""ColabFold's date of structures without one, as its reader needs a date; the PDB is younger."""
_DATE: Final = "_pdbx_audit_revision_history.revision_date"
_SCORE: Final = "_ma_alignment_details.score_"
_E_VALUE: Final = {"type": "Other", "type_other_details": "E-value"}


def parse_template(data: str | bytes, source: str) -> tuple[Structure, str | None]:
    """Return the only chain of a structure file, with unobserved residues, and its release date.

    Raises:
        InputError: The file is damaged, or does not have exactly one protein chain.
    """
    data = data.encode(errors="replace") if isinstance(data, str) else data
    deposition = parse_deposition(data, source)
    if len(deposition.chains) != 1:
        what = f"has {len(deposition.chains)} protein chains"
        raise InputError(what, "give a file with one chain", where=source)
    [structure] = deposition.chains.values()
    return structure, deposition.release_date or None


def entry_of(text: str) -> tuple[str, float | None]:
    """Return the entry of an mmCIF text, or its data block, and the E-value of `template_mmcif`.

    They are "template" and None for other texts.
    """
    try:
        block = gemmi.cif.read_string(text)[0]
    except (RuntimeError, ValueError, IndexError):  # a PDB file
        return "template", None
    name = gemmi.cif.as_string(block.find_value("_entry.id") or "") or block.name
    known = {each: gemmi.cif.as_string(block.find_value(_SCORE + each) or "") for each in _E_VALUE}
    value = gemmi.cif.as_number(block.find_value(f"{_SCORE}value") or "?")
    return name, value if known == _E_VALUE and value >= 0 else None


def template_mmcif(hit: Hit) -> str:
    """Return the chain of a hit as mmCIF: all residues of its sequence, and all known atoms.

    Coordinates (Å) have 3 decimals, B factors single precision. The E-value of a search is that of
    the alignment.

    Raises:
        InputError: The hit has no structure.
    """
    scores: dict[str, str] = {}
    if hit.how and hit.e_value is not None:
        scores = {**_E_VALUE, "value": f"{hit.e_value:.3g}"}
    return _mmcif(hit.known_structure(), hit.name, hit.release_date, scores)


def deposition_mmcif(deposition: Deposition, entry: str) -> str:
    """Return all chains of a deposition as mmCIF, as `template_mmcif` returns one."""
    chains = list(deposition.chains.values())
    names = (field.name for field in fields(Structure)[1:])
    arrays = (np.concatenate([getattr(each, name) for each in chains]) for name in names)
    return _mmcif(Structure(entry, *arrays), entry, deposition.release_date)


def _mmcif(
    structure: Structure,
    entry: str,
    release_date: str | None,
    scores: Mapping[str, str] = MappingProxyType({}),
) -> str:
    document = mmcif_document(replace(structure, name=entry))
    document[0].set_pair("_entry.id", gemmi.cif.quote(entry))
    if release_date:
        document[0].set_pair(_DATE, gemmi.cif.quote(release_date))
    for name, value in scores.items():
        document[0].set_pair(f"{_SCORE}{name}", gemmi.cif.quote(value))
    return str(document.as_string())
