"""Superposition compared with Biopython and with geometric rules."""

from __future__ import annotations

import numpy as np
import pytest
from Bio.SVDSuperimposer import SVDSuperimposer
from hypothesis import given, settings
from hypothesis import strategies as st

from foldry.score.superpose import nearest_rotation, rmsd, rmsd_95, superpose
from tests.score.conftest import Pair, helix, moved


def _is_rotation(matrix: np.ndarray) -> bool:
    orthogonal = np.abs(matrix @ np.swapaxes(matrix, -1, -2) - np.eye(3)).max() < 1e-9
    return bool(orthogonal and (np.linalg.det(matrix) > 0.999).all())


def _by_svd(covariance: np.ndarray) -> np.ndarray:
    u, _, vt = np.linalg.svd(covariance)
    u[..., 2] *= np.sign(np.linalg.det(u @ vt))[..., None]
    return u @ vt


def test_rmsd_equals_biopythons(pairs: list[Pair]) -> None:
    for pair in pairs:
        model, reference = pair.common
        theirs = SVDSuperimposer()
        theirs.set(reference, model)
        theirs.run()
        ours = rmsd(superpose(model, reference).apply(model), reference)
        assert ours == pytest.approx(theirs.get_rms(), abs=1e-9), pair.name


def test_batches() -> None:
    rng = np.random.default_rng(1)
    mobile, target = rng.normal(size=(2, 3, 4, 20, 3)) * 10
    together, alone = superpose(mobile, target), superpose(mobile[2, 1], target[2, 1])
    assert together.rotation.shape == (3, 4, 3, 3)
    np.testing.assert_allclose(together.rotation[2, 1], alone.rotation, atol=1e-12)
    np.testing.assert_allclose(together.apply(mobile)[2, 1], alone.apply(mobile[2, 1]), atol=1e-9)


def test_rmsd_by_hand() -> None:
    """Distances of 1, 2 and 3 Å."""
    assert rmsd(np.diag([1.0, 2, 3]), np.zeros((3, 3))) == pytest.approx(np.sqrt(14 / 3))


def test_mirror_images_equal_biopythons(pairs: list[Pair]) -> None:
    """The best proper rotation of a mirrored model, for which one singular value changes sign."""
    for pair in pairs[::2]:
        model, reference = pair.common
        mirrored = model * [1, 1, -1]
        theirs = SVDSuperimposer()
        theirs.set(reference, mirrored)
        theirs.run()
        motion = superpose(mirrored, reference)
        assert _is_rotation(motion.rotation)
        ours = rmsd(motion.apply(mirrored), reference)
        assert ours == pytest.approx(theirs.get_rms(), abs=1e-9), pair.name


def test_rmsd_95_leaves_out_what_fits_worst() -> None:
    rng = np.random.default_rng(6)
    reference = rng.normal(size=(40, 3)) * 10
    model = reference.copy()
    model[[7, 30]] += [20, 0, 0]  # 2 of 40 are 5 %
    assert rmsd_95(moved(rng, model), reference)[0] == pytest.approx(0, abs=1e-6)
    assert rmsd(superpose(model, reference).apply(model), reference) > 3
    model[12] += [0, 20, 0]  # one more has to stay
    assert rmsd_95(moved(rng, model), reference)[0] > 2
    assert rmsd_95(moved(rng, model[:1]), reference[:1])[0] == pytest.approx(0, abs=1e-9)


def test_rmsd_95_agrees_with_its_motion(pairs: list[Pair]) -> None:
    for pair in pairs[::3]:
        model, reference = pair.common
        ours, motion = rmsd_95(model, reference)
        distance = np.sort(np.linalg.norm(motion.apply(model) - reference, axis=1))
        kept = int(np.ceil(0.95 * len(reference)))
        assert ours == pytest.approx(np.sqrt((distance[:kept] ** 2).mean()), abs=1e-9), pair.name
        assert ours <= rmsd(superpose(model, reference).apply(model), reference) + 1e-9


def test_a_mirror_image_is_not_reflected_back() -> None:
    points = helix(30)
    motion = superpose(points * [1, 1, -1], points)
    assert _is_rotation(motion.rotation)
    assert rmsd(motion.apply(points * [1, 1, -1]), points) > 1


@pytest.mark.parametrize("num", [1, 2, 3])
def test_points_that_leave_the_rotation_open(num: int) -> None:
    rng = np.random.default_rng(3)
    points = np.arange(num)[:, None] * np.array([[1.0, 2, 3]])
    motion = superpose(moved(rng, points), points)
    assert _is_rotation(motion.rotation)
    mobile = moved(rng, points)
    np.testing.assert_allclose(superpose(mobile, points).apply(mobile), points, atol=1e-9)


def test_no_rotation_is_better() -> None:
    """The closed form against the decomposition, near singular matrices too."""
    rng = np.random.default_rng(4)
    u, v = _by_svd(rng.normal(size=(2, 3000, 3, 3)))
    singular = np.sort(rng.random((3000, 3)))[:, ::-1].copy()
    singular[:1000, 2] *= -1
    singular[1000:1500, 2] = 0
    singular[1500:2000, 2] = -singular[1500:2000, 1] * (1 - 10.0 ** rng.uniform(-12, 0, 500))
    singular[2000:2500, 1:] *= 1e-9
    covariance = (u * singular[:, None, :]) @ v
    rotation = nearest_rotation(covariance)
    assert _is_rotation(rotation)
    agreement, most = ((r * covariance).sum((1, 2)) for r in (rotation, _by_svd(covariance)))
    np.testing.assert_allclose(agreement, most, rtol=1e-12)


@given(st.integers(0, 2**32 - 1), st.integers(3, 40), st.floats(0, 5))
@settings(max_examples=50, deadline=None)
def test_small_turns_make_it_worse(seed: int, num: int, noise: float) -> None:
    rng = np.random.default_rng(seed)
    target = rng.normal(size=(num, 3)) * 10
    mobile = moved(rng, target + rng.normal(size=target.shape) * noise)
    laid = superpose(mobile, target).apply(mobile)
    least = rmsd(laid, target)
    for _ in range(5):
        turn = _by_svd(np.eye(3) + 1e-2 * rng.normal(size=(3, 3)))
        assert rmsd(laid @ turn.T + rng.normal(size=3) * 1e-2, target) >= least - 1e-12
