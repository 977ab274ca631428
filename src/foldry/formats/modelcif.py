"""Models → ModelCIF, as text and as BinaryCIF.

The categories follow the dictionary ModelCIF 1.4.9 and the files of the AlphaFold database. Both
formats are made of one table and say the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Final

import numpy as np

from foldry.formats.binarycif_write import binarycif
from foldry.formats.cif_table import (
    INAPPLICABLE,
    UNKNOWN,
    Category,
    Coded,
    Column,
    Missing,
    Numbers,
    Rows,
    Value,
    plain,
    single_row,
)
from foldry.formats.cif_text import cif_text
from foldry.formats.digits import in_units
from foldry.formats.model_record import ModelRecord
from foldry.formats.modelcif_entities import (
    Layout,
    cross_references,
    entity_categories,
    insertion_codes,
)
from foldry.formats.modelcif_history import history_categories
from foldry.formats.modelcif_templates import Target, template_categories
from foldry.measures import MEASURES, Measure
from foldry.residues import ATOM37, RESNAMES

PLACES: Final = 3
"""Decimals of coordinates, Å."""
PLDDT_PLACES: Final = 2
SCORE_PLACES: Final = 4
DICTIONARY: Final = {
    "dict_location": "https://raw.githubusercontent.com/ihmwg/ModelCIF/fece26d/dist/mmcif_ma.dic",
    "dict_name": "mmcif_ma.dic",
    "dict_version": "1.4.9",
}
CONFORMATIONS: Final = {
    "H": "HELX_RH_AL_P",
    "G": "HELX_RH_3T_P",
    "I": "HELX_RH_PI_P",
    "P": "HELX_LH_PP_P",
    "E": "STRN",
    "B": "STRN",
    "T": "TURN_TY1_P",
    "S": "BEND",
}
"""Types of conformation by the letters of DSSP, as DSSP names them."""
BRIDGE: Final = "isolated bridge"
"""What distinguishes B from E among the strands."""


def to_modelcif(record: ModelRecord) -> str:
    """Return a model as ModelCIF text: Å with 3 decimals, pLDDT as `B_iso` and as quality metrics.

    `label_seq_id` counts residues from 1 in every chain; `auth_seq_id` has the numbers of the
    structure. Copies of a chain share an entity. Texts become one line of ASCII.

    Raises:
        InputError: A coordinate or a pLDDT is not finite.

    Example:
        >>> from foldry.formats.coordinates import read_structure, to_pdb
        >>> from foldry.formats.modelcif_read import read_modelcif
        >>> model = to_pdb(read_structure("examples/kunitz/1adz.cif"))
        >>> to_modelcif(read_modelcif(model.encode(), "1adz.pdb")).splitlines()[0]
        'data_1adz'
    """
    return cif_text(_block(record), _categories(record))


def to_binarycif(record: ModelRecord) -> bytes:
    """Return a model as BinaryCIF, with the same categories as `to_modelcif`.

    Raises:
        InputError: As for `to_modelcif`.
    """
    return binarycif(_block(record), _categories(record))


def metric_name(measure: Measure) -> str:
    """Return the name of a measure in a file."""
    return plain(measure.name)


def metric_type(measure: Measure) -> str:
    """Return the type of a measure in the dictionary of ModelCIF."""
    return measure.kind or "other"


def _block(record: ModelRecord) -> str:
    return plain(record.entry_id).replace(" ", "_") or "model"


def _categories(record: ModelRecord) -> Iterator[Category]:
    layout = Layout.of(record)
    entry = plain(record.entry_id)
    yield single_row("_entry", id=entry)
    yield single_row(
        "_struct",
        entry_id=entry,
        title=plain(record.title),
        pdbx_model_details=INAPPLICABLE,
        pdbx_structure_determination_methodology="computational",
    )
    yield single_row("_audit_conform", **DICTIONARY)
    yield from history_categories(record, len(layout.entities))
    targets = [
        Target(label, layout.entities[number].sequence, record.templates.get(chain_id, ()))
        for label, number, chain_id in zip(
            layout.labels,
            layout.entity_of,
            [each for chain in record.chains for each in chain.ids],
            strict=True,
        )
    ]
    templates = template_categories(targets, first_data=len(layout.entities) + 2)
    yield from _data(record, layout, templates.data)
    yield from entity_categories(record, layout, templates.components)
    yield from templates.categories
    if record.secondary_structure:
        yield from _secondary_structure(record, layout)
    yield from _metrics(record, layout)
    yield from _atoms(record, layout)


def _data(
    record: ModelRecord, layout: Layout, others: Sequence[tuple[str, str]]
) -> Iterator[Category]:
    """Yield what went into the model: the targets, the model itself, and the data of templates."""
    data, groups = Rows("_ma_data"), Rows("_ma_data_group")
    described = [
        *((plain(entity.description), "target") for entity in layout.entities),
        (plain(record.model_name) or "model", "model coordinates"),
        *others,
    ]
    for name, kind in described:
        data.add(
            id=len(data) + 1, name=name, content_type=kind, content_type_other_details=INAPPLICABLE
        )
    model = len(layout.entities) + 1
    for number in range(1, model + 1):
        groups.add(ordinal_id=number, group_id=1 if number < model else 2, data_id=number)
    yield from data.category()
    yield from groups.category()
    yield single_row(
        "_ma_model_list",
        ordinal_id=1,
        model_name=plain(record.model_name),
        data_id=model,
        model_type="Ab initio model",
        model_type_other_details=INAPPLICABLE,
    )
    yield single_row("_ma_model_group", id=1, name="Prediction", details=INAPPLICABLE)
    yield single_row("_ma_model_group_link", group_id=1, model_id=1)


def _secondary_structure(record: ModelRecord, layout: Layout) -> Iterator[Category]:
    """Yield the helices, strands, turns and bends: runs of one letter in one chain."""
    rows, types, counts = Rows("_struct_conf"), dict[str, None](), dict[str, int]()
    structure = record.structure
    copies, first = layout.copy.tolist(), 0
    for (copy, letter), group in groupby(zip(copies, record.secondary_structure, strict=True)):
        last = first + len(list(group)) - 1
        if kind := CONFORMATIONS.get(letter):
            types[kind] = None
            counts[kind] = counts.get(kind, 0) + 1
            values: dict[str, Value] = {"conf_type_id": kind, "id": f"{kind}{counts[kind]}"}
            for end, row in (("beg", first), ("end", last)):
                component = RESNAMES[layout.component[row]]
                values |= {
                    f"{end}_label_asym_id": layout.labels[copy],
                    f"{end}_label_comp_id": component,
                    f"{end}_label_seq_id": int(layout.position[row]),
                    f"{end}_auth_asym_id": layout.names[copy],
                    f"{end}_auth_comp_id": component,
                    f"{end}_auth_seq_id": int(structure.residue_number[row]),
                    f"pdbx_{end}_PDB_ins_code": plain(str(structure.insertion_code[row])),
                }
            rows.add(**values, details=BRIDGE if letter == "B" else UNKNOWN)
        first = last + 1
    yield from rows.category()
    if types:
        criteria = {"id": list(types), "criteria": ["DSSP"] * len(types)}
        yield Category("_struct_conf_type", criteria)


def _metrics(record: ModelRecord, layout: Layout) -> Iterator[Category]:
    metrics, whole = Rows("_ma_qa_metric"), Rows("_ma_qa_metric_global")

    def declare(measure: Measure, mode: str) -> int:
        kind = metric_type(measure)
        return metrics.add(
            id=len(metrics) + 1,
            name=metric_name(measure),
            description=plain(", ".join(filter(None, (measure.meaning, measure.unit)))),
            type=kind,
            mode=mode,
            type_other_details=plain(measure.meaning) if kind == "other" else INAPPLICABLE,
            software_group_id=UNKNOWN,
        )

    plddt = in_units(record.plddt, PLDDT_PLACES)
    scores = {"mean_plddt": float(plddt.mean()) / 10**PLDDT_PLACES, **record.scores}
    for key, score in scores.items():
        if np.isfinite(score):
            places = PLDDT_PLACES if key == "mean_plddt" else SCORE_PLACES
            number = declare(MEASURES[key], "global")
            value = f"{score:.{places}f}"
            whole.add(ordinal_id=len(whole) + 1, model_id=1, metric_id=number, metric_value=value)
    local = declare(MEASURES["plddt"], "local")
    constant = np.ones(len(plddt), np.int64)
    of_residues: dict[str, Column] = {
        "ordinal_id": Numbers(np.arange(1, len(plddt) + 1)),
        "model_id": Numbers(constant),
        "label_asym_id": layout.of_copies(layout.labels, slice(None)),
        "label_seq_id": Numbers(layout.position),
        "label_comp_id": Coded(RESNAMES, layout.component),
        "metric_id": Numbers(local * constant),
        "metric_value": Numbers(plddt, PLDDT_PLACES),
    }
    of_chains, of_pairs = Rows("_ma_qa_metric_feature"), Rows("_ma_qa_metric_feature_pairwise")
    for metric in record.of_chains:
        one = metric.values.ndim == 1
        number = declare(metric.measure, "per-feature" if one else "per-feature-pair")
        rows = of_chains if one else of_pairs
        for place in np.argwhere(np.isfinite(metric.values)).tolist():
            named = zip(
                ("feature_id",) if one else ("feature_id_1", "feature_id_2"), place, strict=True
            )
            rows.add(
                ordinal_id=len(rows) + 1,
                model_id=1,
                **{name: copy + 1 for name, copy in named},
                metric_id=number,
                metric_value=f"{metric.values[tuple(place)]:.{SCORE_PLACES}f}",
            )
    if record.of_chains:
        yield from _features(layout)
    yield from metrics.category()
    yield from whole.category()
    yield Category("_ma_qa_metric_local", of_residues)
    yield from of_chains.category()
    yield from of_pairs.category()


def _features(layout: Layout) -> Iterator[Category]:
    """Yield the chains as features, to which the measures of chains refer."""
    numbers = list(range(1, len(layout.labels) + 1))
    yield Category(
        "_ma_feature_list",
        {
            "feature_id": numbers,
            "feature_type": ["entity instance"] * len(numbers),
            "entity_type": ["polymer"] * len(numbers),
            "details": [f"Chain {name}" for name in layout.names],
        },
    )
    columns: Mapping[str, Column] = {
        "ordinal_id": numbers,
        "feature_id": numbers,
        "label_asym_id": layout.labels,
    }
    yield Category("_ma_entity_instance_feature", columns)


def _atoms(record: ModelRecord, layout: Layout) -> Iterator[Category]:
    structure = record.structure
    row, slot = np.nonzero(structure.atom_mask)
    if not len(row):
        return
    elements = sorted({name[0] for name in ATOM37})
    element = np.array([elements.index(name[0]) for name in ATOM37])[slot]
    used = [elements[code] for code in np.unique(element).tolist()]
    yield Category("_atom_type", {"symbol": used})
    places = in_units(structure.atom_positions[row, slot], PLACES)
    monomer = Coded(RESNAMES, layout.component[row])
    names = Coded(ATOM37, slot)

    def constant(value: str | Missing) -> Coded:
        return Coded([value], np.zeros(len(row), np.int64))

    insertion = insertion_codes(record, UNKNOWN)
    entity_ids = np.array(layout.entity_of) + 1
    columns: dict[str, Column] = {
        "group_PDB": constant("ATOM"),
        "id": Numbers(np.arange(1, len(row) + 1)),
        "type_symbol": Coded(elements, element),
        "label_atom_id": names,
        "label_alt_id": constant(INAPPLICABLE),
        "label_comp_id": monomer,
        "label_asym_id": layout.of_copies(layout.labels, row),
        "label_entity_id": Numbers(entity_ids[layout.copy[row]]),
        "label_seq_id": Numbers(layout.position[row]),
        "pdbx_PDB_ins_code": Coded(insertion.names, insertion.codes[row]),
        "Cartn_x": Numbers(places[:, 0], PLACES),
        "Cartn_y": Numbers(places[:, 1], PLACES),
        "Cartn_z": Numbers(places[:, 2], PLACES),
        "occupancy": Numbers(np.full(len(row), 100), 2),
        "B_iso_or_equiv": Numbers(
            in_units(structure.b_factor[row, slot], PLDDT_PLACES), PLDDT_PLACES
        ),
        "pdbx_formal_charge": constant(UNKNOWN),
        "auth_seq_id": Numbers(structure.residue_number[row]),
        "auth_comp_id": monomer,
        "auth_asym_id": layout.of_copies(layout.names, row),
        "auth_atom_id": names,
        "pdbx_PDB_model_num": Numbers(np.ones(len(row), np.int64)),
    }
    references = [layout.entities[each].reference for each in layout.entity_of]
    if any(references):
        columns |= cross_references(references, layout, row)
    yield Category("_atom_site", columns)
