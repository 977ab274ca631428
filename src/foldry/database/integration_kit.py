"""The layout that PDBeurope's AFDB-Integration-Kit expects of a set that joins AlphaFold DB.

    1234/5670/0000/0001/AF-1234567000000001-model-v1.cif   and .bcif, .pdb
                        AF-1234567000000001-confidence-v1.json
                        AF-1234567000000001-predicted_aligned_error-v1.json
                        AF-1234567000000001-msa-v1.a3m
    AF-metadata-1-of-3.json   100 chains each, by the kit's `model_schema.json`
    provider.json             by the kit's `provider_schema.json`
    sequences.fasta           `>AFDB:AF-1234567000000001`

The kit takes ids with 16 digits, with an alignment and with the licence CC BY 4.0 alone; other
entries are left out. Its confidence categories are V above 90, H from 70, M from 50, L from 30 and
D below.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np

from foldry.database import ids
from foldry.database.database import Database
from foldry.database.describe import accession_of, chain_facts, fasta_name, span
from foldry.database.entry import Entry
from foldry.database.render import file_name
from foldry.database.selection import (
    Exported,
    Progress,
    Selection,
    each_entry,
    read_entries,
    rendered,
)
from foldry.errors import FoldryError, InputError, quoted
from foldry.formats.afdb import Bands, confidence_json
from foldry.formats.model_record import ModelChain
from foldry.formats.modelcif_history import CC_BY
from foldry.store.files import make_folder, new_text_file, write_bytes, write_json
from foldry.store.hashes import md5

KINDS: Final = ("cif", "bcif", "pdb", "pae", "msa")
_BATCH: Final = 100
"""Records of a file `AF-metadata-…`, as the kit's workflow makes them."""
_BANDS: Final = Bands("DLMHV", (30, 50, 70, np.nextafter(90, 100)))
_FRACTIONS: Final = (
    *("fractionPlddtVeryLow", "fractionPlddtLow"),
    *("fractionPlddtConfident", "fractionPlddtVeryHigh"),
)
_SCORES: Final = {"iptm": "ipTM", "ipsae": "ipSAE"}
_LICENCE: Final = "CC-BY-4.0"
_OTHER_TERMS: Final = ("AlphaFold 3",)
"""Programs whose results are under terms of use that their files may not state."""


