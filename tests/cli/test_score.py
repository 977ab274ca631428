"""The output and errors of `foldry score`."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from foldry.cli.main import main
from foldry.formats.afdb import pae_json
from foldry.formats.coordinates import to_pdb
from foldry.measures import MEASURES
from foldry.results.folder import write_query
from foldry.structure import Structure
from tests.predict.fake import fake_complex
from tests.score.test_match import chain, joined

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a reference of 12 residues and a model of its first 10."""
    monkeypatch.chdir(tmp_path)
    Path("model.pdb").write_text(to_pdb(chain("ACDEFGHIKL")))
    Path("reference.pdb").write_text(to_pdb(chain("ACDEFGHIKLMN")))
    Path("pairs.csv").write_text("model,reference\nmodel.pdb,reference.pdb\nnone,reference.pdb\n")
    return tmp_path


def shown(capsys: Capture, *arguments: str) -> str:
    assert main(["score", *arguments]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_the_table(capsys: Capture) -> None:
    out = shown(capsys, "model.pdb", "reference.pdb")
    assert "TM-score" in out
    assert "Residues of the reference compared: 10 of 12." in out
    assert "Not in the model: A.11, A.12." in out
    assert "lacks" not in out
    assert "--align" not in out


def test_the_json(capsys: Capture) -> None:
    found = json.loads(shown(capsys, "--json", "--align", "model.pdb", "reference.pdb"))
    assert found["num_matched"] == 10
    assert (found["model"], found["reference"]) == ("model.pdb", "reference.pdb")


def test_the_csv_is_a_row_of_a_batch(capsys: Capture) -> None:
    out = shown(capsys, "--csv", "model.pdb", "reference.pdb")
    assert main(["score", "--batch", "pairs.csv", "-o", "scores.csv", "--jobs", "1"]) == 1
    said = capsys.readouterr()
    assert said.out == "1 of 2 pairs scored: scores.csv\n"
    assert said.err == "1 could not be scored: see the column `error` for the reasons.\n"
    written = Path("scores.csv").read_text().splitlines()
    (alone,), (first, second) = (list(csv.DictReader(x)) for x in (out.splitlines(), written))
    assert {**alone, "name": "model.pdb"} == first
    assert second["error"] == "none does not exist: check the path."


def test_a_batch_without_failures(capsys: Capture) -> None:
    Path("pairs.csv").write_text("model,reference\nmodel.pdb,reference.pdb\n")
    out = shown(capsys, "--batch", "pairs.csv", "-o", "scores.csv", "--jobs", "1")
    assert out == "1 of 1 pair scored: scores.csv\n"


def test_chains_are_chosen(capsys: Capture) -> None:
    one, other = chain("ACDEF", chain_id="A"), chain("ACDEFGH", chain_id="B")
    Path("two.pdb").write_text(to_pdb(joined(one, other)))
    found = json.loads(shown(capsys, "--json", "model.pdb", "two.pdb:B"))
    assert found["chain_mapping"] == {"B": "A"}
    assert found["num_reference"] == 7
    assert "Chains (reference–model): B–A." in shown(capsys, "model.pdb", "two.pdb:B")
    assert "Chains (" not in shown(capsys, "model.pdb", "two.pdb:A")
    found = json.loads(shown(capsys, "--json", "two.pdb:B,A", "two.pdb"))
    assert found["num_matched"] == 12


def test_a_file_whose_name_has_a_colon(capsys: Capture) -> None:
    Path("reference.pdb").rename("a:b.pdb")
    assert "10 of 12" in shown(capsys, "model.pdb", "a:b.pdb")


def full(sequence: str, chain_id: str, shift: float) -> Structure:
    """A helix of whole backbones."""
    one = chain(sequence, chain_id=chain_id)
    one.atom_positions[:, :5] = one.atom_positions[:, 1:2] + np.random.default_rng(5).normal(
        size=(len(sequence), 5, 3)
    )
    one.atom_positions[..., 0] += shift
    one.atom_mask[:, :5] = True
    return one


def test_a_complex_with_a_chain_missing(capsys: Capture) -> None:
    chains = [full("ACDEFGHIKL", "A", 0), full("MNPQRSTVWY", "B", 6), full("WYWYWYWYWY", "C", 12)]
    Path("reference.pdb").write_text(to_pdb(joined(*chains)))
    renamed = dataclasses.replace(chains[1], chain_id=np.full(10, "X"))
    Path("model.pdb").write_text(to_pdb(joined(renamed, chains[0])))
    out = shown(capsys, "model.pdb", "reference.pdb")
    (found,) = (line.split() for line in out.splitlines() if line.startswith(" A–B"))
    assert found[1:6] == ["A–X", "1.0000", "1.0000", "0.0000", "0.0000"]
    assert [line.split() for line in out.splitlines() if "missing" in line] == [
        ["B–C", "missing", "0.0000"]
    ]
    assert "DockQ 0.5000" in " ".join(out.split())  # one interface of two
    assert "Chains (reference–model): A–A, B–X." in out
    assert "Chains that are not in the model: C." in out
    assert "Not in the model" not in out.replace("are not in the model", "")


def test_a_prediction_without_a_reference(capsys: Capture) -> None:
    model = joined(full("ACDEFGHIKL", "A", 0), full("MNPQRSTVWY", "B", 6))
    model.b_factor[:] = np.linspace(50, 90, 20)[:, None]
    Path("model.pdb").write_text(to_pdb(model))
    Path("pae.json").write_text(pae_json(np.full((20, 20), 2.0), 31.75))
    out = shown(capsys, "model.pdb", "--pae", "pae.json")
    names = [line.split()[0] for line in out.splitlines()[1:]]
    assert {"pLDDT", "ipSAE", "pDockQ2", "Clashes", "A–B"} <= set(names)
    for name in ("pTM", "ipTM"):
        title = f" {name} from PAE "
        [row] = [line for line in out.splitlines() if line.startswith(title) and "0–1" in line]
        assert "Estimated from the PAE: predicted TM-score" in row
    assert not {"lDDT", "TM-score"} & set(names)
    # 10 residues a chain, so d₀ is at its least, 1 Å: 1 / (1 + 2²) for every pair.
    assert json.loads(shown(capsys, "model.pdb", "--pae", "pae.json", "--json"))["ipsae"] == 0.2


def test_a_folder_has_the_values_of_the_network(capsys: Capture) -> None:
    made = fake_complex()
    write_query([made], Path("out"))
    ptm, iptm = MEASURES["ptm"].text(made.ptm), MEASURES["iptm"].text(made.iptm)
    said = f"whole distribution of errors: pTM {ptm}, ipTM {iptm}."
    assert said in shown(capsys, "out")


def test_the_plot_is_written(capsys: Capture) -> None:
    shown(capsys, "model.pdb", "reference.pdb", "--plot", "out.svg")
    assert "model against reference" in Path("out.svg").read_text()


def test_missing_atoms_are_counted(capsys: Capture) -> None:
    reference = chain("ACDEFGHIKL")
    reference.atom_mask[:, 0] = True
    reference.atom_positions[:, 0] = reference.atom_positions[:, 1] + 1
    Path("reference.pdb").write_text(to_pdb(reference))
    out = shown(capsys, "model.pdb", "reference.pdb")
    assert "the model lacks 10 of the reference's 20 atoms" in out


def test_a_renumbered_chain_gives_the_hint(capsys: Capture) -> None:
    one, other = chain("ACDEFGHIKL"), chain("MNPQRSTVWY", chain_id="B")
    shifted = chain("MNPQRSTVWY", first=100, chain_id="B")
    Path("reference.pdb").write_text(to_pdb(joined(one, other)))
    Path("model.pdb").write_text(to_pdb(joined(one, shifted)))
    hint = "Both have chains without a partner: try --align if their numbers differ."
    assert hint in shown(capsys, "model.pdb", "reference.pdb")
    assert "--align" not in shown(capsys, "model.pdb", "reference.pdb", "--align")


def test_different_numbers_give_the_hint(capsys: Capture) -> None:
    Path("model.pdb").write_text(to_pdb(chain("MNPQRSTVWY")))
    out = shown(capsys, "model.pdb", "reference.pdb")
    assert 0 < out.index("try --align") < out.index("lDDT")


def test_different_proteins_are_named(capsys: Capture) -> None:
    # BLOSUM62 gives F against Y, I against V and L against M more than 0: they align.
    Path("model.pdb").write_text(to_pdb(chain("YYYVVVMMMW")))
    Path("reference.pdb").write_text(to_pdb(chain("FFFIIILLLW")))
    said = "may be different proteins"
    assert said in shown(capsys, "model.pdb", "reference.pdb", "--align")
    Path("model.pdb").write_text(to_pdb(chain("FFFIIILLLA")))
    assert said not in shown(capsys, "model.pdb", "reference.pdb", "--align")


def test_tables_say_where_plddt_is_from(capsys: Capture) -> None:
    predicted = full("ACDEFGHIKL", "A", 0)
    predicted.b_factor[:] = np.linspace(50, 90, 10)[:, None]
    Path("predicted.pdb").write_text(to_pdb(predicted))
    Path("pairs.csv").write_text(
        "model,reference\npredicted.pdb,reference.pdb\nmodel.pdb,reference.pdb\n"
    )
    assert main(["score", "--batch", "pairs.csv", "-o", "scores.csv", "--jobs", "1"]) == 0
    capsys.readouterr()
    rows = list(csv.DictReader(Path("scores.csv").read_text().splitlines()))
    assert [row["plddt_from"] for row in rows] == ["b_factors", ""]
    [row] = csv.DictReader(shown(capsys, "predicted.pdb", "--csv").splitlines())
    assert row["plddt_from"] == "b_factors"
    assert json.loads(shown(capsys, "predicted.pdb", "--json"))["plddt_from"] == "b_factors"
    write_query([fake_complex()], Path("out"))
    [row] = csv.DictReader(shown(capsys, "out", "--csv").splitlines())
    assert row["plddt_from"] == "statement"


def test_files_in_the_wrong_order_are_noticed(capsys: Capture) -> None:
    predicted = full("ACDEFGHIKL", "A", 0)
    predicted.b_factor[:] = np.linspace(50, 90, 10)[:, None]
    Path("predicted.pdb").write_text(to_pdb(predicted))
    said = "give MODEL before REFERENCE"
    assert said in shown(capsys, "reference.pdb", "predicted.pdb")
    assert said not in shown(capsys, "predicted.pdb", "reference.pdb")
    assert said in shown(capsys, "reference.pdb", "predicted.pdb:A")
    for stated in ("EXPDTA    X-RAY DIFFRACTION\n", "REMARK   2 RESOLUTION.    1.90 ANGSTROMS.\n"):
        Path("experiment.pdb").write_text(stated + to_pdb(predicted))
        assert said not in shown(capsys, "reference.pdb", "experiment.pdb")


def test_atoms_without_stereochemistry_are_counted(capsys: Capture) -> None:
    for name in ("model", "reference"):
        Path(f"{name}.pdb").write_text(to_pdb(full("ACDEFGHIKL", "A", 0)))  # random backbones
    out = shown(capsys, "model.pdb", "reference.pdb", "--stereochemistry")
    assert "because of bad geometry: 49 of 49, in 10 of 10 residues" in out
    assert "bad geometry" not in shown(capsys, "model.pdb", "reference.pdb")


@pytest.mark.parametrize("lost", [1, 8, 9, 20])
def test_few_of_many_missing_residues_are_named(lost: int, capsys: Capture) -> None:
    sequence = "ACDEFGHIKLMNPQRSTVWY" * 2
    Path("reference.pdb").write_text(to_pdb(chain(sequence)))
    Path("model.pdb").write_text(to_pdb(chain(sequence[: len(sequence) - lost])))
    out = shown(capsys, "model.pdb", "reference.pdb")
    [line] = [each for each in out.splitlines() if each.startswith("Not in the model: ")]
    names, _, more = line.removeprefix("Not in the model: ").removesuffix(".").partition(" and ")
    assert len(names.split(", ")) == min(lost, 8)
    assert more == (f"{lost - 8} more" if lost > 8 else "")


def test_chains_without_a_name_are_said_to_have_none(capsys: Capture) -> None:
    lines = Path("model.pdb").read_text().splitlines()
    atoms = [f"{x[:21]} {x[22:]}" for x in lines if x.startswith("ATOM")]
    Path("model.pdb").write_text("\n".join([*atoms, "END", ""]))
    assert "Chains (reference–model): A–without a name." in shown(
        capsys, "model.pdb", "reference.pdb"
    )
