"""The numbers of an assessment, and the residues that they are computed from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from foldry.assess.assess import ScoreSettings, assess
from foldry.assess.inputs import Model
from foldry.assess.table import value
from foldry.score.confidence import PLDDT_EDGES, calibrate
from foldry.structure import Structure
from tests.score.complexes import GOLDEN, unpack

SETTINGS = ScoreSettings()


@pytest.fixture(scope="session")
def tetramer() -> Structure:
    """The first sixty residues of each of four chains."""
    whole = unpack(GOLDEN / "dockq_complexes.npz")[0]
    return whole.select(
        np.concatenate([np.flatnonzero(whole.chain_id == name)[:60] for name in whole.chains])
    )


def test_iptm_covers_all_chains_and_iptm_best_covers_two(tetramer: Structure) -> None:
    """The PAE between A and the second chain is low, and 30 Å elsewhere."""
    chain = np.unique(tetramer.chain_id, return_inverse=True)[1]
    pae = np.where((chain[:, None] < 2) & (chain < 2), 0.0, 30.0)
    pae[chain[:, None] == chain] = 0
    confidence = assess(Model(tetramer, None, pae), None, SETTINGS).confidence
    assert confidence.iptm_best == 1
    # A row of the first two chains: 60 of 180 partners are certain; d₀ is for 240 residues.
    d0 = 1.24 * np.cbrt(240 - 15) - 1.8
    assert confidence.iptm == pytest.approx((60 + 120 / (1 + (30 / d0) ** 2)) / 180)


def test_without_plddt_there_is_no_pdockq(tetramer: Structure) -> None:
    pae = np.full((len(tetramer), len(tetramer)), 5.0)
    plddt = np.full(len(tetramer), 90.0)
    known = assess(Model(tetramer, plddt, pae), None, SETTINGS).confidence
    unknown = assess(Model(tetramer, None, pae), None, SETTINGS).confidence
    assert known.pdockq is not None
    assert known.pdockq > 0.02  # more than one contact has
    assert unknown.pdockq is unknown.pdockq2 is None
    assert unknown.ipsae == known.ipsae


def test_plddt_is_taken_whatever_the_unit_of_the_file(tetramer: Structure) -> None:
    """In ESMFold's files B factors are shares; the model's pLDDT is 0–100."""
    pae = np.full((len(tetramer), len(tetramer)), 5.0)
    shares = replace(tetramer, b_factor=np.full((len(tetramer), 37), 0.9))
    plddt = np.full(len(tetramer), 90.0)
    found = [
        assess(Model(structure, plddt, pae), None, SETTINGS).confidence
        for structure in (shares, tetramer)
    ]
    assert found[0].pdockq == found[1].pdockq
    assert found[0].pdockq2 == found[1].pdockq2


def test_leaving_residues_out_makes_no_score_of_angles_better(tetramer: Structure) -> None:
    """The model is right, but residues that it lacks count as wrong."""
    reference = tetramer.chain("A")
    whole = assess(Model(reference), reference, SETTINGS).agreement
    half = assess(Model(reference.select(np.arange(30))), reference, SETTINGS).agreement
    assert whole is not None
    assert half is not None
    assert whole.torsions.chi1 == whole.torsions.chi1_2 == whole.torsions.phi_psi == 1
    # The model has 28 of the 58 residues with phi and psi.
    assert half.torsions.phi_psi == pytest.approx(28 / 58)
    assert half.torsions.chi1 < 0.7


def test_atoms_that_the_model_lacks_are_counted(tetramer: Structure) -> None:
    reference = tetramer.chain("A")
    trace = replace(reference, atom_mask=reference.atom_mask & (np.arange(37) == 1))
    found = assess(Model(trace.select(np.arange(10))), reference, SETTINGS).agreement
    assert found is not None
    assert found.num_atoms == reference.atom_mask[:10, :36].sum()
    assert found.num_missing_atoms == found.num_atoms - 10


def test_foldscore_leaves_out_a_chain_of_one_residue(tetramer: Structure) -> None:
    reference = tetramer.select(np.flatnonzero(np.isin(tetramer.chain_id, ["A", "B"]))[:61])
    assert reference.chain_id[-1] != reference.chain_id[0]
    assert value_of(reference, "foldscore") == 1


def value_of(structure: Structure, key: str) -> float | None:
    """A score of a structure against itself."""
    return value(assess(Model(structure), structure, SETTINGS), key)


def test_plddt_is_compared_with_lddt_of_ca(structures: list[Structure]) -> None:
    reference = structures[0]
    rng = np.random.default_rng(0)
    noise = rng.normal(size=reference.atom_positions.shape)
    model = replace(reference, atom_positions=reference.atom_positions + noise)
    plddt = rng.uniform(20, 99, len(reference))
    agreement = assess(Model(model, plddt), reference, SETTINGS).agreement
    assert agreement is not None and agreement.plddt is not None
    true = 100 * agreement.scores.lddt_ca_per_residue
    known = np.isfinite(true)
    assert agreement.plddt.error == pytest.approx(np.abs(plddt - true)[known].mean())
    assert agreement.plddt.pearson == pytest.approx(np.corrcoef(plddt[known], true[known])[0, 1])


def test_by_default_numbers_match_and_stereochemistry_does_not_count() -> None:
    assert ScoreSettings() == ScoreSettings(align=False, stereochemistry=False)


def test_stereochemistry_counts_only_if_asked() -> None:
    assert ScoreSettings() == ScoreSettings(align=False, stereochemistry=False)


def test_plddt_is_compared_with_lddt_in_percent(tetramer: Structure) -> None:
    rng = np.random.default_rng(0)
    points = tetramer.atom_positions + rng.normal(size=tetramer.atom_positions.shape)
    plddt = rng.uniform(0, 100, len(tetramer))
    model = Model(replace(tetramer, atom_positions=points), plddt, None)
    agreement = assess(model, tetramer, SETTINGS).agreement
    assert agreement is not None and agreement.plddt is not None
    lddt = agreement.scores.lddt_ca_per_residue
    assert lddt.min() > 0 and lddt.max() <= 1
    expected = calibrate(plddt, 100 * lddt, PLDDT_EDGES)
    assert agreement.plddt.error == pytest.approx(expected.error)
