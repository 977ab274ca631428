"""Violations against the recorded official ones, brute force, real structures and single faults."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foldry import residues
from foldry.errors import InputError
from foldry.residues import ATOM37_ORDER, CA, CB, C, N, O
from foldry.score.neighbours import near_pairs
from foldry.score.stereochemistry import (
    Excess,
    clashes_between_residues,
    faults_of_peptide_bonds,
    faults_within_residues,
    find_violations,
    keep_mask,
)
from foldry.structure import Structure
from tests.score.conftest import moved


@pytest.fixture(scope="module")
def recorded(parity_dir: Path) -> dict[str, np.ndarray]:
    path = parity_dir / "data" / "all_atom.npz"
    if not path.is_file():
        pytest.skip(f"not among the recorded numbers: {path}")
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def noisy(recorded: dict[str, np.ndarray]) -> Structure:
    """The recorded model, which has noise of 0.6 Å on every atom."""
    aatype = recorded["in_aatype"].astype(np.int64)
    mask = residues.ATOM37_MASK[aatype] > 0
    rows = np.arange(len(aatype))[:, None]
    atoms = recorded["in_pred14"][rows, residues.ATOM37_TO_ATOM14[aatype]]
    return _structure(aatype, atoms.astype(np.float64) * mask[..., None], mask)


def _structure(aatype: np.ndarray, atoms: np.ndarray, mask: np.ndarray) -> Structure:
    num = len(aatype)
    return Structure(
        name="made",
        aatype=aatype,
        residue_number=np.arange(1, num + 1),
        insertion_code=np.full(num, ""),
        chain_id=np.full(num, "A"),
        atom_positions=atoms,
        atom_mask=mask,
        b_factor=np.zeros((num, 37)),
    )


def _per_atom14(found: Excess, aatype: np.ndarray) -> np.ndarray:
    total = np.zeros((len(aatype), 37))
    for residue, slot in zip(found.residue.T, found.slot.T, strict=True):
        np.add.at(total, (residue, slot), found.amount)
    rows = np.arange(len(aatype))[:, None]
    return total[rows, residues.ATOM14_TO_ATOM37[aatype]] * residues.ATOM14_MASK[aatype]


@pytest.mark.parity
@pytest.mark.parametrize("chains", [False, True])
def test_clashes_equal_the_recorded_ones(
    recorded: dict[str, np.ndarray], noisy: Structure, chains: bool
) -> None:
    if chains:
        noisy = dataclasses.replace(noisy, chain_id=recorded["in_asym_id"].astype(str))
    ours = _per_atom14(clashes_between_residues(noisy), noisy.aatype)
    name = "mm/between_residue_clash_loss" if chains else "between_residue_clash_loss"
    theirs = recorded[f"{name}/per_atom_loss_sum"]
    assert 0 < (theirs > 0).sum() < theirs.size
    np.testing.assert_allclose(ours, theirs, atol=2e-6)
    np.testing.assert_array_equal(ours > 0, recorded[f"{name}/per_atom_clash_mask"] > 0)


@pytest.mark.parity
def test_bounds_within_residues_equal_the_recorded_ones(
    recorded: dict[str, np.ndarray], noisy: Structure
) -> None:
    ours = _per_atom14(faults_within_residues(noisy), noisy.aatype)
    # The official sum counts each pair twice.
    theirs = recorded["within_residue_violations/per_atom_loss_sum"] / 2
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=2e-6)
    flags = recorded["within_residue_violations/per_atom_violations"]
    assert 0 < flags.sum() < (residues.ATOM14_MASK[noisy.aatype]).sum()
    np.testing.assert_array_equal(ours > 0, flags > 0)


@pytest.mark.parity
def test_peptide_bonds_equal_the_recorded_ones(
    recorded: dict[str, np.ndarray], noisy: Structure
) -> None:
    name = "between_residue_bond_loss"
    total = np.zeros(len(noisy))
    found = faults_of_peptide_bonds(noisy)
    for excess, part in zip(found, ("c_n", "ca_c_n", "c_n_ca"), strict=True):
        amount = np.zeros(len(noisy) - 1)
        amount[excess.residue[:, 0]] = excess.amount
        assert amount.mean() == pytest.approx(float(recorded[f"{name}/{part}_loss_mean"]), abs=2e-6)
        total[:-1] += amount / 2
        total[1:] += amount / 2
    np.testing.assert_allclose(total, recorded[f"{name}/per_residue_loss_sum"], atol=1e-5)


@pytest.mark.parity
def test_all_violations_equal_the_recorded_ones(
    recorded: dict[str, np.ndarray], noisy: Structure
) -> None:
    found = find_violations(noisy)
    share = found.breaks.sum() / (len(noisy) - 1)
    assert share == pytest.approx(float(recorded["extreme_ca_ca"]), abs=1e-6)
    flags = recorded["mm/find_structural_violations/total_per_residue_violations_mask"]
    np.testing.assert_array_equal(found.atoms.any(axis=1), flags > 0)


def test_real_structures_are_sound(structures: list[Structure]) -> None:
    """Experimental chains are within 12 standard deviations and 1.5 Å nearly everywhere."""
    bad = num = 0
    for structure in structures[:50]:
        found = find_violations(structure)
        bad += (found.bonds | found.angles | found.clashes | found.chirality).sum()
        num += len(structure)
    assert num > 5_000
    assert bad / num < 0.001


def test_mirror_images_have_the_wrong_hand(structures: list[Structure]) -> None:
    structure = structures[0]
    known = structure.atom_mask[:, [N, CA, C, CB]].all(axis=1)
    mirrored = dataclasses.replace(structure, atom_positions=structure.atom_positions * [1, 1, -1])
    assert not find_violations(structure).chirality.any()
    np.testing.assert_array_equal(find_violations(mirrored).chirality, known)


def _peptide(sequence: str) -> Structure:
    """An extended chain with ideal bonds and angles, side chains as far as CB."""
    aatype = residues.encode_sequence(sequence)
    atoms, mask = np.zeros((len(aatype), 37, 3)), np.zeros((len(aatype), 37), bool)
    xyz = [np.array([-1.459, 0, 0]), np.zeros(3)]
    xyz.append(_place(np.array([-1.0, 1, 0]), *xyz, 1.525, 111.0, 0))
    ideals = ((1.329, 116.57, 160.0), (1.459, 121.35, 180.0), (1.525, 111.0, -120.0))
    for number in range(len(aatype)):
        atoms[number, [N, CA, C]] = xyz[-3:]
        for length, angle, torsion in ideals:
            xyz.append(_place(*xyz[-3:], length, angle, torsion))
        n, ca, c, after = *atoms[number, [N, CA, C]], xyz[-3]
        atoms[number, O] = _place(after, ca, c, 1.229, 120.1, 180.0)
        atoms[number, CB] = _place(c, n, ca, 1.530, 110.5, -122.6)
        mask[number, [N, CA, C, O]] = True
        mask[number, CB] = aatype[number] != residues.RESTYPE_ORDER["G"]
    return _structure(aatype, atoms * mask[..., None], mask)


def _place(
    a: np.ndarray, b: np.ndarray, c: np.ndarray, length: float, angle: float, torsion: float
) -> np.ndarray:
    """The point at a distance from c, an angle at c and a torsion angle about b–c (NeRF)."""
    axis = (c - b) / np.linalg.norm(c - b)
    normal = np.cross(b - a, axis)
    normal /= np.linalg.norm(normal)
    turn, around = np.radians([angle, torsion])
    local = [-np.cos(turn), np.sin(turn) * np.cos(around), np.sin(turn) * np.sin(around)]
    return c + length * (np.stack([axis, np.cross(normal, axis), normal], axis=1) @ local)


def _counts(structure: Structure) -> tuple[int, int, int]:
    found = find_violations(structure)
    return found.num_bonds, found.num_angles, found.num_clashes


def _kept(structure: Structure) -> np.ndarray:
    return keep_mask(structure, find_violations(structure))


def _with_atom(structure: Structure, residue: int, slot: int, position: np.ndarray) -> Structure:
    atoms, mask = structure.atom_positions.copy(), structure.atom_mask.copy()
    atoms[residue, slot], mask[residue, slot] = position, True
    return dataclasses.replace(structure, atom_positions=atoms, atom_mask=mask)


def test_an_ideal_chain_has_no_violation() -> None:
    found = find_violations(_peptide("AAGSAKA"))
    assert (found.num_bonds, found.num_angles, found.num_clashes) == (0, 0, 0)
    assert not (found.chirality | found.cis | found.twisted | found.breaks).any()


@pytest.mark.parametrize(("stretch", "faults"), [(0.24, 0), (0.26, 1), (-0.24, 0), (-0.26, 1)])
def test_a_bond_of_twelve_deviations(stretch: float, faults: int) -> None:
    """Ala CA–CB is 1.520 ± 0.021 Å: 12 deviations are 0.252 Å. Its angles keep 12 deviations."""
    chain = _peptide("AAA")
    ca, cb = chain.atom_positions[1, [CA, CB]]
    unit = (cb - ca) / np.linalg.norm(cb - ca)
    found = find_violations(_with_atom(chain, 1, CB, ca + unit * (1.520 + stretch)))
    assert (found.num_bonds, found.num_angles, found.num_clashes) == (faults, 0, 0)
    assert found.bonds.tolist() == [False, bool(faults), False]


@pytest.mark.parametrize(("after", "faults"), [("A", 1), ("P", 0)])
def test_the_peptide_bond_before_proline_is_longer(after: str, faults: int) -> None:
    """1.329 ± 0.014 Å, before Pro 1.341 ± 0.016 Å: 1.515 Å is within 12 deviations there only."""
    chain = _peptide("A" + after)
    c, n = chain.atom_positions[0, C], chain.atom_positions[1, N]
    atoms = chain.atom_positions.copy()
    atoms[1] += (n - c) * (1.515 / 1.329 - 1)
    atoms[1] *= chain.atom_mask[1, :, None]
    found = find_violations(dataclasses.replace(chain, atom_positions=atoms))
    assert (found.num_bonds, found.num_angles) == (faults, 0)


def test_a_bent_angle() -> None:
    """CB turned about CA's bond to C to an angle of 70° with N."""
    chain = _peptide("AAA")
    n, ca, c = chain.atom_positions[1, [N, CA, C]]
    found = find_violations(_with_atom(chain, 1, CB, _place(c, n, ca, 1.52, 70, -122.6)))
    assert (found.num_bonds, found.num_angles) == (0, 1)
    assert np.flatnonzero(found.atoms[1]).tolist() == sorted([N, CB])


