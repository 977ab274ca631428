"""`foldry relax` from a file to a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foldry.cli.main import main
from foldry.cli.relax import _show
from foldry.formats.coordinates import read_structure, to_pdb
from foldry.formats.plain_mmcif import to_mmcif
from foldry.relax.result import Relaxation
from foldry.score.stereochemistry import find_violations

pytest.importorskip("openmm", reason="needs pip install openmm pdbfixer")
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "kunitz" / "1adz.cif"


def test_from_file_to_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    part = read_structure(EXAMPLE).select(np.arange(20, 30))
    (tmp_path / "a.pdb").write_text(to_pdb(part))
    out = tmp_path / "b.pdb"
    assert main(["relax", str(tmp_path / "a.pdb"), "-o", str(out), "--platform", "reference"]) == 0
    relaxed = read_structure(out)
    assert relaxed.sequence == part.sequence
    assert relaxed.residue_number.tolist() == part.residue_number.tolist()
    assert find_violations(relaxed).num_clashes == 0
    said = " ".join(capsys.readouterr().out.split())
    for words in ("energy, kcal/mol", " clashes ", "residues with violations", "on Reference."):
        assert words in said


def test_the_best_prediction_of_a_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    query = Path("q.fasta")
    query.write_text(">q\nMKTAYIAKQR\n")
    assert main(["fold", str(query), "-o", "out", "--num-recycles", "0", "--device", "cpu"]) == 0
    command = ["-o", "b.pdb", "--platform", "reference", "--rounds", "1"]
    assert main(["relax", "out", *command]) == 2
    assert "out is not a folder of one query's results: give such a folder (out/q)" in (
        capsys.readouterr().err
    )
    monkeypatch.setattr("foldry.relax.amber.Minimiser.minimise", lambda *_: True)
    main(["relax", "out/q", *command])
    assert read_structure("b.pdb").sequence == "MKTAYIAKQR"


def test_an_unrelaxed_model_is_written_unchanged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = to_pdb(read_structure(EXAMPLE).select(np.arange(1)))
    (tmp_path / "a.pdb").write_text(one)
    out = tmp_path / "b.pdb"
    assert main(["relax", str(tmp_path / "a.pdb"), "-o", str(out)]) == 1
    assert out.read_text() == one
    assert "Not relaxed. No two consecutive residues" in " ".join(capsys.readouterr().out.split())


def test_the_time_limit_names_the_flag_of_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foldry.relax.amber.Minimiser.minimise", lambda *_: False)
    (tmp_path / "a.pdb").write_text(to_pdb(read_structure(EXAMPLE).select(np.arange(20, 30))))
    out = str(tmp_path / "b.pdb")
    assert main(["relax", str(tmp_path / "a.pdb"), "-o", out, "--platform", "reference"]) == 0
    assert "energy converged: raise --seconds." in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-o", "b.txt"], "b.txt is not a PDB or mmCIF file: give it a name that ends in .pdb or"),
        (["-o", "b.cif.gz"], "ends in .pdb or .cif."),
        (["-o", "b.pdb", "--rounds", "0"], "--rounds is '0': give a whole number from 1 to 100."),
        (["-o", "no/where/b.pdb"], "the folder no/where does not exist: create it first."),
        (
            ["-o", "b.pdb", "--platform", "tpu"],
            "--platform is 'tpu': write auto, cuda, cpu or reference.",
        ),
    ],
)
def test_wrong_arguments(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["relax", str(EXAMPLE), *arguments]) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_energy_that_is_not_finite_is_no_number(capsys: pytest.CaptureFixture[str]) -> None:
    numbers = {"energy_before": None, "energy_after": -1.5, "median_move": 0.1, "max_move": 0.2}
    _show(Relaxation(True, "", "CPU", 1, **numbers), 3, Path("b.pdb"))
    assert "energy, kcal/mol not finite -1.5 " in " ".join(capsys.readouterr().out.split())


PART = read_structure(EXAMPLE).select(np.arange(20, 26))
TOO_LARGE = {
    "two letters": replace(PART, chain_id=np.full(6, "AA")),
    "numbers above 9999": replace(PART, residue_number=PART.residue_number + 9990),
    "far away": replace(
        PART, atom_positions=PART.atom_positions - 2000 * PART.atom_mask[..., None]
    ),
}


@pytest.mark.parametrize("kind", TOO_LARGE)
def test_what_pdb_cannot_hold_is_written_as_mmcif(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = TOO_LARGE[kind]
    Path("big.cif").write_text(to_mmcif(given))
    Path("x.cif").write_text("of an earlier run")
    settings = ["--platform", "reference", "--rounds", "1"]
    assert main(["relax", "big.cif", "-o", "x.pdb", *settings]) == 0
    output = capsys.readouterr()
    assert "big does not fit into the PDB format (" in output.err
    assert "): it is written as mmCIF to x.cif." in output.err and "is in x.cif" in output.out
    relaxed = read_structure("x.cif")
    for name in ("sequence", "chains"):
        assert getattr(relaxed, name) == getattr(given, name)
    assert relaxed.residue_number.tolist() == given.residue_number.tolist()
    move = np.linalg.norm(relaxed.atom_positions - given.atom_positions, axis=-1)[given.atom_mask]
    assert 0 < move.max() < 2
    assert sorted(each.name for each in Path().iterdir()) == ["big.cif", "x.cif"]
    # The model is never lost.
    before = Path("big.cif").read_bytes()
    assert main(["relax", "big.cif", "-o", "big.pdb", *settings]) == 2
    assert "--out big.cif is the model itself" in capsys.readouterr().err
    assert Path("big.cif").read_bytes() == before


def test_mmcif_on_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.pdb").write_text(to_pdb(PART))
    for name in ("b.cif", "c.mmCIF"):
        out = tmp_path / name
        assert main(["relax", str(tmp_path / "a.pdb"), "-o", str(out), "--rounds", "1"]) == 0
        assert out.read_text().startswith("data_")
        assert read_structure(out).sequence == PART.sequence
    assert "WARNING" not in capsys.readouterr().err


def test_obstacles_are_found_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, model = tmp_path / "folder.pdb", tmp_path / "model.pdb"
    folder.mkdir()
    model.write_text(to_pdb(read_structure(EXAMPLE)))
    before = model.read_bytes()
    assert main(["relax", str(EXAMPLE), "-o", str(folder)]) == 2
    assert "is a folder" in capsys.readouterr().err
    assert main(["relax", f"{model}:A", "-o", str(model)]) == 2
    assert "is the model itself" in capsys.readouterr().err
    assert model.read_bytes() == before


@pytest.mark.parametrize(("names", "number"), [(["ATP"], 1), (["ZN", "HOH", "HOH"], 3), ([], 0)])
def test_what_is_left_out_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], names: list[str], number: int
) -> None:
    text = to_pdb(read_structure(EXAMPLE).select(np.arange(1)))
    atoms = [
        f"HETATM{900 + k:5}  C1  {name:>3} B{k + 1:4}    {9.0 * k:8.3f}{0:8.3f}{0:8.3f}  1.00  0.00"
        for k, name in enumerate(names)
    ]
    (tmp_path / "a.pdb").write_text(text.replace("ENDMDL", "\n".join([*atoms, "ENDMDL"])))
    main(["relax", str(tmp_path / "a.pdb"), "-o", str(tmp_path / "b.pdb")])
    said = f"has {number} ligands, ions, waters and modified residues: the result has"
    assert (said in " ".join(capsys.readouterr().err.split())) == bool(names)
