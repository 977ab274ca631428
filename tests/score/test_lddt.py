"""lDDT against Biotite's, the recorded official numbers and cases done by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import biotite.structure
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from foldry.residues import ATOM37_ORDER, RESNAME_TO_CODE
from foldry.score.lddt import BACKBONE, kept_distances, lddt, name_symmetric_atoms, summary
from foldry.structure import Structure
from tests.score.conftest import Pair, Prediction, helix, lddt_atom37, moved


def _biotite(
    model: np.ndarray, reference: np.ndarray, known: np.ndarray, residue: np.ndarray
) -> tuple[float, np.ndarray]:
    atoms = biotite.structure.AtomArray(len(reference))
    atoms.coord = reference.astype(np.float32)
    atoms.res_id = residue + 1
    subject = np.where(known[:, None], model, np.nan).astype(np.float32)
    score = biotite.structure.lddt(atoms, subject)
    groups = np.unique(residue, return_inverse=True)[1]
    return score, biotite.structure.lddt(atoms, subject, aggregation=groups)


def _worsened(rng: np.random.Generator, structure: Structure) -> tuple[np.ndarray, np.ndarray]:
    noise = rng.normal(size=structure.atom_positions.shape) * rng.uniform(0.1, 3)
    mask = structure.atom_mask & (rng.random(structure.atom_mask.shape) > 0.03)
    return structure.atom_positions + noise, mask


def test_lddt_of_ca_equals_biotites(pairs: list[Pair]) -> None:
    for pair in pairs:
        ours = lddt(pair.model, pair.reference, pair.known)
        score, residues = _biotite(
            pair.model, pair.reference, pair.known, np.arange(len(pair.reference))
        )
        assert ours.score == pytest.approx(score, abs=1e-3), pair.name
        np.testing.assert_allclose(ours.per_residue, residues, atol=0.02, err_msg=pair.name)


@pytest.mark.parametrize(("slots", "num"), [(range(37), 100), (BACKBONE, 20)])
def test_lddt_of_all_atoms_equals_biotites(
    structures: list[Structure], slots: Sequence[int], num: int
) -> None:
    rng = np.random.default_rng(5)
    for whole in sorted(structures, key=len)[:num]:
        structure = whole.select(np.arange(min(len(whole), 50)))  # Biotite is slow
        model, mask = _worsened(rng, structure)
        reference, there = structure.atom_positions, structure.atom_mask
        ours = lddt_atom37(model, reference, mask, there, slots)
        residue, slot = np.nonzero(there & np.isin(np.arange(37), slots))
        score, _ = _biotite(
            model[residue, slot], reference[residue, slot], mask[residue, slot], residue
        )
        assert ours.score == pytest.approx(score, abs=1e-3), structure.name


def test_lddt_of_predictions_equals_biotites(predictions: list[Prediction]) -> None:
    """The backbone of complete predicted chains; all atoms are moved."""
    for prediction in predictions[::2]:
        num = len(prediction.backbone)
        model, mask = np.zeros((num, 37, 3)), np.zeros((num, 37), bool)
        model[:, BACKBONE], mask[:, BACKBONE] = prediction.backbone, True
        reference, there = prediction.reference.atom_positions, prediction.reference.atom_mask
        ours = lddt_atom37(model, reference, mask, there, BACKBONE)
        residue, slot = np.nonzero(there & np.isin(np.arange(37), BACKBONE))
        score, _ = _biotite(
            model[residue, slot], reference[residue, slot], mask[residue, slot], residue
        )
        assert ours.score == pytest.approx(score, abs=1e-3), prediction.reference.name


def test_shifted_by_one_residue() -> None:
    """Neighbours along a straight line stay as far apart; those of a random coil do not."""
    line = 3.8 * np.arange(40)[:, None] * np.array([[1.0, 0, 0]])
    assert lddt(line[1:], line[:-1]).score == 1
    coil = np.cumsum(np.random.default_rng(16).normal(size=(60, 3)) * 2.5, axis=0)
    assert lddt(coil[1:], coil[:-1]).score < 0.8


def test_as_recorded(parity_dir: Path) -> None:
    path = parity_dir / "data" / "all_atom.npz"
    if not path.is_file():
        pytest.skip(f"not among the recorded numbers: {path}")
    with np.load(path) as recorded:
        there = recorded["in_mask37"][:, 1].astype(bool)
        ours = lddt(recorded["in_pred14"][there, 1], recorded["in_pos37"][there, 1])
        residues = recorded["lddt(per_residue=True)"][0, there]
        np.testing.assert_allclose(ours.per_residue, residues, atol=1e-6)
        assert ours.score == pytest.approx(float(recorded["lddt(per_residue=False)"][0]), abs=1e-6)


def test_by_hand() -> None:
    """Four points on a line; the last is moved by 0.7 Å away from the others, then by 3 Å."""
    reference = np.array([[0.0, 0, 0], [5, 0, 0], [10, 0, 0], [16, 0, 0]])
    model = reference + np.array([[0.0], [0], [0], [0.7]]) * [1, 0, 0]
    # 0–3 is 16 Å long and not judged; 1–3 and 2–3 fail the threshold of 0.5 Å only.
    scored = lddt(model, reference)
    np.testing.assert_allclose(scored.per_residue, [1, (1 + 1 + 0.75) / 3, (2.75) / 3, 0.75])
    assert scored.score == pytest.approx((3 + 2 * 0.75) / 5)
    model[3, 0] = 19
    np.testing.assert_allclose(lddt(model, reference).per_residue[3], 0.25)


def test_identical_mirrored_and_lost() -> None:
    points = helix(40)
    assert lddt(points, points).score == 1
    assert lddt(points * [1, 1, -1], points).score == 1  # distances know no hand
    known = np.arange(40) < 20
    half = lddt(points, points, known)
    assert (half.per_residue[20:] == 0).all()
    assert half.per_residue[0] == 1
    assert lddt(points, points, ~(points[:, 0] < 99)).score == 0


def test_without_distances_there_is_no_score() -> None:
    alone = lddt(np.zeros((1, 3)), np.zeros((1, 3)))
    assert np.isnan(alone.score)
    assert np.isnan(alone.per_residue).all()
    empty = lddt(np.zeros((0, 3)), np.zeros((0, 3)))
    assert np.isnan(empty.score)
    assert empty.per_residue.shape == (0,)


def test_atoms_of_one_residue_are_not_judged() -> None:
    model = np.zeros((2, 37, 3))
    reference = model.copy()
    reference[0, :3] = np.eye(3)
    reference[1, 1] = [5, 5, 5]
    mask = np.zeros((2, 37), bool)
    mask[0, :3] = mask[1, 1] = True
    scored = lddt_atom37(model, reference, mask, mask)
    assert scored.per_residue.shape == (2,)
    assert scored.score == 0  # three distances of 7.7 Å became 0 Å
    assert np.isnan(lddt_atom37(model, reference, mask, mask & [[True], [False]]).score)


@given(st.integers(0, 2**32 - 1), st.integers(2, 60), st.floats(0.1, 6))
@settings(max_examples=50, deadline=None)
def test_against_the_definition(seed: int, num: int, noise: float) -> None:
    rng = np.random.default_rng(seed)
    reference = rng.normal(size=(num, 3)) * 12
    model = reference + rng.normal(size=reference.shape) * noise
    residue = np.sort(rng.integers(0, num, num))
    chain = residue % 3
    kept, total, nearest = np.zeros(2), np.zeros(2), 1.0
    for i in range(num):
        for j in range(i):
            distance = np.linalg.norm(reference[i] - reference[j])
            nearest = min(nearest, abs(distance - 15))
            if residue[i] != residue[j] and distance < 15:
                error = abs(np.linalg.norm(model[i] - model[j]) - distance)
                nearest = min(nearest, *(abs(error - limit) for limit in (0.5, 1, 2, 4)))
                counted = np.array([True, chain[i] != chain[j]])
                kept += counted * sum(error < limit for limit in (0.5, 1, 2, 4)) / 4
                total += counted
    assume(nearest > 1e-4)  # single precision
    expected = [a / b if b else np.nan for a, b in zip(kept, total, strict=True)]
    model, ones = moved(rng, model), np.ones((num, 1), bool)
    whole, between = (
        summary(kept_distances(model, reference, ones[:, 0], group, ones)[..., 0], residue, num)
        for group in (residue, chain)
    )
    np.testing.assert_allclose([whole.score, between.score], expected, rtol=1e-12)


@pytest.mark.parametrize("num_atoms", [500, 1500])
def test_blocks_change_nothing(num_atoms: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    reference = rng.normal(size=(num_atoms, 3)) * 20
    model = reference + rng.normal(size=reference.shape)
    whole = lddt(model, reference)
    monkeypatch.setattr("foldry.score.lddt._BLOCK", 17)
    blocks = lddt(model, reference)
    assert blocks.score == pytest.approx(whole.score, abs=1e-12)
    np.testing.assert_allclose(blocks.per_residue, whole.per_residue, atol=1e-12)


def test_exchanged_names_of_equivalent_atoms_are_found(structures: list[Structure]) -> None:
    equivalent = {
        "ARG": ("NH1", "NH2"),
        "ASP": ("OD1", "OD2"),
        "GLU": ("OE1", "OE2"),
        "LEU": ("CD1", "CD2"),
        "PHE": ("CD1", "CD2", "CE1", "CE2"),
        "TYR": ("CD1", "CD2", "CE1", "CE2"),
        "VAL": ("CG1", "CG2"),
    }
    for structure in structures[:20]:
        reference, there = structure.atom_positions, structure.atom_mask
        model, mask = reference.copy(), there.copy()
        for name, atoms in equivalent.items():
            rows = np.flatnonzero(structure.aatype == RESNAME_TO_CODE[name])[::2, None]
            slots = np.array([ATOM37_ORDER[atom] for atom in atoms])
            swapped = slots.reshape(-1, 2)[:, ::-1].ravel()
            model[rows, slots], mask[rows, slots] = model[rows, swapped], mask[rows, swapped]
        as_named = lddt_atom37(model, reference, mask, there)
        assert as_named.score < 1
        best, best_mask = name_symmetric_atoms((model, mask), (reference, there), structure.aatype)
        assert lddt_atom37(best, reference, best_mask, there).score == 1, structure.name
        np.testing.assert_array_equal(best_mask, there)


def test_better_names_never_lower_lddt_much(structures: list[Structure]) -> None:
    """Names are judged by unambiguous atoms only, so lDDT may decrease slightly."""
    rng = np.random.default_rng(7)
    for structure in structures[::5]:
        reference, there = structure.atom_positions, structure.atom_mask
        model, mask = _worsened(rng, structure)
        best, best_mask = name_symmetric_atoms((model, mask), (reference, there), structure.aatype)
        named = lddt_atom37(model, reference, mask, there).score
        assert lddt_atom37(best, reference, best_mask, there).score >= named - 1e-4
