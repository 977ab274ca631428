"""From files to weights in miniature: the losses fall as in docs/train.md."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import foldry
from foldry.cli.main import main
from foldry.weights.state_file import load
from tests.conftest import ROOT

STEPS = 60
LOSS_TOLERANCE, LDDT_TOLERANCE = 0.15, 0.05
"""Tolerances of means, because other processors round differently."""


def documented() -> list[tuple[int, float, float]]:
    """Return samples, mean loss and mean lDDT-Cα from the table in docs/train.md."""
    text = (ROOT / "docs/train.md").read_text("utf-8").partition("### A miniature run")[2]
    rows = re.findall(r"^\| (\d+) \| fold \| ([\d.]+) \|.*\| ([\d.]+) \|$", text, re.MULTILINE)
    return [(int(samples), float(loss), float(lddt)) for samples, loss, lddt in rows]


@pytest.mark.slow
def test_a_folder_of_structures_becomes_weights_that_fold(tmp_path: Path) -> None:
    structures, alignments = tmp_path / "structures", tmp_path / "alignments"
    structures.mkdir()
    alignments.mkdir()
    for name in ("kunitz/1adz.cif", "trypsin/1trn.cif", "malate_dehydrogenase/1mld_AB.cif.gz"):
        shutil.copy(ROOT / "examples" / name, structures)
    shutil.copy(ROOT / "examples/kunitz/1adz.a3m", alignments / "1adz_A.a3m")
    chains = ("1adz_A", "1trn_A", "1mld_AB_A", "1mld_AB_B")
    clusters = tmp_path / "clusters.tsv"
    clusters.write_text("".join(f"{name[:4]}\t{name}\n" for name in chains))
    packs, run = tmp_path / "packs", tmp_path / "run"
    prepare = ["train", "prepare", str(structures), str(alignments), "-o", str(packs)]
    assert main([*prepare, "--clusters", str(clusters), "--workers", "1"]) == 0
    train = ["train", "--data", str(packs), "-o", str(run)]
    assert main([*train, "--stage", "fold", "--steps", str(STEPS)]) == 0

    lines = [json.loads(line) for line in (run / "log.jsonl").read_text("utf-8").splitlines()]
    assert len(lines) == STEPS
    expected = documented()
    assert expected[-1][0] == lines[-1]["num_samples"]
    chunks = np.array_split(np.arange(STEPS), len(expected))
    for chunk, (_, loss, lddt) in zip(chunks, expected, strict=True):
        means = [np.mean([lines[step][name] for step in chunk]) for name in ("loss", "lddt")]
        assert means[0] == pytest.approx(loss, abs=LOSS_TOLERANCE)
        assert means[1] == pytest.approx(lddt, abs=LDDT_TOLERANCE)

    weights = run / "ema.safetensors"
    assert load(weights)[2]["samples"] == str(4 * STEPS)
    [made] = foldry.fold(ROOT / "examples/kunitz/1adz.fasta", str(weights), device="cpu")
    assert np.isfinite(made.structure.atom_positions[made.structure.atom_mask]).all()
