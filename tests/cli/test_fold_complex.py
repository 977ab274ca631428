"""Complexes from FASTA to report by the command, with small recorded multimer parameters."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from foldry.cli.fold import _show_species
from foldry.cli.main import main
from foldry.features.pairing import PairingReport, SpeciesPairing
from foldry.formats.coordinates import read_structure
from foldry.query import Chain, Query

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
A, B = "MKTAYIAKQRQISF", "MKVLAAGIVG"


def test_two_records_become_a_report(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fasta, out = tmp_path / "pair.fasta", tmp_path / "out"
    fasta.write_text(f">a\n{A}\n>b\n{B}\n")
    command = ["fold", str(fasta), "--together", "--weights", str(weights), "-o", str(out)]
    command += ["--device", "cpu"]
    assert main(command) == 0
    said = capsys.readouterr()
    assert "pair (A, B): no rows are paired, because no chain has an alignment;" in said.err
    assert "done" in said.out

    folder = out / "pair"
    page = (folder / "report.html").read_text()
    assert re.search(r'"key":"iptm"[^}]*"value":0\.\d', page)
    model = read_structure(folder / "ranked_0.cif")
    assert [model.chain(name).sequence for name in model.chains] == [A, B]
    assert model.chains == ("A", "B")
    scores = json.loads(next(folder.glob("scores_*.json")).read_text())
    assert 0 < scores["iptm"] < 1
    expected = 0.8 * scores["iptm"] + 0.2 * scores["ptm"]
    assert scores["ranking_confidence"] == pytest.approx(expected, abs=0.02)

    assert main(command) == 0
    assert "already done" in capsys.readouterr().out
    assert main([*command, "--pairing", "none"]) == 0
    said = capsys.readouterr()
    assert "--pairing has no effect" in said.err
    assert "already done" in said.out


def test_an_unused_pairing_gives_a_warning(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a3m = tmp_path / "pair.a3m"
    a3m.write_text(f"#{len(A)},{len(B)}\t1,1\n>101\t102\n{A}{B}\n")
    command = ["fold", str(a3m), "--weights", str(weights), "-o", str(tmp_path / "out")]
    command += ["--device", "cpu", "--num-recycles", "0"]
    assert main([*command, "--pairing", "greedy"]) == 0
    assert "--pairing greedy has no effect on 'pair': the file" in capsys.readouterr().err
    assert main(command) == 0
    assert "already done" in capsys.readouterr().out


def test_an_example_is_folded_with_its_alignments(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job, out = EXAMPLES / "trypsin_kunitz.json", tmp_path / "out"
    command = ["fold", str(job), "--weights", str(weights), "-o", str(out), "--device", "cpu"]
    command += ["--num-recycles", "0"]
    assert main(command) == 0
    said = capsys.readouterr()
    assert "1 paired row of 1 species" in said.err
    assert [line.split() for line in said.out.splitlines()[:3]] == [
        ["species", "rows", "of", "A", "rows", "of", "B", "paired"],
        ["BOVIN", "1", "1", "1"],
        ["query", "status", "pLDDT", "pTM", "ipTM", "results,", "or", "reason"],
    ]
    assert main([*command, "--pairing", "none"]) == 0
    said = capsys.readouterr()
    assert "species" not in said.out
    assert "already done" not in said.out
    assert "not paired: pairing is off." in said.err
    assert read_structure(out / "trypsin_kunitz" / "ranked_0.cif").chains == ("A", "B")


def test_records_apart_are_single_chains(weights: Path, tmp_path: Path) -> None:
    fasta, out = tmp_path / "two.fasta", tmp_path / "out"
    fasta.write_text(f">a\n{A}\n>bb\n{B}:{B}\n")
    command = ["fold", str(fasta), "--weights", str(weights), "-o", str(out), "--device", "cpu"]
    assert main([*command, "--num-recycles", "0"]) == 0
    assert read_structure(out / "a" / "ranked_0.cif").chains == ("A",)
    dimer = read_structure(out / "bb" / "ranked_0.cif")
    assert dimer.chains == ("A", "B")
    first, second = (dimer.chain(name).atom_positions for name in dimer.chains)
    assert np.abs(first - second).max() > 0.1


def test_a_remark_on_together_comes_before_the_weights_are_chosen(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    single, pair = tmp_path / "single.fasta", tmp_path / "pair.fasta"
    single.write_text(f">s\n{A}\n")
    pair.write_text(f">a\n{A}\n>b\n{B}\n")
    command = ["fold", str(single), str(pair), "--together", "--weights", str(weights)]
    assert main([*command, "--models", "model_9", "-o", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "--together changes nothing for 's': it has one chain." in said
    assert "has no model_9" in said


def test_the_species_with_the_most_paired_rows_come_first(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = [("HUMAN", (3, 4), 3), ("MOUSE", (9, 5), 3), ("YEAST", (2, 9), 2), ("BOVIN", (8, 0), 0)]
    species = tuple(SpeciesPairing(name, counts, paired, "") for name, counts, paired in found)
    query = Query("q", (Chain(("A",), A), Chain(("B",), B)))
    _show_species(query, PairingReport(chains=("A", "B"), species=species))
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert rows == [["MOUSE", "9", "5", "3"], ["HUMAN", "3", "4", "3"], ["YEAST", "2", "9", "2"]]