def test_a_clash() -> None:
    """Two carbons clash under 1.7 + 1.7 − 1.5 = 1.9 Å."""
    chain = _peptide("AAAAAA")
    far = chain.atom_positions[0, CA] + np.array([0, 0, 50])
    sides = _with_atom(chain, 0, CB, far)
    apart, near = (
        clashes_between_residues(_with_atom(sides, 5, CB, far + np.array([0, 0, z])))
        for z in (1.91, 1.89)
    )
    assert len(apart.amount) == 0
    assert near.amount == pytest.approx([0.01])
    assert near.residue.tolist() == [[0, 5]]


def test_atoms_that_lddt_drops() -> None:
    chain = _peptide("AKAA")
    far = np.array([0.0, 0, 50])
    gamma = _place(*chain.atom_positions[1, [N, CA, CB]], 1.521, 113.4, 180)
    longer = _with_atom(chain, 1, ATOM37_ORDER["CG"], gamma)
    np.testing.assert_array_equal(_kept(longer), longer.atom_mask)
    kept = _kept(_with_atom(longer, 1, ATOM37_ORDER["CD"], far))  # its bond to CG is bad
    assert np.flatnonzero(kept[1]).tolist() == sorted([N, CA, C, O])
    np.testing.assert_array_equal(np.delete(kept, 1, 0), np.delete(chain.atom_mask, 1, 0))
    kept = _kept(_with_atom(chain, 1, O, far))  # so is its bond to C
    assert not kept[1].any()
    np.testing.assert_array_equal(np.delete(kept, 1, 0), np.delete(chain.atom_mask, 1, 0))
    np.testing.assert_array_equal(_kept(chain), chain.atom_mask)


