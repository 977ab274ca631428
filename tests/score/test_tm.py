"""TM-score against the TM-score program, tmtools and cases done by hand."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from foldry.score.best_fit import _fragments
from foldry.score.compare import CaScores
from foldry.score.tm import tm_d0, tm_score
from tests.score.conftest import Pair, helix, moved, search


def _write_pdb(path: Path, points: np.ndarray, known: np.ndarray) -> None:
    lines = [
        f"ATOM  {n:5d}  CA  ALA A{n:4d}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00           C"
        for n, (x, y, z) in enumerate(points, start=1)
        if known[n - 1]
    ]
    path.write_text("\n".join([*lines, "TER", ""]))


def _coil(rng: np.random.Generator, num: int) -> np.ndarray:
    steps = rng.normal(size=(num, 3))
    return np.cumsum(3.8 * steps / np.linalg.norm(steps, axis=1, keepdims=True), axis=0)


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern + r"\s*=\s*([\d.]+)", text)
    assert found, text
    return float(found[1])


@pytest.mark.tools
def test_never_below_the_program(scored: list[tuple[Pair, CaScores]], tmp_path: Path) -> None:
    """TM by at most 0.002, GDT by at most 0.005; two other tests prove ours by their motions."""
    program = shutil.which("TMscore")
    if program is None:
        pytest.skip("TMscore is not installed: Debian's package is tm-align")
    for pair, ours in scored:
        _write_pdb(tmp_path / "model.pdb", pair.model, pair.known)
        _write_pdb(tmp_path / "reference.pdb", pair.reference, pair.known | True)
        ran = subprocess.run(
            [program, "model.pdb", "reference.pdb"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        assert ours.tm_score >= _number("TM-score  ", ran.stdout) - 0.002, pair.name
        assert ours.gdt_ts >= _number("GDT-TS-score", ran.stdout) - 0.005, pair.name
        assert ours.gdt_ha >= _number("GDT-HA-score", ran.stdout) - 0.005, pair.name
        theirs = _number("RMSD of  the common residues", ran.stdout)
        assert ours.rmsd_ca == pytest.approx(theirs, abs=2e-3), pair.name


def test_never_below_tmtools(pairs: list[Pair]) -> None:
    tmtools = pytest.importorskip("tmtools", reason="tmtools is not installed")
    for pair in sorted(pairs, key=lambda pair: len(pair.reference))[:100]:
        model, reference = pair.common
        sequence = "A" * len(reference)
        aligned = "".join("A" if known else "-" for known in pair.known)
        theirs = tmtools.tm_align(
            model,
            pair.reference,
            sequence,
            "A" * len(pair.reference),
            alignment=[aligned, "A" * len(pair.reference)],
        )
        ours = tm_score(*search(model, reference, len(pair.reference)))
        assert ours.score >= theirs.tm_norm_chain2 - 0.002, pair.name


def test_the_motion_proves_the_score(scored: list[tuple[Pair, CaScores]]) -> None:
    for pair, scores in scored:
        model, reference = pair.common
        length = len(pair.reference)
        rotation = scores.superposition.rotation
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(rotation) > 0
        distance = np.linalg.norm(scores.superposition.apply(model) - reference, axis=1)
        terms = 1 / (1 + (distance / tm_d0(length)) ** 2)
        assert scores.tm_score == pytest.approx(terms.sum() / length, abs=1e-12)


@pytest.mark.parametrize(
    ("length", "d0"),
    [(1, 0.5), (15, 0.5), (16, 0.5), (42, 1.24 * 3 - 1.8), (231, 1.24 * 6 - 1.8)],
)
def test_d0(length: int, d0: float) -> None:
    assert tm_d0(length) == pytest.approx(d0)


def test_identical_half_right_and_mirrored() -> None:
    rng = np.random.default_rng(8)
    points = helix(100)
    assert tm_score(*search(moved(rng, points), points)).score == pytest.approx(1, abs=1e-6)
    assert tm_score(*search(points[:50], points[:50], 100)).score == pytest.approx(0.5, abs=1e-6)
    half = points.copy()
    half[50:] += 500 + 100 * rng.normal(size=(50, 3))
    assert tm_score(*search(moved(rng, half), points)).score == pytest.approx(0.5, abs=0.005)
    coil = _coil(rng, 100)
    assert tm_score(*search(coil * [1, 1, -1], coil)).score < 0.5


def test_shifted_by_one_residue() -> None:
    """A straight line shifted by 3.8 Å comes back; a coil of random steps does not."""
    line = 3.8 * np.arange(80)[:, None] * np.array([[1.0, 0, 0]])
    assert tm_score(*search(line[1:], line[:-1])).score == pytest.approx(1, abs=1e-6)
    coil = _coil(np.random.default_rng(9), 80)
    assert tm_score(*search(coil[1:], coil[:-1])).score < 0.9


@pytest.mark.parametrize("num", [1, 2, 3, 4])
def test_a_few_residues(num: int) -> None:
    rng = np.random.default_rng(10)
    points = helix(num)
    assert tm_score(*search(moved(rng, points), points)).score == pytest.approx(1, abs=1e-6)
    assert tm_score(*search(moved(rng, points), points, 10)).score == pytest.approx(
        num / 10, abs=1e-6
    )


@pytest.mark.parametrize(
    ("num", "lengths"),
    [(3, [3]), (9, [4, 9]), (100, [4, 6, 12, 25, 50, 100]), (1000, [4, 62, 125, 250, 500, 1000])],
)
def test_first_fragments_are_those_of_tm_score(num: int, lengths: list[int]) -> None:
    """All residues, then a half, a quarter, an eighth and a sixteenth of them, and four."""
    fragments = _fragments(num)
    assert np.unique(fragments.sum(axis=1)).tolist() == lengths
    assert fragments[:, 0].any() and fragments[:, -1].any()
