"""ModelCIF and other files of predictions → ModelRecord.

Files of `foldry.formats.modelcif` come back exactly, except that templates have sequences but no
atoms. Of the files of other programs, everything that they state in the categories of PDBx and
ModelCIF is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from itertools import groupby
from math import isfinite, prod
from pathlib import Path
from typing import Final

import gemmi
import numpy as np
from gemmi.cif import as_number
from jaxtyping import Float

from foldry.errors import InputError
from foldry.formats.cif_read import first, keyed, one_line, rows, whole
from foldry.formats.coordinates import (
    STRUCTURE_CATEGORIES,
    damaged,
    max_residues,
    parse_deposition,
    text_or_block,
)
from foldry.formats.model_record import ChainMetric, ModelChain, ModelRecord, Reference
from foldry.formats.modelcif import BRIDGE, CONFORMATIONS, metric_name, metric_type
from foldry.formats.modelcif_atoms import FileChain, read_atoms
from foldry.formats.modelcif_read_history import read_history, read_templates
from foldry.formats.qa_metric import OTHER, local_plddt
from foldry.measures import MEASURES
from foldry.residues import CA
from foldry.store.files import stem
from foldry.structure import Structure

_CATEGORIES: Final = STRUCTURE_CATEGORIES | {
    *("_audit_author", "_entry", "_ma_alignment", "_ma_alignment_details", "_ma_data"),
    *("_ma_entity_instance_feature", "_ma_model_list", "_ma_protocol_step"),
    *("_ma_qa_metric_feature", "_ma_qa_metric_feature_pairwise", "_ma_qa_metric_global"),
    *("_ma_software_group", "_ma_software_parameter", "_ma_target_ref_db_details"),
    *("_ma_target_template_poly_mapping", "_ma_template_details", "_ma_template_poly"),
    *("_ma_template_poly_segment", "_ma_template_ref_db_details", "_pdbx_data_usage"),
    *("_pdbx_poly_seq_scheme", "_software", "_struct_conf", "_struct_ref", "_struct_ref_seq"),
}
_UNIPROT: Final = "UNP"
_LETTERS: Final = {kind: letter for letter, kind in reversed(CONFORMATIONS.items())}
_MEASURES: Final = {
    (metric_name(each), metric_type(each)): each
    for key, each in reversed(MEASURES.items())
    if key != "plddt"
}
"""Measures of the whole model or of chains, by name and type."""
_AXES: Final = {"per-feature": 1, "per-feature-pair": 2}
"""Number of chains that a value describes, by the mode of its metric."""
_MAX_VALUES: Final = 10_000_000
"""Limit on the measures of chains; those of larger files are left out."""
_SAME: Final = 0.05
"""Largest difference between a B factor and the pLDDT that is listed for its residue."""


def read_modelcif(data: bytes, source: str) -> ModelRecord:
    """Return what a file of a prediction says.

    A record that is written again, as text or as BinaryCIF, gives the same bytes as the record from
    which Foldry wrote the file. pLDDT is that which is listed for each residue, otherwise the
    B factor of Cα; both are 0–100.

    Args:
        data: Content of an mmCIF, BinaryCIF or PDB file.
        source: Name of the file in error messages.

    Raises:
        InputError: The file is damaged, has no protein, or has no pLDDT.
    """
    try:
        return _read(data, source)
    except InputError:
        raise
    except (RuntimeError, ValueError, IndexError) as error:  # gemmi, or columns of unequal length
        raise damaged(source, error) from None


def _read(data: bytes, source: str) -> ModelRecord:
    found = text_or_block(data, source, _CATEGORIES)
    block = gemmi.cif.Block("") if isinstance(found, str) else found
    entry_id = first(block, "_entry", "id") or block.name or stem(Path(source))
    listed = local_plddt(block)
    read = read_atoms(block, entry_id, max_residues(data)) if listed else None
    structure, chains = read or _other_atoms(data, source, block, entry_id)
    plddt = _plddt(structure, chains, listed)
    if read and _differ(structure, plddt):
        structure, chains = _other_atoms(data, source, block, entry_id)
    if not listed and plddt.max(initial=0) <= 1:  # shares, as some programs write them
        plddt, structure = 100 * plddt, replace(structure, b_factor=100 * structure.b_factor)
    if not ((plddt >= 0) & (plddt <= 100)).all():
        what = "has B factors below 0 or above 100, which are not pLDDT"
        raise InputError(what, "give a prediction", where=source)
    scores, of_chains = _scores(block, chains)
    history = read_history(block)
    return ModelRecord(
        entry_id=entry_id,
        title=one_line(first(block, "_struct", "title")),
        authors=tuple(one_line(name) for (name,) in rows(block, "_audit_author", "name")),
        structure=structure,
        chains=_model_chains(block, chains),
        plddt=plddt,
        scores=scores,
        of_chains=of_chains,
        secondary_structure=_secondary_structure(block, chains),
        templates=read_templates(block, chains),
        **{each.name: getattr(history, each.name) for each in fields(history)},
    )


def _other_atoms(
    data: bytes, source: str, block: gemmi.cif.Block, name: str
) -> tuple[Structure, list[FileChain]]:
    """Return the proteins of a file of another program, in the order of the file."""
    deposition = parse_deposition(data, source)
    if deposition.b_factors == OTHER:
        what = "has B factors of an experiment or of another score, and no pLDDT"
        raise InputError(what, "give a prediction", where=source)
    labels: dict[str, tuple[str, str]] = {}
    scheme = rows(block, "_pdbx_poly_seq_scheme", "pdb_strand_id", "asym_id", "entity_id")
    site = rows(block, "_atom_site", "auth_asym_id", "label_asym_id", "label_entity_id")
    for strand, asym, entity in (*scheme, *site):
        labels.setdefault(strand or asym, (asym, entity))
    chains = [
        FileChain(chain, *labels.get(chain, (chain, "")), sequence)
        for chain, sequence in deposition.chain_to_seqres.items()
    ]
    parts = list(deposition.chains.values())
    arrays = (
        np.concatenate([getattr(part, each.name) for part in parts])
        for each in fields(Structure)[1:]
    )
    return Structure(name, *arrays), chains


def _plddt(
    structure: Structure,
    chains: Sequence[FileChain],
    listed: Mapping[tuple[str, str], float],
) -> Float[np.ndarray, " N"]:
    """Return the pLDDT that is listed for each residue, otherwise the B factor of Cα or any atom.

    Residues without both have 0.
    """
    b_factor, mask = structure.b_factor, structure.atom_mask
    found = np.where(mask[:, CA], b_factor[:, CA], b_factor.max(axis=1, where=mask, initial=0))
    places = (
        (chain.label, str(number))
        for chain in chains
        for number in range(1, len(chain.sequence) + 1)
    )
    for row, place in enumerate(places if listed else ()):
        found[row] = listed.get(place, found[row])
    return found


def _differ(structure: Structure, plddt: Float[np.ndarray, " N"]) -> bool:
    """Return whether B factors of Cα atoms are not the pLDDT of their residues."""
    far = np.abs(structure.b_factor[:, CA] - plddt) > _SAME
    return bool((far & structure.atom_mask[:, CA]).any())


def _model_chains(block: gemmi.cif.Block, chains: Sequence[FileChain]) -> tuple[ModelChain, ...]:
    """Return the chains; neighbours of one entity are copies."""
    described = keyed(block, "_entity", "id", "pdbx_description")
    references = _references(block)
    return tuple(
        ModelChain(
            tuple(chain.name for chain in copies),
            sequence,
            one_line(described.get(entity, ("",))[0]),
            references.get(entity),
        )
        for (entity, sequence), group in groupby(chains, lambda each: (each.entity, each.sequence))
        for copies in [list(group)]
    )


def _references(block: gemmi.cif.Block) -> dict[str, Reference]:
    """Return UniProt's entry of each entity that has one."""
    found: dict[str, Reference] = {}
    tags = (
        *("target_entity_id", "db_name", "db_accession", "db_code", "seq_db_isoform"),
        *("seq_db_align_begin", "seq_db_align_end", "gene_name", "organism_scientific"),
        *("ncbi_taxonomy_id", "seq_db_sequence_checksum", "seq_db_sequence_version_date"),
    )
    for row in rows(block, "_ma_target_ref_db_details", *tags):
        entity, database, accession, code, isoform, start, end, gene, organism, tax, *rest = row
        if database == _UNIPROT and accession:
            reference = Reference(
                accession,
                code,
                isoform,
                whole(start) or 1,
                whole(end) or 0,
                gene,
                organism,
                whole(tax),
                *rest,
            )
            found.setdefault(entity, reference)
    aligned = keyed(block, "_struct_ref_seq", "ref_id", "db_align_beg", "db_align_end")
    for entity, database, accession, code, isoform, ref in rows(
        block,
        "_struct_ref",
        "entity_id",
        "db_name",
        "pdbx_db_accession",
        "db_code",
        "pdbx_db_isoform",
        "id",
    ):
        if database == _UNIPROT and accession:
            first_residue, last = map(whole, aligned.get(ref, ("", "")))
            reference = Reference(accession, code, isoform, first_residue or 1, last or 0)
            found.setdefault(entity, reference)
    return found


