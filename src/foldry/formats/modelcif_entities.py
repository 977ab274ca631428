"""Chains and entities of ModelCIF: sequences, copies, residue numbers, and UniProt's entries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from jaxtyping import Int

from foldry.formats.cif_table import (
    INAPPLICABLE,
    UNKNOWN,
    Category,
    Coded,
    Column,
    Missing,
    Numbers,
    Rows,
    known_date,
    plain,
)
from foldry.formats.cif_text import wrapped
from foldry.formats.model_record import ModelChain, ModelRecord, Reference
from foldry.formats.sequence import chain_names
from foldry.residues import RESNAMES, RESTYPES_WITH_X, encode_sequence

_WATER: Final = 18.015
_UNK: Final = "(UNK)"
_COMPONENTS: Final = tuple(
    line.split(",")
    for line in """ALANINE,C3 H7 N O2,89.093
ARGININE,C6 H15 N4 O2 1,175.209
ASPARAGINE,C4 H8 N2 O3,132.118
ASPARTIC ACID,C4 H7 N O4,133.103
CYSTEINE,C3 H7 N O2 S,121.158
GLUTAMINE,C5 H10 N2 O3,146.144
GLUTAMIC ACID,C5 H9 N O4,147.129
GLYCINE,C2 H5 N O2,75.067
HISTIDINE,C6 H10 N3 O2 1,156.165
ISOLEUCINE,C6 H13 N O2,131.173
LEUCINE,C6 H13 N O2,131.173
LYSINE,C6 H15 N2 O2 1,147.195
METHIONINE,C5 H11 N O2 S,149.211
PHENYLALANINE,C9 H11 N O2,165.189
PROLINE,C5 H9 N O2,115.130
SERINE,C3 H7 N O3,105.093
THREONINE,C4 H9 N O3,119.119
TRYPTOPHAN,C11 H12 N2 O2,204.225
TYROSINE,C9 H11 N O3,181.189
VALINE,C5 H11 N O2,117.146
UNKNOWN,C4 H9 N O2,103.121""".splitlines()
)
"""Name, formula and weight (Da) of the chemical components, in the order of `RESNAMES`."""


def chain_labels(chains: Sequence[ModelChain]) -> list[str]:
    """Return `label_asym_id` of each copy of each chain: its name, if a label can have it."""
    names = [plain(name) for chain in chains for name in chain.ids]
    if all(map(str.isalnum, names)) and len(set(names)) == len(names):
        return names
    return chain_names(len(names))


@dataclass(frozen=True)
class Layout:
    """The entities and chains of a record.

    Attributes:
        entities: The chains with distinct sequences; the first of several describes all.
        labels: `label_asym_id` of each copy of each chain.
        names: `auth_asym_id` of each copy: its name, unless two become equal in ASCII.
        entity_of: Index of the entity of each copy.
    """

    entities: Sequence[ModelChain]
    labels: Sequence[str]
    names: Sequence[str]
    entity_of: Sequence[int]

    @classmethod
    def of(cls, record: ModelRecord) -> Layout:
        """Return the layout of a record."""
        entities: dict[str, ModelChain] = {}
        for chain in record.chains:
            entities.setdefault(chain.sequence, chain)
        number = {sequence: place for place, sequence in enumerate(entities)}
        names = [plain(name) for chain in record.chains for name in chain.ids]
        labels = chain_labels(record.chains)
        if not all(names) or len(set(names)) < len(names):
            names = labels
        entity_of = [number[chain.sequence] for chain in record.chains for _ in chain.ids]
        return cls(list(entities.values()), labels, names, entity_of)

    @cached_property
    def lengths(self) -> Int[np.ndarray, " K"]:
        """The number of residues of each copy."""
        return np.array([len(self.entities[each].sequence) for each in self.entity_of])

    @cached_property
    def copy(self) -> Int[np.ndarray, " N"]:
        """The copy of each residue."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    @cached_property
    def position(self) -> Int[np.ndarray, " N"]:
        """The position of each residue in its chain, counted from 1."""
        begins = np.cumsum(self.lengths) - self.lengths
        return np.asarray(np.arange(1, len(self.copy) + 1) - begins[self.copy])

    @cached_property
    def component(self) -> Int[np.ndarray, " N"]:
        """The index of each residue in `RESNAMES`."""
        codes = [encode_sequence(each.sequence) for each in self.entities]
        return np.concatenate([codes[each] for each in self.entity_of])

    def of_copies(self, values: Sequence[str | Missing], rows: np.ndarray | slice) -> Coded:
        """Return a column of values of the copies, for these residues."""
        return Coded(values, self.copy[rows])


