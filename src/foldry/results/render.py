"""One prediction → the content of its files: ModelCIF, PDB, JSON, representations.

Files have the names that AlphaFold's program uses, if it writes such a file; docs/outputs.md lists
them.
"""

from __future__ import annotations

import io
import json
import logging
import textwrap
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from foldry.errors import InputError
from foldry.formats.afdb import confidence_json, pae_json
from foldry.formats.coordinates import seqres_records, to_pdb
from foldry.formats.model_record import ModelChain, ModelRecord, Step
from foldry.formats.modelcif import to_modelcif
from foldry.formats.modelcif_history import CC_BY
from foldry.query import Hit, Query
from foldry.results.chain_confidence import (
    ChainConfidence,
    chain_confidence,
    chain_metrics,
    chains_json,
)
from foldry.results.prediction import Prediction
from foldry.score.secondary_structure import secondary_structure

logger = logging.getLogger(__name__)


def prediction_files(
    rank: int, prediction: Prediction, chains: ChainConfidence | None, model: str
) -> dict[str, str | bytes]:
    """Return the names and contents of the files of one prediction.

    The PDB file is left out if the format cannot hold the structure, the PAE file if the network
    has no PAE head.

    Args:
        rank: Rank among the predictions of the query, 0 for the best.
        prediction: The prediction.
        chains: Its `chain_confidence`.
        model: Its `modelcif_text`.
    """
    name = prediction.name
    files = _structure_files(prediction, f"ranked_{rank}", model)
    before = prediction.unrelaxed
    if before is not None:
        text = modelcif_text(before, chain_confidence(before))
        files |= _structure_files(before, f"unrelaxed_{name}", text)
    files[f"confidence_{name}.json"] = confidence_json(prediction.plddt)
    if prediction.pae is not None and prediction.max_pae is not None:
        files[f"pae_{name}.json"] = pae_json(prediction.pae, prediction.max_pae)
    files[f"scores_{name}.json"] = scores_json(prediction, rank, chains)
    if prediction.single is not None and prediction.pair is not None:
        data = io.BytesIO()
        np.savez(data, single=prediction.single, pair=prediction.pair)
        files[f"representations_{name}.npz"] = data.getvalue()
    return files


def _structure_files(prediction: Prediction, name: str, model: str) -> dict[str, str | bytes]:
    """Return the names and contents of the files of one structure."""
    files: dict[str, str | bytes] = {f"{name}.cif": model}
    try:
        files[f"{name}.pdb"] = pdb_text(prediction)
    except InputError as error:
        logger.warning("No PDB file is written: %s", error)
    return files


def modelcif_text(prediction: Prediction, chains: ChainConfidence | None = None) -> str:
    """Return the prediction as ModelCIF, with the measures of `chain_confidence`."""
    return to_modelcif(model_record(prediction, chains))


def model_record(prediction: Prediction, chains: ChainConfidence | None = None) -> ModelRecord:
    """Return what the ModelCIF file of a prediction says.

    Args:
        prediction: The prediction.
        chains: Its `chain_confidence`.
    """
    before, query = prediction.unrelaxed or prediction, prediction.query
    provenance = {k: v for k, v in asdict(before.provenance).items() if v is not None}
    model_name = provenance.pop("model_name")
    scores = {"ptm": prediction.ptm, "iptm": prediction.iptm}
    return ModelRecord(
        entry_id=query.name,
        title=f"Prediction of {query.name} by {model_name}",
        authors=("Foldry",),
        structure=prediction.structure,
        chains=tuple(ModelChain(chain.ids, chain.sequence, query.name) for chain in query.chains),
        plddt=prediction.plddt,
        scores={key: score for key, score in scores.items() if score is not None},
        of_chains=chain_metrics(chains) if chains else (),
        secondary_structure=secondary_structure(prediction.structure),
        model_name=model_name,
        created=provenance.pop("created").replace("+00:00", "Z"),
        notice=provenance.pop("notice"),
        licence=provenance.pop("licence") or CC_BY,
        prediction=Step(provenance.pop("versions"), provenance),
        relaxation=_relaxation_step(prediction),
        inputs=_inputs(query, model_name),
        templates=_templates_read(before),
    )


def _inputs(query: Query, model_name: str) -> str:
    """Return one sentence about the input of the network."""
    rows = sum(each.num_rows for chain in query.chains for each in chain.alignments)
    names = list(dict.fromkeys(hit.name for chain in query.chains for hit in chain.templates))
    alignment = f"an alignment of {rows} sequences" if rows else "no alignment"
    templates = f"templates: {', '.join(names)}" if names else "no templates"
    return f"Predicted by {model_name} from the sequence with {alignment} and {templates}."


def _templates_read(prediction: Prediction) -> dict[str, list[Hit]]:
    """Return the templates that the network read, by chain."""
    read = prediction.provenance.templates_read or {}
    return {
        name: [hit for hit in chain.templates if hit.structure and hit.name in read[name]]
        for chain in prediction.query.chains
        for name in chain.ids
        if name in read
    }


def _relaxation_step(prediction: Prediction) -> Step | None:
    """Return the step that relaxed the structure: its software and its result."""
    before, relaxation = prediction.unrelaxed, prediction.relaxation
    if before is None or relaxation is None:
        return None
    known = before.provenance.versions
    versions = {k: v for k, v in prediction.provenance.versions.items() if k not in known}
    return Step(versions, asdict(relaxation))


def pdb_text(prediction: Prediction) -> str:
    """Return the prediction as PDB, with remarks and the full sequences before the atoms.

    Raises:
        InputError: The format cannot hold the structure.
    """
    about = "Relaxed in Amber's force field after the prediction. " if prediction.unrelaxed else ""
    lines = textwrap.wrap(about + prediction.provenance.notice, width=68)
    remarks = "".join(f"REMARK 999 {line}\n" for line in lines)
    atoms = to_pdb(prediction.structure)
    return remarks + seqres_records(prediction.structure) + atoms


def template_names(query: Query, most: int | None = None) -> dict[str, list[str]]:
    """Return the names of the first `most` templates by chain, or of all.

    Copies of a chain share its templates.
    """
    return {
        name: [hit.name for hit in chain.templates[:most]]
        for chain in query.chains
        if chain.templates[:most]
        for name in chain.ids
    }


def scores_json(prediction: Prediction, rank: int, chains: ChainConfidence | None = None) -> str:
    """Return all scores of a prediction and of its chains, and its provenance, as JSON."""
    templates = template_names(prediction.query)
    scores: dict[str, object] = {
        "name": prediction.query.name,
        "prediction": prediction.name,
        "rank": rank,
        "ranking_confidence": prediction.ranking_confidence,
        "mean_plddt": prediction.mean_plddt,
        "ptm": prediction.ptm,
        "iptm": prediction.iptm,
        **(chains_json(chains) if chains else {}),
        **({"relaxation": asdict(prediction.relaxation)} if prediction.relaxation else {}),
        **({"templates": templates} if templates else {}),
        "plddt": [round(float(value), 2) for value in prediction.plddt],
        "provenance": asdict(prediction.provenance),
    }
    return json.dumps(scores, indent=1) + "\n"


def ranking_json(predictions: Sequence[Prediction]) -> str:
    """Return the ranked names and their scores as JSON, in the format of AlphaFold's program."""
    label = "plddts" if all(each.iptm is None for each in predictions) else "iptm+ptm"
    confidences = {each.name: each.ranking_confidence for each in predictions}
    return json.dumps({label: confidences, "order": list(confidences)}, indent=4)
