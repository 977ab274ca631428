"""Known atoms against the recorded official numbers and geometric rules."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foldry.features.known_atoms import (
    atom14,
    backbone_frames,
    distogram_bins,
    frames_from_points,
    pseudo_beta,
    rigid_groups,
    torsion_angles,
)
from foldry.residues import (
    ATOM14_GROUP,
    ATOM14_MASK,
    ATOM14_POSITION,
    ATOM14_TO_ATOM37,
    ATOM37_MASK,
    ATOM37_TO_ATOM14,
    CHI_MASK,
    CHI_PI_PERIODIC,
    DEFAULT_FRAMES,
)
from tests.features.conftest import Recorded


@pytest.fixture(scope="module")
def official(recorded: Recorded) -> dict[str, np.ndarray]:
    return recorded("data/all_atom.npz")


@pytest.mark.parity
@pytest.mark.parametrize("placeholder", [False, True])
def test_torsions_are_the_official_ones(official: dict[str, np.ndarray], placeholder: bool) -> None:
    ours = torsion_angles(
        official["in_aatype"], official["in_pos37"], official["in_mask37"], placeholder
    )
    prefix = f"atom37_to_torsion_angles(placeholder={placeholder})/"
    mask = official[prefix + "torsion_angles_mask"][0]
    np.testing.assert_array_equal(ours.mask, mask)
    where = np.ones_like(mask, bool) if placeholder else mask == 1
    for name, values in (("", ours.sin_cos), ("alt_", ours.alt_sin_cos)):
        theirs = official[f"{prefix}{name}torsion_angles_sin_cos"][0]
        np.testing.assert_allclose(values[where], theirs[where], rtol=0, atol=5e-7)
        assert values.dtype == np.float32


@pytest.mark.parity
def test_template_torsions_are_the_official_ones(parity_dir: Path, recorded: Recorded) -> None:
    official = recorded("data/template_torsions.npz")
    compared = 0
    for case in sorted({name.split("/")[0] for name in official}):
        places = f"model/{case}/inputs.npz", f"data/{case}_inputs.npz"
        for place in places:
            if not (parity_dir / place).is_file():
                continue
            inputs = recorded(place)
            aatype, positions, masks = (
                inputs[f"template_{name}"][0]
                for name in ("aatype", "all_atom_positions", "all_atom_masks")
            )
            ours = torsion_angles(aatype, positions, masks)
            np.testing.assert_array_equal(ours.mask, official[f"{case}/torsion_angles_mask"])
            # Undefined angles too: rounding noise that follows from the order of operations.
            for name, values in (("", ours.sin_cos), ("alt_", ours.alt_sin_cos)):
                theirs = official[f"{case}/{name}torsion_angles_sin_cos"]
                np.testing.assert_allclose(values, theirs, rtol=0, atol=5e-7)
            compared += 1
    if not compared:
        pytest.skip("no recorded case with templates")


@pytest.mark.parity
def test_rigid_groups_are_the_official_ones(official: dict[str, np.ndarray]) -> None:
    ours = rigid_groups(official["in_aatype"], official["in_pos37"], official["in_mask37"])
    np.testing.assert_array_equal(ours.mask, official["atom37_to_frames/rigidgroups_gt_exists"])
    for name, frames in {"gt_frames": ours.frames, "alt_gt_frames": ours.alt_frames}.items():
        flat = np.concatenate([frames[..., :3].reshape(-1, 8, 9), frames[..., 3]], axis=-1)
        theirs = official[f"atom37_to_frames/rigidgroups_{name}"]
        np.testing.assert_allclose(flat, theirs, rtol=0, atol=2e-6)
        assert frames.dtype == np.float32


@pytest.mark.parity
def test_backbone_frames_are_the_official_ones(official: dict[str, np.ndarray]) -> None:
    positions, mask = official["batch/all_atom_positions"], official["in_mask37"]
    frames, known = backbone_frames(positions, mask)
    np.testing.assert_array_equal(known, official["batch/backbone_affine_mask"])
    affine = official["batch/backbone_affine_tensor"]
    np.testing.assert_array_equal(frames[..., 3], affine[:, 4:])
    np.testing.assert_allclose(frames[..., :3], rotation(affine[:, :4]), rtol=0, atol=2e-6)
    groups = rigid_groups(official["in_aatype"], positions, mask)
    np.testing.assert_array_equal(frames, groups.frames[:, 0])
    np.testing.assert_allclose(
        frames_from_points(positions[:, 2], positions[:, 1], positions[:, 0])[known == 1],
        official["r3/rigids_from_3_points(C,CA,N)"][known == 1],
        rtol=0,
        atol=5e-7,
    )


def rotation(quaternion: np.ndarray) -> np.ndarray:
    """Rotation matrices of quaternions w, x, y, z, from the textbook."""
    w, x, y, z = np.moveaxis(quaternion, -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))


@pytest.mark.parity
def test_atom14_is_the_official_one(official: dict[str, np.ndarray]) -> None:
    ours = atom14(official["in_aatype"], official["in_pos37"], official["in_mask37"])
    for name, values in {
        "gt_positions": ours.positions,
        "gt_exists": ours.mask,
        "alt_gt_positions": ours.alt_positions,
        "alt_gt_exists": ours.alt_mask,
        "atom_exists": ATOM14_MASK[official["in_aatype"]],
        "atom_is_ambiguous": ours.ambiguous,
    }.items():
        np.testing.assert_array_equal(values, official[f"batch/atom14_{name}"])


@pytest.mark.parity
def test_pseudo_beta_and_distance_bins_are_the_official_ones(
    official: dict[str, np.ndarray],
) -> None:
    positions, mask = pseudo_beta(
        official["in_aatype"], official["batch/all_atom_positions"], official["in_mask37"]
    )
    np.testing.assert_array_equal(positions, official["batch/pseudo_beta"])
    np.testing.assert_array_equal(mask, official["batch/pseudo_beta_mask"])
    for num_bins, last in ((15, 20.75), (39, 50.75)):
        # The recorded one-hot has no bin below the first break.
        ours = distogram_bins(positions, 3.25, last, num_bins + 1)
        theirs = official[f"dgram{num_bins}"]
        np.testing.assert_array_equal(np.eye(num_bins + 1)[ours][..., 1:], theirs)


def ideal_residues(aatype: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Residues with all torsions at zero, built from the published frames and positions."""
    frames = DEFAULT_FRAMES[aatype].astype(np.float64)
    for chi in (5, 6, 7):
        frames[:, chi] = frames[:, chi - 1] @ frames[:, chi]
    groups = np.take_along_axis(frames, ATOM14_GROUP[aatype][..., None, None], axis=1)
    local = ATOM14_POSITION[aatype]
    atom14 = np.einsum("naij,naj->nai", groups[..., :3, :3], local) + groups[..., :3, 3]
    xyz = np.take_along_axis(atom14, ATOM37_TO_ATOM14[aatype][..., None], axis=1)
    mask = ATOM37_MASK[aatype]
    return (xyz * mask[..., None]).astype(np.float32), mask


