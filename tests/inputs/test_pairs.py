"""The pairs of a screen, and valid and invalid tables."""

from __future__ import annotations

import gzip
from itertools import combinations
from pathlib import Path

import pytest

from foldry.errors import InputError
from foldry.formats.sequence import safe_name
from foldry.inputs import pairs as module
from foldry.inputs.pairs import Pair, pair_name, read_screen
from foldry.inputs.structures import read_named, split_name
from foldry.query import Query
from tests.conftest import ROOT

SEQUENCES = {"a": "MKTAY", "b": "MKVLA", "c": "GGSAYW", "d": "MKTAY"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Proteins a (with an alignment), b and c, and d, which is like a."""
    monkeypatch.chdir(tmp_path)
    Path("msas").mkdir()
    Path("msas/a.a3m").write_text(">a\nMKTAY\n>r\nMK-AY\n")
    Path("msas/rest.fasta").write_text(">b\nMKVLA\n>c\nGGSAYW\n>d\nMKTAY\n")
    return tmp_path


def table(text: str) -> Path:
    path = Path("t.csv")
    path.write_text(text)
    return path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.TAB", "t.tsv.gz"])
def test_tables_of_other_programs(name: str) -> None:
    text = b"Note\tA\tB\nfirst\tA\tb\n"
    Path(name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    [pair] = read_screen([Path(name), Path("msas")])
    assert (pair.a, pair.b, pair.query.name) == ("a", "b", "a_and_b")


def chains(query: Query) -> list[tuple[str, str]]:
    return [(name, chain.sequence) for chain in query.chains for name in chain.ids]


def names(pairs: list[Pair]) -> list[str]:
    return [pair.query.name for pair in pairs]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", ["🧬", "///"])
def test_an_id_that_cannot_name_a_file(name: str) -> None:
    [pair] = read_screen([table(f"id,a,b\n{name},a,b\n"), Path("msas")])
    assert pair.query.name == "a_and_b"
    pairs = read_screen([table(f"id,sequence\n{name},MKT:GGS\nc2,MK:GG\n")])
    assert [pair.query.name for pair in pairs] == ["t.csv_line_2", "c2"]


@pytest.mark.parametrize("case", ["112-tsv/p.tsv", "117-csv-extra-column/p.csv"])
def test_tables_of_cases(case: str, cases_dir: Path) -> None:
    path = cases_dir / case
    [pair] = read_screen([path, path.with_suffix(".fasta")])
    assert [(each.ids, len(each.sequence)) for each in pair.query.chains] == [
        (("A",), 30),
        (("B",), 28),
    ]
    assert pair.query.name == "EGFR_and_CD47"


@pytest.mark.usefixtures("folder")
def test_all_against_all() -> None:
    pairs = read_screen([Path("msas")], every=True)
    assert [(pair.a, pair.b) for pair in pairs] == list(combinations("abcd", 2))
    by_name = {pair.query.name: pair.query for pair in pairs}
    assert chains(by_name["a_and_b"]) == [("A", "MKTAY"), ("B", "MKVLA")]
    assert chains(by_name["b_and_c"]) == [("A", "MKVLA"), ("B", "GGSAYW")]
    alignments = {
        id(chain.alignment)
        for query in by_name.values()
        for chain in query.chains
        if chain.alignment is not None
    }
    assert len(alignments) == 1, "of a, read once for its three pairs"


@pytest.mark.usefixtures("folder")
def test_one_bait_and_several() -> None:
    assert names(read_screen([Path("msas")], ["b"])) == ["b_and_a", "b_and_c", "b_and_d"]
    several = names(read_screen([Path("msas")], ["b", "c", "B"]))
    assert several == ["b_and_c", "b_and_a", "b_and_d", "c_and_a", "c_and_d"]
    listed = read_screen([table("id\nc\nd\n"), Path("msas")], ["a"])
    assert names(listed) == ["a_and_c", "a_and_d"], "the table has the candidates alone"


@pytest.mark.usefixtures("folder")
def test_pairs_by_name() -> None:
    pairs = read_screen([table("\n , \nid, a ,b\n, a , A\n\nmine,b,c\n"), Path("msas")])
    assert names(pairs) == ["a_and_a", "mine"]
    assert [pair.place for pair in pairs] == ["t.csv, line 4,", "t.csv, line 6,"]
    [dimer] = pairs[0].query.chains
    assert dimer.ids == ("A", "B")
    assert dimer.alignment is not None


@pytest.mark.usefixtures("folder")
def test_sequences_in_the_table() -> None:
    text = 'id,sequence\nx,"mktay:MKVLA"\ny,GGSAYW:GGSAYW:MKTAY\n'
    first, second = read_screen([table(text), Path("msas")])
    assert chains(first.query) == [("A", "MKTAY"), ("B", "MKVLA")]
    assert first.query.chains[0].alignment is not None, "that of a, which is the same protein"
    assert [chain.ids for chain in second.query.chains] == [("A", "B"), ("C",)]
    assert (first.a, first.b, first.num_first) == ("", "", 0)
    Path("t.csv.gz").write_bytes(gzip.compress(text.encode()))
    assert names(read_screen([Path("t.csv.gz")])) == ["x", "y"]


@pytest.mark.usefixtures("folder")
def test_a_bait_may_have_two_chains() -> None:
    [pair] = read_screen([table("id,sequence\nab,MKTAY:MKVLA\nc,GGSAYW\n")], ["ab"])
    assert chains(pair.query) == [("A", "MKTAY"), ("B", "MKVLA"), ("C", "GGSAYW")]
    assert pair.num_first == 2


def test_pair_names_of_long_names_are_distinct() -> None:
    long = [f"{'protein_' * 11}{k}" for k in range(4)]
    made = [pair_name(a, b) for a, b in combinations([*long, "b"], 2)]
    assert len({name.casefold() for name in made}) == 10
    assert all(len(name) <= 100 and safe_name(name, "") == name for name in made)
    assert len(pair_name("蛋" * 20, "β" * 40).encode()) <= 100
    assert pair_name("a" * 47, "b" * 48) == "a" * 47 + "_and_" + "b" * 48, "just fits"


WRONG: dict[str, tuple[str, dict[str, object], str]] = {
    # fault: (table, choice of pairs, part of the message)
    "empty": ("", {}, "t.csv is an empty table"),
    "no rows": ("id,sequence\n", {}, "no pair"),
    "other columns": ("name,seq\nx,MKT\n", {}, "t.csv has the columns 'name, seq'"),
    "a column twice": ("a,b,B\na,b,c\n", {}, "two columns named b"),
    "pairs with sequences": ("id,a,b,sequence\nx,a,b,MK\n", {}, "t.csv has the columns"),
    "too many cells": ("a,b\na,b\nb,c,d,e\n", {}, "t.csv, line 3, has 4 cells in 2 columns"),
    "an open quote": ('a,b\na,b\n"b,c\n', {}, "t.csv, line 3, is not a valid table"),
    "a cell without end": (
        "id,sequence\nx," + "A" * 200_000 + "\n",
        {},
        "line 2, is not a valid table",
    ),
    "an unknown name": ("a,b\na,b\na,zz\n", {}, "t.csv, line 3, names 'zz', which is in no file"),
    "a name left out": ("a,b\na\n", {}, "t.csv, line 2, has no protein in column b: name one"),
    "a name that climbs out": ("a,b\na,../..\n", {}, "line 2, has the name '../..'"),
    "an id left out": ("id,sequence\n,MKT:MKT\n", {}, "line 2, has no id"),
    "a digit": ("id,sequence\nx,MKT:MKV\ny,MK7:MKT\n", {}, "line 3, has '7' at residue 3"),
    "an empty chain": ("id,sequence\nx,MKT:\n", {}, "line 2, has an empty chain 2: "),
    "one chain": ("id,sequence\nx,MKT\n", {}, "t.csv, line 2, has only one chain: write A:B"),
    "a pair twice": ("a,b\na,b\na,c\nA,b\n", {}, "t.csv, line 4, repeats line 2: remove it."),
    "a complex twice": (
        "id,sequence\nx,MKT:MKV\nx,MKT:MKV\n",
        {},
        "line 3, repeats line 2: remove",
    ),
    "pairs of one name": (
        "id,a,b\nx,a,b\nx,a,c\n",
        {},
        "line 3, gives a second pair the name 'x': rename it",
    ),
    "complexes of one name": (
        "id,sequence\nx,MKT:MKV\nx,MKT:MKA\n",
        {},
        "line 3, gives a second pair the name 'x': rename it",
    ),
    "a name with a slip": (
        "id,sequence\nEGFR,MKT\nGRB2,MKV\n",
        {"baits": ["EGRF"]},
        "`baits` names 'EGRF', which is in no file (did you mean 'EGFR'?): add its",
    ),
    "ids equal but for case": (
        "id,a,b\nx,a,b\nX,a,c\n",
        {},
        "line 3, gives a second pair the name 'X'",
    ),
    "pairs and a bait": ("a,b\na,b\n", {"baits": ["a"]}, "already lists pairs"),
    "pairs and all": ("a,b\na,b\n", {"every": True}, "already lists pairs"),
    "an unknown bait": (
        "id\na\nb\n",
        {"baits": ["q"]},
        "`baits` names 'q', which is in no file: add",
    ),
    "a bait alone": ("id\na\n", {"baits": ["a"]}, "no pair"),
    "one protein": ("id\na\n", {"every": True}, "no pair"),
    "a protein twice": ("id\na\nb\nA\n", {"every": True}, "the protein 'a' twice"),
    "pairs of one joined name": (
        "id,sequence\nx,MK\nx_and_y,MKT\ny_and_z,MKV\nz,MKA\n",
        {"baits": ["x", "x_and_y"]},
        "The screen gives a second pair the name 'x_and_y_and_z': rename it or one of its",
    ),
    "too many chains": ("id,sequence\nx," + "A:" * 1000 + "A\n", {}, "1001 chains"),
    "too many rows": ("id\n" + "a\n" * 6, {"every": True}, "t.csv, line 7, exceeds the limit of 5"),
    "too many pairs": ("id\na\nb\nc\nd\n", {"every": True}, "has 6 pairs and the limit is 5"),
}


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("case", WRONG)
def test_invalid_tables_are_refused(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PAIRS", 5)
    text, chosen, says = WRONG[case]
    with pytest.raises(InputError) as caught:
        read_screen([table(text), Path("msas")], **chosen)  # type: ignore[arg-type]
    assert says in str(caught.value)


@pytest.mark.usefixtures("folder")
def test_the_chains_of_all_rows_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    path = table("id,sequence\nx,MKT:MKV\ny,MKD:MKE:MKA\n")
    monkeypatch.setattr("foldry.formats.sequence.MAX_FILE_CHAINS", 5)
    assert len(read_screen([path])) == 2
    monkeypatch.setattr("foldry.formats.sequence.MAX_FILE_CHAINS", 4)
    with pytest.raises(InputError, match=r"t\.csv has more than 4 chains"):
        read_screen([path])


@pytest.mark.usefixtures("folder")
def test_invalid_files_are_refused() -> None:
    with pytest.raises(InputError, match="No pairs are given"):
        read_screen([Path("msas")])
    with pytest.raises(InputError, match=r"two\.csv is a second table"):
        read_screen([table("a,b\n"), Path("two.csv")])
    with pytest.raises(InputError, match=r"none\.csv does not exist"):
        read_screen([Path("none.csv")])
    Path("two.a3m").write_text("#5,5\t1,1\n>101\t102\nMKTAYMKVLA\n")
    with pytest.raises(InputError, match="pairs the rows of its chains"):
        read_screen([Path("two.a3m"), Path("msas")], ["b"])


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\na,b\nb,a\na,c\n", "1, e.g. a_and_b and b_and_a."),
        ("id,a,b\nx,a,c\ny,a,c\nz,C,A\n", "2, e.g. x and y."),
        ("a,b\na,a\na,b\n", ""),
        ("id,sequence\nx,MKT:MKV\ny,MKT:MKV\n", ""),
    ],
)
def test_pairs_of_the_same_proteins_are_a_warning(
    text: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    read_screen([table(text), Path("msas")])
    expected = f"Pairs of the same proteins as another pair, folded too: {said}"
    assert caplog.messages == ([expected] if said else [])


@pytest.mark.usefixtures("folder")
def test_a_slip_in_a_name_of_a_file() -> None:
    Path("msas/kinase.fasta").write_text(">Kinase_1\nMKTAY\n")
    with pytest.raises(InputError, match=r"names 'kinase-1', .* \(did you mean 'Kinase_1'\?\)"):
        read_screen([table("a,b\na,kinase-1\n"), Path("msas")])


ENTRY = ROOT / "examples" / "kunitz" / "1adz.cif"


def test_chains_after_a_colon() -> None:
    whole = read_named(str(ENTRY))
    chain = whole.chains[0]
    assert read_named(f"{ENTRY}:{chain}").chains == (chain,)
    with pytest.raises(InputError, match="has no protein chain 'x'"):
        read_named(f"{ENTRY}:{chain},x")


def test_names_of_chains_are_split_at_commas(tmp_path: Path) -> None:
    assert split_name("x.cif") == (Path("x.cif"), ())
    assert split_name("x.cif:A, B") == (Path("x.cif"), ("A", "B"))
    (tmp_path / "x:A").touch()
    assert split_name(str(tmp_path / "x:A")) == (tmp_path / "x:A", ())
    for name in ("x.cif:A,", "x.cif:,A", "x.cif:,"):
        with pytest.raises(InputError, match="no chain beside a comma"):
            split_name(name)


def test_a_text_of_excel_is_a_table_if_it_has_the_columns_of_one(tmp_path: Path) -> None:
    fasta = tmp_path / "p.txt"
    fasta.write_text(">P1, id, a, b\nMKT\n>P2\nMKV\n")
    for name, text in (("pairs.txt", "A\tB\tnote\r\nP1\tP2\t0,5\r\n"), ("l.TXT", "ID\nP2\nP1\n")):
        table = tmp_path / name
        table.write_bytes(text.encode("utf-16"))
        baits = () if name == "pairs.txt" else ("P1",)
        [pair] = read_screen([table, fasta], baits)
        assert (pair.a, pair.b) == ("P1", "P2")
