"""Conversion between template structures and the mmCIF of AlphaFold 3's jobs, one chain each."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import gemmi

from foldry.errors import InputError
from foldry.formats.coordinates import parse_deposition
from foldry.formats.plain_mmcif import mmcif_document
from foldry.query import Hit
from foldry.structure import Structure

_DATE: Final = "_pdbx_audit_revision_history.revision_date"


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


def entry_of(text: str) -> str:
    """Return the entry of an mmCIF text, or its data block; "template" for other texts."""
    try:
        block = gemmi.cif.read_string(text)[0]
    except (RuntimeError, ValueError, IndexError):  # a PDB file
        return "template"
    return gemmi.cif.as_string(block.find_value("_entry.id") or "") or block.name


def template_mmcif(hit: Hit) -> str:
    """Return the chain of a hit as mmCIF: all residues of its sequence, and all known atoms.

    Coordinates (Å) have 3 decimals, B factors single precision.

    Raises:
        InputError: The hit has no structure.
    """
    document = mmcif_document(replace(hit.known_structure(), name=hit.name))
    document[0].set_pair("_entry.id", gemmi.cif.quote(hit.name))
    if hit.release_date:
        document[0].set_pair(_DATE, gemmi.cif.quote(hit.release_date))
    return str(document.as_string())