def write(database: Database, chosen: Selection, out: Path, progress: Progress) -> Exported:
    """Write the entries in the kit's layout into a folder."""
    found = Exported()
    kept = array("q")
    num_records = 0
    with new_text_file(out / "sequences.fasta") as fasta:
        for entry in each_entry(database, chosen, found, progress):
            try:
                found.num_files += _write_files(database, chosen, entry, out)
            except FoldryError as error:
                found.left_out.append(error)
                continue
            kept.append(entry.key)
            num_records += len(entry.chains)
            fasta.writelines(
                f">{fasta_name(entry, chain)}\n{chain.sequence}\n" for chain in entry.chains
            )
    again = read_entries(database, kept, chosen.state)
    every = (record for entry in again for record in metadata(chosen, entry))
    num_batches = -(-num_records // _BATCH)
    for number in range(1, num_batches + 1):
        name = f"AF-metadata-{number}-of-{num_batches}.json"
        write_json(out / name, list(islice(every, _BATCH)))
    write_json(out / "provider.json", _provider(database))
    found.num_files += num_batches + 2
    return found


def _write_files(database: Database, chosen: Selection, entry: Entry, out: Path) -> int:
    """Write the files of an entry and return their number.

    Raises:
        InputError: The kit does not take the entry.
        OutsideError: A record is missing or damaged.
    """
    if not ids.counted_parts(entry.entry_id):
        what = "has an id without 16 digits, which the kit does not take"
        raise InputError(what, "publish it without its accession", where=entry.entry_id)
    digits = entry.entry_id.removeprefix("AF-")
    folder = out.joinpath(*(digits[begin : begin + 4] for begin in range(0, len(digits), 4)))
    named: dict[str, bytes] = {}
    for version in chosen.versions_of(entry):
        record, files = rendered(database, entry, version, KINDS)
        if record.licence not in ("", CC_BY):
            what = f"has the licence {quoted(record.licence)}, which the kit does not take"
            raise InputError(what, f"it takes {_LICENCE}", where=entry.entry_id)
        if not record.licence and entry.tool in _OTHER_TERMS:
            what = f"is under the terms of use of {entry.tool}, which the kit does not take"
            raise InputError(what, f"it takes {_LICENCE}", where=entry.entry_id)
        if not version.alignments:
            what = f"has no alignment of version {version.number}, which the kit requires"
            raise InputError(what, "publish it with its alignment", where=entry.entry_id)
        confidence = confidence_json(record.plddt, _BANDS).encode()
        files[file_name(entry, version, "confidence")] = confidence
        end = f"v{version.number}."
        named |= {name.replace(f"_{end}", f"-{end}"): data for name, data in files.items()}
    make_folder(folder)
    for name, data in named.items():
        write_bytes(folder / name, data)
    return len(named)


def metadata(chosen: Selection, entry: Entry) -> Iterator[dict[str, Any]]:
    """Yield the kit's record of each sequence of an entry, for the latest version exported."""
    version = chosen.versions_of(entry)[-1]
    composition = ",".join(f"{md5(each.sequence).upper()}_{len(each.ids)}" for each in entry.chains)
    of_complex = {
        "complexName": entry.facts.description or entry.name,
        "complexComposition": composition,
        **{name: version.scores.get(key) for key, name in _SCORES.items()},
    }
    for number, chain in enumerate(entry.chains, start=1):
        record = {
            "uniqueId": f"{entry.entry_id}_v{version.number}_{number}",
            "modelEntityId": entry.entry_id,
            "toolUsed": entry.tool,
            "providerId": entry.provider,
            "entityType": "protein",
            "modelCreatedDate": version.created or version.published,
            "stoichiometry": len(chain.ids),
            "sequence": chain.sequence,
            "sequenceChecksum": md5(chain.sequence),
            "globalMetricValue": round(version.mean_plddt, 2),
            "latestVersion": entry.latest.number,
            "allVersions": [each.number for each in entry.versions],
            **dict(zip(_FRACTIONS, (round(each, 3) for each in version.fractions), strict=True)),
            **_of_sequence(entry, chain),
            **(of_complex if entry.is_complex else {}),
        }
        yield {name: value for name, value in record.items() if value not in ("", None, ())}


def _of_sequence(entry: Entry, chain: ModelChain) -> dict[str, Any]:
    """Return what is known about one sequence, by the kit's names."""
    facts, accession = chain_facts(entry, chain), accession_of(entry, chain)
    first, last = span(chain)
    date = facts.sequence_version_date
    return {
        "isUniProt": bool(accession),
        "uniprotAccession": accession,
        "uniprotId": facts.uniprot_id if accession else "",
        "uniprotDescription": facts.description if accession else "",
        "isUniProtReviewed": facts.is_reviewed if accession else None,
        "isUniProtReferenceProteome": facts.is_reference_proteome if accession else None,
        "sequenceStart": first,
        "sequenceEnd": last,
        "isFragment": entry.fragment > 1 or first > 1,
        "sequenceVersionDate": f"{date}T00:00:00Z" if date else "",
        "gene": facts.gene,
        "geneSynonyms": facts.gene_synonyms,
        "taxId": facts.tax_id,
        "organismScientificName": facts.organism,
        "organismCommonNames": facts.organism_names,
        "proteinFullNames": facts.full_names,
        "proteinShortNames": facts.short_names,
        "keywords": facts.keywords,
        "taxonomyLineage": facts.lineage,
        "functions": facts.functions,
    }


def _provider(database: Database) -> dict[str, Any]:
    return {
        "providerId": database.provider,
        "providerName": database.provider,
        "providerUrl": None,
        "license": _LICENCE,
    }
