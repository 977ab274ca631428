"""The tables of amino-acid chemistry are the official ones."""

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
    """Atoms of one rigid group have the ideal bond lengths and angles."""
    lower, upper = residues.atom14_distance_bounds(1.5, 3.0)
    positions = residues.ATOM14_POSITION.astype(np.float64)
    distances = np.linalg.norm(positions[:, :, None] - positions[:, None], axis=-1)
    exists = residues.ATOM14_MASK[:, :, None] * residues.ATOM14_MASK[:, None]
    together = residues.ATOM14_GROUP[:, :, None] == residues.ATOM14_GROUP[:, None]
    checked = (exists > 0) & together & ~np.eye(14, dtype=bool) & (upper < 1e9)
    assert checked.sum() > 200
    assert (distances[checked] > lower[checked]).all()
    assert (distances[checked] < upper[checked]).all()


def test_every_angle_consists_of_two_bonds() -> None:
    for bonds, angles in zip(residues.BOND_LENGTHS, residues.BOND_ANGLES, strict=True):
        for first, apex, last in angles:
            for pair in ((first, apex), (apex, last)):
                assert pair in bonds or pair[::-1] in bonds


@pytest.mark.parametrize(
    ("standard", "names"),
    {
        "HIS": "HID HIE HIP HSD HSE HSP HISD HISE HISH NHID CHIE NHIS",
        "CYS": "CYX CYM CYS2 CYSH CYSS NCYX CCYS",
        "ASP": "ASH ASPH ASP- NASP CASP",
        "GLU": "GLH GLUH CGLU",
        "LYS": "LYN LYSH NLYN CLYS",
        "GLN": "QLN NGLN",
        "TYR": "TYM TYRH CTYR",
        "ALA": "NALA CALA",
    }.items(),
)
def test_names_of_force_fields(standard: str, names: str) -> None:
    assert {residues.SYNONYMS[name] for name in names.split()} == {standard}


def test_synonyms_stand_for_standard_names() -> None:
    assert set(residues.SYNONYMS.values()) == set(residues.RESNAMES) - {"UNK"}
    assert residues.SYNONYMS.keys().isdisjoint(residues.RESNAMES)


def test_radii() -> None:
    assert residues.ATOM14_RADIUS[residues.RESTYPE_ORDER["C"], 5] == np.float32(1.8)
    assert residues.ATOM14_RADIUS[residues.RESTYPE_ORDER["G"], 4:].sum() == 0


def at_torsion_zero(code: int) -> dict[str, np.ndarray]:
    """Return the atoms of a residue with all torsion angles zero, in its backbone frame, Å."""
    frames = residues.DEFAULT_FRAMES[code].astype(np.float64)
    for chi in (5, 6, 7):
        frames[chi] = frames[chi - 1] @ frames[chi]
    groups, positions = residues.ATOM14_GROUP[code], residues.ATOM14_POSITION[code]
    return {
        name: (frames[groups[slot]] @ [*positions[slot], 1])[:3]
        for slot, name in enumerate(residues.ATOM14[code])
    }


@pytest.mark.parametrize("code", range(20))
def test_atoms_in_default_frames_have_ideal_bonds_and_angles(code: int) -> None:
    xyz = at_torsion_zero(code)
    for (first, last), (length, deviation) in residues.BOND_LENGTHS[code].items():
        if (first, last) != ("N", "CD"):  # proline's ring is open at torsion zero
            bond = np.linalg.norm(xyz[first] - xyz[last])
            assert bond == pytest.approx(length, abs=2 * deviation), (first, last)
    for (first, apex, last), (degrees, deviation) in residues.BOND_ANGLES[code].items():
        one, other = xyz[first] - xyz[apex], xyz[last] - xyz[apex]
        cosine = one @ other / (np.linalg.norm(one) * np.linalg.norm(other))
        angle = np.degrees(np.arccos(cosine))
        assert angle == pytest.approx(degrees, abs=4 * deviation), (first, apex, last)


@pytest.mark.parametrize("code", range(20))
def test_the_atoms_of_a_chi_angle_are_cis_at_torsion_zero(code: int) -> None:
    xyz = at_torsion_zero(code)
    for names in residues.CHI_ATOMS[code]:
        before, second, third, fourth = (xyz[name] for name in names)
        normals = (
            np.cross(before - second, third - second),
            np.cross(third - second, fourth - third),
        )
        one, other = (normal / np.linalg.norm(normal) for normal in normals)
        assert one @ other == pytest.approx(-1, abs=1e-4), names


def test_default_frames_are_rotations_of_groups_that_exist() -> None:
    frames = residues.DEFAULT_FRAMES
    assert frames.shape == (21, 8, 4, 4)
    exists = np.concatenate([np.ones((21, 4)), residues.CHI_MASK], axis=1) > 0
    exists[residues.UNKNOWN] = frames[residues.UNKNOWN, :, 3, 3] > 0
    rotation = frames[exists][:, :3, :3]
    identity = np.broadcast_to(np.eye(3), rotation.shape)
    np.testing.assert_allclose(rotation @ rotation.transpose(0, 2, 1), identity, atol=1e-6)
    np.testing.assert_allclose(np.linalg.det(rotation), 1, atol=1e-6)
    assert not frames[~exists].any()


def test_symmetric_side_chains_have_ambiguous_atoms() -> None:
    found = {
        letter: {name for name, is_one in zip(names, row, strict=False) if is_one}
        for letter, names, row in zip(
            residues.RESTYPES_WITH_X, residues.ATOM14, residues.ATOM14_AMBIGUOUS, strict=False
        )
        if row.any()
    }
    ring = {"CD1", "CD2", "CE1", "CE2"}
    assert found == {"D": {"OD1", "OD2"}, "E": {"OE1", "OE2"}, "F": ring, "Y": ring}


def test_one_hot_encoding_leaves_higher_codes_out() -> None:
    encoded = residues.one_hot(np.array([[0, 2, 21]]), 21)
    assert (encoded.dtype, encoded.shape) == (np.float32, (1, 3, 21))
    assert encoded.sum(axis=-1).tolist() == [[1, 1, 0]]
    assert encoded[0, 1, 2] == 1
