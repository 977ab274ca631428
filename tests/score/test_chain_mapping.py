"""Mapping of chains: shuffled names are restored in small and large complexes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foldry.score import chain_mapping
from foldry.score.chain_mapping import map_chains
from foldry.score.match import match_residues
from foldry.score.superpose import rmsd, superpose
from foldry.structure import Structure
from tests.score.complexes import GOLDEN, joined, unpack
from tests.score.conftest import rotation_about


@pytest.fixture(scope="session")
def piece() -> Structure:
    """Forty residues about the origin."""
    chain = unpack(GOLDEN / "dockq_complexes.npz")[0].chain("A").select(np.arange(100, 140))
    center = chain.atom_positions[chain.atom_mask].mean(axis=0)
    return replace(chain, atom_positions=chain.atom_positions - center)


def spiral(piece: Structure, num: int) -> Structure:
    """Copies on a spiral whose pitch grows, each in contact with the next."""
    chains = []
    for number in range(num):
        turn = rotation_about(np.array([0.3, 0.2, 1.0]), 0.8 * number)
        points = (piece.atom_positions + np.array([14, 0, 0])) @ turn.T
        points = points + np.array([0, 0, 2.0 * number + 0.25 * number**2])
        name = np.full(len(piece), f"c{number}")
        chains.append(replace(piece, atom_positions=points, chain_id=name))
    return joined(*chains)


@dataclass(frozen=True)
class Truth:
    """Chains (model, reference) and residues that belong together."""

    chains: tuple[tuple[str, str], ...]
    pairs: np.ndarray


def shuffled(structure: Structure, seed: int, noise: float = 0.1) -> tuple[Structure, Truth]:
    """A noisy copy elsewhere in space, names and order of its chains changed, and the truth."""
    rng = np.random.default_rng(seed)
    old = list(structure.chains)
    new = dict(zip(old, rng.permutation([f"m{number}" for number in range(len(old))]), strict=True))
    order = np.concatenate(
        [np.flatnonzero(structure.chain_id == name) for name in rng.permutation(old)]
    )
    turn = rotation_about(rng.normal(size=3), rng.uniform(0, np.pi))
    points = structure.atom_positions @ turn.T + 30 * rng.normal(size=3)
    points = points + noise * rng.normal(size=points.shape)
    names = np.array([new[name] for name in structure.chain_id])
    model = replace(structure, atom_positions=points, chain_id=names).select(order)
    pairs = np.stack([np.arange(len(order)), order], axis=1)
    return model, Truth(tuple((str(new[name]), name) for name in old), pairs)


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_names_and_order_of_few_chains_are_undone(seed: int, piece: Structure) -> None:
    reference = spiral(piece, 4)
    model, truth = shuffled(reference, seed)
    found = match_residues(model, reference)
    assert found.chains == truth.chains
    assert sorted(found.pairs.tolist()) == sorted(truth.pairs.tolist())
    assert found.unmatched_model_chains == found.unmatched_reference_chains == ()


@pytest.mark.parametrize("num", [10, 24])
def test_names_and_order_of_many_chains_are_undone(num: int, piece: Structure) -> None:
    """More mappings than can be tried."""
    reference = spiral(piece, num)
    model, truth = shuffled(reference, num)
    assert match_residues(model, reference).chains == truth.chains


def test_two_halves_in_a_wrong_relative_position(piece: Structure) -> None:
    """No superposition fits both halves; each is a rigid body."""
    reference = spiral(piece, 12)
    broken = reference.atom_positions.copy()
    broken[len(broken) // 2 :] += [25, 0, -25]
    model, truth = shuffled(replace(reference, atom_positions=broken), 8)
    assert match_residues(model, reference).chains == truth.chains


@pytest.mark.parametrize("num", [4, 10])
def test_missing_chains_of_the_model_are_listed(num: int, piece: Structure) -> None:
    reference = spiral(piece, num)
    model, truth = shuffled(reference, 1)
    gone = truth.chains[1][0], truth.chains[2][0]
    found = match_residues(model.select(~np.isin(model.chain_id, gone)), reference)
    assert found.chains == tuple(names for names in truth.chains if names[0] not in gone)
    assert found.unmatched_reference_chains == ("c1", "c2")
    assert found.unmatched_model_chains == ()


@pytest.mark.parametrize("other", [False, True], ids=["one kind", "two kinds"])
def test_the_two_ends_of_a_chain_of_subunits_are_not_moved_together(
    piece: Structure, other: bool
) -> None:
    """The two chains have no interface, but any other mapping would have a DockQ.

    A chain of another sequence, which the model has too, changes nothing.
    """
    reference = spiral(piece, 5)
    if other:
        aatype = (piece.aatype + 1) % 20
        name = np.full(len(piece), "other")
        far = piece.atom_positions + np.array([0, 300, 0])
        reference = joined(
            reference, replace(piece, aatype=aatype, chain_id=name, atom_positions=far)
        )
    model, truth = shuffled(reference, 7)
    kept = truth.chains[0], *truth.chains[4:]
    model = model.select(np.isin(model.chain_id, [here for here, _ in kept]))
    assert match_residues(model, reference).chains == kept


@pytest.mark.parametrize("num", [4, 10])
def test_additional_chains_of_the_model_are_listed(num: int, piece: Structure) -> None:
    whole = spiral(piece, num)
    model, truth = shuffled(whole, 2)
    found = match_residues(model, whole.select(~np.isin(whole.chain_id, ["c0", "c1"])))
    assert found.chains == truth.chains[2:]
    assert sorted(found.unmatched_model_chains) == sorted(here for here, _ in truth.chains[:2])


def test_separate_chains_are_distinguished_by_position(piece: Structure) -> None:
    places = ([0, 0, 0], [90, 0, 0], [0, 150, 0])
    reference = joined(
        *[
            replace(
                piece,
                atom_positions=piece.atom_positions + place,
                chain_id=np.full(len(piece), f"c{number}"),
            )
            for number, place in enumerate(places)
        ]
    )
    model, truth = shuffled(reference, 4)
    assert match_residues(model, reference).chains == truth.chains


def test_equal_mappings_keep_the_names(piece: Structure) -> None:
    """A perfect twofold axis: either mapping is exact."""
    turn = np.diag([-1.0, -1.0, 1.0])
    points = piece.atom_positions + np.array([9.0, 0, 0])
    dimer = joined(
        replace(piece, atom_positions=points, chain_id=np.full(len(piece), "A")),
        replace(piece, atom_positions=points @ turn, chain_id=np.full(len(piece), "B")),
    )
    for model in (dimer, joined(dimer.chain("B"), dimer.chain("A"))):
        assert match_residues(model, dimer).chains == (("A", "A"), ("B", "B"))


def test_an_unknown_chain_does_not_replace_another(piece: Structure) -> None:
    """Poly-X is similar to any chain; here it is at the position of another one, but shorter."""
    step = np.array([90.0, 0, 0])
    unknown = replace(
        piece,
        chain_id=np.full(len(piece), "B"),
        aatype=np.full(len(piece), 20),
        atom_positions=piece.atom_positions + step,
    ).select(np.arange(12))
    reference = joined(replace(piece, chain_id=np.full(len(piece), "A")), unknown)
    first = (reference.chain_id == "A")[:, None, None]
    places = reference.atom_positions + np.where(first, step, -step)
    model = replace(reference, atom_positions=places)
    assert match_residues(model, reference).chains == (("A", "A"), ("B", "B"))


def test_sums_over_chains_give_the_rmsd(piece: Structure) -> None:
    reference = spiral(piece, 3)
    model, _ = shuffled(reference, 9, noise=2)
    partners = chain_mapping._alike(model, reference, False)
    search = chain_mapping._Search(model, reference, partners)
    mappings = np.array([[0, 1, 2], [2, 0, 1], [1, -1, 0]])
    matched, apart = search._fits(mappings)
    assert matched.tolist() == [120, 120, 80]
    for mapping, value in zip(mappings, apart, strict=True):
        pairs = np.concatenate([partners[names] for names in search.named(mapping)])
        mobile, target = (
            model.atom_positions[pairs[:, 0], 1],
            reference.atom_positions[pairs[:, 1], 1],
        )
        laid = superpose(mobile, target).apply(mobile)
        assert value == pytest.approx(rmsd(laid, target), abs=1e-6)


def test_chains_of_different_sequences_never_mix(piece: Structure) -> None:
    reference = spiral(piece, 4)
    others = np.isin(reference.chain_id, ["c1", "c2"])
    reference.aatype[others] = np.tile(piece.aatype[::-1], 2)
    model, truth = shuffled(reference, 5)
    for align in (False, True):
        assert match_residues(model, reference, align).chains == truth.chains


def test_a_close_relative_is_not_preferred(piece: Structure) -> None:
    """Half of the residues are the same, but the true partner is present."""
    relative = replace(piece, aatype=piece.aatype.copy(), chain_id=np.full(len(piece), "R"))
    relative.aatype[::2] = (relative.aatype[::2] + 1) % 20
    model = joined(relative, replace(piece, chain_id=np.full(len(piece), "M")))
    reference = replace(piece, chain_id=np.full(len(piece), "X"))
    found = match_residues(model, reference)
    assert found.chains == (("M", "X"),)
    assert found.unmatched_model_chains == ("R",)
    # Without the true partner it is the best match.
    assert match_residues(model.chain("R"), reference).chains == (("R", "X"),)


def test_by_sequence_whatever_the_numbers(piece: Structure) -> None:
    reference = spiral(piece, 3)
    model, truth = shuffled(reference, 6)
    model = replace(model, residue_number=model.residue_number + 1000)
    assert match_residues(model, reference, align=True).chains == truth.chains
    assert map_chains(model, reference)[0] == ()


@pytest.mark.parametrize(("gone", "least"), [(["c0"], 0.23), (["c2"], 0.23), ([], 0.0)])
def test_wrong_interfaces_count_for_nothing_if_any_chain_is_missing(
    piece: Structure, monkeypatch: pytest.MonkeyPatch, gone: list[str], least: float
) -> None:
    """Two pairs of chains of different proteins, one of which may lack a chain."""
    reference = spiral(piece, 4)
    other = np.isin(reference.chain_id, ["c2", "c3"])
    kinds = np.where(other, (reference.aatype + 7) % 20, reference.aatype)
    reference = replace(reference, aatype=kinds)
    seen: list[float] = []
    totals = chain_mapping._Search._totals

    def recorded(search: chain_mapping._Search, mappings: np.ndarray, least: float) -> np.ndarray:
        seen.append(least)
        return totals(search, mappings, least)

    monkeypatch.setattr(chain_mapping._Search, "_totals", recorded)
    map_chains(reference.select(~np.isin(reference.chain_id, gone)), reference)
    assert seen == [least]