def test_chi_angles_of_ideal_residues_are_zero() -> None:
    aatype = np.arange(20)
    torsions = torsion_angles(aatype, *ideal_residues(aatype))
    np.testing.assert_array_equal(torsions.mask[:, 3:], CHI_MASK[:20])
    chi = torsions.sin_cos[:, 3:][CHI_MASK[:20] == 1]
    np.testing.assert_allclose(chi, np.tile([0, 1], (len(chi), 1)), rtol=0, atol=1e-3)
    turned = torsions.alt_sin_cos[:, 3:][CHI_PI_PERIODIC[:20] == 1]
    np.testing.assert_allclose(turned, np.tile([0, -1], (4, 1)), rtol=0, atol=1e-3)


def test_frames_put_ideal_atoms_at_their_published_places() -> None:
    aatype = np.arange(20)
    xyz, mask = ideal_residues(aatype)
    packed = atom14(aatype, xyz, mask)
    frames, _ = backbone_frames(xyz, mask)
    local = np.einsum(
        "nji,naj->nai", frames[..., :3], packed.positions - frames[..., 3][:, None, :]
    )
    backbone = np.zeros_like(packed.mask, bool)
    backbone[:, :3] = True
    assert (ATOM14_TO_ATOM37[:20, 1] == 1).all()
    np.testing.assert_allclose(local[backbone], ATOM14_POSITION[:20][backbone], rtol=0, atol=2e-3)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_moving_the_molecule_moves_frames_and_leaves_torsions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    aatype = rng.integers(0, 21, 7)
    mask = ATOM37_MASK[aatype] * (rng.random((7, 37)) > 0.1)
    xyz = np.float32(rng.normal(size=(7, 37, 3)) * 3) * mask[..., None]
    quaternion = rng.normal(size=4)
    turn = rotation(quaternion / np.linalg.norm(quaternion))
    shift = rng.normal(size=3) * 10
    moved = ((xyz @ turn.T + shift) * mask[..., None]).astype(np.float32)

    before, after = torsion_angles(aatype, xyz, mask), torsion_angles(aatype, moved, mask)
    np.testing.assert_array_equal(before.mask, after.mask)
    known = before.mask == 1
    np.testing.assert_allclose(before.sin_cos[known], after.sin_cos[known], rtol=0, atol=2e-3)

    here, there = rigid_groups(aatype, xyz, mask), rigid_groups(aatype, moved, mask)
    known = here.mask == 1
    np.testing.assert_allclose(
        np.einsum("ij,...jk->...ik", turn, here.frames[known][..., :3]),
        there.frames[known][..., :3],
        rtol=0,
        atol=2e-3,
    )


def test_leading_axes_are_a_batch() -> None:
    rng = np.random.default_rng(5)
    aatype = rng.integers(0, 21, (2, 3, 6))
    mask = ATOM37_MASK[aatype]
    xyz = rng.normal(size=(2, 3, 6, 37, 3)).astype(np.float32) * mask[..., None]
    for function in (torsion_angles, rigid_groups, atom14):
        whole, one = function(aatype, xyz, mask), function(aatype[1, 2], xyz[1, 2], mask[1, 2])
        for name, value in vars(one).items():
            np.testing.assert_array_equal(getattr(whole, name)[1, 2], value)


def test_undefined_torsions_are_finite_without_atoms() -> None:
    torsions = torsion_angles(np.full(3, 21), np.zeros((3, 37, 3)), np.zeros((3, 37)))
    assert np.isfinite(torsions.sin_cos).all()
    assert not torsions.mask.any()
