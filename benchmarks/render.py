"""Milliseconds in which the files of a prediction are written and read.

    python benchmarks/render.py [--query FILE] [--repeats N]

The prediction has the atoms of an experiment (default: trypsin, 224 residues) and made-up
confidence. The record of 300 residues has the same atoms and the beginning of a second copy.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.predict.fake import fake_prediction

from foldry import Structure, read_structure
from foldry.formats.afdb import confidence_json, pae_json
from foldry.formats.coordinates import parse_structure, to_pdb
from foldry.formats.modelcif import to_binarycif, to_modelcif
from foldry.formats.modelcif_read import read_modelcif
from foldry.query import Chain, Query
from foldry.results.folder import write_query
from foldry.results.prediction import Prediction
from foldry.results.render import model_record, modelcif_text, scores_json
from foldry.results.report import report_html
from foldry.score.secondary_structure import secondary_structure
from script import run_script

ROOT = Path(__file__).resolve().parents[1]
NUM_RESIDUES = 300


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = ROOT / "examples" / "trypsin" / "1trn.cif"
    parser.add_argument("--query", type=Path, default=default, help="structure of one chain")
    parser.add_argument("--repeats", type=int, default=50)
    arguments = parser.parse_args()
    structure = read_structure(arguments.query)
    prediction = predicted(structure.chain(structure.chains[0]))
    text = modelcif_text(prediction)
    pae, max_pae = prediction.pae, prediction.max_pae
    assert pae is not None and max_pae is not None
    print(f"{len(prediction.structure)} residues, fastest of {arguments.repeats}")
    with tempfile.TemporaryDirectory() as folder:
        names = map(str, count())
        show(
            "all files of a fold",
            lambda: write_query([prediction], Path(folder, next(names))),
            arguments,
        )
    show("ModelCIF", lambda: modelcif_text(prediction), arguments)
    atoms = prediction.structure
    show("secondary structure, a part of it", lambda: secondary_structure(atoms), arguments)
    show("PDB", lambda: to_pdb(atoms), arguments)
    show("PAE JSON", lambda: pae_json(pae, max_pae), arguments)
    show("confidence JSON", lambda: confidence_json(prediction.plddt), arguments)
    show("scores JSON", lambda: scores_json(prediction, 0), arguments)
    show("report", lambda: report_html([prediction], [text], [None]), arguments)
    record = model_record(extended(prediction))
    cif, binary = to_modelcif(record), to_binarycif(record)
    print(f"\n{NUM_RESIDUES} residues, {len(cif)} bytes as cif, {len(binary)} as bcif")
    show("cif", lambda: to_modelcif(record), arguments)
    show("bcif", lambda: to_binarycif(record), arguments)
    show("cif read", lambda: read_modelcif(cif.encode(), "x.cif"), arguments)
    show("bcif read", lambda: read_modelcif(binary, "x.bcif"), arguments)
    show("cif read by `read_structure`", lambda: parse_structure(cif.encode(), "x.cif"), arguments)


def predicted(structure: Structure) -> Prediction:
    """Return a prediction with these atoms."""
    number = len(structure)
    place = np.arange(number)
    plddt = 72 + 26 * np.sin(place / 9)
    errors = np.clip(np.abs(place[:, None] - place) / 4 + (95 - plddt) / 6, 0.25, 31.75)
    structure = replace(
        structure,
        chain_id=np.full(number, "A"),
        residue_number=place + 1,
        insertion_code=np.full(number, ""),
        b_factor=plddt[:, None] * structure.atom_mask,
    )
    return replace(
        fake_prediction(),
        query=Query(structure.name, (Chain(("A",), structure.sequence),)),
        structure=structure,
        plddt=plddt,
        pae=errors.astype(np.float32),
    )


def extended(prediction: Prediction) -> Prediction:
    """Return the prediction of a chain of 300 residues."""
    rows = np.arange(NUM_RESIDUES) % len(prediction.structure)
    return predicted(prediction.structure.select(rows))


def show(what: str, run: Callable[[], object], arguments: argparse.Namespace) -> None:
    """Print the time of the fastest run."""
    times = []
    for _ in range(arguments.repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    print(f"{1000 * min(times):8.2f} ms (median {1000 * np.median(times):.2f})  {what}")


if __name__ == "__main__":
    run_script(main)
