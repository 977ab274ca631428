"""What `assess` puts together: which numbers are there, and of what they are taken."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from foldry.assess.assess import ScoreSettings, assess
from foldry.assess.inputs import Model
from foldry.assess.table import value
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


def test_iptm_is_of_all_chains_and_its_best_of_two(tetramer: Structure) -> None:
    """A and the second chain are certain of each other, all else is 30 Å."""
    chain = np.unique(tetramer.chain_id, return_inverse=True)[1]
    pae = np.where((chain[:, None] < 2) & (chain < 2), 0.0, 30.0)
    pae[chain[:, None] == chain] = 0
    confidence = assess(Model(tetramer, None, pae), None, SETTINGS).confidence
    assert confidence.iptm_best == 1
    # A row of the first two chains: 60 sure partners of 180; d₀ of 240 residues.
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
    """As ESMFold's files have it: B factors are shares, the model's pLDDT is not."""
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
    """The model is right where it is: what it lacks counts as wrong."""
    reference = tetramer.chain("A")
    whole = assess(Model(reference), reference, SETTINGS).agreement
    half = assess(Model(reference.select(np.arange(30))), reference, SETTINGS).agreement
    assert whole is not None
    assert half is not None
    assert whole.torsions.chi1 == whole.torsions.chi1_2 == whole.torsions.phi_psi == 1
    # Of 58 residues with phi and psi the model has 28.
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
