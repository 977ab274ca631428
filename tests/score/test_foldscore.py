"""FoldScore against its definition, written once more in the plainest way."""

from __future__ import annotations

import numpy as np
import pytest

from foldry.score.foldscore import FoldScore, foldscore
from foldry.structure import Structure


def _mean_over_atoms(model: np.ndarray, reference: np.ndarray) -> float:
    """All pairs of two different atoms, also of one residue; first each atom's mean, then all."""
    before = np.linalg.norm(reference[:, None] - reference, axis=2)
    error = np.abs(np.linalg.norm(model[:, None] - model, axis=2) - before)
    judged = (before < 15) & ~np.eye(len(reference), dtype=bool)
    kept = np.mean([error < limit for limit in (0.5, 1, 2, 4)], axis=0)
    return float(np.mean((kept * judged).sum(axis=1) / judged.sum(axis=1)))


def test_against_the_definition(structures: list[Structure]) -> None:
    rng = np.random.default_rng(17)
    for structure in sorted(structures, key=len)[:30]:
        reference, there = structure.atom_positions.astype(np.float64), structure.atom_mask.copy()
        there[:, 36] = True  # OXT has no place among the 14
        model = reference + rng.normal(size=reference.shape) * rng.uniform(0.1, 3)
        scored = foldscore(model, reference, there, there)
        sets = np.isin(np.arange(37), [1]), np.isin(np.arange(37), [0, 1, 2, 4])
        expected = [
            _mean_over_atoms(model[there & chosen], reference[there & chosen])
            for chosen in (*sets, np.arange(37) < 36)
        ]
        found = [scored.ca, scored.backbone, scored.atom14]
        assert found == pytest.approx(expected, abs=1e-5), structure.name
        assert scored.score == pytest.approx(np.dot([0.55, 0.3, 0.15], expected), abs=1e-5)


def test_perfect_missing_and_nothing(structures: list[Structure]) -> None:
    structure = structures[0]
    positions, there = structure.atom_positions, structure.atom_mask
    assert foldscore(positions, positions, there, there).score == pytest.approx(1)
    backbone = np.isin(np.arange(37), [0, 1, 2, 4])
    lacking = foldscore(positions, positions, there & backbone, there)
    assert lacking.ca == lacking.backbone == 1
    assert lacking.atom14 < 0.6
    assert np.isnan(foldscore(positions[:1], positions[:1], there[:1], there[:1]).score)


def test_weights() -> None:
    assert FoldScore(1, 0, 0).score == 0.55
    assert FoldScore(0, 1, 0).score == 0.30
    assert FoldScore(0, 0, 1).score == 0.15
