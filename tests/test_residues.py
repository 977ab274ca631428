"""The chemistry's tables are the official ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from foldry import residues


@pytest.mark.parity
@pytest.mark.parametrize("tolerances", [(1.5, 12.0), (1.0, 15.0)])
def test_distance_bounds(parity_dir: Path, tolerances: tuple[float, float]) -> None:
    path = parity_dir / "data" / "residue_constants.npz"
    if not path.is_file():
        pytest.skip(f"not among the recorded numbers: {path}")
    lower, upper = residues.atom14_distance_bounds(*tolerances)
    with np.load(path, allow_pickle=False) as recorded:
        base = "make_atom14_dists_bounds({},{})/{}_bound"
        for side, ours in {"lower": lower, "upper": upper}.items():
            theirs = recorded[base.format(*tolerances, side)]
            np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


def test_ideal_residues_keep_the_bounds() -> None:
    """Atoms of one rigid group stand as the bond lengths and angles say."""
    lower, upper = residues.atom14_distance_bounds(1.5, 3.0)
    positions = residues.ATOM14_POSITION.astype(np.float64)
    distances = np.linalg.norm(positions[:, :, None] - positions[:, None], axis=-1)
    exists = residues.ATOM14_MASK[:, :, None] * residues.ATOM14_MASK[:, None]
    together = residues.ATOM14_GROUP[:, :, None] == residues.ATOM14_GROUP[:, None]
    checked = (exists > 0) & together & ~np.eye(14, dtype=bool) & (upper < 1e9)
    assert checked.sum() > 200
    assert (distances[checked] > lower[checked]).all()
    assert (distances[checked] < upper[checked]).all()


def test_every_angle_is_of_two_bonds() -> None:
    for bonds, angles in zip(residues.BOND_LENGTHS, residues.BOND_ANGLES, strict=True):
        for first, apex, last in angles:
            for pair in ((first, apex), (apex, last)):
                assert pair in bonds or pair[::-1] in bonds


def test_radii() -> None:
    assert residues.ATOM14_RADIUS[residues.RESTYPE_ORDER["C"], 5] == np.float32(1.8)
    assert residues.ATOM14_RADIUS[residues.RESTYPE_ORDER["G"], 4:].sum() == 0
