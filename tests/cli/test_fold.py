"""What `foldry fold` passes to the runner, its output and its exit codes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from foldry.cli.fold import SHOWN_SPECIES, _show, _show_species, split_inputs
from foldry.cli.main import main
from foldry.errors import InputError, MissingError
from foldry.features.pairing import PairingReport, SpeciesPairing
from foldry.inputs.structures import read_named
from foldry.predict import network, parallel, runner, stages
from foldry.predict.settings import Settings
from foldry.predict.workers import PER_JOB, Worker
from foldry.processes import tuning
from foldry.query import Chain, Query
from foldry.relax.result import Relaxation
from foldry.residues import RESNAMES, encode_sequence
from foldry.results.folder import ResultsFolder

SEQUENCE = "MKTAYIAKQR"


def pdb(chain: str, sequence: str = SEQUENCE, step: float = 3.8) -> str:
    """Cα atoms in a row, so many Å from each other."""
    names = [RESNAMES[code] for code in encode_sequence(sequence)]
    return "".join(
        f"ATOM  {i:>5}  CA  {name} {chain}{i:>4}    {step * i:>8.3f}   0.000   0.000  1.00 10.00"
        "           C\n"
        for i, name in enumerate(names, start=1)
    )


@dataclass
class Call:
    """What the runner was called with; it answers that every query ended so."""

    status: str = "done"
    relaxations: tuple[Relaxation, ...] = ()
    queries: Any = None
    out: Any = None
    settings: Any = None
    num_workers: int = -1


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    seen = Call()

    def run(
        queries: Any,
        settings: Settings,
        folders: list[ResultsFolder],
        workers: list[Worker],
        progress: runner.Progress,
        _part: tuple[int, int],
    ) -> Iterator[runner.Outcome]:
        seen.queries, seen.out, seen.settings = queries, folders[0].out, settings
        seen.num_workers = len(workers)
        progress("working", 0, 1)
        error = MissingError("it is [cursed]") if seen.status == "failed" else None
        for q in queries:
            yield runner.Outcome(q.name, seen.status, error=error, relaxations=seen.relaxations)

    monkeypatch.setattr(parallel, "run_parallel", run)
    monkeypatch.setattr(network, "networks_for", lambda *_: [])
    monkeypatch.chdir(tmp_path)
    Path("q.fasta").write_text(">q\nMKTAYIAKQR\n")
    Path("m.a3m").write_text(">m\nMKTAYIAKQR\n>r\nMK-AYIAKQR\n")
    Path("t.pdb").write_text(pdb("A") + "TER\n" + pdb("B"))
    return seen


def test_defaults(call: Call) -> None:
    assert main(["fold", "q.fasta", "-o", "out"]) == 0
    assert call.settings == Settings()
    assert call.out == Path("out")
    assert [query.name for query in call.queries] == ["q"]


def test_processes_are_as_many_as_asked_for_and_needed(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    many = "".join(f">{n}\n{SEQUENCE}\n" for n in range(2 * PER_JOB))
    Path("many.fasta").write_text(many)
    for words, number in (
        ("q.fasta", 0),
        ("q.fasta --jobs 4", 0),
        ("q.fasta m.a3m --jobs 4", 2),
        ("many.fasta --device cpu", 2),
        ("many.fasta --device cpu --jobs 1", 0),
    ):
        assert main(["fold", *words.split(), "-o", "out"]) == 0
        assert call.num_workers == number, words
    assert main(["fold", "q.fasta", "-o", "out", "--jobs", "0"]) == 2


def test_every_flag(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "has_bfloat16", lambda: True)
    flags = "--weights . --models 2-3,model_5_ptm --seeds 3,0-1 --max-msa 64:0 --num-recycles 0"
    flags += " --recycle-tolerance 0.5 --ensemble 2 --dropout --save-representations --force"
    flags += " --pairing greedy --device cpu --dtype bfloat16 --max-length 10"
    assert main(["fold", "q.fasta", "m.a3m", "-o", "out", *flags.split()]) == 0
    assert call.settings == Settings(
        weights=".",
        models=("2", "3", "model_5_ptm"),
        num_recycles=0,
        recycle_tolerance=0.5,
        seeds=(3, 0, 1),
        max_msa=(64, 0),
        pairing="greedy",
        dropout=True,
        num_ensemble=2,
        save_representations=True,
        device="cpu",
        dtype="bfloat16",
        force=True,
    )
    assert [query.name for query in call.queries] == ["q", "m"]


def test_templates_may_follow_each_other(call: Call) -> None:
    arguments = ["fold", "--templates", "t.pdb:B", "t.pdb", "q.fasta", "-o", "out"]
    assert main(arguments) == 0
    (query,) = call.queries
    assert query.name == "q"
    assert [hit.name for hit in query.chains[0].templates] == ["t_B", "t_A"]


def test_all_models_are_the_default(call: Call) -> None:
    assert main(["fold", "q.fasta", "-o", "out", "--models", "all"]) == 0
    assert call.settings.models is None


def test_a_single_sequence_gives_a_warning(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fold", "q.fasta", "m.a3m", "-o", "out"]) == 0
    err = capsys.readouterr().err
    assert "'q' has no alignment" in err
    assert "'m' has no alignment" not in err


def test_many_single_sequences_are_one_warning(
    call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("q.fasta").write_text("".join(f">q{i}\nMKTAYIAKQR\n" for i in range(300)))
    assert main(["fold", "q.fasta", "-o", "out"]) == 0
    assert "'q0' and 299 more have no alignment" in capsys.readouterr().err
    assert len(call.queries) == 300


def test_a_sequence_that_looks_like_dna_gives_a_warning(
    call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("q.fasta").write_text(
        ">dna\nATGGCTAAGATTACG\n>rna\nAUGGCUAAGAUUACG\n>silk\nGAGAGSGAGAGS\n"
    )
    assert main(["fold", "q.fasta", "-o", "out"]) == 0
    err = capsys.readouterr().err
    assert "dna looks like DNA or RNA" in err
    assert "rna looks like DNA or RNA" in err
    assert "silk has no letters" not in err


def test_a_long_name_is_shown_whole(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    name = "".join(str(i % 10) for i in range(100))
    Path("q.fasta").write_text(f">{name}\nMKTAYIAKQR\n")
    assert main(["fold", "q.fasta", "-o", "o"]) == 0
    assert call.queries[0].name == name
    assert "…" not in capsys.readouterr().out


def test_the_only_query_ends_with_the_code_of_its_error(
    call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    call.status = "failed"
    assert main(["fold", "q.fasta", "-o", "out"]) == 3
    out = capsys.readouterr().out
    assert "failed" in out
    assert "it is [cursed]" in out


def test_relaxations_are_listed_and_a_failed_one_gives_exit_code_1(
    call: Call, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    relaxed = Relaxation(True, "", "CPU", 1, 2.0, 1e9, -100.0, 37, 4, 61, 5, 0.123, 1.9)
    arguments = ["fold", "q.fasta", "-o", "out", "--relax", "all"]
    call.relaxations = (relaxed,)
    assert main(arguments) == 0
    *_, header, line = (row.split() for row in capsys.readouterr().out.splitlines())
    assert "remark" not in header
    assert " ".join(line) == "q ranked_0 37 → 4 61 → 5 0.12 Å (median), at most 1.90 Å"
    late = replace(relaxed, reason="Raise `relax_seconds`.")
    call.relaxations = (late, relaxed, Relaxation(False, "No [reason]."))
    assert main(arguments) == 1
    *_, first, _, last = (row.split() for row in capsys.readouterr().out.splitlines())
    assert " ".join(first).endswith("1.90 Å Raise --relax-seconds.")
    assert " ".join(last) == "q ranked_2 – – – Not relaxed. No [reason]."


def test_records_together_are_one_complex(call: Call) -> None:
    Path("ab.fasta").write_text(">a\nMKTAYIAKQR\n>b\nMKVLAAGIVG\n>c\nMKTAYIAKQR\n")
    assert main(["fold", "ab.fasta", "-o", "out", "--together"]) == 0
    (query,) = call.queries
    assert query.name == "ab"
    assert [chain.ids for chain in query.chains] == [("A", "C"), ("B",)]
    assert main(["fold", "ab.fasta", "-o", "out"]) == 0
    assert len(call.queries) == 3


@pytest.mark.usefixtures("call")
@pytest.mark.parametrize(("pairing", "rows"), [("alphafold", 3), ("greedy", 2), ("none", 0)])
def test_the_pairing_of_a_complex_is_shown(
    pairing: str, rows: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def chain(name: str, sequence: str, *species: str) -> dict[str, object]:
        headers = [f">tr|A0A{k:03}|A0A{k:03}_{each}" for k, each in enumerate(species)]
        changed = [sequence[:k] + "-" + sequence[k + 1 :] for k in range(len(species))]
        rows = [f"{header}\n{row}" for header, row in zip(headers, changed, strict=True)]
        a3m = "\n".join([f">{name}", sequence, *rows])
        return {"protein": {"id": name, "sequence": sequence, "unpairedMsa": a3m}}

    one = chain("A", "MKTAYIAKQR", "HUMAN", "MOUSE", "HUMAN", "YEAST")
    two = chain("B", "MKVLAAGIVG", "MOUSE", "HUMAN", "HUMAN")
    Path("ab.json").write_text(json.dumps({"name": "ab", "sequences": [one, two]}))
    assert main(["fold", "ab.json", "-o", "out", "--pairing", pairing]) == 0
    out, err = capsys.readouterr()
    species = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.split()}
    each = {"alphafold": ["2", "2", "2"], "greedy": ["2", "2", "1"], "none": None}[pairing]
    assert species.get("HUMAN") == each
    assert "YEAST" not in species
    said = f"{rows} paired rows of 2 species" if rows else "no rows are paired"
    assert f"ab (A, B): {said}; unpaired rows: A " in err
    assert ("1 species not paired: in one chain only" in err) == (pairing != "none")


@pytest.mark.usefixtures("call")
def test_copies_have_nothing_to_pair(capsys: pytest.CaptureFixture[str]) -> None:
    Path("aa.fasta").write_text(">aa\nMKTAYIAKQR:MKTAYIAKQR\n")
    assert main(["fold", "aa.fasta", "-o", "out"]) == 0
    said = "aa (2 × A): no rows are paired, because all chains are equal; unpaired rows: A 0."
    assert said in capsys.readouterr().err


def test_a_template_goes_to_the_chains_that_it_fits(call: Call) -> None:
    Path("ab.fasta").write_text(">ab\nMKTAYIAKQR:WWCCHHWWCCHHWW\n")
    assert main(["fold", "ab.fasta", "--templates", "t.pdb:A", "-o", "out"]) == 0
    assert [[hit.name for hit in chain.templates] for chain in call.queries[0].chains] == [
        ["t_A"],
        [],
    ]
    Path("ab.fasta").write_text(">ab\nGGPPGGPPGGPPGG:WWCCHHWWCCHHWW\n")
    assert main(["fold", "ab.fasta", "--templates", "t.pdb:A", "-o", "out"]) == 2


def test_a_damaged_template_of_one_chain_is_a_warning(
    call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("x.pdb").write_text(pdb("A") + "TER\n" + pdb("B", "GGPPGGPPGGPPGG", step=200))
    Path("ab.fasta").write_text(">ab\nMKTAYIAKQR:GGPPGGPPGGPPGG:WWCCHHWWCCHHWW\n")
    assert main(["fold", "ab.fasta", "--templates", "x.pdb", "-o", "out"]) == 0
    err = capsys.readouterr().err
    assert "Chain B of ab has no template: The template 'x_B' has residue 2" in err
    assert "Chain A" not in err, "it has the template"
    assert "Chain C" not in err, "nothing can be aligned to it"
    assert [len(chain.templates) for chain in call.queries[0].chains] == [1, 0, 0]


def test_nothing_to_join_is_a_warning(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    Path("two.fasta").write_text(">a\nMKTAYIAKQR\n>b\nMKTAYIAKQR\n")
    assert main(["fold", "two.fasta", "--together", "-o", "out"]) == 0
    assert "--together" not in capsys.readouterr().err
    assert main(["fold", "two.fasta", "q.fasta", "m.a3m", "--together", "-o", "out"]) == 0
    said = "--together changes nothing for 'q' and 1 more: they have one chain each."
    assert said in capsys.readouterr().err
    assert [query.num_chains for query in call.queries] == [2, 1, 1]


def test_files_of_one_chain_each_are_not_joined(
    call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fold", "q.fasta", "m.a3m", "--together", "-o", "out"]) == 2
    assert "put the chains into one file" in capsys.readouterr().err
    assert not call.queries


def test_lists_of_models() -> None:
    assert Settings().models is Settings(models="all").models is None  # type: ignore[arg-type]
    for text, names in (
        ("1-5", ("1", "2", "3", "4", "5")),
        ("3, 1,3", ("3", "1")),
        ("model_1_ptm", ("model_1_ptm",)),
    ):
        assert Settings(models=text).models == names  # type: ignore[arg-type]


def test_lists_of_seeds() -> None:
    for text, seeds in (("7", (7,)), ("2,0-2, 4294967295", (2, 0, 1, 4294967295))):
        assert Settings(seeds=text).seeds == seeds  # type: ignore[arg-type]
    for wrong in ("-1", "4294967296", "2-1", "0-1000", "x", ""):
        with pytest.raises(InputError, match="`seeds`"):
            Settings(seeds=wrong)  # type: ignore[arg-type]


def test_alignment_sizes() -> None:
    assert Settings(max_msa="512:1024").max_msa == (512, 1024)  # type: ignore[arg-type]


def test_structures_are_distinguished_from_queries() -> None:
    queries = ["a.fasta", "b.CIF.gz", "c.pdb:A", "d.a3m"]
    files, templates = split_inputs(queries, ["x.ent"])
    assert files == ["a.fasta", "d.a3m"]
    assert templates == ["x.ent", "b.CIF.gz", "c.pdb:A"]


@pytest.mark.usefixtures("call")
def test_a_colon_in_a_files_name() -> None:
    Path("t:A.pdb").write_text(Path("t.pdb").read_text())
    assert read_named("t:A.pdb").chains == ("A", "B")
    assert read_named("t:A.pdb:B").chains == ("B",)


def test_a_template_is_named_and_an_unrelated_one_is_a_warning(
    call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("far.pdb").write_text(pdb("A", "RKRQYIDKHALINHTIAWAA"))
    Path("long.fasta").write_text(f">long\n{SEQUENCE}{SEQUENCE}\n")
    arguments = ["fold", "long.fasta", "-o", "out", "--templates"]
    assert main([*arguments, "t.pdb"]) == 0
    said = "INFO: Template t_A for chain A of long: 10 of 10 aligned residues are identical."
    assert said in capsys.readouterr().err
    assert main([*arguments, "far.pdb"]) == 0
    err = capsys.readouterr().err
    assert "WARNING: Template far_A may be unrelated to chain A of long: " in err


def test_a_number_of_one_query_gets_a_column(capsys: pytest.CaptureFixture[str]) -> None:
    done = runner.Outcome("one", "done", mean_plddt=80, ptm=0.5, num_predictions=1)
    _show([done, runner.Outcome("two", "failed", error=InputError("it is odd", "fix it"))], Path())
    header, first, _ = (line.split() for line in capsys.readouterr().out.splitlines())
    assert header[:4] == ["query", "status", "pLDDT", "pTM"] and "ipTM" not in header
    assert first[:4] == ["one", "done", "80.0", "0.50"]


def test_a_query_done_before_shows_its_numbers_and_relaxations(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = Relaxation(False, "No reason.")
    monkeypatch.setattr(network, "find_platform", lambda _: None)
    monkeypatch.setattr(stages, "version", lambda _: "1.0")
    monkeypatch.setattr(stages, "relax_structure", lambda structure, *_: (structure, failed))
    monkeypatch.chdir(tmp_path)
    Path("q.fasta").write_text(f">q\n{SEQUENCE}\n")
    arguments = ["fold", "q.fasta", "-o", "out", "--num-recycles", "0", "--relax", "best"]
    shown = []
    for status in ("done", "already done"):
        assert main(arguments) == 1, "relaxation failed"
        out = capsys.readouterr().out
        assert f" {status} " in out and "Not relaxed. No reason." in out
        lines = out.replace("already done", "done").splitlines()
        shown.append([line.split() for line in lines if not line.startswith("mini is")])
        assert (len(lines) > len(shown[-1])) == (status == "done"), "the notice of new results"
    assert shown[0] == shown[1]


def test_the_table_counts_the_predictions_of_several_seeds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("q.fasta").write_text(f">q\n{SEQUENCE}\n")
    for seeds, counted in (("0", False), ("0-1", True)):
        arguments = ["fold", "q.fasta", "-o", f"out{seeds}", "--num-recycles", "0"]
        assert main([*arguments, "--seeds", seeds]) == 0
        title, row = capsys.readouterr().out.splitlines()[:2]
        assert ("predictions" in title) == counted
        assert row.split()[:3][-1] == "2" or not counted


def test_python_suggests_the_setting_that_was_meant() -> None:
    says = r"fold\(\) has no argument 'num_recycle': did you mean 'num_recycles'\?"
    with pytest.raises(TypeError, match=says):
        runner.fold("q.fasta", num_recycle=1)


def test_python_warns_as_the_command_line_does(caplog: pytest.LogCaptureFixture) -> None:
    query = Query("dna", (Chain(("A",), "ACGTACGTACGTACGT"),))
    runner.fold(query, num_recycles=0, device="cpu")
    assert "looks like DNA or RNA" in caplog.text
    assert "has no alignment" in caplog.text


def test_a_job_names_files_outside_its_folder_only_if_allowed(
    call: Call, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("jobs").mkdir()
    chain = {"id": "A", "sequence": SEQUENCE, "unpairedMsaPath": "../m.a3m"}
    Path("jobs/q.json").write_text(json.dumps({"name": "q", "sequences": [{"protein": chain}]}))
    arguments = ["fold", "jobs/q.json", "-o", "out"]
    assert main(arguments) == 2
    assert "--allow-outside-paths" in capsys.readouterr().err
    assert main([*arguments, "--allow-outside-paths"]) == 0


def test_the_species_with_the_most_paired_rows_are_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    query = Query("q", (Chain(("A",), SEQUENCE), Chain(("B",), SEQUENCE[::-1])))
    species = [SpeciesPairing(f"SPEC{n}", (9, 9), n, "") for n in range(SHOWN_SPECIES + 3)]
    _show_species(query, PairingReport(chains=("A", "B"), species=tuple(species)))
    printed = capsys.readouterr().out
    most = [f"SPEC{n}" for n in reversed(range(3, SHOWN_SPECIES + 3))]
    assert [line.split()[0] for line in printed.splitlines() if "SPEC" in line] == most
    assert "… and 2 more species with paired rows" in printed


def test_an_output_folder_needs_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fold", "q.fasta", "-o", " "]) == 2
    assert "--out is ' ': give a name." in capsys.readouterr().err
