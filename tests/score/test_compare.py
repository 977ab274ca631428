"""All scores together."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from foldry.errors import InputError
from foldry.score.compare import compare, compare_ca
from foldry.structure import Structure
from tests.score.conftest import helix, moved
from tests.score.test_match import chain, joined


def test_identical_but_elsewhere(structures: list[Structure]) -> None:
    rng = np.random.default_rng(14)
    for structure in structures[::15]:
        model = dataclasses.replace(structure, atom_positions=moved(rng, structure.atom_positions))
        scores = compare(model, structure)
        for value in (scores.lddt, scores.lddt_ca, scores.lddt_backbone, scores.tm_score):
            assert value == pytest.approx(1, abs=1e-6)
        assert scores.gdt_ts == scores.gdt_ha == scores.oligo_gdt_ts == 1
        assert scores.rmsd_ca == pytest.approx(0, abs=1e-4)
        assert scores.num_matched == scores.num_reference == structure.atom_mask[:, 1].sum()


def test_scores_compare_and_hash_by_content(structures: list[Structure]) -> None:
    structure = structures[0]
    one, same = (compare(structure, structure) for _ in range(2))
    assert one == same
    assert len({one, same, compare(structure.select(np.arange(30)), structure)}) == 2


def test_the_mirror_image_keeps_distances_only(structures: list[Structure]) -> None:
    structure = structures[0]
    mirrored = structure.atom_positions * np.array([1, 1, -1])
    scores = compare(dataclasses.replace(structure, atom_positions=mirrored), structure)
    assert scores.lddt_ca == pytest.approx(1)
    assert scores.tm_score < 0.5
    assert scores.rmsd_ca > 5


def test_missing_residues_count_as_wrong(structures: list[Structure]) -> None:
    structure = structures[0]
    half = structure.select(np.arange(len(structure) // 2))
    scores = compare(half, structure)
    assert scores.num_matched == half.atom_mask[:, 1].sum()
    assert scores.tm_score == pytest.approx(scores.num_matched / scores.num_reference, abs=1e-6)
    assert scores.gdt_ts == pytest.approx(scores.num_matched / scores.num_reference)
    assert scores.rmsd_ca == pytest.approx(0, abs=1e-4)
    assert scores.lddt < 0.7
    assert len(scores.match.unmatched_reference) == len(structure) - len(half)
    # Residues that the reference lacks are listed and do not count.
    assert compare(structure, half).tm_score == pytest.approx(1, abs=1e-6)


def test_numbers_shifted_by_one(structures: list[Structure]) -> None:
    structure = structures[0]
    shifted = dataclasses.replace(structure, residue_number=structure.residue_number + 1)
    by_number, by_sequence = compare(shifted, structure), compare(shifted, structure, align=True)
    assert by_number.lddt_ca < 0.9
    assert len(by_number.match.mismatched) > len(structure) / 2
    assert by_sequence.lddt == pytest.approx(1)
    assert by_sequence.match.mismatched == ()


def test_chains_in_their_places() -> None:
    one, other = chain(chain_id="A"), chain(chain_id="B")
    reference = joined(one, dataclasses.replace(other, atom_positions=other.atom_positions + 20))
    model = joined(one, dataclasses.replace(other, atom_positions=other.atom_positions + 200))
    scores = compare(model, reference)
    assert compare(reference, reference).tm_score == pytest.approx(1, abs=1e-6)
    assert 0.5 <= scores.tm_score < 0.55
    assert scores.gdt_ts == pytest.approx(0.5)


def test_one_residue() -> None:
    scores = compare(chain("M"), chain("M"))
    assert (scores.tm_score, scores.gdt_ts, scores.rmsd_ca) == (1, 1, 0)
    assert np.isnan(scores.lddt_ca)


def test_masks_of_arrays() -> None:
    points = helix(30)
    model = points.copy()
    model[10:] = np.nan
    known, there = np.arange(30) < 10, np.arange(30) % 2 == 0
    scores = compare_ca(model, points, known, there)
    assert (scores.num_matched, scores.num_reference) == (5, 15)
    assert scores.tm_score == pytest.approx(5 / 15, abs=1e-6)
    assert np.isnan(scores.lddt_ca_per_residue[1::2]).all()
    assert (scores.lddt_ca_per_residue[10::2] == 0).all()


def test_bad_arrays() -> None:
    points = helix(5)
    with pytest.raises(InputError, match="share no Cα atom"):
        compare_ca(points, points, np.zeros(5, bool))
    broken = points.copy()
    broken[3, 1] = np.nan
    with pytest.raises(InputError, match="residue 4 of the model is not a finite number"):
        compare_ca(broken, points)
    with pytest.raises(InputError, match="residue 4 of the reference"):
        compare_ca(points, broken)


def test_a_coordinate_that_is_not_a_number() -> None:
    broken = chain(name="bad")
    broken.atom_positions[2, 1, 0] = np.inf
    with pytest.raises(InputError, match=r"Residue A\.3\. of 'bad' has a coordinate"):
        compare(broken, chain())


def test_no_ca_in_common() -> None:
    model = chain()
    model.atom_mask[:] = False
    with pytest.raises(InputError, match="share no Cα atom"):
        compare(model, chain())


def test_scoring_needs_no_torch() -> None:
    program = (
        "import sys, foldry.score.compare, foldry.cli.score\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
