"""`foldry search`: alignments and databases from the shell, and what `fold` makes of them."""

from __future__ import annotations

import csv
import json
import re
import socket
from pathlib import Path

import numpy as np
import pytest

import foldry
from foldry.cli.main import main
from foldry.errors import InputError
from foldry.predict import stages
from foldry.query import Query
from foldry.search import hmmer
from tests.conftest import ROOT

EXAMPLES = ROOT / "examples"
KUNITZ = str(EXAMPLES / "kunitz" / "1adz.fasta")
DATABASE = str(EXAMPLES / "database" / "proteins.fasta.gz")


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOLDRY_DATABASES", str(tmp_path / "databases"))
    monkeypatch.setenv("FOLDRY_SEARCHES", str(tmp_path / "searches"))
    monkeypatch.chdir(tmp_path)


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    """What a command prints, without the padding of tables."""
    assert main(words) == code
    printed = capsys.readouterr()
    return "\n".join(" ".join(line.split()) for line in (printed.out + printed.err).splitlines())


def plddt(folder: Path) -> list[float]:
    [path] = folder.glob("confidence_*.json")
    found: list[float] = json.loads(path.read_text())["confidenceScore"]
    return found


def test_a_registered_database_is_searched(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert f"proteins (FASTA, 976 sequences, 0.3 MB) {DATABASE}: added" in said(
        capsys, "search", "db", "add", DATABASE
    )
    printed = said(capsys, "search", KUNITZ, "-o", "found", "--msas")
    assert printed.splitlines()[0].startswith("query chain rows Neff")
    [chain] = foldry.read_query("found/1adz/1adz.json").chains
    assert chain.alignment is not None
    assert chain.alignment.num_rows > 15
    assert f"1adz A {chain.alignment.num_rows} " in printed
    assert Path("found/1adz/search.html").is_file()
    assert Path("found/1adz/msas/proteins_hits.sto").is_file()
    assert said(capsys, "search", "cache", "list").startswith("1 result, 0.0 MB in")

    def searches(*_: object) -> None:
        raise AssertionError("it was kept")

    monkeypatch.setattr(hmmer.Hmmer, "query", searches)
    for query, out in (("found/1adz/1adz.json", "one"), (KUNITZ, "other")):
        printed = said(capsys, "fold", query, "-o", out)
        assert "no alignment" not in printed
        assert "No sequence database" not in printed
    assert plddt(Path("one/1adz")) == plddt(Path("other/1adz"))
    assert "already done" in said(capsys, "fold", KUNITZ, "-o", "one")
    alone = said(capsys, "fold", KUNITZ, "-o", "alone", "--search", "none")
    assert "'1adz' has no alignment" in alone
    assert "No sequence database" not in alone
    assert plddt(Path("alone/1adz")) != plddt(Path("one/1adz"))
    assert said(capsys, "search", "cache", "clear").startswith("1 result removed from")
    assert said(capsys, "search", "cache", "list").startswith("0 results")


def test_without_a_database_a_line_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    printed = said(capsys, "fold", KUNITZ, "-o", "out")
    assert "No sequence database is registered, so no alignments are searched for" in printed
    printed = said(capsys, "search", KUNITZ, "-o", "found", code=3)
    assert printed.startswith("There is no database to search: register one; `foldry search db")
    assert not Path("found").exists()
    job = {"name": "q", "sequences": [{"protein": {"id": "A", "sequence": "MKTAYIAKQR"}}]}
    job["sequences"][0]["protein"]["unpairedMsa"] = ""  # type: ignore[index]
    Path("q.json").write_text(json.dumps(job))
    assert "No sequence database" not in said(capsys, "fold", "q.json", "-o", "out")
    printed = said(capsys, "fold", "q.json", "-o", "out", "--search", "small")
    assert "--search has no effect: every chain has an alignment." in printed


def test_no_socket_is_opened(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    folder = str(EXAMPLES / "database")
    assert "done" in said(capsys, "fold", KUNITZ, "--search", folder, "-o", "out")


def test_databases_are_listed_checked_and_removed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "mine.fasta"
    path.write_text(">a\nMKTAYIAKQR\n")
    said(capsys, "search", "db", "add", str(path), "--name", "lab")
    assert "lab FASTA 1 0.0 MB" in said(capsys, "search", "db", "list")
    assert "lab (FASTA, 1 sequence, 0.0 MB)" in said(capsys, "search", "db", "check")
    path.write_text(">a\nMKTAYIAKQQ\n")
    changed = "mine.fasta is not the database that was recorded as lab, as its {} changed"
    assert changed.format("content") in said(capsys, "search", "db", "check", "lab", code=2)
    assert changed.format("files") in said(capsys, "fold", KUNITZ, "-o", "out", code=2)
    assert not Path("out").exists()
    path.write_text(">a\nMKTAYIAKQR\n")  # the same again, at another time
    assert changed.format("files") in said(capsys, "fold", KUNITZ, "-o", "out", code=2)
    assert "unchanged" in said(capsys, "search", "db", "check")
    assert "done" in said(capsys, "fold", KUNITZ, "-o", "out")
    printed = said(capsys, "search", "db", "check", "other", code=2)
    assert printed == "'other' is not a registered database: choose from lab."
    printed = said(capsys, "search", "db", "add", "a", "b", "--name", "x", code=2)
    assert printed == "--name is for a single database: add the others without it."
    assert "stays" in said(capsys, "search", "db", "remove", "lab")
    assert said(capsys, "search", "db", "list").startswith("No database is registered")
    assert path.is_file()


def test_what_a_recipe_misses_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("fold", "search"):
        printed = said(capsys, command, KUNITZ, "--search", "reduced", "-o", "out", code=3)
        assert printed == (
            "The recipe reduced searches uniref90, small_bfd, mgnify, which are not registered: "
            "register them under these names; `foldry search db add` and `foldry search db get` "
            "register databases."
        )
    assert not Path("out").exists()


def test_a_failed_search_fails_only_its_queries(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise InputError("is damaged", "replace it", where="The database")

    monkeypatch.setattr(hmmer.Hmmer, "query", fails)
    own = str(EXAMPLES / "kunitz" / "1adz.a3m")
    Path("q.fasta").write_text(">q\nMKTAYIAKQR\n")
    words = ["fold", own, "q.fasta", "--search", str(EXAMPLES / "database"), "-o", "out"]
    printed = said(capsys, *words, code=1)
    assert "q failed The database is damaged: replace it." in printed
    assert "1adz done" in printed
    printed = said(capsys, "search", *words[2:], code=2)
    assert "q failed: The database is damaged: replace it." in printed


def test_templates_are_aligned_with_what_was_found(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    depths: list[int] = []
    profiles = stages.profiles

    def counted(query: Query) -> dict[str, np.ndarray]:
        depths.append(sum(each.num_rows for each in query.chains[0].alignments))
        return profiles(query)

    monkeypatch.setattr(stages, "profiles", counted)
    known = str(EXAMPLES / "kunitz" / "1adz.cif")
    words = ["--search", str(EXAMPLES / "database"), "--templates", known]
    printed = said(capsys, "fold", KUNITZ, "-o", "out", *words)
    assert printed.count("Template 1adz_A for chain A") == 1
    assert depths[0] <= 1
    assert depths[1] > 5
    Path("q.fasta").write_text(f">q\n{'GS' * 20}\n")
    printed = said(capsys, "fold", KUNITZ, "q.fasta", "-o", "two", *words, code=1)
    assert re.search(r"q failed The template '1adz' has fewer than 10 residues", printed)
    assert "1adz done" in printed


@pytest.mark.slow
def test_a_complex_and_a_screen(weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trypsin = str(EXAMPLES / "trypsin" / "1trn.fasta")
    records = [Path(each).read_text().splitlines() for each in (KUNITZ, trypsin)]
    Path("pair.fasta").write_text(f">pair\n{records[0][1]}:{records[1][1][:60]}\n")
    words = ["--search", str(EXAMPLES / "database"), "--weights", str(weights), "--device", "cpu"]
    words += ["--num-recycles", "0"]
    printed = said(capsys, "fold", "pair.fasta", "-o", "out", *words)
    rows = re.search(r"unpaired rows: A (\d+), B (\d+)", printed)
    assert rows is not None, printed
    assert min(map(int, rows.groups())) > 5
    Path("two.fasta").write_text(f">a\n{records[0][1]}\n>b\n{records[1][1][:60]}\n")
    said(capsys, "screen", "two.fasta", "--all", "-o", "screen", *words)
    [row] = list(csv.DictReader(Path("screen/screen.csv").read_text().splitlines()))
    assert row["state"] == "done"
    assert min(map(int, row["depths"].split(", "))) > 5


@pytest.mark.parametrize(
    "words", [["search", "--help"], ["search", KUNITZ, "--help"], ["search", "-o", "x", "--help"]]
)
def test_the_help_of_a_search(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    printed = said(capsys, *words)
    assert printed.startswith("Usage: foldry search [OPTIONS] {QUERY}")
    assert "--msas" in printed
    assert said(capsys, "search", "--wrong", code=2) == (
        "No such option: --wrong: see `foldry search --help`."
    )