def _scores(
    block: gemmi.cif.Block, chains: Sequence[FileChain]
) -> tuple[dict[str, float], tuple[ChainMetric, ...]]:
    """Return the measures of the whole model by key, and those of chains and pairs of chains."""
    measures = {
        metric: (_MEASURES[name, kind], mode)
        for metric, name, kind, mode in rows(block, "_ma_qa_metric", "id", "name", "type", "mode")
        if (name, kind) in _MEASURES
    }
    scores: dict[str, float] = {}
    for metric, text in rows(block, "_ma_qa_metric_global", "metric_id", "metric_value"):
        value = as_number(text)
        if metric in measures and isfinite(value) and measures[metric][0].key != "mean_plddt":
            scores.setdefault(measures[metric][0].key, value)
    place = {chain.label: number for number, chain in enumerate(chains)}
    features = keyed(block, "_ma_entity_instance_feature", "feature_id", "label_asym_id")
    shapes = {
        metric: (len(chains),) * _AXES[mode]
        for metric, (_, mode) in measures.items()
        if mode in _AXES
    }
    if sum(map(prod, shapes.values())) > _MAX_VALUES:
        shapes = {}
    values = {metric: np.full(shape, np.nan) for metric, shape in shapes.items()}
    single = rows(block, "_ma_qa_metric_feature", "metric_id", "metric_value", "feature_id")
    tags = ("metric_id", "metric_value", "feature_id_1", "feature_id_2")
    for metric, text, *ids in (*single, *rows(block, "_ma_qa_metric_feature_pairwise", *tags)):
        at = tuple(place.get(features.get(each, ("",))[0], -1) for each in ids)
        if metric in values and values[metric].ndim == len(at) and min(at) >= 0:
            values[metric][at] = as_number(text)
    of_chains = (ChainMetric(measures[metric][0], each) for metric, each in values.items())
    return scores, tuple(of_chains)


def _secondary_structure(block: gemmi.cif.Block, chains: Sequence[FileChain]) -> str:
    """Return a letter of DSSP for each residue, "-" for a coil; "" if the file states none."""
    whole_chains = [["-"] * len(chain.sequence) for chain in chains]
    letters = dict(zip((chain.label for chain in chains), whole_chains, strict=True))
    tags = ("conf_type_id", "details", "beg_label_asym_id", "beg_label_seq_id", "end_label_seq_id")
    found = rows(block, "_struct_conf", *tags)
    left = 4 * sum(map(len, whole_chains))  # a file of long ones would take hours
    for kind, details, label, *ends in found:
        begin, end = (whole(text) or 0 for text in ends)
        within = 1 <= begin <= end <= len(letters.get(label, ()))
        if kind in _LETTERS and within and end - begin < left:
            letter = "B" if details == BRIDGE else _LETTERS[kind]
            letters[label][begin - 1 : end] = letter * (end - begin + 1)
            left -= end - begin + 1
    return "".join(map("".join, whole_chains)) if found else ""
