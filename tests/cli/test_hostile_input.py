"""Bad input and bad arguments: one sentence, exit code 2, nothing written."""

from __future__ import annotations

import csv
import gzip
import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from foldry.cli.main import main

PROTEIN = "MKTAYIAKQRQISFVKSHFSRQ"
PDB = (
    "ATOM      1  N   ALA A   1      11.104   6.134  -6.504  1.00 10.00           N\n"
    "ATOM      2  CA  ALA A   1      11.639   6.071  -5.147  1.00 10.00           C\n"
)
DNA = "ATOM      1  P    DA A   1      11.104   6.134  -6.504  1.00 10.00           P\n"


def job(**changes: object) -> str:
    """An AlphaFold 3 job with one protein, changed at the top."""
    good: dict[str, object] = {
        "name": "job",
        "modelSeeds": [1],
        "sequences": [{"protein": {"id": "A", "sequence": PROTEIN}}],
        "dialect": "alphafold3",
        "version": 2,
    }
    return json.dumps({**good, **changes})


def protein(**changes: object) -> str:
    """An AlphaFold 3 job whose protein is changed."""
    return job(sequences=[{"protein": {"id": "A", "sequence": PROTEIN, **changes}}])


def template(**changes: object) -> str:
    """A job whose protein has one template, changed."""
    good = {"mmcif": "data_x\n", "queryIndices": [0], "templateIndices": [0]}
    return protein(templates=[{**good, **changes}])


