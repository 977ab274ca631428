"""Predictions → files.

Where the official program has a name for a file, it is that name; docs/outputs.md lists them.
"""

from __future__ import annotations

import io
import json
import logging
import textwrap
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from foldry.errors import InputError
from foldry.formats.afdb import confidence_json, pae_json
from foldry.formats.coordinates import to_pdb
from foldry.formats.modelcif import ModelRecord, Step, to_modelcif
from foldry.results.chain_confidence import (
    ChainConfidence,
    chain_confidence,
    chain_metrics,
    chains_json,
)
from foldry.results.prediction import Prediction
from foldry.results.report import report_html
from foldry.store.files import make_folder, write_bytes

logger = logging.getLogger(__name__)

Note = Callable[[Collection[str]], object]
"""Told the names of files before they are written."""


def write_query(
    predictions: Sequence[Prediction], folder: Path, note: Note | None = None
) -> list[Path]:
    """Write all files of one query, none where the report cannot be made.

    Args:
        predictions: Best first.
        folder: Made where it is missing; files of the same names are replaced.
        note: Told of the files of each prediction.

    Returns:
        The files, the report last.
    """
    chains = [chain_confidence(prediction) for prediction in predictions]
    models = [modelcif_text(*each) for each in zip(predictions, chains, strict=True)]
    report = report_html(predictions, models, chains)
    make_folder(folder)
    written = [
        path
        for rank, prediction in enumerate(predictions)
        for path in write_prediction(prediction, folder, rank, chains[rank], models[rank], note)
    ]
    written.append(_write(folder / "ranking_debug.json", ranking_json(predictions)))
    written.append(_write(folder / "report.html", report))
    return written


def write_prediction(
    prediction: Prediction,
    folder: Path,
    rank: int,
    chains: ChainConfidence | None = None,
    model: str | None = None,
    note: Note | None = None,
) -> list[Path]:
    """Write the files of one prediction.

    Args:
        prediction: What to write.
        folder: Where; it exists.
        rank: Place among the predictions of its query, 0 the best.
        chains: What `chain_confidence` says of it.
        model: Its `modelcif_text`; None makes it.
        note: Told of the files.

    Returns:
        The files. There is no PDB file of a structure that the format cannot hold, no PAE file
        where the model has no such head.
    """
    name = prediction_name(prediction)
    files: dict[str, str | bytes] = _structure_texts(
        prediction, f"ranked_{rank}", model or modelcif_text(prediction, chains)
    )
    before = prediction.unrelaxed
    if before is not None:
        model = modelcif_text(before, chain_confidence(before))
        files |= _structure_texts(before, f"unrelaxed_{name}", model)
    files[f"confidence_{name}.json"] = confidence_json(prediction.plddt)
    if prediction.pae is not None and prediction.max_pae is not None:
        files[f"pae_{name}.json"] = pae_json(prediction.pae, prediction.max_pae)
    files[f"scores_{name}.json"] = scores_json(prediction, rank, chains)
    if prediction.single is not None and prediction.pair is not None:
        data = io.BytesIO()
        np.savez(data, single=prediction.single, pair=prediction.pair)
        files[f"representations_{name}.npz"] = data.getvalue()
    if note is not None:
        note(files)
    return [_write(folder / file, content) for file, content in files.items()]


def prediction_name(prediction: Prediction) -> str:
    """Such as `model_1_ptm_pred_0`: the network and the seed."""
    return f"{prediction.provenance.model_name}_pred_{prediction.provenance.seed}"


def _structure_texts(prediction: Prediction, name: str, model: str) -> dict[str, str | bytes]:
    """The names and contents of the files of one structure."""
    texts: dict[str, str | bytes] = {f"{name}.cif": model}
    try:
        texts[f"{name}.pdb"] = pdb_text(prediction)
    except InputError as error:
        logger.warning("No PDB file is written: %s", error)
    return texts


def modelcif_text(prediction: Prediction, chains: ChainConfidence | None = None) -> str:
    """The prediction as ModelCIF, with what `chain_confidence` says of it."""
    before = prediction.unrelaxed or prediction
    provenance = asdict(before.provenance)
    record = ModelRecord(
        model_name=provenance.pop("model_name"),
        plddt=prediction.plddt,
        ptm=prediction.ptm,
        iptm=prediction.iptm,
        versions=provenance.pop("versions"),
        notice=provenance.pop("notice"),
        parameters=provenance,
        of_chains=chain_metrics(chains) if chains else (),
        relaxation=_relaxation_step(prediction),
    )
    return to_modelcif(prediction.query, prediction.structure, record)


def _relaxation_step(prediction: Prediction) -> Step | None:
    """What changed the network's structure: the software that it added, and how it ended."""
    before, relaxation = prediction.unrelaxed, prediction.relaxation
    if before is None or relaxation is None:
        return None
    known = before.provenance.versions
    versions = {k: v for k, v in prediction.provenance.versions.items() if k not in known}
    return Step(versions, asdict(relaxation))


def pdb_text(prediction: Prediction) -> str:
    """The prediction as PDB; what its reader must know stands in remarks before the atoms.

    Raises:
        InputError: The format cannot hold the structure.
    """
    said = "Relaxed in Amber's force field after the prediction. " if prediction.unrelaxed else ""
    lines = textwrap.wrap(said + prediction.provenance.notice, width=68)
    remarks = "".join(f"REMARK 999 {line}\n" for line in lines)
    return remarks + to_pdb(prediction.structure)


def scores_json(prediction: Prediction, rank: int, chains: ChainConfidence | None = None) -> str:
    """All scores of one prediction, those of its chains too, and how it was made."""
    scores: dict[str, object] = {
        "name": prediction.query.name,
        "prediction": prediction_name(prediction),
        "rank": rank,
        "ranking_confidence": prediction.ranking_confidence,
        "mean_plddt": float(prediction.plddt.mean()),
        "ptm": prediction.ptm,
        "iptm": prediction.iptm,
        **(chains_json(chains) if chains else {}),
        **({"relaxation": asdict(prediction.relaxation)} if prediction.relaxation else {}),
        "plddt": [round(float(value), 2) for value in prediction.plddt],
        "provenance": asdict(prediction.provenance),
    }
    return json.dumps(scores, indent=1) + "\n"


def ranking_json(predictions: Sequence[Prediction]) -> str:
    """Names, best first, and what they were ranked by, in the official program's form."""
    label = "plddts" if all(each.iptm is None for each in predictions) else "iptm+ptm"
    confidences = {prediction_name(each): each.ranking_confidence for each in predictions}
    return json.dumps({label: confidences, "order": list(confidences)}, indent=4)


def _write(path: Path, content: str | bytes) -> Path:
    return write_bytes(path, content.encode() if isinstance(content, str) else content)
