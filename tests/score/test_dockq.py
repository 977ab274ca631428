"""DockQ against the DockQ package, and cases that can be checked by hand."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foldry.score.dockq import DockQ, Interface, InterfaceScorer, dockq
from foldry.score.match import match_residues
from foldry.structure import Structure
from tests.score.complexes import GOLDEN, joined, model_of, unpack
from tests.score.conftest import rotation_about


@dataclass(frozen=True)
class Case:
    """A model and the results of the DockQ package."""

    name: str
    model: Structure
    reference: Structure
    chains: dict[str, str]
    official: dict[str, dict[str, float]]
    best_total: float


@pytest.fixture(scope="session")
def cases() -> list[Case]:
    references = {one.name: one for one in unpack(GOLDEN / "dockq_complexes.npz")}
    recorded = json.loads((GOLDEN / "dockq_scores.json").read_text())
    made = []
    for case in recorded["cases"]:
        reference = references[case["name"]]
        model, chains = model_of(reference, case["kind"], case["seed"])
        assert chains == case["chains"]
        official = {
            names: dict(zip(recorded["keys"], values, strict=True))
            for names, values in case["interfaces"].items()
        }
        name = f"{case['name']} {case['kind']} {case['seed']}"
        made.append(Case(name, model, reference, chains, official, case["best_total"]))
    return made


def as_made(case: Case) -> np.ndarray:
    """Residues matched by number in the chains that the model was made from."""
    back = {here: there for there, here in case.chains.items()}
    rows = {
        (name, int(number)): index
        for index, (name, number) in enumerate(
            zip(case.reference.chain_id, case.reference.residue_number, strict=True)
        )
    }
    keys = zip(case.model.chain_id, case.model.residue_number, strict=True)
    there = [rows[back[str(name)], int(number)] for name, number in keys]
    return np.stack([np.arange(len(there)), there], axis=1)


@pytest.fixture(scope="session")
def scored(cases: list[Case]) -> list[tuple[Case, DockQ]]:
    return [(case, dockq_of(case.model, case.reference, as_made(case))) for case in cases]


def dockq_of(model: Structure, reference: Structure, pairs: np.ndarray) -> DockQ:
    """DockQ of matched residues."""
    names = np.stack([model.chain_id[pairs[:, 0]], reference.chain_id[pairs[:, 1]]], axis=1)
    partners = {
        (here, there): pairs[(names == (here, there)).all(axis=1)]
        for here, there in dict.fromkeys(map(tuple, names.tolist()))
    }
    return dockq(InterfaceScorer(model, reference, partners), partners)


def test_every_number_equals_the_packages(scored: list[tuple[Case, DockQ]]) -> None:
    num_interfaces = num_lost = 0
    for case, found in scored:
        assert len(found.interfaces) == len(case.official), case.name
        for interface in found.interfaces:
            official = case.official["".join(interface.reference_chains)]
            ours = ours_by_name(interface)
            if np.isnan(interface.irmsd):
                # The package then superposes whole chains and calls it the interface's RMSD.
                num_lost += 1
                for key in ("DockQ", "iRMSD"):
                    ours.pop(key), official.pop(key)
            assert ours == pytest.approx(official, abs=1e-3), (case.name, interface)
            num_interfaces += 1
    assert num_interfaces >= 200
    assert num_lost <= 2


def ours_by_name(interface: Interface) -> dict[str, float]:
    return {
        "DockQ": interface.dockq,
        "fnat": interface.fnat,
        "fnonnat": interface.fnonnat,
        "F1": interface.f1,
        "iRMSD": interface.irmsd,
        "LRMSD": interface.lrmsd,
        "clashes": interface.clashes,
        "nat_total": interface.num_native,
        "model_total": interface.num_model,
    }


def test_the_pairs_include_good_and_bad_models(scored: list[tuple[Case, DockQ]]) -> None:
    scores = np.array([one.dockq for _, found in scored for one in found.interfaces])
    for low, high in ((0, 0.23), (0.23, 0.49), (0.49, 0.8), (0.8, 1)):
        assert ((scores >= low) & (scores < high)).sum() >= 10


def test_no_mapping_that_the_package_tries_is_better(cases: list[Case]) -> None:
    for case in cases[::2]:
        found = matched_dockq(case.model, case.reference).interfaces
        if not np.isnan([one.irmsd for one in found]).any():
            assert sum(one.dockq for one in found) > case.best_total - 1e-3, case.name


@pytest.fixture(scope="session")
def dimer(cases: list[Case]) -> Structure:
    """Two chains in contact, alike but not the same."""
    reference = next(case.reference for case in cases if case.reference.name == "1guz")
    return joined(reference.chain("A"), reference.chain("B"))


def renamed(structure: Structure, names: dict[str, str]) -> Structure:
    return replace(structure, chain_id=np.array([names[name] for name in structure.chain_id]))


def matched_dockq(model: Structure, reference: Structure) -> DockQ:
    match = match_residues(model, reference)
    return dockq(match.scorer, match.chains)


def test_identical_is_one(dimer: Structure) -> None:
    (interface,) = matched_dockq(dimer, dimer).interfaces
    assert (interface.dockq, interface.fnat, interface.f1) == pytest.approx((1, 1, 1))
    assert (interface.irmsd, interface.lrmsd) == pytest.approx((0, 0), abs=1e-6)
    assert (interface.fnonnat, interface.clashes) == (0, 0)


def test_swapped_chains_are_undone(dimer: Structure) -> None:
    model = renamed(dimer, {"A": "B", "B": "A"})
    match = match_residues(model, dimer)
    assert match.chains == (("B", "A"), ("A", "B"))
    assert dockq(match.scorer, match.chains).ave == pytest.approx(1)


def test_a_ligand_moved_by_hand(dimer: Structure) -> None:
    """Without contacts and with one chain 100 Å away, every term is known."""
    short = min(dimer.chains, key=lambda name: (dimer.chain_id == name).sum())
    positions = dimer.atom_positions.copy()
    positions[dimer.chain_id == short] += [60, 0, 80]
    (interface,) = matched_dockq(replace(dimer, atom_positions=positions), dimer).interfaces
    assert interface.lrmsd == pytest.approx(100)
    assert interface.fnat == interface.fnonnat == interface.f1 == interface.num_model == 0
    expected = (1 / (1 + (interface.irmsd / 1.5) ** 2) + 1 / (1 + (100 / 8.5) ** 2)) / 3
    assert interface.dockq == pytest.approx(expected)
    assert 10 < interface.irmsd < 100


def test_the_first_of_equally_long_chains_is_the_ligand(dimer: Structure) -> None:
    number = min((dimer.chain_id == name).sum() for name in dimer.chains)
    pieces = [dimer.select(np.flatnonzero(dimer.chain_id == name)[-number:]) for name in "AB"]
    reference = joined(*pieces)
    bent = reference.atom_positions.copy()
    bent[:number] += np.linspace(0, 9, number)[:, None, None] * [1, 0, 0]
    model = replace(reference, atom_positions=bent)
    same = np.repeat(np.arange(2 * number)[:, None], 2, axis=1)
    (interface,) = dockq_of(model, reference, same).interfaces
    atoms = reference.atom_mask[:number, :5] & ~np.eye(5, dtype=bool)[3]
    shift = np.repeat(np.linspace(0, 9, number), atoms.sum(axis=1))
    assert interface.lrmsd == pytest.approx(np.sqrt((shift**2).mean()))


def test_atoms_on_top_of_each_other_are_clashes(dimer: Structure) -> None:
    positions = dimer.atom_positions.copy()
    first, second = (np.flatnonzero(dimer.chain_id == name) for name in "AB")
    positions[second[7], 1] = positions[first[5], 1] + [0, 0, 1.5]
    (interface,) = matched_dockq(replace(dimer, atom_positions=positions), dimer).interfaces
    assert interface.clashes >= 1


def test_a_missing_chain_is_reported(cases: list[Case]) -> None:
    reference = cases[0].reference
    whole = matched_dockq(reference, reference)
    model = reference.select(reference.chain_id != "D")
    found = matched_dockq(model, reference)
    gone = [one for one in whole.interfaces if "D" in one.reference_chains]
    assert found.missing == tuple((one.reference_chains, one.num_native) for one in gone)
    assert len(found.interfaces) == len(whole.interfaces) - len(gone)
    assert found.ave == found.wave == pytest.approx(1)
    assert found.ave_full == pytest.approx(len(found.interfaces) / len(whole.interfaces))
    native = [sum(one.num_native for one in some) for some in (found.interfaces, whole.interfaces)]
    assert found.wave_full == pytest.approx(native[0] / native[1])


def test_weighted_means(cases: list[Case], scored: list[tuple[Case, DockQ]]) -> None:
    for _, found in scored[:3]:
        scores = [one.dockq for one in found.interfaces]
        weights = [one.num_native for one in found.interfaces]
        assert found.ave == pytest.approx(sum(scores) / len(scores))
        products = sum(score * weight for score, weight in zip(scores, weights, strict=True))
        assert found.wave == pytest.approx(products / sum(weights))


def test_chains_that_do_not_touch_have_no_score(dimer: Structure) -> None:
    positions = dimer.atom_positions.copy()
    positions[dimer.chain_id == "B"] += 500
    apart = replace(dimer, atom_positions=positions)
    found = matched_dockq(dimer, apart)
    assert found.interfaces == found.missing == ()
    assert np.isnan([found.ave, found.wave, found.ave_full, found.wave_full]).all()


def test_without_any_residue_of_the_interface(dimer: Structure) -> None:
    """An RMSD that cannot be computed gives a term of 0, not a perfect one."""
    near = matched_dockq(dimer, dimer).interfaces[0].num_native
    first = dimer.chain_id == "A"
    center = dimer.atom_positions[~first, 1].mean(axis=0)
    distance = np.linalg.norm(dimer.atom_positions[:, 1] - center, axis=1)
    model = dimer.select(~first | (distance > 50))
    (interface,) = matched_dockq(model, dimer).interfaces
    assert (interface.num_native, interface.fnat) == (near, 0)
    assert np.isnan(interface.irmsd)
    assert interface.lrmsd == pytest.approx(0, abs=1e-6)
    assert interface.dockq == pytest.approx(1 / 3)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_motion_and_names_change_nothing(seed: int, dimer: Structure) -> None:
    rng = np.random.default_rng(seed)
    model, _ = model_of(dimer, "noisy", seed)
    before = matched_dockq(model, dimer).interfaces[0]
    turn = rotation_about(rng.normal(size=3), rng.uniform(0, np.pi))
    moved = replace(model, atom_positions=model.atom_positions @ turn.T + rng.normal(size=3) * 50)
    named = renamed(moved, {"A": "Y", "B": "X"})
    after = matched_dockq(named, dimer).interfaces[0]
    assert after.model_chains == tuple({"A": "Y", "B": "X"}[name] for name in before.model_chains)
    for key in ("dockq", "fnat", "f1", "irmsd", "lrmsd", "clashes"):
        assert getattr(after, key) == pytest.approx(getattr(before, key), abs=1e-6)
