"""Predictions of `mini` for tests/score: good and bad models of real chains.

    python benchmarks/oracles/mini_predictions.py [--data ../shared/data] [--num 36]

Every second chain is predicted from its alignment and templates, the others from their sequence
alone. The file has the names, the lengths, and N, CA, C and O in 0.01 Å as 16-bit integers.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from foldry.dataset.packs import Library
from foldry.predict.network import load_model
from foldry.predict.runner import predict_one
from foldry.predict.settings import Settings
from foldry.score.lddt import BACKBONE
from foldry.weights.networks import find_networks

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from chain_query import query_of
from script import run_script

OUT = Path(__file__).resolve().parents[2] / "tests/golden/mini_predictions.npz"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--num", type=int, default=36, help="number of chains, shortest first")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()

    library = Library(arguments.data, ("val",))
    by_length = sorted(library.alignments.place, key=lambda name: len(library.chain(name)))
    names = sorted(by_length[: arguments.num])
    network = find_networks("mini")[0]
    model = load_model(network, Settings(device="cpu"))
    coordinates = []
    for index, name in enumerate(names):
        known = index % 2 == 0
        query = query_of(library, name, 4 if known else 0, alignment=known)
        made = predict_one(query, model, network, 0, Settings())
        backbone = made.structure.atom_positions[:, BACKBONE]
        centered = backbone - backbone.mean(axis=(0, 1))
        coordinates.append(np.round(centered * 100).astype(np.int16))
        print(f"{name}: {len(backbone)} residues, pLDDT {made.plddt.mean():.1f}")
    np.savez_compressed(
        arguments.out,
        names=np.array(names),
        lengths=np.array([len(each) for each in coordinates]),
        coordinates=np.concatenate(coordinates),
        sha256=np.array(network.sha256()),
    )


if __name__ == "__main__":
    run_script(main)
