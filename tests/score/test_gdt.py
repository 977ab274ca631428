"""GDT proved by its superpositions and by cases done by hand (the program: test_tm.py)."""

from __future__ import annotations

import numpy as np
import pytest

from foldry.score.best_fit import _fragments
from foldry.score.compare import CaScores
from foldry.score.gdt import CUTOFFS, gdt
from tests.score.conftest import Pair, helix, moved, search


def test_the_motions_prove_the_fractions(pairs: list[Pair]) -> None:
    for pair in pairs[::3]:
        model, reference = pair.common
        length = len(pair.reference)
        scored = gdt(*search(model, reference, length))
        for cutoff, fraction, motion in zip(
            CUTOFFS, scored.fractions, scored.superpositions, strict=True
        ):
            np.testing.assert_allclose(motion.rotation @ motion.rotation.T, np.eye(3), atol=1e-9)
            distance = np.linalg.norm(motion.apply(model) - reference, axis=1)
            assert fraction == pytest.approx((distance <= cutoff).sum() / length), pair.name
        assert scored.ts == pytest.approx(sum(scored.fractions[1:]) / 4)
        assert scored.ha == pytest.approx(sum(scored.fractions[:4]) / 4)
        assert list(scored.fractions) == sorted(scored.fractions)


def test_never_below_the_superposition_of_least_rmsd(
    scored: list[tuple[Pair, CaScores]],
) -> None:
    for pair, scores in scored:
        assert scores.gdt_ts >= scores.oligo_gdt_ts, pair.name
        assert scores.gdt_ha >= scores.oligo_gdt_ha, pair.name


def test_each_cutoff_has_its_own_superposition() -> None:
    """Two rigid halves, the second rotated: no superposition fits both."""
    rng = np.random.default_rng(11)
    reference = rng.normal(size=(60, 3)) * 10
    model = reference.copy()
    model[40:] += [30, 0, 0]
    assert gdt(*search(moved(rng, model), reference)).fractions == pytest.approx((2 / 3,) * 5)


def test_skipping_repeated_selections_changes_nothing(
    pairs: list[Pair], monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = [pair.common for pair in sorted(pairs, key=lambda pair: len(pair.reference))[::5]]
    once = [gdt(*search(*common)).fractions for common in chosen]
    monkeypatch.setattr("foldry.score.gdt.unseen", lambda rows, _: np.arange(len(rows)))
    assert [gdt(*search(*common)).fractions for common in chosen] == once


@pytest.mark.parametrize(("num", "length"), [(1, 1), (1, 4), (2, 4), (3, 3), (30, 60), (30, 30)])
def test_identical_but_partly_missing(num: int, length: int) -> None:
    rng = np.random.default_rng(12)
    points = helix(num)
    scored = gdt(*search(moved(rng, points), points, length))
    assert scored.fractions == pytest.approx((num / length,) * 5)
    assert scored.ts == scored.ha == pytest.approx(num / length)


def test_half_right_and_shifted_by_one_residue() -> None:
    rng = np.random.default_rng(14)
    half = reference = np.cumsum(rng.normal(size=(60, 3)) * 3, axis=0)
    half = np.concatenate([reference[:30], reference[30:] + 300 + 100 * rng.normal(size=(30, 3))])
    assert gdt(*search(moved(rng, half), reference)).fractions == pytest.approx(
        (0.5,) * 5, abs=1 / 60
    )
    line = 3.8 * np.arange(40)[:, None] * np.array([[0, 1.0, 0]])
    assert gdt(*search(line[1:], line[:-1])).ts == 1
    # Cα of a helix, wrongly numbered by one, fit as well; those of a random chain do not.
    assert gdt(*search(helix(41)[1:], helix(41)[:-1])).ts == 1
    assert gdt(*search(reference[1:], reference[:-1])).ts < 0.9


def test_mirrored() -> None:
    points = np.random.default_rng(13).normal(size=(80, 3)) * 12
    scored = gdt(*search(points * [1, 1, -1], points))
    assert 4 / 80 < scored.ts < 0.6


def test_fragments_are_every_part_of_five_lengths_and_of_four_residues() -> None:
    fragments = _fragments(300)
    lengths, counts = np.unique(fragments.sum(axis=1), return_counts=True)
    assert lengths.tolist() == [4, 18, 37, 75, 150, 300]
    assert counts.tolist() == [300 - length + 1 for length in lengths]
