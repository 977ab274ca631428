"""FoldScore against its definition; scores that share distances equal those that do not."""

from __future__ import annotations

import numpy as np
import pytest

from foldry.score.atoms import SETS, WEIGHTS, AtomScores, atom_means, score_atoms
from foldry.score.lddt import (
    BACKBONE,
    kept_distances,
    kept_within_residues,
    name_symmetric_atoms,
)
from foldry.structure import Structure
from tests.score.conftest import lddt_atom37


def parts_of_foldscore(
    model: np.ndarray, reference: np.ndarray, known: np.ndarray, there: np.ndarray
) -> np.ndarray:
    """FoldScore's lDDT of Cα, backbone and all atoms of one chain."""
    residue, slot = np.nonzero(there & SETS.any(axis=1))
    points = model[residue, slot], reference[residue, slot], known[residue, slot]
    atoms = (*points, residue, SETS[slot])
    return atom_means(kept_distances(*atoms) + kept_within_residues(*atoms))


@pytest.mark.parametrize("num_chains", [1, 3])
def test_scores_computed_together_equal_separate_ones(
    structures: list[Structure], num_chains: int
) -> None:
    rng, renamed = np.random.default_rng(15), 0
    for structure in sorted(structures, key=len)[:40:4]:
        reference = structure.atom_positions, structure.atom_mask
        spread = rng.normal(size=reference[0].shape) * rng.uniform(0.1, 3)
        model = reference[0] + spread, reference[1] & (rng.random(reference[1].shape) > 0.03)
        sound = model[1] & (rng.random(reference[1].shape) > 0.1)
        named = name_symmetric_atoms((model[0], sound), reference, structure.aatype)
        renamed += (named[0] != model[0]).any()
        chain = np.array(["B", "A", "C"])[np.arange(len(structure)) * num_chains // len(structure)]
        scored = score_atoms(model, named, reference, chain)

        of_all = lddt_atom37(named[0], reference[0], named[1], reference[1])
        assert scored.lddt == pytest.approx(of_all.score, abs=1e-12)
        np.testing.assert_allclose(scored.lddt_per_residue, of_all.per_residue, atol=1e-12)
        backbone = lddt_atom37(model[0], reference[0], model[1], reference[1], BACKBONE)
        assert scored.lddt_backbone == pytest.approx(backbone.score, abs=1e-12)
        between = lddt_atom37(named[0], reference[0], named[1], reference[1], chain=chain)
        assert scored.ilddt == pytest.approx(between.score, abs=1e-12, nan_ok=True)
        assert np.isnan(scored.ilddt) == (num_chains == 1)
        alone = [
            parts_of_foldscore(
                *(side[rows] for side in (model[0], reference[0], model[1], reference[1]))
            )
            for rows in (chain == name for name in np.unique(chain))
        ]
        assert scored.foldscore == pytest.approx(np.mean(alone @ np.array(WEIGHTS)), abs=1e-12)
    assert renamed > 5


def test_a_model_without_residues_has_no_scores() -> None:
    nothing = np.zeros((0, 37, 3)), np.zeros((0, 37), bool)
    scored = score_atoms(nothing, nothing, nothing, np.zeros(0, "<U1"))
    assert isinstance(scored, AtomScores)
    assert np.isnan([scored.lddt, scored.lddt_backbone, scored.ilddt, scored.foldscore]).all()


def _mean_over_atoms(model: np.ndarray, reference: np.ndarray) -> float:
    """All pairs of two different atoms, also of one residue; first each atom's mean, then all."""
    before = np.linalg.norm(reference[:, None] - reference, axis=2)
    error = np.abs(np.linalg.norm(model[:, None] - model, axis=2) - before)
    judged = (before < 15) & ~np.eye(len(reference), dtype=bool)
    kept = np.mean([error < limit for limit in (0.5, 1, 2, 4)], axis=0)
    return float(np.mean((kept * judged).sum(axis=1) / judged.sum(axis=1)))


def test_foldscore_against_the_definition(structures: list[Structure]) -> None:
    rng = np.random.default_rng(17)
    for structure in sorted(structures, key=len)[:30]:
        reference, there = structure.atom_positions.astype(np.float64), structure.atom_mask.copy()
        there[:, 36] = True  # OXT has no place among the 14
        model = reference + rng.normal(size=reference.shape) * rng.uniform(0.1, 3)
        found = parts_of_foldscore(model, reference, there, there)
        sets = np.isin(np.arange(37), [1]), np.isin(np.arange(37), [0, 1, 2, 4])
        expected = [
            _mean_over_atoms(model[there & chosen], reference[there & chosen])
            for chosen in (*sets, np.arange(37) < 36)
        ]
        np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=structure.name)
        atoms, one = (model, there), np.zeros(len(structure))
        scored = score_atoms(atoms, atoms, (reference, there), one).foldscore
        assert scored == pytest.approx(np.dot([0.55, 0.3, 0.15], expected), abs=1e-5)


def test_foldscore_of_perfect_missing_and_no_atoms(structures: list[Structure]) -> None:
    structure = structures[0]
    positions, there = structure.atom_positions, structure.atom_mask
    assert parts_of_foldscore(positions, positions, there, there) == pytest.approx(1)
    backbone = np.isin(np.arange(37), [0, 1, 2, 4])
    of_ca, of_backbone, of_all = parts_of_foldscore(positions, positions, there & backbone, there)
    assert of_ca == of_backbone == 1
    assert of_all < 0.6
    one = positions[:1], there[:1]
    assert np.isnan(score_atoms(one, one, one, np.zeros(1)).foldscore)