def test_bonded_atoms_do_not_clash() -> None:
    """The SG of a disulphide bond at 2.03 Å, and a C–N bond at a jump of residue numbers."""
    chain = _peptide("CAAC")
    sulphur = ATOM37_ORDER["SG"]
    far = np.array([0.0, 0, 40])
    near = np.array([0.0, 0, 41.2])
    bridged = _with_atom(_with_atom(chain, 0, sulphur, far), 3, sulphur, near)
    assert len(clashes_between_residues(bridged).amount) == 0
    serine = residues.encode_sequence("SAAC")
    assert len(clashes_between_residues(dataclasses.replace(bridged, aatype=serine)).amount) == 1
    leaping = dataclasses.replace(chain, residue_number=np.array([1, 2, 7, 8]))
    assert _counts(leaping) == _counts(chain) == (0, 0, 0)
    two = dataclasses.replace(chain, chain_id=np.array(["A", "A", "B", "B"]))
    assert _counts(two) == (0, 0, 1)


def test_a_broken_chain() -> None:
    chain = _peptide("AAAA")
    atoms = chain.atom_positions.copy()
    atoms[2:] += [0, 0, 8]
    broken = dataclasses.replace(chain, atom_positions=atoms)
    found = find_violations(broken)
    assert found.num_bonds == 1
    assert np.flatnonzero(found.bonds).tolist() == [1, 2]
    assert found.breaks.tolist() == [False, False, True, False]
    # A gap in the numbers means missing residues: no bond is expected.
    gap = find_violations(dataclasses.replace(broken, residue_number=np.array([1, 2, 9, 10])))
    assert (gap.num_bonds, gap.num_angles) == (0, 0)
    assert not gap.breaks.any()


