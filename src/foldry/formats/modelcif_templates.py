"""Templates in ModelCIF: known structures, their alignments to the chains, and their identities."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from foldry.formats.cif_table import (
    INAPPLICABLE,
    UNKNOWN,
    Category,
    Rows,
    known_date,
    plain,
    single_row,
)
from foldry.query import Hit
from foldry.residues import encode_sequence

TITLE: Final = "Template "
"""What stands before the name of a template."""
_PDB: Final = re.compile("[0-9][A-Za-z0-9]{3}|pdb_[0-9a-z]{8}")
_GAP: Final = "-"
_DENOMINATOR: Final = "Number of aligned residue pairs (not including the gaps)"


@dataclass(frozen=True)
class Target:
    """A chain with its templates.

    Attributes:
        label: `label_asym_id` of the chain.
        sequence: Its sequence.
        hits: Its templates with their structures.
    """

    label: str
    sequence: str
    hits: Sequence[Hit]


@dataclass(frozen=True)
class Templates:
    """The templates of a file.

    Attributes:
        categories: Their categories; empty without templates.
        data: Name and type of each piece of data.
        components: The amino acids of the templates, by code.
    """

    categories: Sequence[Category]
    data: Sequence[tuple[str, str]]
    components: set[int]


class _Tables:
    """The categories of templates, which are collected row by row."""

    def __init__(self, first_data: int) -> None:
        self.details = Rows("_ma_template_details")
        self.poly = Rows("_ma_template_poly")
        self.segments = Rows("_ma_template_poly_segment")
        self.references = Rows("_ma_template_ref_db_details")
        self.mapping = Rows("_ma_target_template_poly_mapping")
        self.info = Rows("_ma_alignment_info")
        self.alignments = Rows("_ma_alignment_details")
        self.rows = Rows("_ma_alignment")
        self._first_data = first_data
        self.data: list[tuple[str, str]] = []
        self.components: set[int] = set()

    def add(self, target: Target, hit: Hit) -> None:
        """Add one template of a chain, unless its pairs are not in the order of both sequences."""
        pairs = hit.pairs[np.argsort(hit.pairs[:, 0], kind="stable")]
        if not len(pairs) or (np.diff(pairs, axis=0) < 1).any():
            return
        structure = hit.known_structure()
        self.components |= set(structure.aatype.tolist())
        sequence = structure.sequence
        name = plain(hit.name)
        entry, _, chain = name.rpartition("_")
        number = len(self.details) + 1
        self.details.add(
            ordinal_id=number,
            template_id=number,
            template_origin="reference database",
            template_entity_type="polymer",
            template_trans_matrix_id=1,
            template_data_id=self._datum(TITLE + name, "template structure"),
            target_asym_id=target.label,
            template_label_asym_id=chain.strip(),
            template_label_entity_id=INAPPLICABLE,
            template_model_num=1,
            template_auth_asym_id=chain.strip(),
        )
        self.poly.add(
            template_id=number,
            seq_one_letter_code=sequence.replace("X", "(UNK)"),
            seq_one_letter_code_can=sequence,
        )
        (first, start), (last, end) = (pairs[0] + 1).tolist(), (pairs[-1] + 1).tolist()
        self.segments.add(
            id=number, template_id=number, residue_number_begin=start, residue_number_end=end
        )
        is_pdb = _PDB.fullmatch(entry)
        self.references.add(
            template_id=number,
            db_name="PDB" if is_pdb else "Other",
            db_name_other_details=INAPPLICABLE if is_pdb else "File of a structure",
            db_accession_code=entry.strip(),
            db_version_date=known_date(hit.release_date or ""),
        )
        self.mapping.add(
            id=number,
            template_segment_id=number,
            target_asym_id=target.label,
            target_seq_id_begin=first,
            target_seq_id_end=last,
        )
        codes = encode_sequence(target.sequence)[pairs[:, 0]]
        identity = float((codes == structure.aatype[pairs[:, 1]]).mean())
        here, there = _gapped(target.sequence, sequence, pairs)
        self._align(number, target.label, here, there, identity)

    def _align(self, number: int, label: str, here: str, there: str, identity: float) -> None:
        self.info.add(
            alignment_id=number,
            data_id=self._datum(f"Alignment {number}", "target-template alignment"),
            software_group_id=UNKNOWN,
            alignment_length=len(here),
            alignment_type="target-template pairwise alignment",
            alignment_mode="local",
        )
        self.alignments.add(
            ordinal_id=number,
            alignment_id=number,
            template_segment_id=number,
            target_asym_id=label,
            percent_sequence_identity=f"{100 * identity:.1f}",
            sequence_identity_denominator=_DENOMINATOR,
        )
        for flag, row in enumerate((here, there), start=1):
            self.rows.add(
                ordinal_id=len(self.rows) + 1,
                alignment_id=number,
                target_template_flag=flag,
                sequence=row,
            )

    def _datum(self, name: str, kind: str) -> int:
        """Add a piece of data and return its number."""
        self.data.append((name, kind))
        return self._first_data + len(self.data) - 1


def template_categories(targets: Iterable[Target], first_data: int) -> Templates:
    """Return the templates of the chains.

    Args:
        targets: The chains.
        first_data: Number of the first piece of data.
    """
    tables = _Tables(first_data)
    for target in targets:
        for hit in target.hits:
            tables.add(target, hit)
    if not len(tables.details):
        return Templates((), (), set())
    axes = (1, 2, 3)
    matrix = {f"rot_matrix[{i}][{j}]": f"{float(i == j)}" for j in axes for i in axes}
    vector = {f"tr_vector[{i}]": "0.0" for i in axes}
    categories = [single_row("_ma_template_trans_matrix", id=1, **matrix, **vector)]
    categories += [
        category
        for rows in (
            tables.details,
            tables.poly,
            tables.segments,
            tables.references,
            tables.mapping,
            tables.info,
            tables.alignments,
            tables.rows,
        )
        for category in rows.category()
    ]
    return Templates(categories, tables.data, tables.components)


def _gapped(target: str, template: str, pairs: np.ndarray) -> tuple[str, str]:
    """Return both sequences from the first to the last aligned residue, with gaps."""
    ours, theirs = [target[pairs[0, 0]]], [template[pairs[0, 1]]]
    for before, (here, there) in zip(pairs[:-1].tolist(), pairs[1:].tolist(), strict=True):
        skipped, left = target[before[0] + 1 : here], template[before[1] + 1 : there]
        ours += [skipped, _GAP * len(left), target[here]]
        theirs += [_GAP * len(skipped), left, template[there]]
    return "".join(ours), "".join(theirs)
