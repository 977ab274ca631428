"""`foldry screen` from a table to its results, with small recorded multimer parameters."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from foldry.cli.main import main
from foldry.cli.screen import SHOWN, _show
from foldry.formats.coordinates import read_structure
from foldry.predict import runner, screen
from foldry.query import Query
from foldry.results.screen import ScreenRow
from tests.cli.test_hostile_input import assert_one_sentence

BAIT, A, B = "MKTAYIAKQRQISF", "MKVLAAGIVG", "GGSAYWQRKMLN"


def table(out: Path) -> dict[str, dict[str, str]]:
    with (out / "screen.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {row["id"]: row for row in rows}


@pytest.fixture
def command(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.chdir(tmp_path)
    Path("q.csv").write_text(f"id,sequence\nbait,{BAIT}\na,{A}\nb,{B}\n")
    flags = ["--weights", str(weights), "-o", "out", "--num-recycles", "0", "--device", "cpu"]
    return ["screen", "q.csv", *flags]


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The pairs that are really computed."""
    names: list[str] = []
    real = runner.predict_one

    def counted(asked: Query, *arguments: object) -> object:
        names.append(asked.name)
        return real(asked, *arguments)

    monkeypatch.setattr(runner, "predict_one", counted)
    return names


def test_a_bait_against_the_others(
    command: list[str], computed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--bait", "bait"]) == 0
    assert computed == ["bait_and_a", "bait_and_b"]
    assert "Pairs in out/screen.csv and out/screen.html: 2 of 2" in capsys.readouterr().out
    rows = table(Path("out"))
    row = rows["bait_and_b"]
    assert (row["a"], row["b"], row["residues"]) == ("bait", "b", "26")
    assert (row["state"], row["reason"]) == ("done", "")
    folder = Path("out/pairs/bait_and_b")
    scores = json.loads(next(folder.glob("scores_*.json")).read_text())
    [interface] = scores["interfaces"]
    assert float(row["iptm"]) == pytest.approx(scores["iptm"], abs=1e-4)
    assert float(row["ipsae"]) == pytest.approx(max(interface["ipsae"]), abs=1e-4)
    assert float(row["contacts"]) == interface["contacts"]
    assert row["has_clash"] == str(int(scores["has_clash"]))
    assert float(row["seconds"]) > 0
    assert (row["depths"], row["paired_rows"]) == ("1, 1", "0")
    assert read_structure(folder / "ranked_0.cif").chain("B").sequence == B
    page = Path("out/screen.html").read_text()
    for name in rows:
        assert f'href="pairs/{name}/report.html"' in page
        assert (Path("out/pairs") / name / "report.html").is_file()

    assert main([*command, "--all"]) == 0
    assert computed[2:] == ["a_and_b"], "the others were finished"
    assert table(Path("out"))["bait_and_b"] == row
    said = capsys.readouterr()
    assert "another screen" not in said.err
    assert "3 of 3, 2 already done\n" in said.out
    for name, state in (("a_and_b", "done"), ("bait_and_a", "already done")):
        assert re.search(rf"{name} +{state} +0\.\d", said.out)
    assert main([*command, "--bait", "bait"]) == 0
    said = "The table of another screen in out is replaced. Pairs that are not in this screen: 1,"
    assert said in capsys.readouterr().err
    changed = [*command, "--all", "--seeds", "1"]
    assert main(changed) == 0
    assert len(computed) == 6


def test_pairs_in_several_processes_give_the_same_table(
    command: list[str], computed: list[str]
) -> None:
    assert main([*command, "--all"]) == 0
    assert len(computed) == 3
    alone = table(Path("out"))
    command[command.index("out")] = "together"
    assert main([*command, "--all", "--jobs", "2"]) == 0
    assert len(computed) == 3, "this process computes none"
    together = table(Path("together"))
    assert list(together) == list(alone)
    for name, row in together.items():
        assert float(row["seconds"]) > 0
        assert {**row, "seconds": ""} == {**alone[name], "seconds": ""}


def test_the_table_has_the_depth_of_each_alignment_and_the_paired_rows(command: list[str]) -> None:
    rows = {"a": (A, ["HUMAN", "RAT", "YEAST"]), "b": (B, ["YEAST", "HUMAN"])}
    for name, (sequence, species) in rows.items():
        copies = (f">tr|A0A000|A0A000_{each}\n{each[0]}{sequence[1:]}\n" for each in species)
        Path(f"{name}.a3m").write_text(
            f">{name}\n{sequence}\n{''.join(copies)}>twice\n{sequence}\n"
        )
    Path("pairs.csv").write_text("a,b\na,b\na,a\n")
    command[1:2] = ["pairs.csv", "a.a3m", "b.a3m"]
    assert main(command) == 0
    found = table(Path("out"))
    shown = {name: (row["depths"], row["paired_rows"]) for name, row in found.items()}
    assert shown == {"a_and_b": ("4, 3", "2"), "a_and_a": ("4", "0")}
    page = Path("out/screen.html").read_text()
    assert '<td data-value="3">4, 3</td>' in page and ">Paired rows</button>" in page

    assert main(command) == 0
    assert table(Path("out")) == found, "taken from the table"
    Path("out/screen.csv").unlink()
    assert main(command) == 0
    again = table(Path("out"))
    assert {name: (row["depths"], row["paired_rows"]) for name, row in again.items()} == shown


def test_a_pair_that_fails_is_a_row(
    command: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = runner.predict_one

    def failing(asked: Query, *arguments: object) -> object:
        if asked.name == "bait_and_a":
            raise MemoryError
        return real(asked, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(runner, "predict_one", failing)
        assert main([*command, "--all"]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "bait_and_a failed: 24 residues do not fit" in said
    assert "lower --max-msa" in said
    rows = table(Path("out"))
    assert [row["state"] for row in rows.values()] == ["failed", "done", "done"]
    assert rows["bait_and_a"]["reason"].startswith("24 residues do not fit into memory")
    assert rows["bait_and_a"]["iptm"] == ""
    assert "24 residues do not fit into memory" in Path("out/screen.html").read_text()
    assert main([*command, "--all"]) == 0, "it is tried again"


def test_an_interrupted_screen_resumes(command: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[str] = []
    real = runner.predict_one

    def interrupted(asked: Query, *arguments: object) -> object:
        if asked.name == "bait_and_b" and "bait_and_b" not in computed:
            computed.append(asked.name)
            raise KeyboardInterrupt
        computed.append(asked.name)
        return real(asked, *arguments)

    monkeypatch.setattr(runner, "predict_one", interrupted)
    assert main([*command, "--all"]) == 130
    before = table(Path("out"))
    assert [row["state"] for row in before.values()] == ["done", "waiting", "waiting"]
    assert main([*command, "--all"]) == 0
    assert computed == ["bait_and_a", "bait_and_b", "bait_and_b", "a_and_b"]
    after = table(Path("out"))
    assert after["bait_and_a"] == before["bait_and_a"], "its seconds too"
    assert not list(Path("out").glob(".*"))


@pytest.mark.parametrize(("seconds", "times"), [(0, 3), (3600, 2)])
def test_the_tables_are_not_written_after_every_pair(
    seconds: float, times: int, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    states: list[list[str]] = []
    real = screen.write_screen

    def counted(rows: Sequence[ScreenRow], *rest: object) -> None:
        states.append([row.state for row in rows])
        real(rows, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(screen, "write_screen", counted)
    monkeypatch.setattr(screen, "WRITE_EVERY", seconds)
    assert main([*command, "--all"]) == 0
    assert len(states) == times
    assert (states[0], states[-1]) == (["done", "waiting", "waiting"], ["done"] * 3)


@pytest.mark.parametrize("name", ["pairs", "screen.csv", "screen.html"])
def test_obstacles_are_found_first(
    name: str,
    command: list[str],
    computed: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = Path("out") / name
    if name == "pairs":
        path.parent.mkdir()
        path.write_text("")
    else:
        path.mkdir(parents=True)
    assert main([*command, "--all"]) == 2
    assert f"out/{name} is a " in capsys.readouterr().err
    assert computed == []
    assert list(Path("out").iterdir()) == [path]


WRONG: dict[str, tuple[str, list[str], str]] = {
    # fault: (table, further arguments, part of the message)
    "no table of pairs": (
        "id,sequence\nx,MKT\n",
        [],
        "has only one chain: write A:B in the column sequence; --bait NAME and --all choose pairs.",
    ),
    "a bad letter": ("id,sequence\nx,MKT:MK1\n", [], "q.csv, line 2, has '1' at residue 3"),
    "a binary file": ("\0\1\2", [], "q.csv is a binary file"),
    "a table of another kind": ("model,reference\na,b\n", [], "q.csv has the columns"),
    "both choices": ("id\nx\n", ["--bait", "x", "--all"], "give one of them"),
    "too long": (
        "id,sequence\nx,MKTA:MKTA\n",
        ["--max-length", "7"],
        "q.csv, line 2, pair x, has 8 residues and the limit is 7: cut its chains",
    ),
    "weights of one chain": (
        "id,sequence\nx,MKT:MKT\n",
        ["--weights", "mini"],
        "is for single chains",
    ),
    "a structure": ("id,sequence\nx,MKT:MKT\n", ["a.cif"], "a.cif is a structure, not a query"),
    "no file of proteins": ("a,b\nx,y\n", [], "q.csv, line 2, names 'x'"),
    "a number": ("id,sequence\nx,MKT:MKT\n", ["--seeds", "lucky"], "--seeds"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text, arguments, says = WRONG[case]
    Path("q.csv").write_text(text)
    command = ["screen", "q.csv", "--weights", "mini", "-o", "out", *arguments]
    assert_one_sentence(command, says, capsys)


def test_fold_mentions_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("q.csv").write_text("id,sequence\nx,MKT:MKT\n")
    assert_one_sentence(["fold", "q.csv", "-o", "out"], "`foldry screen`", capsys)


def test_only_the_best_pairs_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        ScreenRow(
            f"pair{n}", "a", f"b{n}", "done", numbers={"ranking_confidence": n / 100}, is_new=True
        )
        for n in range(SHOWN + 3)
    ]
    _show(rows, Path("out"))
    printed = capsys.readouterr().out
    best = [f"pair{n}" for n in reversed(range(3, SHOWN + 3))]
    assert re.findall(r"pair\d+", printed) == best
    assert f": {SHOWN + 3} of {SHOWN + 3}\n" in printed


def test_help_has_the_defaults_of_complexes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["screen", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "all for every one. Default: the newest multimer networks." in said
    assert "Number of recycles. Default: 20." in said
    assert "pTM networks" not in said