def test_missing_atoms_are_not_violations() -> None:
    chain = _peptide("AAAA")
    for slot in (N, CA, C, O, CB):
        mask = chain.atom_mask.copy()
        mask[1, slot] = False
        atoms = chain.atom_positions * mask[..., None]
        holed = dataclasses.replace(chain, atom_mask=mask, atom_positions=atoms)
        assert _counts(holed) == (0, 0, 0)
    empty = chain.select(np.zeros(4, bool))
    assert _counts(empty) == (0, 0, 0)
    assert _kept(empty).shape == (0, 37)


@pytest.mark.parametrize(
    ("omega", "before", "cis", "twisted"),
    [(0, "A", True, False), (0, "P", False, False), (90, "A", False, True), (170, "A", 0, 0)],
)
def test_peptide_planes(omega: float, before: str, cis: bool, twisted: bool) -> None:
    chain = _peptide("A" + before)
    ca, c, n = chain.atom_positions[0, CA], chain.atom_positions[0, C], chain.atom_positions[1, N]
    turned = _with_atom(chain, 1, CA, _place(ca, c, n, 1.459, 121.35, omega))
    found = find_violations(turned)
    assert found.cis.tolist() == [False, bool(cis)]
    assert found.twisted.tolist() == [False, bool(twisted)]


def _brute(points: np.ndarray, cutoff: float) -> Iterator[tuple[int, int]]:
    for i in range(len(points)):
        for j in range(i + 1, len(points)):
            if np.linalg.norm(points[i] - points[j]) < cutoff:
                yield i, j


@given(st.integers(0, 2**32 - 1), st.integers(0, 40), st.floats(0.5, 40), st.floats(0.5, 8))
@settings(max_examples=25, deadline=None)
def test_near_pairs_are_all_pairs(seed: int, num: int, spread: float, cutoff: float) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(num, 3)) * spread + rng.integers(0, 2, (num, 1)) * 10.0**6
    first, second, distance = near_pairs(points, cutoff)
    assert sorted(zip(first.tolist(), second.tolist(), strict=True)) == list(_brute(points, cutoff))
    np.testing.assert_allclose(distance, np.linalg.norm(points[first] - points[second], axis=1))
    group = rng.integers(0, 3, num)
    apart = group[first] != group[second]
    for one, other in zip(
        (first, second, distance), near_pairs(points, cutoff, group), strict=True
    ):
        np.testing.assert_array_equal(one[apart], other)


def test_blocks_of_pairs_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    points = np.random.default_rng(1).normal(size=(300, 3)) * 5
    whole = near_pairs(points, 3)
    monkeypatch.setattr("foldry.score.neighbours._BLOCK", 50)
    for one, other in zip(whole, near_pairs(points, 3), strict=True):
        np.testing.assert_array_equal(one, other)


def test_hostile_coordinates() -> None:
    with pytest.raises(InputError, match="not a finite number"):
        near_pairs(np.array([[0, 0, np.nan]]), 2)
    with pytest.raises(InputError, match="on top of each other"):
        near_pairs(np.zeros((20_000, 3)), 2)
    first, _, _ = near_pairs(np.array([[1e300, 0, 0], [-1e300, 0, 0], [0, 1e18, 0]]), 2)
    assert len(first) == 0


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_violations_do_not_depend_on_where_a_structure_is(seed: int) -> None:
    rng = np.random.default_rng(seed)
    chain = _peptide("AGPSCAVK")
    atoms = chain.atom_positions + rng.normal(size=chain.atom_positions.shape) * 0.3
    atoms *= chain.atom_mask[..., None]
    elsewhere = moved(rng, atoms.reshape(-1, 3)).reshape(atoms.shape)
    here = find_violations(dataclasses.replace(chain, atom_positions=atoms))
    there = find_violations(dataclasses.replace(chain, atom_positions=elsewhere))
    for name, value in vars(here).items():
        np.testing.assert_array_equal(getattr(there, name), value, err_msg=name)
