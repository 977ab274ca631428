"""Versions of entries → files with the names and contents of AlphaFold DB's."""

from __future__ import annotations

import textwrap
from contextlib import suppress
from dataclasses import replace
from datetime import date
from typing import Final

import numpy as np

from foldry.database.database import Database
from foldry.database.describe import described_chain
from foldry.database.entry import Entry, Version
from foldry.database.record import OpenRecord
from foldry.errors import FoldryError, InputError, OutsideError, quoted
from foldry.formats.afdb import PaeChain, confidence_json, pae_json
from foldry.formats.cif_table import plain
from foldry.formats.coordinates import seqres_records, to_pdb
from foldry.formats.model_record import ModelRecord
from foldry.formats.modelcif import to_binarycif, to_modelcif
from foldry.formats.modelcif_entities import chain_labels
from foldry.formats.pae_png import pae_png
from foldry.formats.pdb import MONTHS
from foldry.score.secondary_structure import secondary_structure

_NAMES: Final = {
    "cif": "model_v{}.cif",
    "bcif": "model_v{}.bcif",
    "pdb": "model_v{}.pdb",
    "confidence": "confidence_v{}.json",
    "pae": "predicted_aligned_error_v{}.json",
    "pae_png": "predicted_aligned_error_v{}.png",
    "msa": "msa_v{}.a3m",
}
KINDS: Final = tuple(_NAMES)
"""Kinds of files: structure in three formats, pLDDT, PAE as JSON and as a picture, alignments."""
_MAX_PAE: Final = 31.75
"""Largest error that AlphaFold's networks express, Å."""
_CRYST1: Final = "CRYST1    1.000    1.000    1.000  90.00  90.00  90.00 P 1           1"
_WIDTH: Final = 68


def file_name(entry: Entry, version: Version, kind: str) -> str:
    """Return the name that AlphaFold DB gives to a file, e.g. `AF-P00520-F1-model_v3.cif`.

    Raises:
        InputError: There is no such kind.
    """
    _check(kind)
    return f"{entry.entry_id}-{_NAMES[kind].format(version.number)}"


def render(
    database: Database,
    entry: Entry,
    version: Version,
    kind: str,
    opened: OpenRecord | None = None,
    rank: int = 0,
) -> bytes | None:
    """Return the content of a file, or None if the version has no such file.

    A version may lack predicted aligned errors or alignments, and a large structure does not fit
    into the PDB format. The alignments of a complex follow each other in the order of its chains,
    with a NUL byte between them. Equal arguments give equal bytes.

    Args:
        database: The database.
        entry: The entry.
        version: One of its versions.
        kind: One of `KINDS`.
        opened: What `database.record` returned for this version and rank, if it was called before.
        rank: Rank of the model, 0 for the best.

    Raises:
        InputError: There is no such kind or rank.
        OutsideError: A record is missing or damaged.
    """
    _check(kind)
    if kind == "msa":
        return b"\0".join(database.alignments(entry, version.number)) or None
    opened = opened or database.record(entry, version.number, rank)
    try:
        if kind == "confidence":
            return confidence_json(opened.plddt()).encode()
        if kind in ("pae", "pae_png"):
            return _errors(opened, entry, kind)
        return _structure(opened.record(), entry, version, kind)
    except FoldryError:
        raise
    except ValueError as error:
        advice = "restore it from a copy"
        raise OutsideError("has a damaged record", advice, where=entry.entry_id) from error


def _check(kind: str) -> None:
    if kind not in KINDS:
        raise InputError(f"{quoted(kind)} is not a kind of file", f"choose {', '.join(KINDS)}")


def _errors(opened: OpenRecord, entry: Entry, kind: str) -> bytes | None:
    """Return the predicted aligned errors, those of a complex with its chains.

    AlphaFold DB has whole numbers for single chains, and two decimals for complexes.
    """
    pae, max_pae = opened.errors()
    if pae is None:
        return None
    largest = round(max_pae or float(pae.max()) or _MAX_PAE, 2)
    if kind == "pae_png":
        return pae_png(pae, largest)
    chains = [described_chain(entry, chain) for chain in opened.chains]
    copies = [chain for chain in chains for _ in chain.ids]
    if len(copies) == 1:
        is_whole = np.array_equal(pae, np.rint(pae))
        return pae_json(pae, largest, 0 if is_whole else 1).encode()
    ends = np.cumsum([len(chain.sequence) for chain in copies]).tolist()
    listed = [
        PaeChain(plain(chain.description) or label, label, end - len(chain.sequence) + 1, end)
        for chain, label, end in zip(copies, chain_labels(chains), ends, strict=True)
    ]
    return pae_json(pae, largest, 2, listed).encode()


def _structure(record: ModelRecord, entry: Entry, version: Version, kind: str) -> bytes | None:
    if kind == "pdb":
        with suppress(InputError):  # the format cannot hold it
            atoms = to_pdb(record.structure)
            return f"{_pdb_header(record, file_name(entry, version, kind))}{atoms}".encode()
        return None
    published = published_record(record, entry, version)
    return to_modelcif(published).encode() if kind == "cif" else to_binarycif(published)


def published_record(record: ModelRecord, entry: Entry, version: Version) -> ModelRecord:
    """Return a record with what the database knows: id, version, facts and secondary structure.

    Args:
        record: The record of a model.
        entry: Its entry.
        version: Its version.
    """
    return replace(
        record,
        entry_id=entry.entry_id,
        version=version.number,
        chains=tuple(described_chain(entry, chain) for chain in record.chains),
        authors=record.authors or (entry.provider,),
        secondary_structure=record.secondary_structure or secondary_structure(record.structure),
    )


def _pdb_header(record: ModelRecord, name: str) -> str:
    """Return the records before the atoms: date, title, remarks, sequences and a unit cell."""
    day = ""
    with suppress(ValueError):
        created = date.fromisoformat(record.created[:10])
        day = f"{created:%d}-{MONTHS.split()[created.month - 1]}-{created:%y}"
    lines = [f"HEADER    {'PREDICTED MODEL':40}{day:9}"]
    for number, part in enumerate(textwrap.wrap(plain(record.title), _WIDTH), start=1):
        lines.append(f"TITLE   {number if number > 1 else '':>2}{' ' * (number > 1)}{part}")
    about = f"{name}. {plain(record.notice)}"
    lines += [f"REMARK 999 {part}" for part in textwrap.wrap(about, _WIDTH)]
    header = "".join(f"{line:80}\n" for line in lines)
    return f"{header}{seqres_records(record.structure)}{_CRYST1:80}\n"