FILES: dict[str, tuple[str, str | bytes, str]] = {
    # fault: (file name, content, part of the message)
    "empty file": ("q.fasta", "", "empty"),
    "white space only": ("q.fasta", " \n\t\n", "empty"),
    "no header": ("q.fasta", PROTEIN, "line 1"),
    "text that is no sequence file": ("q.txt", "Dear Sir or Madam,\n", "line 1"),
    "header without a sequence": ("q.fasta", ">a\n>b\nMKT\n", "line 1"),
    "last record empty": ("q.fasta", ">a\nMKT\n>b\n", "line 3"),
    "gap": ("q.fasta", ">a\nMKT-AY\n", "residue 4"),
    "dot": ("q.fasta", ">a\nMKT.AY\n", "residue 4"),
    "stop codon inside": ("q.fasta", ">a\nMKT*AY\n", "residue 4"),
    "only a stop codon": ("q.fasta", ">a\n*\n", "no sequence"),
    "digit": ("q.fasta", ">a\nMKT1AY\n", "'1'"),
    "letter with an accent": ("q.fasta", ">a\nMKTÄAY\n", "'Ä'"),
    "letters that only look so in upper case": ("q.fasta", ">a\nMKTßAY\n", "residue 4"),
    "control character": ("q.fasta", ">a\nMK\x1b[2JTAY\n", "residue 3"),
    "one bad record among good ones": ("q.fasta", ">a\nMKT\n>b\nMK!\n>c\nMKT\n", "line 4"),
    "titin": ("q.fasta", ">titin\n" + "MKTAYIAKQR" * 3435, "34350 residues"),
    "chain without letters": ("q.fasta", f">a\n{PROTEIN}:\n", "an empty chain 2"),
    "FASTA: too many chains": ("q.fasta", ">a\n" + "A:" * 1000 + "A\n", "1001 chains"),
    "binary file": ("q.fasta", random.Random(0).randbytes(2000) + b"\0", "binary"),
    "image": ("q.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "binary"),
    "UTF-16 without a mark": ("q.fasta", f">a\n{PROTEIN}\n".encode("utf-16-le"), "binary"),
    "damaged gzip": ("q.fasta.gz", gzip.compress(b">a\nMKT\n" * 99)[:-12], "gzip"),
    "gzip in name only, damaged inside": ("q.fasta.gz", b"\x1f\x8b nonsense", "gzip"),
    "gzip bomb": ("q.fasta.gz", gzip.compress(b"\n" * 5 * 1024**2), "4 MiB"),
    "structure as a query": ("q.pdb", PDB, "--templates"),
    "a3m: rows of unequal length": ("q.a3m", ">q\nMKTAY\n>r\nMKT\n", "line 3"),
    "a3m: gap in the first row": ("q.a3m", ">q\nMK-AY\n>r\nMKTAY\n", "first row"),
    "a3m: insertion in the first row": ("q.a3m", ">q\nMKtAY\n>r\nMKAY\n", "are insertions"),
    "a3m: strange letter": ("q.a3m", ">q\nMKTAY\n>r\nMK?AY\n", "line 3"),
    "a3m: no rows": ("q.a3m", "#5\t1\n", "no rows"),
    "a3m: nothing but gaps": ("q.a3m", ">q\n>r\n", "no sequence"),
    "a3m: copies of one chain alone": ("q.a3m", "#5,5\t1\n>q\nMKTAYMKTAY\n", "line 1"),
    "a3m: other lengths": ("q.a3m", "#5,6\t1,1\n>q\nMKTAYMKTAY\n", "lengths of 11 residues"),
    "a3m: too many copies": ("q.a3m", "#5\t1001\n>q\nMKTAY\n", "1000 chains"),
    "a3m: a chain in part": ("q.a3m", "#5,5\t1,1\n>q\nMKTAYMK-AY\n", "chain 2, has a gap at"),
    "Stockholm: unequal rows": ("q.sto", "# STOCKHOLM 1.0\nq MKT\nr MK\n//\n", "columns"),
    "Stockholm: no rows": ("q.sto", "# STOCKHOLM 1.0\n//\n", "no rows"),
    "Stockholm: a row alone": ("q.sto", "# STOCKHOLM 1.0\nq\n", "line 2"),
    "Stockholm: strange letter": ("q.sto", "# STOCKHOLM 1.0\nq MKT\nr Mß\n//\n", "line 3"),
    "JSON: cut off": ("q.json", job()[:40], "line 1, column 36, is not valid JSON"),
    "JSON: wrong on line 3": ("q.json", '{\n"name": "a",\n"x" 1}', "line 3"),
    "JSON: too deep": ("q.json", "[" * 100_000, "too deeply"),
    "JSON: a number": ("q.json", "7", "not a JSON object"),
    "JSON: no jobs": ("q.json", "[]", "no job"),
    "JSON: a key twice": ("q.json", '{"name": "a", "name": "b"}', "twice"),
    "JSON: unknown key": ("q.json", job(sequence="MKT"), "'sequence'"),
    "JSON: no name": ("q.json", job(name=""), "no name"),
    "JSON: name is a number": ("q.json", job(name=5), "name that is not text"),
    "JSON: other dialect": ("q.json", job(dialect="boltz"), "'boltz'"),
    "JSON: version of the future": ("q.json", job(version=99), "version 99"),
    "JSON: seeds are words": ("q.json", job(modelSeeds=["one"]), "the seed 'one'"),
    "JSON: negative seed": ("q.json", job(modelSeeds=[-1]), "the seed -1"),
    "JSON: no sequences": ("q.json", job(sequences=[]), "no sequences"),
    "JSON: too many chains": (
        "q.json",
        job(sequences=[{"proteinChain": {"sequence": "MKT", "count": 501}}] * 2),
        "1002 chains",
    ),
    "JSON: a long id": (
        "q.json",
        job(sequences=[{"protein": {"id": "CHAIN0001", "sequence": "MKT"}}]),
        "at most 8 letters",
    ),
    "JSON: RNA": ("q.json", job(sequences=[{"rna": {"id": "A", "sequence": "ACGU"}}]), "is RNA"),
    "JSON: DNA": ("q.json", job(sequences=[{"dna": {"id": "A", "sequence": "ACGT"}}]), "is DNA"),
    "JSON: ligand": ("q.json", job(sequences=[{"ligand": {"id": "L"}}]), "is a ligand"),
    "JSON: unknown molecule": ("q.json", job(sequences=[{"sugar": {}}]), "'sugar'"),
    "JSON: bonds": ("q.json", job(bondedAtomPairs=[[["A", 1, "C"], ["A", 2, "N"]]]), "bonded"),
    "JSON: modified residue": ("q.json", protein(modifications=[{"ptmType": "SEP"}]), "modif"),
    "JSON: unknown protein key": ("q.json", protein(msa="x"), "'msa'"),
    "JSON: no amino acids": ("q.json", protein(sequence=""), "no sequence"),
    "JSON: sequence with a gap": ("q.json", protein(sequence="MK-T"), "residue 3"),
    "JSON: id is a path": ("q.json", protein(id="../A"), "id"),
    "JSON: alignment of another protein": (
        "q.json",
        protein(unpairedMsa=">q\nMKV\n"),
        "3 residues and",
    ),
    "JSON: alignment with a gap where the chain has X": (
        "q.json",
        protein(sequence="MKX", unpairedMsa=">q\nMK-\n"),
        "another sequence",
    ),
    "JSON: alignment with a letter where the chain has X": (
        "q.json",
        protein(sequence="MKX", unpairedMsa=">q\nMKW\n"),
        "another sequence",
    ),
    "more chains than can be folded": ("q.fasta", ">q\n" + "A:" * 1000 + "A\n", "1001 chains"),
    "JSON: alignment twice": ("q.json", protein(pairedMsa="", pairedMsaPath="m"), "both"),
    "JSON: alignment file missing": ("q.json", protein(unpairedMsaPath="m.a3m"), "not exist"),
    "JSON: template without atoms": ("q.json", template(), "no "),
    "JSON: template is not mmCIF": ("q.json", template(mmcif="hello"), "mmCIF"),
    "JSON: template is half a character": ("q.json", template(mmcif="\ud800"), "mmCIF"),
    "JSON: template key": ("q.json", template(chain="A"), "'chain'"),
    "JSON: template file missing": ("q.json", template(mmcif=None, mmcifPath="t"), "not exist"),
}

TEMPLATES: dict[str, tuple[str, str | bytes, str]] = {
    "not there": ("missing.cif", "", "not exist"),
    "empty": ("t.cif", "\n", "PDB, mmCIF"),
    "a letter": ("t.pdb", "Dear Sir or Madam,\n", "PDB, mmCIF"),
    "only comments": ("t.cif", "#\n\n" * 1000 + "x", "PDB, mmCIF"),
    "no protein": ("t.pdb", DNA, "no amino acid"),
    "no such chain": ("t.pdb:Z", PDB, "'Z'"),
    "damaged mmCIF": ("t.cif", "data_x\nloop_\n_atom_site.id\n_atom_site.x\n1\n", "damaged"),
    "not a number": ("t.pdb", PDB.replace("11.639", "   nan"), "not a coordinate"),
    "another protein": ("t.pdb", PDB, "fewer than 10"),
    "BinaryCIF": ("t.bcif", b"\x83\xaadataBlocks", "BinaryCIF"),
}

ATOM = "ATOM  {n:>5}  {name:<3} {residue} {chain}{n:>4}    {n:>8.3f}{n:>8.3f}   0.000  1.00 10.00\n"


def atoms(*residues: str, name: str = "CA", chain: str = "A", first: int = 1) -> str:
    """A PDB file of residues of one atom each."""
    return "".join(
        ATOM.format(n=n, name=name, residue=residue, chain=chain)
        for n, residue in enumerate(residues, start=first)
    )


ALA_GLY = atoms("ALA", "GLY", "SER")

MODELS: dict[str, tuple[str, str | bytes, str]] = {
    # fault: (file name, content, part of the message)
    "not there": ("missing.pdb", "", "not exist"),
    "empty": ("m.pdb", "\n", "m.pdb is empty"),
    "a letter": ("m.pdb", "Dear Sir or Madam,\n", "PDB, mmCIF"),
    "a sequence": ("m.fasta", f">a\n{PROTEIN}\n", "PDB, mmCIF"),
    "binary": ("m.pdb", b"ATOM\0\1\2", "binary"),
    "gzip bomb": ("m.pdb.gz", gzip.compress(b"\n" * 9 * 1024**2), "MiB after decompression"),
    "damaged gzip": ("m.pdb.gz", gzip.compress(ALA_GLY.encode() * 99)[:-12], "gzip"),
    "damaged mmCIF": ("m.cif", "data_x\nloop_\n_atom_site.id\n_atom_site.x\n1\n", "damaged"),
    "cut mmCIF": ("m.cif", "data_x\n_a 'b\n", "(line 2: unterminated"),
    "mmCIF without atoms": ("m.cif", "data_x\n_entry.id x\n", "no atoms"),
    "DNA only": ("m.pdb", DNA, "no amino acid"),
    "water only": ("m.pdb", atoms("HOH", "HOH", name="O"), "no amino acid"),
    "not a number": ("m.pdb", ALA_GLY.replace("   2.000", "     nan"), "not a coordinate"),
    "infinite": ("m.pdb", ALA_GLY.replace("   2.000", "     inf"), "not a coordinate"),
    "no common number": ("m.pdb", atoms("ALA", "GLY", first=50), "--align"),
    "no Cα": ("m.pdb", atoms("ALA", "GLY", name="N"), "share no Cα atom"),
    "no such chain": ("m.pdb:Z", ALA_GLY, "'Z'"),
    "folder of something else": ("empty", "", "not a folder of one query"),
}
"""Scored against `ALA_GLY`."""

SOUND: dict[str, str] = {
    # unusual files that are scored
    "one residue": atoms("ALA"),
    "Cα only": ALA_GLY,
    "other amino acids": atoms("TRP", "TRP", "TRP"),
    "unknown amino acids": atoms("UNK", "UNK", "UNK"),
    "selenomethionine": atoms("MSE", "GLY"),
    "insertion codes": ALA_GLY.replace("A   2 ", "A   1B"),
    "alternate locations": ALA_GLY + ALA_GLY.replace("CA  ", "CA B"),
    "models of an NMR ensemble": f"MODEL        1\n{ALA_GLY}ENDMDL\nMODEL        2\nENDMDL\n",
    "a chain that the reference lacks": ALA_GLY + atoms("ALA", "TRP", chain="B"),
    "all in one place": ALA_GLY.replace("   2.000", "   1.000").replace("   3.000", "   1.000"),
    "far away": ALA_GLY.replace("   2.000", "9999.000"),
}

SCORE_ARGUMENTS: dict[str, tuple[list[str], str]] = {
    "no model": ([], "MODEL"),
    "a word as a format": (["good.pdb", "good.pdb", "--csv", "--json"], "--csv"),
    "batch without a file for it": (["--batch", "pairs.csv"], "--out"),
    "batch and a model": (["good.pdb", "--batch", "pairs.csv", "-o", "s.csv"], "leave out MODEL"),
    "batch and JSON": (["--json", "--batch", "pairs.csv", "-o", "s.csv"], "leave out --json"),
    "a space after the comma": (["good.pdb:A,", "B"], "without spaces"),
    "an entry of the PDB": (["1MLD", "good.pdb"], "download"),
    "no such table": (["--batch", "none.csv", "-o", "s.csv"], "none.csv does not exist"),
    "a structure as a table": (["--batch", "good.pdb", "-o", "s.csv"], "columns"),
    "scores over the pairs": (["--batch", "pairs.csv", "-o", "pairs.csv"], "replace"),
    "scores over a folder": (["--batch", "pairs.csv", "-o", "empty"], "is a folder"),
    "scores over a model": (["--batch", "pairs.csv", "-o", "good.pdb"], "replace an input"),
    "scores into nowhere": (
        ["--batch", "pairs.csv", "-o", "none/s.csv"],
        "the folder none does not exist: create it first.",
    ),
    "no processes": (["--batch", "pairs.csv", "-o", "s.csv", "--jobs", "0"], "--jobs"),
    "output without a batch": (["good.pdb", "good.pdb", "-o", "s.csv"], "--batch"),
    "a plot of nothing": (["good.pdb", "--plot", "p.svg"], "REFERENCE"),
    "a plot into nowhere": (
        ["good.pdb", "good.pdb", "--plot", "none/p.svg"],
        "the folder none does not exist: create it first.",
    ),
    "a plot of another kind": (["good.pdb", "good.pdb", "--plot", "p.png"], "end its name in .svg"),
    "a plot over the model": (["good.svg", "good.pdb", "--plot", "good.svg"], "replace an input"),
    "a plot over the reference": (["good.pdb", "good.svg:A", "--plot", "good.svg"], "an input"),
    "matched with nothing": (["good.pdb", "--align"], "--align needs a REFERENCE"),
    "lost of nothing": (["good.pdb", "--stereochemistry"], "--stereochemistry needs"),
    "errors that are none": (["good.pdb", "good.pdb", "--pae", "pairs.csv"], "not valid JSON"),
    "errors of another model": (["good.pdb", "good.pdb", "--pae", "pae.json"], "has 1 row and"),
}

ARGUMENTS: dict[str, tuple[list[str], str]] = {
    "unknown option": (["--speed", "9"], "--speed"),
    "no such file": (["missing.fasta"], "missing.fasta does not exist"),
    "name too long for a file": (["a" * 300], "cannot be used"),
    "folder without queries": (["empty"], "folder without"),
    "models beyond five": (["--models", "1-9"], "--models"),
    "models backwards": (["--models", "5-1"], "--models"),
    "model is a path": (["--models", "../x"], "--models"),
    "seed is a word": (["--seeds", "lucky"], "--seeds"),
    "seeds without end": (["--seeds", "0-4000000000"], "--seeds"),
    "alignment size": (["--max-msa", "many"], "--max-msa"),
    "no clusters": (["--max-msa", "0:5"], "--max-msa"),
    "recycles below zero": (["--num-recycles", "-1"], "--num-recycles"),
    "tolerance is a word": (["--recycle-tolerance", "low"], "--recycle-tolerance"),
    "tolerance is not a number": (["--recycle-tolerance", "nan"], "--recycle-tolerance"),
    "ensemble of none": (["--ensemble", "0"], "--ensemble"),
    "unknown device": (["--device", "abacus"], "--device is 'abacus'"),
    "unknown pairing": (["--pairing", "best"], "--pairing is 'best'"),
    "unknown dtype": (["--dtype", "int4"], "--dtype is 'int4'"),
    "no such weights": (["--weights", "nothing"], "nothing is not a file or folder"),
    "weights of a name too long": (["--weights", "a" * 300], "cannot be used"),
    "folder without weights": (["--weights", "empty"], "empty holds no parameters"),
    "weights of another kind": (["--weights", "good.fasta"], "good.fasta is not named"),
    "mini is one model": (["--models", "3"], "mini has no model 3"),
    "length of nothing": (["--max-length", "0"], "--max-length"),
    "too long for the limit given": (["--max-length", "5"], "limit is 5"),
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with one good query and an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("foldry.store.files.MAX_BYTES", 4 * 1024**2)
    monkeypatch.setattr("foldry.formats.lines.MAX_TEXT", 4 * 1024**2)
    Path("good.fasta").write_text(f">good\n{PROTEIN}\n")
    Path("empty").mkdir()
    return tmp_path


def write(name: str, content: str | bytes) -> None:
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())


def assert_refused(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Runs `foldry fold`; what it said is returned."""
    return assert_one_sentence(["fold", *arguments, "-o", "out"], says, capsys)


def assert_one_sentence(command: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Runs a command that must refuse its input; what it said is returned."""
    before = sorted(Path().rglob("*"))
    code = main(command)
    out, err = capsys.readouterr()
    assert code == 2, err
    assert out == ""
    assert err.endswith(".\n"), err
    assert err.count("\n") == 1, err
    assert err[:-1].isprintable(), err
    assert "Traceback" not in err
    assert ". " not in err, "more than one sentence"
    assert says in err
    assert sorted(Path().rglob("*")) == before
    return err


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("case", FILES)
def test_file(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    name, content, says = FILES[case]
    write(name, content)
    assert name in assert_refused(["good.fasta", name], says, capsys)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("case", TEMPLATES)
def test_template(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    name, content, says = TEMPLATES[case]
    if content:
        write(name.partition(":")[0], content)
    said = assert_refused(["good.fasta", "--templates", name], says, capsys)
    assert Path(name.partition(":")[0]).stem in said


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("case", ARGUMENTS)
def test_arguments(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, says = ARGUMENTS[case]
    assert_refused(["good.fasta", *arguments], says, capsys)


@pytest.mark.usefixtures("folder")
def test_parameters_that_are_cut_off_are_refused_at_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    write("q.csv", f"id,sequence\na,{PROTEIN}\nb,{PROTEIN}\n")
    for name in ("params_model_1.npz", "params_model_1_multimer_v3.npz"):
        np.savez(name, a=np.zeros(100))
        write(name, Path(name).read_bytes()[:-40])
    says = "cannot be read as parameters"
    assert_refused(["good.fasta", "--weights", "params_model_1.npz"], says, capsys)
    screen = ["screen", "q.csv", "--all", "--weights", ".", "-o", "out"]
    assert_one_sentence(screen, says, capsys)


@pytest.mark.usefixtures("folder")
def test_a_complex_for_a_network_of_one_chain(capsys: pytest.CaptureFixture[str]) -> None:
    write("q.fasta", f">a\n{PROTEIN}:{PROTEIN}\n")
    write("q.json", protein(id=["A", "B"]))
    np.savez("params_model_1.npz", a=np.zeros(1))
    for name in ("q.fasta", "q.json"):
        assert_refused(
            ["good.fasta", name], "has 2 chains, but the network is for single chains", capsys
        )
    assert_refused(["q.fasta", "--weights", "."], "multimer parameters", capsys)
    assert_refused(["q.fasta", "q.json", "--together", "--max-length", "9"], "limit is 9", capsys)


@pytest.mark.usefixtures("folder")
def test_no_query(capsys: pytest.CaptureFixture[str]) -> None:
    assert_refused([], "QUERY", capsys)


@pytest.mark.usefixtures("folder")
def test_no_output_folder(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fold", "good.fasta"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.usefixtures("folder")
def test_output_folder_is_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    Path("out").write_text("mine")
    assert_refused(["good.fasta"], "out is a file", capsys)
    assert Path("out").read_text() == "mine"


@pytest.mark.usefixtures("folder")
def test_a_folder_that_may_not_be_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write everywhere
    assert_refused(["good.fasta"], "cannot be written", capsys)


@pytest.mark.usefixtures("folder")
def test_in_a_separate_process() -> None:
    write("q.fasta", ">a\nMKT-AY\n")
    command = [sys.executable, "-m", "foldry.cli.main", "fold", "q.fasta", "-o", "out"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr == (
        "q.fasta, line 2, has a gap at residue 4: remove it; only the rows below the query of an "
        "alignment can have gaps.\n"
    )
    assert not Path("out").exists()


@pytest.fixture
def scored(folder: Path) -> Path:
    """A good structure, a table of pairs and a PAE matrix too."""
    write("good.pdb", ALA_GLY)
    write("good.svg", ALA_GLY)
    write("pairs.csv", "model,reference\ngood.pdb,good.pdb\n")
    write("pae.json", '{"pae": [[0.5]]}')
    return folder


@pytest.mark.usefixtures("scored")
@pytest.mark.parametrize("case", MODELS)
def test_model_to_score(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    name, content, says = MODELS[case]
    if content:
        write(name.partition(":")[0], content)
    said = assert_one_sentence(["score", name, "good.pdb"], says, capsys)
    if case not in ("folder of something else", "no Cα"):
        assert_one_sentence(["score", "good.pdb", name], says.replace("by residue", ""), capsys)
    write("pairs.csv", f"model,reference\n{name},good.pdb\ngood.pdb,good.pdb\n")
    assert main(["score", "--batch", "pairs.csv", "-o", "s.csv", "--jobs", "1"]) == 1
    with Path("s.csv").open(newline="") as file:
        bad, good = csv.DictReader(file)
    assert bad["error"] == said.rstrip("\n")
    assert (good["error"], good["rmsd"]) == ("", "0.0")


@pytest.mark.usefixtures("scored")
@pytest.mark.parametrize("case", SOUND)
def test_odd_model_is_scored(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    write("odd.pdb", SOUND[case])
    for arguments in (["odd.pdb", "good.pdb"], ["good.pdb", "odd.pdb"], ["odd.pdb"]):
        assert main(["score", *arguments, "--json"]) == 0, case
        out, err = capsys.readouterr()
        assert json.loads(out)["status"] == "SUCCESS"
        assert err == ""
        assert main(["score", *arguments]) == 0
        capsys.readouterr()


@pytest.mark.usefixtures("scored")
@pytest.mark.parametrize("case", SCORE_ARGUMENTS)
def test_arguments_of_score(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, says = SCORE_ARGUMENTS[case]
    assert_one_sentence(["score", *arguments], says, capsys)


@pytest.mark.slow
def test_a_million_atoms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ("N", "CA", "C", "O", "CB", "CG", "CD1", "CD2")
    head = "group_PDB id type_symbol label_atom_id label_alt_id label_comp_id label_asym_id "
    head += "label_entity_id label_seq_id pdbx_PDB_ins_code Cartn_x Cartn_y Cartn_z occupancy "
    head += "B_iso_or_equiv auth_seq_id auth_asym_id pdbx_PDB_model_num"
    with Path("big.cif").open("w") as file:
        file.write("data_big\nloop_\n" + "".join(f"_atom_site.{key}\n" for key in head.split()))
        for number in range(125_000):
            chain, residue = divmod(number, 1000)
            for name in names:
                place = f"{residue * 3.8:.3f} {chain * 10} 0.000 1.00 50.00 {residue} {chain} 1"
                file.write(f"ATOM 1 {name[0]} {name} . LEU A 1 {residue} ? {place}\n")
    write("good.pdb", ALA_GLY)
    assert_one_sentence(["score", "good.pdb", "big.cif"], "125000 residues", capsys)