def entity_categories(
    record: ModelRecord, layout: Layout, of_templates: set[int]
) -> Iterator[Category]:
    """Yield the categories of chains and entities.

    Args:
        record: The record.
        layout: Its layout.
        of_templates: Amino acids of the templates, by code.
    """
    yield from _entities(layout, of_templates)
    yield from _sequences(record, layout)
    yield from _references(record, layout)


def _entities(layout: Layout, of_templates: set[int]) -> Iterator[Category]:
    codes = sorted(set(layout.component.tolist()) | of_templates, key=RESNAMES.__getitem__)
    components, entities = Rows("_chem_comp"), Rows("_entity")
    polymers, targets = Rows("_entity_poly"), Rows("_ma_target_entity")
    for code in codes:
        name, formula, weight = _COMPONENTS[code]
        components.add(
            id=RESNAMES[code],
            type="peptide linking" if RESNAMES[code] == "GLY" else "L-peptide linking",
            name=name,
            formula=formula,
            formula_weight=weight,
            ma_provenance="CCD Core",
        )
    weights = np.array([float(weight) for *_, weight in _COMPONENTS])
    for number, entity in enumerate(layout.entities, start=1):
        copies = [at for at, each in enumerate(layout.entity_of) if each == number - 1]
        weight = weights[encode_sequence(entity.sequence)].sum() - _WATER * (
            len(entity.sequence) - 1
        )
        entities.add(
            id=number,
            type="polymer",
            src_method="man",
            pdbx_description=plain(entity.description),
            formula_weight=f"{weight:.3f}",
            pdbx_number_of_molecules=len(copies),
            details=INAPPLICABLE,
        )
        polymers.add(
            entity_id=number,
            type="polypeptide(L)",
            nstd_linkage="no",
            nstd_monomer="no",
            pdbx_strand_id=",".join(layout.names[at] for at in copies),
            pdbx_seq_one_letter_code=wrapped(entity.sequence.replace("X", _UNK)),
            pdbx_seq_one_letter_code_can=wrapped(entity.sequence),
        )
        origin = "reference database" if entity.reference else "designed"
        targets.add(entity_id=number, data_id=number, origin=origin)
    for rows in (components, entities, polymers, targets):
        yield from rows.category()


def _sequences(record: ModelRecord, layout: Layout) -> Iterator[Category]:
    entity_ids = [number + 1 for number in layout.entity_of]
    lengths = [len(entity.sequence) for entity in layout.entities]
    yield Category(
        "_entity_poly_seq",
        {
            "entity_id": Numbers(np.repeat(np.arange(1, len(lengths) + 1), lengths)),
            "num": Numbers(np.concatenate([np.arange(1, each + 1) for each in lengths])),
            "mon_id": Coded(
                RESNAMES,
                np.concatenate([encode_sequence(each.sequence) for each in layout.entities]),
            ),
            "hetero": Coded(["n"], np.zeros(sum(lengths), np.int64)),
        },
    )
    details = [f"Chain {name}" for name in layout.names]
    asyms: dict[str, Column] = {"id": layout.labels, "entity_id": entity_ids, "details": details}
    yield Category("_struct_asym", asyms)
    instances: dict[str, Column] = {
        "asym_id": layout.labels,
        "entity_id": entity_ids,
        "details": details,
    }
    yield Category("_ma_target_entity_instance", instances)
    monomer = Coded(RESNAMES, layout.component)
    numbers = Numbers(record.structure.residue_number)
    everything = slice(None)
    yield Category(
        "_pdbx_poly_seq_scheme",
        {
            "asym_id": layout.of_copies(layout.labels, everything),
            "entity_id": Numbers(np.array(entity_ids)[layout.copy]),
            "seq_id": Numbers(layout.position),
            "mon_id": monomer,
            "pdb_seq_num": numbers,
            "auth_seq_num": numbers,
            "pdb_mon_id": monomer,
            "auth_mon_id": monomer,
            "pdb_strand_id": layout.of_copies(layout.names, everything),
            "pdb_ins_code": insertion_codes(record, INAPPLICABLE),
            "hetero": Coded(["n"], np.zeros(len(numbers), np.int64)),
        },
    )


