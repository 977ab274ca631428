"""Templates that a search finds, from the shell: what is said, written and read again."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

import foldry
from foldry.formats.coordinates import to_pdb
from foldry.formats.plain_mmcif import to_mmcif
from foldry.formats.template import FOUND
from foldry.query import Alignment
from foldry.results.folder import read_results
from foldry.search import server
from tests.cli.test_search import EXAMPLES, KUNITZ, plddt, said
from tests.results.test_report import embedded
from tests.search.test_server_end_to_end import PATIENT
from tests.search.ticket_host import hosted, m8

DATABASE = str(EXAMPLES / "database")
STRUCTURES = EXAMPLES / "database" / "structures"
TEMPLATE = re.compile(
    r"1adz, chain A: \d templates?: 2ptc_I \(44 % identical, covers 8\d %, E-value \S+e-\d+\)"
)


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOLDRY_DATABASES", str(tmp_path / "databases"))
    monkeypatch.setenv("FOLDRY_SEARCHES", str(tmp_path / "searches"))
    monkeypatch.chdir(tmp_path)


def test_what_a_search_writes_is_what_fold_reads(capsys: pytest.CaptureFixture[str]) -> None:
    printed = said(capsys, "search", KUNITZ, "--search", DATABASE, "-o", "found")
    assert TEMPLATE.search(printed)
    record = json.loads(Path("found/1adz/search.json").read_text())
    assert [each["name"] for each in record["databases"]] == ["proteins", "database"]
    [chain] = foldry.read_query("found/1adz/1adz.json").chains
    assert chain.templates[0].name == "2ptc_I"
    assert [hit.how for hit in chain.templates] == [FOUND] * len(chain.templates)
    assert "2ptc" in Path("found/1adz/search.html").read_text()
    printed = said(capsys, "fold", KUNITZ, "--search", DATABASE, "-o", "one")
    assert TEMPLATE.search(printed)
    assert "Recipe database: searching proteins, database." in printed
    assert re.search(
        r"1adz: mini does not read \d of \d templates, which may be unrelated", printed
    )
    read = "1adz: predicted with template 2ptc_I.\n"
    assert read in printed
    assert read in said(capsys, "fold", KUNITZ, "--search", DATABASE, "-o", "one"), "already done"
    data = embedded(Path("one/1adz/report.html").read_text())
    tables = data["templateTables"]
    assert isinstance(tables, dict)
    assert tables["rows"][0][:3] == ["A", "2ptc", "I"]
    assert "_ma_template_ref_db_details" in Path("one/1adz/ranked_0.cif").read_text()
    assert "it tries each template" not in printed, "the others may be unrelated"
    said(capsys, "fold", "found/1adz", "-o", "other", "--search", "none")
    assert plddt(Path("one/1adz")) == plddt(Path("other/1adz"))
    for folder in ("one", "other"):
        [prediction] = read_results(Path(folder, "1adz"))
        assert prediction.provenance is not None
        assert prediction.provenance.templates_read == {"A": ["2ptc_I"]}
    words = ["--search", DATABASE, "--no-search-templates"]
    assert "template" not in said(capsys, "fold", KUNITZ, "-o", "without", *words)
    assert plddt(Path("without/1adz")) != plddt(Path("one/1adz"))
    words += ["--max-template-date", "2020-01-01"]
    says = "--max-template-date has no effect: no templates are searched for."
    assert says in said(capsys, "fold", KUNITZ, "-o", "without", *words)
    for command in ("fold", "search"):
        printed = said(capsys, command, KUNITZ, "-o", "x", "--max-template-date", "soon", code=2)
        assert printed.startswith("--max-template-date is 'soon'")
        printed = said(capsys, command, KUNITZ, "-o", "x", "--max-template-date", "", code=2)
        assert printed.startswith("--max-template-date is empty: give year, month and day")


def test_registered_structures_are_searched_by_themselves(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(STRUCTURES, "mine")
    assert "added" in said(capsys, "search", "db", "add", "--structures", "mine")
    shutil.copytree(STRUCTURES, "other")
    Path("other/x.pdb").write_text(to_pdb(foldry.read_structure(STRUCTURES / "2ptc.cif.gz")))
    words = ["--structures", "other", "--name", "mine"]
    printed = said(capsys, "search", "db", "add", *words)
    assert f"other: replaces {Path('mine').absolute()}\n" in printed
    assert printed.endswith("date of release, so left out with --max-template-date: 17 of 17")
    words[1] = "mine"
    assert "mine: replaces " in said(capsys, "search", "db", "add", *words)
    printed = said(capsys, "search", KUNITZ, "-o", "found")
    assert TEMPLATE.search(printed)
    assert "no homologues" in printed
    printed = said(capsys, "fold", KUNITZ, "-o", "out")
    assert TEMPLATE.search(printed)
    assert "Searching mine for templates." in printed
    assert "No sequence database is registered" in printed
    assert "'1adz' has no alignment" in printed
    own = str(EXAMPLES / "kunitz" / "1adz.a3m")
    known = str(EXAMPLES / "trypsin" / "1trn.cif")
    printed = said(capsys, "fold", own, "-o", "both", "--templates", known)
    assert TEMPLATE.search(printed)
    [scores] = Path("both/1adz").glob("scores_*.json")
    assert json.loads(scores.read_text())["templates"]["A"][:2] == ["1trn_A", "2ptc_I"]
    said(capsys, "search", "db", "add", str(EXAMPLES / "database" / "proteins.fasta.gz"))
    printed = said(capsys, "fold", own, "-o", "aligned")
    assert "Recipe small: searching mine." in printed, "it has an alignment"
    shutil.rmtree("mine")
    printed = said(capsys, "fold", KUNITZ, "-o", "gone", code=3)
    assert "mine is not a folder: restore it, or add the structures again." in printed


def test_a_server_is_asked_only_by_its_address(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "Patience", lambda: PATIENT)
    structure = to_mmcif(foldry.read_structure(STRUCTURES / "2ptc.cif.gz")).encode()

    with hosted() as host:
        result = host.result
        host.result = lambda request: {
            **result(request),
            "pdb70.m8": m8("101", "2ptc_I", 50, 3).encode(),
        }
        host.structures = lambda asked: {f"{each[:4]}.cif": structure for each in asked}
        printed = said(capsys, "search", KUNITZ, "--search", host.url, "-o", "found")
        assert f"sent to {host.url}" in printed
        assert "2ptc_I (" in printed
        number = len(host.requests)
        assert number == len(host.asked) > 2
        printed = said(capsys, "fold", KUNITZ, "--search", host.url, "-o", "out")
        assert "sent to" not in printed
        assert len(host.requests) == number, "all of it was kept"
        [chain] = foldry.read_query("found/1adz/1adz.json").chains
        assert isinstance(chain.alignment, Alignment)
        assert chain.alignment.num_rows == 3 + 1
        record = json.loads(Path("found/1adz/search.json").read_text())
        assert [each["name"] for each in record["databases"]] == [host.url]
    Path("q.fasta").write_text(">q\nMKTAYIAKQRQISFVKSHFSRQ\n")
    for address, says in (
        ("http://me:you@x", "has a user name"),
        ("http://", "is not the address"),
    ):
        words = ["--search", address, "-o", "bad"]
        assert says in said(capsys, "search", "q.fasta", *words, code=2)
