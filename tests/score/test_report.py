"""All scores together, and what a user of `foldry score` sees."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from foldry.cli.score import score
from foldry.errors import InputError
from foldry.formats.coordinates import to_pdb
from foldry.score.report import compare, compare_ca, to_json
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
    # What the reference lacks is told, and does not count.
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
    assert to_json(scores)["bb_lddt"] is None


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
    with pytest.raises(InputError, match="nothing to score"):
        compare_ca(points, points, np.zeros(5, bool))
    broken = points.copy()
    broken[3, 1] = np.nan
    with pytest.raises(InputError, match="residue 4 of the model is not a finite number"):
        compare_ca(broken, points)
    with pytest.raises(InputError, match="residue 4 of the reference"):
        compare_ca(points, broken)


def test_a_coordinate_that_is_no_number() -> None:
    broken = chain(name="bad")
    broken.atom_positions[2, 1, 0] = np.inf
    with pytest.raises(InputError, match=r"Residue A\.3\. of 'bad' has a coordinate"):
        compare(broken, chain())


def test_no_ca_in_common() -> None:
    model = chain()
    model.atom_mask[:] = False
    with pytest.raises(InputError, match="nothing to score"):
        compare(model, chain())


def test_json_has_the_names_of_openstructure() -> None:
    model = joined(chain("ACDEFGHIKL", chain_id="A"), chain("ACD", chain_id="B"))
    reference = joined(chain("ACDEFGHIKLMN", chain_id="A"), chain("AWD", chain_id="B"))
    found = json.loads(json.dumps(to_json(compare(model, reference)), allow_nan=False))
    assert found["status"] == "SUCCESS"
    assert found["chain_mapping"] == {"A": "A", "B": "B"}
    assert found["inconsistent_residues"] == ["B.TRP2-B.CYS2"]
    assert found["unmatched_reference"] == ["A.11.", "A.12."]
    assert found["local_lddt"].keys() == found["bb_local_lddt"].keys()
    assert list(found["local_lddt"])[:2] == ["A.1.", "A.2."]
    assert len(found["local_lddt"]) == len(model)
    wanted = {"lddt", "bb_lddt", "tm_score", "rmsd", "oligo_gdtts", "oligo_gdtha"}
    assert wanted <= found.keys()


@pytest.fixture
def run() -> CliRunner:
    return CliRunner()


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer()
    made.command()(score)
    return made


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    paths = [tmp_path / "model.pdb", tmp_path / "reference.pdb"]
    paths[0].write_text(to_pdb(chain("ACDEFGHIKL")))
    paths[1].write_text(to_pdb(chain("ACDEFGHIKLMN")))
    return [str(path) for path in paths]


def test_the_table(run: CliRunner, app: typer.Typer, files: list[str]) -> None:
    shown = run.invoke(app, files)
    assert shown.exit_code == 0
    assert "TM-score" in shown.output
    assert "10 of the reference's 12 residues compared." in shown.output
    assert "Not in the model: A.11., A.12." in shown.output


def test_the_json(run: CliRunner, app: typer.Typer, files: list[str]) -> None:
    shown = run.invoke(app, ["--json", "--align", *files])
    assert json.loads(shown.output)["num_matched"] == 10


def test_a_file_that_is_no_structure(
    run: CliRunner, app: typer.Typer, files: list[str], tmp_path: Path
) -> None:
    (tmp_path / "other.pdb").write_text("This is a letter.\n")
    shown = run.invoke(app, [str(tmp_path / "other.pdb"), files[1]])
    assert isinstance(shown.exception, InputError)


def test_scoring_needs_no_torch() -> None:
    program = "import foldry.score.report, foldry.cli.score, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
