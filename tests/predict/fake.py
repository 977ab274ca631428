"""Predictions of a real protein, with the experiment's atoms and made-up confidence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from foldry.formats.a3m import parse_a3m
from foldry.formats.coordinates import read_structure
from foldry.predict.prediction import Prediction, Provenance
from foldry.query import Chain, Query

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "kunitz"
MAX_PAE = 31.75


def fake_prediction(
    name: str = "1adz",
    model_name: str = "model_1_ptm",
    seed: int = 0,
    pae: bool = True,
    alignment: bool = True,
) -> Prediction:
    """One prediction of the Kunitz domain; the seed moves confidence a little."""
    structure = read_structure(EXAMPLE / "1adz.cif")
    rows = parse_a3m((EXAMPLE / "1adz.a3m").read_text()) if alignment else None
    query = Query(name, (Chain(("A",), structure.sequence, rows),))
    number = len(structure)
    place = np.arange(number)
    plddt = np.clip(72 + 26 * np.sin(place / 9 + seed) - 20 * (place < 8), 20, 98.7)
    distance = np.abs(place[:, None] - place[None, :])
    errors = np.clip(0.8 + distance / 4 + (95 - plddt)[None, :] / 6, 0.25, MAX_PAE)
    structure = replace(
        structure,
        name=name,
        chain_id=np.full(number, "A"),
        residue_number=place + 1,
        b_factor=plddt[:, None] * structure.atom_mask,
    )
    return Prediction(
        query=query,
        structure=structure,
        plddt=plddt,
        pae=errors.astype(np.float32) if pae else None,
        max_pae=MAX_PAE if pae else None,
        ptm=0.8123 if pae else None,
        iptm=None,
        ranking_confidence=float(plddt.mean()),
        provenance=Provenance(
            model_name=model_name,
            weights=f"params_{model_name}.npz",
            weights_sha256="0f" * 32,
            seed=seed,
            num_recycles=3,
            config={"evoformer": {"num_blocks": 48, "dropout": 0.15}, "name": model_name},
            settings={"max_msa": None, "dtype": "float32", "dropout": False},
            kernels="reference",
            device="cpu",
            dtype="float32",
            versions={"foldry": "0.1.0", "torch": "2.13.0", "numpy": "2.4.6"},
            created="2025-11-20T12:00:00+00:00",
        ),
    )
