"""QS-score, ICS and IPS: contacts against every pair of atoms, scores against hand counts."""

from __future__ import annotations

from dataclasses import replace

import biotite.structure as struc
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foldry.errors import InputError
from foldry.residues import ATOM37
from foldry.score.interface import contact_similarity, qs_score, residue_contacts
from foldry.score.lddt import ALL_BUT_OXT
from foldry.score.match import match_residues
from foldry.score.neighbours import near_pairs
from foldry.structure import Structure
from tests.score.complexes import GOLDEN, joined, model_of, unpack
from tests.score.conftest import lddt_atom37, rotation_about

NAN = pytest.approx(float("nan"), nan_ok=True)


@pytest.fixture(scope="session")
def complexes() -> list[Structure]:
    return unpack(GOLDEN / "dockq_complexes.npz")


@pytest.fixture(scope="session")
def tetramer(complexes: list[Structure]) -> Structure:
    return complexes[0]


def beads(x: list[float], chains: str, aatype: int = 7) -> Structure:
    """Residues on a line, one Cα each (glycines), so that every distance is known."""
    num = len(x)
    positions, mask = np.zeros((num, 37, 3)), np.zeros((num, 37), bool)
    positions[:, 1, 0], mask[:, 1] = x, True
    return Structure(
        name="beads",
        aatype=np.full(num, aatype),
        residue_number=np.arange(num),
        insertion_code=np.full(num, ""),
        chain_id=np.array(list(chains)),
        atom_positions=positions,
        atom_mask=mask,
        b_factor=np.zeros((num, 37)),
    )


def all_pairs(num: int) -> np.ndarray:
    return np.repeat(np.arange(num)[:, None], 2, axis=1)


def weight(distance: float) -> float:
    return float(np.exp(-2 * (max(distance - 5, 0) / 4.28) ** 2))


@pytest.mark.parametrize("cutoff", [2.0, 5.0, 10.0])
def test_contacts_are_those_of_all_pairs_of_atoms(tetramer: Structure, cutoff: float) -> None:
    piece = tetramer.select(np.flatnonzero(np.isin(tetramer.chain_id, ["A", "C"]))[::2])
    contacts = residue_contacts(piece, cutoff)
    residue, slot = np.nonzero(piece.atom_mask)
    points, smallest = piece.atom_positions[residue, slot], {}
    for one in range(len(points)):
        distance = np.linalg.norm(points[one + 1 :] - points[one], axis=1)
        for other in one + 1 + np.flatnonzero(distance < cutoff):
            key = residue[one], residue[other]
            if piece.chain_id[key[0]] != piece.chain_id[key[1]]:
                smallest[key] = min(smallest.get(key, np.inf), distance[other - one - 1])
    found = zip(contacts.first, contacts.second, contacts.distance, strict=True)
    assert {(a, b): d for a, b, d in found} == pytest.approx(smallest)
    assert cutoff == 2 or len(smallest) > 10