def insertion_codes(record: ModelRecord, missing: Missing) -> Coded:
    names, codes = np.unique(record.structure.insertion_code, return_inverse=True)
    return Coded([plain(name) or missing for name in names.tolist()], codes)


def _references(record: ModelRecord, layout: Layout) -> Iterator[Category]:
    """Yield what is known of UniProt's entries, in the two ways of PDBx and ModelCIF."""
    entities, chains, details = (
        Rows("_struct_ref"),
        Rows("_struct_ref_seq"),
        Rows("_ma_target_ref_db_details"),
    )
    numbers = record.structure.residue_number
    ends = np.cumsum(layout.lengths).tolist()
    for number, entity in enumerate(layout.entities, start=1):
        found = entity.reference
        if found is None:
            continue
        last = found.end or UNKNOWN
        shared = {"db_code": plain(found.code), "db_name": "UNP"}
        ref = entities.add(
            id=len(entities) + 1,
            entity_id=number,
            **shared,
            pdbx_db_accession=plain(found.accession),
            pdbx_db_isoform=plain(found.isoform),
            pdbx_align_begin=found.start,
            pdbx_align_end=last,
            pdbx_seq_one_letter_code=wrapped(entity.sequence),
        )
        details.add(
            target_entity_id=number,
            **shared,
            db_name_other_details=UNKNOWN,
            db_accession=plain(found.accession),
            seq_db_isoform=plain(found.isoform),
            seq_db_align_begin=found.start,
            seq_db_align_end=last,
            ncbi_taxonomy_id=UNKNOWN if found.tax_id is None else found.tax_id,
            organism_scientific=plain(found.organism),
            gene_name=plain(found.gene),
            seq_db_sequence_version_date=known_date(found.version_date),
            seq_db_sequence_checksum=plain(found.checksum),
            is_primary="yes",
        )
        for at, end in enumerate(ends):
            if layout.entity_of[at] == number - 1:
                chains.add(
                    align_id=len(chains) + 1,
                    ref_id=ref,
                    pdbx_PDB_id_code=plain(record.entry_id),
                    pdbx_strand_id=layout.names[at],
                    seq_align_beg=1,
                    seq_align_end=len(entity.sequence),
                    pdbx_db_accession=plain(found.accession),
                    db_align_beg=found.start,
                    db_align_end=last,
                    pdbx_auth_seq_align_beg=int(numbers[end - len(entity.sequence)]),
                    pdbx_auth_seq_align_end=int(numbers[end - 1]),
                )
    for rows in (entities, chains, details):
        yield from rows.category()


def cross_references(
    references: Sequence[Reference | None], layout: Layout, row: Int[np.ndarray, " A"]
) -> dict[str, Column]:
    """Return the columns that state UniProt's residue of each atom."""
    start = np.array([each.start if each else 1 for each in references])
    number = start[layout.copy] + layout.position - 1
    known = np.array([each is not None for each in references])[layout.copy]
    names, codes = np.unique(np.where(known, number, 0), return_inverse=True)
    letter = np.where(known, layout.component, len(RESTYPES_WITH_X))
    accessions = [plain(each.accession) if each else UNKNOWN for each in references]
    return {
        "pdbx_sifts_xref_db_acc": layout.of_copies(accessions, row),
        "pdbx_sifts_xref_db_name": layout.of_copies(
            ["UNP" if each else UNKNOWN for each in references], row
        ),
        "pdbx_sifts_xref_db_num": Coded(
            [str(name) if name else UNKNOWN for name in names.tolist()], codes[row]
        ),
        "pdbx_sifts_xref_db_res": Coded([*RESTYPES_WITH_X, UNKNOWN], letter[row]),
    }
