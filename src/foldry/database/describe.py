"""Entries as JSON and as lines of AlphaFold DB's bulk files."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from typing import Any

from foldry.database import ids
from foldry.database.entry import Entry, Facts, Version
from foldry.formats.cif_table import plain
from foldry.formats.model_record import ModelChain, ModelRecord, Reference, Step
from foldry.formats.table import safe_cell


def entry_json(entry: Entry) -> dict[str, Any]:
    """Return what is known about an entry as a JSON object; unknown values are left out.

    The keys are those of `Entry`, `Facts` and `Version`; the latest version comes last.
    """
    found = asdict(entry) | {"num_residues": entry.num_residues, "is_complex": entry.is_complex}
    del found["key"]
    found["facts"] = _known(found["facts"])
    for name in ("chains", "versions"):
        found[name] = list(map(_known, found[name]))
    return _known(found)


def _known(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in ("", None, (), [], {})}


def provenance_json(entry: Entry, version: Version, record: ModelRecord) -> dict[str, Any]:
    """Return how a version was made, as a JSON object.

    Args:
        entry: The entry.
        version: One of its versions.
        record: The record of its best model.
    """
    steps = {"prediction": record.prediction, "relaxation": record.relaxation}
    found = {
        "entry_id": entry.entry_id,
        "version": version.number,
        "provider": entry.provider,
        "tool": entry.tool,
        "model_name": version.model_name,
        "content_key": version.content_key,
        "created": version.created,
        "published": version.published,
        "records": list(version.digests),
        "alignments": list(version.alignments),
        "original": version.original,
        "notice": record.notice,
        "licence": record.licence,
        "inputs": record.inputs,
        **{name: _step(step) for name, step in steps.items() if step},
    }
    return _known(found)


def _step(step: Step) -> dict[str, Any]:
    return {"versions": dict(step.versions), "parameters": dict(step.parameters)}


def fasta_records(entry: Entry) -> str:
    """Return the sequences of an entry as AlphaFold DB's `sequences.fasta` has them.

    A complex has one record for each sequence.

    Example:
        `>AFDB:AF-P00520-F1 Tyrosine-protein kinase ABL1 UA=P00520 UI=ABL1_MOUSE OS=Mus musculus
        OX=10090 GN=Abl1` is the header of an entry with all facts.
    """
    return "".join(_fasta_record(entry, chain) for chain in entry.chains)


def _fasta_record(entry: Entry, chain: ModelChain) -> str:
    named = chain_facts(entry, chain)
    tags = {
        "UA": accession_of(entry, chain),
        "UI": named.uniprot_id,
        "OS": named.organism,
        "OX": str(named.tax_id or ""),
        "GN": named.gene,
    }
    title = plain(named.description) or entry.name
    pairs = "".join(f" {tag}={plain(text)}" for tag, text in tags.items() if text)
    return f">{fasta_name(entry, chain)} {title}{pairs}\n{chain.sequence}\n"


def fasta_name(entry: Entry, chain: ModelChain) -> str:
    """Return the first word of a FASTA header, e.g. `AFDB:AF-P00520-F1`.

    For a complex it ends with the name of the sequence's first chain.
    """
    of_chain = f"_{ids.local_name(chain.ids[0])}" if entry.is_complex else ""
    return f"AFDB:{entry.entry_id}{of_chain}"


def chain_facts(entry: Entry, chain: ModelChain) -> Facts:
    """Return what is known about one chain: what its record says and, better, its entry.

    The facts of an entry with several sequences are about none of them.
    """
    known = chain.reference or Reference("")
    found = Facts(
        description=chain.description,
        uniprot_id=known.code,
        gene=known.gene,
        organism=known.organism,
        tax_id=known.tax_id,
        sequence_version_date=known.version_date,
    )
    of_entry = {each.name: getattr(entry.facts, each.name) for each in fields(Facts)}
    return replace(found, **_known(of_entry)) if _has_one_sequence(entry) else found


def _has_one_sequence(entry: Entry) -> bool:
    return len({chain.sequence for chain in entry.chains}) == 1


def accession_of(entry: Entry, chain: ModelChain) -> str:
    """Return the UniProt accession of a chain, perhaps with an isoform, or ""."""
    if entry.accession and _has_one_sequence(entry):
        return entry.accession
    return (chain.reference.isoform or chain.reference.accession) if chain.reference else ""


def described_chain(entry: Entry, chain: ModelChain) -> ModelChain:
    """Return a chain of a record with what is known about it."""
    facts = chain_facts(entry, chain)
    return replace(chain, description=facts.description, reference=_reference(entry, chain, facts))


def _reference(entry: Entry, chain: ModelChain, facts: Facts) -> Reference | None:
    """Return the reference of a chain to UniProt, or None."""
    if not entry.accession or not _has_one_sequence(entry):
        return chain.reference
    accession = ids.accession(entry.accession)
    end = len(chain.sequence) if entry.fragment == 1 else 0  # else the first residue is unknown
    placed = entry.chains[0].reference  # annotations may have found its place
    return replace(
        placed or chain.reference or Reference(accession.base, end=end),
        accession=accession.base,
        isoform=str(accession) if accession.isoform else "",
        code=facts.uniprot_id,
        gene=facts.gene,
        organism=facts.organism,
        tax_id=facts.tax_id,
        version_date=facts.sequence_version_date,
    )


def span(chain: ModelChain) -> tuple[int, int]:
    """Return the first and the last residue of a chain in its reference sequence."""
    first = chain.reference.start if chain.reference else 1
    return first, first + len(chain.sequence) - 1


def accession_line(entry: Entry, version: Version) -> str:
    """Return the line of an entry in `accession_ids.csv`.

    It has accession (or the local name), first and last residue, id and version; a complex has one
    line for each sequence.
    """
    lines = []
    for chain in entry.chains:
        first, last = span(chain)
        name = accession_of(entry, chain) or entry.name
        lines.append(f"{safe_cell(name)},{first},{last},{entry.entry_id},{version.number}\n")
    return "".join(lines)