def test_an_atom_astray_changes_no_other_contact(
    tetramer: Structure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The atom has contacts, and the search radius does not grow."""
    cutoffs: list[float] = []

    def recorded(
        points: np.ndarray, cutoff: float, group: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        cutoffs.append(cutoff)
        return near_pairs(points, cutoff, group)

    monkeypatch.setattr("foldry.score.interface.near_pairs", recorded)
    before = residue_contacts(tetramer, 5.0)
    strayed = replace(tetramer, atom_positions=tetramer.atom_positions.copy())
    target = int(np.flatnonzero(tetramer.chain_id == tetramer.chains[-1])[0])
    place = tetramer.atom_positions[target, 1]
    strayed.atom_positions[0, 1] = place + np.array([0, 0, 0.5])
    strayed.atom_positions[1, 1] = [9000.0, -9000.0, 0.0]
    after = residue_contacts(strayed, 5.0)
    old, new = (
        {
            (a, b): d
            for a, b, d in zip(*(x.tolist() for x in vars(each).values()), strict=True)
            if a > 1
        }
        for each in (before, after)
    )
    assert new == pytest.approx(old)
    assert (
        dict(zip(zip(after.first, after.second, strict=True), after.distance, strict=True))[
            0, target
        ]
        <= 0.5
    )
    assert len(cutoffs) == 2
    assert max(cutoffs) < 25


def test_qs_score_by_hand() -> None:
    """A–B at 6, A–C at 10 in the reference; 8 and none in the model."""
    reference = beads([0, 6, -10], "ABC")
    model = beads([0, 8, -30], "ABC")
    shared = weight(6) * (1 - 2 / 12)
    score = qs_score(model, reference, all_pairs(3))
    assert score.best == score.total == pytest.approx(shared / (weight(6) + weight(10)))
    # Without C's partner its contact counts in the total only.
    score = qs_score(model, reference, all_pairs(2))
    assert score.best == pytest.approx(shared / weight(6))
    assert score.total == pytest.approx(shared / (weight(6) + weight(10)))


def test_qs_score_takes_beta_carbons() -> None:
    """Alanines without Cβ have no contact; glycines have theirs by Cα."""
    reference = beads([0, 6], "AB", aatype=0)
    assert qs_score(reference, reference, all_pairs(2)).best == 1  # no contacts, all chains mapped
    assert qs_score(reference, reference, all_pairs(1)).best == 0
    with_beta = replace(reference, atom_positions=reference.atom_positions.copy())
    with_beta.atom_mask[:, 3] = True
    with_beta.atom_positions[:, 3, 0] = [0, 6]
    assert len(residue_contacts(with_beta, 12).first) == 1
    assert qs_score(with_beta, with_beta, all_pairs(2)).best == pytest.approx(1)


def test_contact_similarity_by_hand() -> None:
    """Contacts: the reference's A0–B1, B1–C2; the model's A0–B1, A0–D3."""
    reference = beads([0, 4, 8], "ABC")
    model = beads([0, 4, 20, -4], "ABCD")
    score = contact_similarity(model, reference, all_pairs(3))
    assert (score.ics_precision, score.ics_recall) == (1 / 2, 1 / 2)
    assert score.ics == 1 / 2
    # Interfaces: A0 B1 C2 and A0 B1 D3; D has no partner.
    assert score.ips == 2 / 4
    assert (score.ips_precision, score.ips_recall) == (2 / 3, 2 / 3)


def test_nothing_in_contact() -> None:
    reference, apart = beads([0, 4], "AB"), beads([0, 99], "AB")
    score = contact_similarity(apart, reference, all_pairs(2))
    assert vars(score) == dict.fromkeys(vars(score), 0)
    score = contact_similarity(reference, apart, all_pairs(2))
    assert vars(score) == dict.fromkeys(vars(score), NAN)


def test_identical_is_one(complexes: list[Structure]) -> None:
    for structure in complexes:
        pairs = all_pairs(len(structure))
        qs, similarity = (
            qs_score(structure, structure, pairs),
            contact_similarity(structure, structure, pairs),
        )
        assert [*vars(qs).values(), *vars(similarity).values()] == pytest.approx([1] * 8)


def test_scores_of_real_models_by_sets(complexes: list[Structure]) -> None:
    """The same numbers from plain sets of contacts and residues, truncated models included."""
    for number, reference in enumerate(complexes):
        model, _ = model_of(reference, ("truncated", "swapped", "noisy")[number % 3], number)
        match = match_residues(model, reference)
        partner = dict(match.pairs.tolist())
        here, there = (
            {
                frozenset(pair)
                for pair in zip(contacts.first.tolist(), contacts.second.tolist(), strict=True)
            }
            for contacts in (residue_contacts(model, 5.0), residue_contacts(reference, 5.0))
        )
        # Residues without a partner get names that the reference does not have.
        here = {frozenset(partner.get(end, -1 - end) for end in pair) for pair in here}
        score = contact_similarity(model, reference, match.pairs)
        precision, recall = len(here & there) / len(here), len(here & there) / len(there)
        assert (score.ics_precision, score.ics_recall) == pytest.approx((precision, recall))
        assert score.ics == pytest.approx(2 * precision * recall / (precision + recall))
        patches = frozenset().union(*here), frozenset().union(*there)
        both, either = len(patches[0] & patches[1]), len(patches[0] | patches[1])
        assert score.ips == pytest.approx(both / either)


def test_lddt_between_chains_equals_biotites(complexes: list[Structure]) -> None:
    for number, reference in enumerate(complexes[:4]):
        model, _ = model_of(reference, ("moved", "noisy")[number % 2], number)
        ours = lddt_atom37(
            model.atom_positions,
            reference.atom_positions,
            model.atom_mask,
            reference.atom_mask,
            chain=reference.chain_id,
        )
        residue, slot = np.nonzero(reference.atom_mask & np.isin(np.arange(37), ALL_BUT_OXT))
        atoms = struc.AtomArray(len(residue))
        atoms.coord = reference.atom_positions[residue, slot]
        atoms.chain_id, atoms.res_id = reference.chain_id[residue], residue
        atoms.atom_name = np.array(ATOM37)[slot]
        coord = model.atom_positions[residue, slot].astype(np.float32)
        theirs = struc.lddt(atoms, coord, exclude_same_chain=True)
        assert ours.score == pytest.approx(theirs, abs=1e-3)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_motion_changes_nothing(seed: int, tetramer: Structure) -> None:
    rng = np.random.default_rng(seed)
    reference = joined(tetramer.chain("A"), tetramer.chain("C"))
    model, _ = model_of(reference, "noisy", seed)
    pairs = all_pairs(len(reference))
    turn = rotation_about(rng.normal(size=3), rng.uniform(0, np.pi))
    moved = replace(model, atom_positions=model.atom_positions @ turn.T + rng.normal(size=3) * 50)
    before, after = (qs_score(one, reference, pairs) for one in (model, moved))
    assert vars(after) == pytest.approx(vars(before), abs=1e-6)
    before, after = (contact_similarity(one, reference, pairs) for one in (model, moved))
    assert vars(after) == pytest.approx(vars(before), abs=1e-6)


def test_qs_score_is_symmetric(complexes: list[Structure]) -> None:
    for number, reference in enumerate(complexes[:4]):
        model, _ = model_of(reference, "truncated", number)
        pairs = match_residues(model, reference).pairs
        there, back = qs_score(model, reference, pairs), qs_score(reference, model, pairs[:, ::-1])
        assert vars(back) == pytest.approx(vars(there))


def test_a_coordinate_that_is_not_a_number(tetramer: Structure) -> None:
    positions = tetramer.atom_positions.copy()
    positions[3, 1] = np.nan
    with pytest.raises(InputError, match="not a finite number"):
        residue_contacts(replace(tetramer, atom_positions=positions), 5.0)
