"""Scores that share distances equal those that take them one by one."""

from __future__ import annotations

import numpy as np
import pytest

from foldry.score.atoms import AtomScores, score_atoms
from foldry.score.foldscore import foldscore
from foldry.score.lddt import BACKBONE, lddt_atom37, name_symmetric_atoms
from foldry.structure import Structure


@pytest.mark.parametrize("num_chains", [1, 3])
def test_as_one_by_one(structures: list[Structure], num_chains: int) -> None:
    rng, renamed = np.random.default_rng(15), 0
    for structure in sorted(structures, key=len)[:40:4]:
        reference = structure.atom_positions, structure.atom_mask
        spread = rng.normal(size=reference[0].shape) * rng.uniform(0.1, 3)
        model = reference[0] + spread, reference[1] & (rng.random(reference[1].shape) > 0.03)
        sound = model[1] & (rng.random(reference[1].shape) > 0.1)
        named = name_symmetric_atoms(model[0], reference[0], sound, reference[1], structure.aatype)
        renamed += (named[0] != model[0]).any()
        chain = np.array(["B", "A", "C"])[np.arange(len(structure)) * num_chains // len(structure)]
        scored = score_atoms(model, named, reference, chain)

        of_all = lddt_atom37(named[0], reference[0], named[1], reference[1])
        assert scored.lddt.score == pytest.approx(of_all.score, abs=1e-12)
        np.testing.assert_allclose(scored.lddt.per_residue, of_all.per_residue, atol=1e-12)
        backbone = lddt_atom37(model[0], reference[0], model[1], reference[1], BACKBONE)
        assert scored.lddt_backbone == pytest.approx(backbone.score, abs=1e-12)
        between = lddt_atom37(named[0], reference[0], named[1], reference[1], chain=chain)
        assert scored.ilddt == pytest.approx(between.score, abs=1e-12, nan_ok=True)
        assert np.isnan(scored.ilddt) == (num_chains == 1)
        alone = [
            foldscore(*(side[rows] for side in (model[0], reference[0], model[1], reference[1])))
            for rows in (chain == name for name in np.unique(chain))
        ]
        assert scored.foldscore == pytest.approx(np.mean([each.score for each in alone]), abs=1e-12)
    assert renamed > 5


def test_nothing() -> None:
    nothing = np.zeros((0, 37, 3)), np.zeros((0, 37), bool)
    scored = score_atoms(nothing, nothing, nothing, np.zeros(0, "<U1"))
    assert isinstance(scored, AtomScores)
    assert np.isnan([scored.lddt.score, scored.lddt_backbone, scored.ilddt, scored.foldscore]).all()
