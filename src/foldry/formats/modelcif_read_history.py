"""How a model was made and may be used, read from ModelCIF: software, licence, dates, templates."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import gemmi
import numpy as np

from foldry.formats.cif_read import keyed, one_line, rows, whole
from foldry.formats.coordinates import is_date
from foldry.formats.model_record import Step
from foldry.formats.modelcif_atoms import FileChain
from foldry.formats.modelcif_history import CC_BY, CC_BY_URL, CREATED, NO_SOFTWARE
from foldry.formats.modelcif_templates import TITLE
from foldry.query import Hit
from foldry.residues import encode_sequence
from foldry.structure import Structure

_REVISIONS: Final = "_pdbx_audit_revision_history"
MAX_LETTERS: Final = 200_000
"""Limit on the letters of all templates of a file; each takes a kilobyte."""
_CC_BY: Final = re.compile(r"CC[ -]BY[ -]4\.0", re.IGNORECASE)


@dataclass(frozen=True)
class History:
    """How a model was made; the attributes are those of `ModelRecord`."""

    prediction: Step
    relaxation: Step | None
    inputs: str
    created: str
    version: int | None
    model_name: str
    licence: str
    notice: str


def read_history(block: gemmi.cif.Block) -> History:
    """Return how a model was made and may be used."""
    prediction, relaxation, inputs = _steps(block)
    parameters = dict(prediction.parameters)
    dates = [each for (each,) in rows(block, _REVISIONS, "revision_date") if is_date(each)]
    created = parameters.pop(CREATED, f"{max(dates)}T00:00:00Z" if dates else "")
    versions = [whole(text) for (text,) in rows(block, _REVISIONS, "major_revision")]
    names = rows(block, "_ma_model_list", "model_group_name", "model_name")
    licence, notice = _usage(block)
    return History(
        Step(prediction.versions, parameters),
        relaxation,
        inputs,
        str(created),
        max((version for version in versions if version is not None), default=None),
        next((group or name for group, name in names), ""),
        licence,
        notice,
    )


def _steps(block: gemmi.cif.Block) -> tuple[Step, Step | None, str]:
    """Return the step of the prediction, that of the relaxation, and the details of the first."""
    software = keyed(block, "_software", "pdbx_ordinal", "name", "version")
    parameters: dict[str, dict[str, object]] = {}
    table = rows(block, "_ma_software_parameter", "group_id", "name", "data_type", "value")
    for group, name, kind, value in table:
        parameters.setdefault(group, {})[name] = _typed(kind, value)
    versions: dict[str, dict[str, str]] = {}
    values: dict[str, dict[str, object]] = {}
    table = rows(block, "_ma_software_group", "group_id", "software_id", "parameter_group_id")
    for group, package, of_package in table:
        versions.setdefault(group, {}).update(_version(software.get(package, ("", ""))))
        values.setdefault(group, {}).update(parameters.get(of_package, {}))
    steps: dict[str, tuple[Step, str]] = {}
    table = rows(block, "_ma_protocol_step", "method_type", "software_group_id", "details")
    for method, group, details in table:
        if group in versions:
            step = Step(versions[group], values[group])
            steps.setdefault(method, (step, one_line(details)))
    everything = {k: v for each in software.values() for k, v in _version(each).items()}
    prediction, inputs = steps.get("modeling", (Step(everything, {}), ""))
    return prediction, steps.get("model refinement", (None,))[0], inputs


def _version(software: tuple[str, ...]) -> dict[str, str]:
    """Return the version of a software by its name, unless it is unknown."""
    name, version = software
    return {} if name in ("", NO_SOFTWARE) else {name: version}


def _typed(kind: str, text: str) -> object:
    """Return the value of a parameter by its type; text if it is not of that type."""
    with suppress(ValueError):
        match kind:
            case "integer":
                return int(text)
            case "float":
                return float(text)
            case "boolean":
                return {"YES": True, "NO": False}.get(text, text)
    return text


def _usage(block: gemmi.cif.Block) -> tuple[str, str]:
    """Return the licence and the notice to readers, "" for what is not stated."""
    licence = notice = ""
    for kind, name, url, details in rows(
        block, "_pdbx_data_usage", "type", "name", "url", "details"
    ):
        if kind == "license":
            is_cc_by = url == CC_BY_URL or _CC_BY.fullmatch(name)
            licence = licence or (CC_BY if is_cc_by else name or one_line(details))
        elif kind == "disclaimer":
            notice = notice or one_line(details)
    return licence, notice


def read_templates(block: gemmi.cif.Block, chains: Sequence[FileChain]) -> dict[str, list[Hit]]:
    """Return the aligned templates of each chain; they have sequences and no atoms.

    Templates after the first `MAX_LETTERS` letters of sequences and alignments are left out.

    Args:
        block: The data block.
        chains: The chains.
    """
    data = keyed(block, "_ma_data", "id", "name")
    sequences = keyed(block, "_ma_template_poly", "template_id", "seq_one_letter_code_can")
    dates = keyed(block, "_ma_template_ref_db_details", "template_id", "db_version_date")
    details = keyed(
        block,
        "_ma_template_details",
        "template_id",
        "template_data_id",
        "target_asym_id",
        "template_auth_asym_id",
    )
    segments = keyed(
        block, "_ma_template_poly_segment", "id", "template_id", "residue_number_begin"
    )
    begins = keyed(
        block, "_ma_target_template_poly_mapping", "template_segment_id", "target_seq_id_begin"
    )
    sides = rows(block, "_ma_alignment", "alignment_id", "target_template_flag", "sequence")
    aligned = {(number, flag): row for number, flag, row in sides}
    by_label = {chain.label: chain for chain in chains}
    found: dict[str, list[Hit]] = {}
    left = MAX_LETTERS
    alignments = rows(block, "_ma_alignment_details", "alignment_id", "template_segment_id")
    for number, segment in alignments:
        with suppress(LookupError):
            template, start = segments[segment]
            datum, label, strand = details[template]
            target = by_label[label]
            first, begin = whole(begins[segment][0]), whole(start)
            here, there = aligned[number, "1"], aligned[number, "2"]
            sequence = "".join(sequences[template][0].split())
            left -= len(sequence) + len(here)
            if left < 0:
                break
            if first is None or begin is None or len(here) != len(there):
                continue
            pairs = _pairs(here, there, first - 1, begin - 1)
            sizes = len(target.sequence), len(sequence)
            if ((pairs >= 0) & (pairs < sizes)).all():
                name = data[datum][0].removeprefix(TITLE)
                known = _without_atoms(name, sequence, strand)
                released = dates.get(template, ("",))[0] or None
                hit = Hit(name, pairs, known, release_date=released)
                found.setdefault(target.name, []).append(hit)
    return found


def _pairs(here: str, there: str, first: int, begin: int) -> np.ndarray:
    """Return the aligned pairs of two gapped sequences, which begin at these residues."""
    ours, theirs = (np.frombuffer(row.encode(), np.uint8) != ord("-") for row in (here, there))
    pairs = np.stack([first + np.cumsum(ours) - 1, begin + np.cumsum(theirs) - 1], axis=1)
    return np.asarray(pairs[ours & theirs])


def _without_atoms(name: str, sequence: str, chain: str) -> Structure:
    """Return a chain of which only the sequence is known."""
    size = len(sequence)
    return Structure(
        name=name,
        aatype=encode_sequence(sequence),
        residue_number=np.arange(1, size + 1),
        insertion_code=np.full(size, ""),
        chain_id=np.full(size, chain),
        atom_positions=np.zeros((size, 37, 3)),
        atom_mask=np.zeros((size, 37), bool),
        b_factor=np.zeros((size, 37)),
    )
