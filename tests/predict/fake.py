"""Predictions of real proteins, with the experiment's atoms and made-up confidence."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from foldry.formats.a3m import parse_a3m
from foldry.formats.coordinates import read_structure
from foldry.kernels.matmul import fast_matmul
from foldry.predict import runner
from foldry.predict.runner import Outcome
from foldry.predict.settings import Settings
from foldry.query import Chain, Query
from foldry.residues import CA
from foldry.results.folder import ResultsFolder
from foldry.results.prediction import Prediction, Provenance

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
EXAMPLE, DIMER = EXAMPLES / "kunitz", EXAMPLES / "malate_dehydrogenase"
MAX_PAE = 31.75


def run(queries: Iterable[Query], out: Path, settings: Settings) -> list[Outcome]:
    """Fold queries into a folder as the command line does."""
    folder = ResultsFolder(out, force=settings.force, keep_work=settings.relax != "none")
    with fast_matmul():
        return list(runner.run(queries, settings, [folder]))


def fake_prediction(
    name: str = "1adz",
    model_name: str = "model_1_ptm",
    seed: int = 0,
    pae: bool = True,
    alignment: bool = True,
) -> Prediction:
    """Return a prediction of the Kunitz domain; the seed changes the confidence slightly."""
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
        provenance=_provenance(model_name, seed),
    )


def fake_complex(name: str = "1mld", seed: int = 0) -> Prediction:
    """Return a prediction of the malate dehydrogenase dimer, uncertain only at the chains' ends."""
    structure = read_structure(DIMER / "1mld_AB.cif.gz")
    rows = parse_a3m((DIMER / "1mld_AB.a3m").read_text())
    number = len(structure)
    place = np.tile(np.arange(number // 2), 2)
    plddt = np.clip(
        90 + 8 * np.sin(place / 9 + seed) - 50 * (place < 8) - 25 * (place > 290), 0, 99
    )
    ca = structure.atom_positions[:, CA]
    apart = np.linalg.norm(ca[:, None] - ca, axis=-1)
    errors = np.clip(apart / 7 + (99 - plddt)[None, :] / 4, 0.25, MAX_PAE)
    structure = replace(
        structure,
        name=name,
        chain_id=np.repeat(["A", "B"], number // 2),
        residue_number=place + 1,
        b_factor=plddt[:, None] * structure.atom_mask,
    )
    return Prediction(
        query=Query(name, (Chain(("A", "B"), structure.sequence[: number // 2], rows),)),
        structure=structure,
        plddt=plddt,
        pae=errors.astype(np.float32),
        max_pae=MAX_PAE,
        ptm=0.9012,
        iptm=0.8765,
        ranking_confidence=0.88144,
        provenance=_provenance("model_1_multimer_v3", seed),
        chain_ptm=np.array([0.91, 0.92]),
        chain_pair_iptm=np.array([[np.nan, 0.8765], [0.8612, np.nan]]),
        actifptm=np.array([[np.nan, 0.93], [0.94, np.nan]]),
    )


def _provenance(model_name: str, seed: int) -> Provenance:
    return Provenance(
        model_name=model_name,
        weights=f"params_{model_name}.npz",
        weights_sha256="0f" * 32,
        seed=seed,
        num_recycles=3,
        config={"evoformer": {"num_blocks": 48, "dropout": 0.15}, "name": model_name},
        settings={"max_msa": None, "dtype": "float32", "dropout": False},
        kernels={"attention": "cpu", "point_attention": "reference"},
        device="cpu",
        dtype="float32",
        versions={"foldry": "0.1.0", "torch": "2.13.0", "numpy": "2.4.6"},
        created="2025-11-20T12:00:00+00:00",
    )
