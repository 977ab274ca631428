"""Confidence against recorded official values, the published programs and cases done by hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foldry.errors import InputError
from foldry.residues import CA, CB, C, N
from foldry.score.confidence import (
    PLDDT_EDGES,
    InterfaceConfidence,
    aligned_errors,
    calibrate,
    chain_clashes,
    chain_pair_tm,
    interface_confidence,
    interface_contacts,
    pae_calibration,
    predicted_tm,
    predicted_tm_d0,
    quoted,
)
from foldry.score.tm import tm_d0, tm_term
from foldry.structure import Structure
from tests.score.conftest import helix, moved, rotation_about


def _prediction(
    lengths: tuple[int, ...] = (40, 31, 24),
) -> tuple[Structure, np.ndarray, np.ndarray]:
    """Helices side by side, 9 Å apart, with the PAE (Å) and pLDDT of formulas."""
    shifts = np.array([9, 2, 3]) * np.arange(len(lengths))[:, None]
    chains = [helix(num) + shift for num, shift in zip(lengths, shifts, strict=True)]
    ca = np.concatenate(chains).round(3)
    outwards = np.concatenate(
        [(chain - shift) * [1, 1, 0] for chain, shift in zip(chains, shifts, strict=True)]
    )
    num = len(ca)
    n = np.arange(num)
    atoms, mask = np.zeros((num, 37, 3)), np.zeros((num, 37), bool)
    atoms[:, CA], atoms[:, CB] = ca, (ca + outwards / 1.5).round(3)
    mask[:, [CA, CB]] = True
    plddt = (70 + 25 * np.sin(n / 9)).round(2)
    apart = np.linalg.norm(ca[:, None] - ca[None], axis=-1)
    pae = (0.25 + apart / 3 * (1 + 0.4 * np.sin(n / 5)[:, None]) + np.cos(n / 7) ** 2).round(2)
    structure = Structure(
        name="helices",
        aatype=np.zeros(num, np.int64),
        residue_number=np.concatenate([np.arange(1, count + 1) for count in lengths]),
        insertion_code=np.full(num, ""),
        chain_id=np.repeat(list("ABC")[: len(lengths)], lengths),
        atom_positions=atoms,
        atom_mask=mask,
        b_factor=np.zeros((num, 37)),
    )
    return structure, pae, plddt


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("iptm", [[0.396182, 0.229610], [0.363952, 0.371243], [0.217942, 0.338805]]),
        ("ipsae", [[0.135671, 0.038826], [0.193507, 0.095271], [0.111754, 0.147254]]),
        ("ipsae_d0chn", [[0.396182, 0.229610], [0.363952, 0.371243], [0.217942, 0.338805]]),
        ("ipsae_d0dom", [[0.396182, 0.217584], [0.363952, 0.371243], [0.217942, 0.338805]]),
        ("pdockq", [[0.2088, 0.0], [0.2088, 0.1123], [0.0, 0.1123]]),
        ("lis", [[0.4694, 0.3415], [0.4966, 0.5227], [0.3840, 0.5333]]),
    ],
)
def test_scores_equal_those_of_ipsae_py(name: str, printed: list[list[float]]) -> None:
    """Numbers of ipsae.py version 4 (DunbrackLab/IPSAE, commit 6174cf9, MIT), cutoff 10 Å."""
    ours = getattr(interface_confidence(*_prediction()), name)
    others = ours[~np.eye(3, dtype=bool)].reshape(3, 2)
    digits = 6 if "ip" in name else 4
    np.testing.assert_allclose(others, printed, atol=0.6 * 10.0**-digits)
    assert np.isnan(np.diag(ours)).all()


def test_pdockq2_equals_its_program() -> None:
    """Numbers of the published formula and loops (pdockq2_xxy.py, x2ysw/pdockq2, 377c82f)."""
    ours = interface_confidence(*_prediction()).pdockq2
    np.testing.assert_allclose(ours, [0.44456226, 0.19142867, 0.30458308], atol=1e-8)


def _pair(distance: float) -> Structure:
    """Two chains of one glycine and two alanines; Cα and Cβ of the last two face each other."""
    structure, *_ = _prediction((1, 2))
    atoms = np.zeros((3, 37, 3))
    atoms[1, [CA, CB], 0] = distance
    atoms[2, [CA, CB], 0] = 100
    glycine_first = np.array([7, 0, 0])
    return dataclasses.replace(structure, aatype=glycine_first, atom_positions=atoms)


def test_one_contact_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """The PAE from A to the near and the far residue of B is 3 and 9 Å, and back 6 and 14 Å."""
    pae = np.array([[0, 3, 9], [6, 0, 1], [14, 1, 0.0]])
    found = interface_confidence(_pair(7.5), pae, np.full(3, 80.0))
    assert found.chains == ("A", "B")
    # d₀ is 1 Å, its least, for chains this short: 1/(1+9) = 0.1, 1/(1+81) = 0.012195.
    assert found.iptm[0, 1] == pytest.approx((0.1 + 1 / 82) / 2)
    assert found.iptm[1, 0] == pytest.approx(1 / 37)  # the better row: 1/(1+36)
    assert found.ipsae[0, 1] == pytest.approx((0.1 + 1 / 82) / 2)
    assert found.ipsae[1, 0] == pytest.approx(1 / 37)
    monkeypatch.setattr("foldry.score.confidence.IPSAE_CUTOFF", 5.0)
    narrow = interface_confidence(_pair(7.5), pae, None)
    assert narrow.ipsae[0, 1] == pytest.approx(0.1)
    assert narrow.ipsae[1, 0] == 0
    # One contact: 3 Å aligned on A, 6 Å on B.
    assert found.interface_pae[0, 1] == 3
    assert found.interface_pae[1, 0] == 6
    assert found.contacts.tolist() == [[0, 1], [1, 0]]
    # LIS: (1 − 3/12 + 1 − 9/12) / 2 = 0.5; in the other direction only 6 Å counts: 0.5.
    assert found.lis[0, 1] == pytest.approx(0.5)
    assert found.lis[1, 0] == pytest.approx(0.5)
    # One contact: log₁₀ 1 = 0, so x = 0: 0.724 / (1 + e^7.935772) + 0.018.
    assert found.pdockq[0, 1] == found.pdockq[1, 0] == pytest.approx(0.0182588, abs=1e-7)
    # pDockQ2 of A: x = 80 / (1 + 0.09) = 73.394; of B: 80 / 1.36 = 58.824.
    assert found.pdockq2[0] == pytest.approx(1.31034849 / (1 + np.exp(0.84716)) + 0.00501886, 1e-4)
    assert found.pdockq2[1] == pytest.approx(1.31034849 / (1 + np.exp(1.93583)) + 0.00501886, 1e-4)


def test_no_contact_and_no_confidence() -> None:
    pae = np.full((3, 3), 30.0)
    found = interface_confidence(_pair(8.1), pae, np.full(3, 80.0))
    assert found.pdockq[0, 1] == found.lis[0, 1] == found.ipsae[0, 1] == 0
    assert found.iptm[0, 1] == pytest.approx(1 / 901)
    assert found.pdockq2[0] == pytest.approx(0.007348, abs=1e-6)  # x = 0: e^−6.33086
    assert not found.contacts.any()
    assert np.isnan(found.interface_pae).all()
    alone = interface_confidence(_prediction((5,))[0], np.zeros((5, 5)), np.ones(5))
    assert alone.chains == ("A",)
    assert np.isnan(alone.iptm).all()


def test_contacts_reach_8_angstroms() -> None:
    pae = np.zeros((3, 3))
    assert interface_confidence(_pair(8.0), pae, np.full(3, 80.0)).pdockq[0, 1] > 0
    assert interface_confidence(_pair(8.001), pae, np.full(3, 80.0)).pdockq[0, 1] == 0


def test_without_plddt_there_is_no_pdockq() -> None:
    structure, pae, plddt = _prediction()
    known, unknown = (interface_confidence(structure, pae, each) for each in (plddt, None))
    assert np.isnan(unknown.pdockq).all()
    assert np.isnan(unknown.pdockq2).all()
    for name in ("iptm", "ipsae", "lis"):
        np.testing.assert_array_equal(getattr(unknown, name), getattr(known, name))


def test_contacts_against_all_distances() -> None:
    structure, pae, _ = _prediction()
    beta = structure.atom_positions[:, CB]
    apart = np.linalg.norm(beta[:, None] - beta[None], axis=2)
    of_chain = structure.chain_id[:, None] == structure.chain_id
    near = (apart <= 8) & ~of_chain
    found = interface_contacts(structure)
    assert sorted(zip(found.first, found.second, strict=True)) == [
        (i, j) for i, j in np.argwhere(near) if i < j
    ]
    np.testing.assert_allclose(found.distance, apart[found.first, found.second], rtol=1e-6)
    confidence = interface_confidence(structure, pae, None)
    for a, one in enumerate("ABC"):
        for b, other in enumerate("ABC"):
            cells = np.outer(structure.chain_id == one, structure.chain_id == other) & near
            assert confidence.contacts[a, b] == cells.sum()
            if cells.any():
                assert confidence.interface_pae[a, b] == pytest.approx(pae[cells].mean())


def test_a_certain_interface() -> None:
    structure, *_ = _prediction((60, 60))
    found = interface_confidence(structure, np.zeros((120, 120)), np.full(120, 100.0))
    for name in ("iptm", "ipsae", "ipsae_d0chn", "ipsae_d0dom", "lis"):
        assert getattr(found, name)[0, 1] == 1
    beta = structure.atom_positions[:, CB]
    near = np.linalg.norm(beta[:60, None] - beta[None, 60:], axis=2) <= 8
    assert near.sum() > 20
    x = 100 * np.log10(near.sum())
    assert found.pdockq[0, 1] == pytest.approx(0.724 / (1 + np.exp(-0.052 * (x - 152.611))) + 0.018)
    assert found.pdockq2[0] == pytest.approx(0.9989, abs=1e-3)


def test_a_pae_of_another_structure() -> None:
    structure, pae, plddt = _prediction()
    with pytest.raises(InputError, match="94 × 94, but 'helices' has 95 residues"):
        interface_confidence(structure, pae[1:, 1:], plddt)
    pae[3, 3] = np.nan
    with pytest.raises(InputError, match="not a finite number"):
        interface_confidence(structure, pae, plddt)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10, deadline=None)
def test_interfaces_keep_under_motion_and_the_order_of_chains(seed: int) -> None:
    rng = np.random.default_rng(seed)
    structure, pae, plddt = _prediction()
    here = interface_confidence(structure, pae, plddt)
    atoms = moved(rng, structure.atom_positions.reshape(-1, 3)).reshape(-1, 37, 3)
    order = np.concatenate([np.arange(71, 95), np.arange(71)])
    shuffled = dataclasses.replace(structure, atom_positions=atoms).select(order)
    there = interface_confidence(shuffled, pae[np.ix_(order, order)], plddt[order])
    assert there.chains == ("C", "A", "B")
    back = [1, 2, 0]
    names = {field.name for field in dataclasses.fields(InterfaceConfidence)}
    for name in names - {"chains", "touching"}:
        values = getattr(there, name)
        values = values[back] if values.ndim == 1 else values[np.ix_(back, back)]
        np.testing.assert_allclose(values, getattr(here, name), atol=1e-9)


@pytest.mark.parity
def test_ptm_equals_the_recorded_one(parity_dir: Path) -> None:
    path = parity_dir / "data" / "confidence.npz"
    if not path.is_file():
        pytest.skip(f"not among the recorded numbers: {path}")
    with np.load(path, allow_pickle=False) as recorded:
        logits = recorded["in_pae_logits"].astype(np.float64)
        step = float(recorded["in_breaks"][1] - recorded["in_breaks"][0])
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
        terms = probabilities @ tm_term((np.arange(64) + 0.5) * step, predicted_tm_d0(len(logits)))
        assert predicted_tm(terms) == pytest.approx(float(recorded["ptm"]), rel=1e-6)
        iptm = predicted_tm(terms, recorded["in_asym_id"])
        assert iptm == pytest.approx(float(recorded["iptm"]), rel=1e-6)


TERMS = np.array(
    [
        [1.0, 0.9, 0.4, 0.2, 0.1],
        [0.8, 1.0, 0.6, 0.0, 0.3],
        [0.5, 0.1, 1.0, 0.7, 0.2],
        [0.3, 0.7, 0.9, 1.0, 0.4],
        [0.2, 0.0, 0.6, 0.4, 1.0],
    ]
)
"""Terms of chains B (two residues), A (two) and C (one)."""


def test_pairwise_iptm_by_hand() -> None:
    chains = np.array(list("BBAAC"))
    nan = np.nan
    expected = [[nan, 0.3, 0.3], [0.5, nan, 0.4], [0.1, 0.5, nan]]
    np.testing.assert_allclose(chain_pair_tm(TERMS, chains), expected)
    two = chain_pair_tm(TERMS[:4, :4], chains[:4])
    assert np.nanmax(two) == predicted_tm(TERMS[:4, :4], chains[:4]) == pytest.approx(0.5)


def test_actifptm_by_hand() -> None:
    """Residue 2 of B touches residue 1 of A and residue 2 of A touches C."""
    contacts = np.zeros((5, 5), bool)
    contacts[[1, 3], [2, 4]] = contacts[[2, 4], [1, 3]] = True
    found = chain_pair_tm(TERMS, np.array(list("BBAAC")), contacts)
    nan = np.nan
    np.testing.assert_allclose(found, [[nan, 0.6, 0], [0.1, nan, 0.4], [0, 0.4, nan]])


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_actifptm_equals_pairwise_iptm_if_all_residues_touch(seed: int) -> None:
    rng = np.random.default_rng(seed)
    chains = np.sort(rng.integers(0, 3, 12))
    terms = rng.random((12, 12))
    whole = chain_pair_tm(terms, chains, np.ones((12, 12), bool))
    np.testing.assert_array_equal(whole, chain_pair_tm(terms, chains))


def test_the_quoted_number_of_two_directions() -> None:
    values = np.array([[np.nan, 0.2], [0.6, np.nan]])
    for measure, number in (("ipsae", 0.6), ("lis", 0.4), ("clashing_atoms", 0.8)):
        found = quoted(measure, values)
        assert found[0, 1] == found[1, 0] == pytest.approx(number)
    np.testing.assert_array_equal(quoted("pdockq", values), values)


def _atoms_along_x(chains: str, x: list[float]) -> Structure:
    """Alanines of one Cα each."""
    structure, *_ = _prediction((len(x),))
    atoms, mask = np.zeros((len(x), 37, 3)), np.zeros((len(x), 37), bool)
    atoms[:, CA, 0], mask[:, CA] = x, True
    return dataclasses.replace(
        structure, chain_id=np.array(list(chains)), atom_positions=atoms, atom_mask=mask
    )


def test_clashes_between_chains_by_hand() -> None:
    """AlphaFold 3 counts atoms less than 1.1 Å apart; two carbons overlap by 1.5 Å at 1.9 Å."""
    found = chain_clashes(_atoms_along_x("AABBBC", [0.0, 9.0, 1.08, 10.05, 8.0, 2.2]))
    # Two atoms of A clash with one and two of B; pairs within B and 1.12 Å to C do not count.
    assert found.atoms.tolist() == [[0, 2, 0], [3, 0, 0], [0, 0, 0]]
    np.testing.assert_allclose(found.share, [1, 1, 0])
    assert found.clashing.tolist() == [True, True, False]
    half = chain_clashes(_atoms_along_x("AABB", [0.0, 9.0, 1.0, 20.0]))
    assert not half.clashing.any(), "half of the atoms is not more than half"
    np.testing.assert_allclose(half.share, 0.5)


def test_more_than_a_hundred_clashing_atoms() -> None:
    x = 10.0 * np.arange(300)
    for number, clashing in ((100, False), (101, True)):
        other = np.where(np.arange(300) < number, x + 1.0, x + 5)
        found = chain_clashes(_atoms_along_x("A" * 300 + "B" * 300, [*x, *other]))
        assert found.atoms[0, 1] == found.atoms[1, 0] == number
        assert found.clashing.tolist() == [clashing, clashing]


def test_an_atom_that_clashes_with_two_chains_counts_once() -> None:
    found = chain_clashes(_atoms_along_x("ABC", [0.0, 1.0, -1.0]))
    assert found.atoms.tolist() == [[0, 1, 1], [1, 0, 0], [1, 0, 0]]
    np.testing.assert_allclose(found.share, 1)


def test_ptm_by_hand() -> None:
    """d₀ of 19 residues and fewer is 1.24 · 4^⅓ − 1.8 = 0.168377 Å."""
    assert predicted_tm_d0(3) == predicted_tm_d0(19) == pytest.approx(0.168377, abs=1e-6)
    assert predicted_tm_d0(200) == tm_d0(200)
    d0 = predicted_tm_d0(3)
    terms = tm_term(np.array([[0, d0, d0], [0, 0, 2 * d0], [3 * d0, 0, 0]]), d0)
    np.testing.assert_allclose(terms, [[1, 0.5, 0.5], [1, 1, 0.2], [0.1, 1, 1]])
    assert predicted_tm(terms) == pytest.approx(2.2 / 3)
    assert predicted_tm(terms, np.array([0, 0, 1])) == pytest.approx(0.55)
    assert np.isnan(predicted_tm(terms, np.zeros(3)))


def test_calibration_by_hand() -> None:
    found = calibrate(
        np.array([10.0, 20, 60, 100, 90]), np.array([20.0, 20, 50, 100, np.nan]), (0, 50, 80, 100)
    )
    assert found.count == (2, 1, 1)
    assert found.predicted == (15, 60, 100)
    assert found.true == (20, 50, 100)
    assert found.error == pytest.approx((10 + 0 + 10 + 0) / 4)
    assert found.calibration_error == pytest.approx((2 * 5 + 10 + 0) / 4)
    # Deviations −37.5 −27.5 12.5 52.5 and −27.5 −27.5 2.5 52.5: 4575 / √(5075 · 4275).
    assert found.pearson == pytest.approx(4575 / np.sqrt(5075 * 4275))


def test_calibration_without_known_values_is_refused() -> None:
    with pytest.raises(InputError, match="true value"):
        calibrate(np.ones(2), np.full(2, np.nan), (0, 2))
    with pytest.raises(InputError, match="between 0 and 2"):
        calibrate(np.array([3.0]), np.ones(1), (0, 2))
    assert np.isnan(calibrate(np.ones(2), np.array([1.0, 2.0]), (0, 2)).pearson)


def test_calibration_of_many_values_equals_numpys() -> None:
    """More rows than one block has, and values so far from 0 that sums of squares lose digits."""
    rng = np.random.default_rng(8)
    predicted = 1e6 + rng.random((700, 3))
    true = predicted + 0.3 * rng.random((700, 3))
    true[rng.random((700, 3)) < 0.2] = np.nan
    found = calibrate(predicted, true, (1e6, 1e6 + 0.4, 1e6 + 1))
    known = np.isfinite(true)
    one, other = predicted[known], true[known]
    assert found.count == tuple(np.histogram(one, found.edges)[0])
    assert found.pearson == pytest.approx(np.corrcoef(one, other)[0, 1], rel=1e-9)
    assert found.error == pytest.approx(np.abs(one - other).mean())
    assert found.true[1] == pytest.approx(other[one >= 1e6 + 0.4].mean(), rel=1e-12)


def test_plddt_that_is_right() -> None:
    lddt = np.linspace(0, 1, 51)
    found = calibrate(100 * lddt, 100 * lddt, PLDDT_EDGES)
    assert sum(found.count) == 51
    assert found.error == pytest.approx(0, abs=1e-9)
    assert found.calibration_error == pytest.approx(0, abs=1e-9)
    assert found.pearson == pytest.approx(1)
    assert calibrate(100 - 100 * lddt, 100 * lddt, PLDDT_EDGES).pearson == pytest.approx(-1)


def _backbone(num: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    atoms, mask = np.zeros((num, 37, 3)), np.zeros((num, 37), bool)
    atoms[:, CA] = helix(num)
    atoms[:, [N, C]] = atoms[:, [CA]] + rng.normal(size=(num, 2, 3))
    mask[:, [N, CA, C]] = True
    return atoms, mask


def test_aligned_errors_against_the_definition() -> None:
    rng = np.random.default_rng(4)
    reference, known = _backbone(9, rng)
    model = moved(rng, (reference + rng.normal(size=reference.shape)).reshape(-1, 3))
    model = model.reshape(reference.shape)
    known[2, N] = known[5, CA] = False
    errors = aligned_errors(model, reference, known)
    assert np.isnan(errors[[2, 5]]).all()
    assert np.isnan(errors[:, 5]).all()
    for i in (0, 1, 3, 4, 6, 7, 8):
        turned = []
        for atoms in (model, reference):
            x = atoms[i, C] - atoms[i, CA]
            z = np.cross(x, atoms[i, N] - atoms[i, CA])
            axes = np.stack([x, np.cross(z, x), z])
            axes /= np.linalg.norm(axes, axis=1, keepdims=True)
            turned.append((atoms[:, CA] - atoms[i, CA]) @ axes.T)
        expected = np.linalg.norm(turned[0] - turned[1], axis=1)
        there = np.arange(9) != 5
        np.testing.assert_allclose(errors[i, there], expected[there], atol=2e-4)


def test_a_hinge_and_its_pae() -> None:
    """Two halves that moved against each other: no error within, errors between."""
    rng = np.random.default_rng(5)
    reference, known = _backbone(20, rng)
    model = reference.copy()
    turn = rotation_about(np.array([1.0, 0, 0]), 1.2)
    model[10:] = (model[10:] - model[10, CA]) @ turn.T + model[10, CA]
    errors = aligned_errors(model, reference, known)
    np.testing.assert_allclose(errors[:10, :10], 0, atol=1e-4)
    np.testing.assert_allclose(errors[10:, 10:], 0, atol=1e-4)
    assert errors[:10, 15:].min() > 3
    found = pae_calibration(errors, errors)
    assert sum(found.count) == 20 * 19
    assert found.error == 0
    assert found.pearson == pytest.approx(1)
    far = pae_calibration(np.full((20, 20), 31.75), errors + 100)
    assert far.error == 0  # what the head cannot express counts as its largest error
