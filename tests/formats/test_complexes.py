"""Several chains in one file: FASTA records, `:`, ColabFold's a3m."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foldry.errors import InputError
from foldry.formats.a3m import parse_complex_a3m, to_complex_a3m
from foldry.formats.sequence import safe_name
from foldry.inputs.queries import read_queries, stoichiometry
from foldry.query import Alignment, Chain, Query

TRIMER = """#4,3\t2,1
>101\t102
MKTAWCY
>UniRef100_X\tUniRef100_Y
MkkKT-gWcC-
>UniRef100_Z\tUniRef100_W
M---W--
>101
MKTA---
>X1\t80
-KTg-gg---
>102
----WCY
>Y1
----aaW-Y
"""


def read(folder: Path, name: str, text: str, *, together: bool = False) -> Query:
    (folder / name).write_text(text)
    (query,) = read_queries([folder / name], together=together)
    return query


def test_an_a3m_of_a_complex(tmp_path: Path) -> None:
    query = read(tmp_path, "my trimer.a3m", TRIMER)
    assert (query.name, query.num_chains, query.num_residues) == ("my_trimer", 3, 11)
    assert query.paired_by_row
    one, two = query.chains
    assert [(chain.ids, chain.sequence) for chain in query.chains] == [
        (("A", "B"), "MKTA"),
        (("C",), "WCY"),
    ]
    assert one.paired is not None
    assert two.paired is not None
    assert one.paired.sequences == ("MKTA", "MKT-", "M---")
    assert two.paired.sequences == ("WCY", "WC-", "W--")
    assert one.paired.headers == ("101", "UniRef100_X", "UniRef100_Z")
    assert two.paired.headers == ("102", "UniRef100_Y", "UniRef100_W")
    assert one.paired.deletions.tolist() == [[0] * 4, [0, 2, 0, 0], [0] * 4]
    # Insertions between the chains belong to neither.
    assert two.paired.deletions.tolist() == [[0] * 3, [0, 1, 0], [0] * 3]
    assert one.alignment is not None
    assert two.alignment is not None
    assert one.alignment.sequences == ("MKTA", "-KT-")
    assert one.alignment.deletions.tolist() == [[0] * 4, [0, 0, 0, 1]]
    assert two.alignment.sequences == ("WCY", "W-Y")
    assert two.alignment.deletions.tolist() == [[0] * 3, [0] * 3]


def test_an_a3m_of_unpaired_rows_only(tmp_path: Path) -> None:
    query = read(tmp_path, "q.a3m", "#4,3\t1,1\n>101\nMKTA---\n>x\nMK-----\n>102\n----WCY\n")
    one, two = query.chains
    assert query.paired_by_row
    assert (one.sequence, two.sequence) == ("MKTA", "WCY")
    assert one.paired is two.paired is None
    assert one.alignment is not None
    assert one.alignment.sequences == ("MKTA", "MK--")


def test_an_a3m_of_paired_rows_only() -> None:
    one, two = parse_complex_a3m("#4,3\t1,1\n>q\nMKTAWCY\n>x\nM---W--\n>y\nMK-----\n")
    assert one.alignment.sequences == ("MKTA", "MK--")
    assert two.alignment.sequences == ("WCY",)


def test_an_a3m_of_copies(tmp_path: Path) -> None:
    query = read(tmp_path, "dimer.a3m", "#4\t2\n>101\nMKTA\n>x\nMK-A\n")
    (chain,) = query.chains
    assert (query.name, chain.ids, chain.paired) == ("dimer", ("A", "B"), None)
    assert not query.paired_by_row
    assert chain.alignment is not None
    assert chain.alignment.sequences == ("MKTA", "MK-A")


OF_COLABFOLD = """#4,3\t2,1
>101\t102
MKTAWCY
>UniRef100_X\tUniRef100_Y
MkkKT-WcC-
>101
MKTA---
>X1\t80\t0.9
-KTggA---
>101
MKTA---
>Z
M--A---
>102
----WCY
>Y1\t75\t0.8
----WaaC-"""


def test_a_complex_is_written_as_it_was_read() -> None:
    chains = tuple(parse_complex_a3m(OF_COLABFOLD))
    assert [chain.alignment.headers for chain in chains if chain.alignment] == [
        ("101", "X1\t80\t0.9", "101", "Z"),
        ("102", "Y1\t75\t0.8"),
    ]
    assert to_complex_a3m(Query("q", chains, paired_by_row=True)) == OF_COLABFOLD


def test_an_alignment_of_one_chain_is_written_below_its_length() -> None:
    rows = Alignment.of(["my protein", "x\t9", "my protein"], ["MKT", "M-aT", "MKT"])
    pairs = Alignment.of(["q", "s of X"], ["MKT", "M--"])
    query = Query("q", (Chain(("A", "B"), "MKT", rows, pairs),))
    text = ">101\nMKT\n>x\t9\nM-aT\n>101\nMKT"
    assert to_complex_a3m(query) == f"#3\t2\n>101\nMKT\n>s of X\nM--\n{text}"
    bare = Query("q", (Chain(("A",), "MKT", rows), Chain(("B",), "WC")))
    one = text.replace("T", "T--").replace("--aT", "-aT")
    assert to_complex_a3m(bare) == f"#3,2\t1,1\n{one}\n>102\n---WC"


def test_paired_rows_alone_are_written_alone() -> None:
    chains = [
        Chain((name,), row, paired=Alignment.of(["q", f"{name}\tof X"], [row, row]))
        for name, row in (("A", "MKT"), ("B", "WC"))
    ]
    text = "#3,2\t1,1\n>101\t102\nMKTWC\n>A of X\tB of X\nMKTWC"
    assert to_complex_a3m(Query("q", tuple(chains), paired_by_row=True)) == text


@pytest.mark.parametrize(
    ("number", "paired_by_row", "says"),
    [
        (2, False, "Query q has rows that are paired by species: write them as JSON"),
        (1, True, "Query q has unequal numbers of paired rows: give each chain as many"),
        (0, True, "Query q has unequal numbers of paired rows"),
    ],
)
def test_rows_that_are_not_paired_by_their_number_cannot_be_written(
    number: int, paired_by_row: bool, says: str
) -> None:
    pairs = Alignment.of(["q", "x"], ["MKT", "M-T"])
    other = Alignment.of(["q", "x"][:number], ["WC", "W-"][:number]) if number else None
    chains = (Chain(("A",), "MKT", paired=pairs), Chain(("B",), "WC", paired=other))
    with pytest.raises(InputError, match=says):
        to_complex_a3m(Query("q", chains, paired_by_row=paired_by_row))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("#4,3\t1\n>q\nMKTAWCY\n", "line 1, does not give length"),
        ("#4,0\t1,1\n>q\nMKTA\n", "line 1, does not give length"),
        ("#4,3\t1,0\n>q\nMKTAWCY\n", "line 1, does not give length"),
        ("#4,3\t999,2\n>q\nMKTAWCY\n", "1000 chains"),
        ("#4,3\t" + "9" * 5000 + ",1\n>q\nMKTAWCY\n", "line 1, does not give length"),
        ("#4,4\t1,1\n>q\nMKTAWCY\n", "lengths of 8 residues, but rows have 7"),
        ("#4,3\t1,1\n>q\nMKTA---\n", "chain 2, has no row"),
        ("#4,3\t1,1\n>q\nMKTAW-Y\n", "chain 2, has a gap at residue 2"),
        ("#4,3\t1,1\n>q\nMKTAWcCY\n", "chain 2, has paired rows, the first of which has insert"),
        (
            "#4,3\t1,1\n>q\nMKTA---\n>r\n----WCY\n>s\nMKTAWC-\n",
            "chain 2, has paired rows, the first of which is another sequence .- for Y at",
        ),
        ("#4,3\t1,1\n>q\nMKTAWCY\n>r\nMKTAWC\n", "line 4"),
        ("#4,3\t1,1\n", "no rows"),
    ],
)
def test_an_inconsistent_complex_a3m_is_refused(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        parse_complex_a3m(text)


@pytest.mark.parametrize("line", ["#A3M#\n", "# 4,3 1,1\n", "#name\n", ""])
def test_other_first_lines_do_not_make_a_complex(line: str) -> None:
    assert parse_complex_a3m(f"{line}>q\nMKTA\n") == []


@given(
    lengths=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    data=st.data(),
)
def test_the_parts_of_a_complex_a3m_are_its_rows(lengths: list[int], data: st.DataObject) -> None:
    width = sum(lengths)
    query = data.draw(st.text("ACDE", min_size=width, max_size=width))
    rows = [query, *data.draw(st.lists(st.text("FG-", min_size=width, max_size=width)))]
    text = "".join(f">r{number}\n{row}\n" for number, row in enumerate(rows))
    first = ",".join(map(str, lengths)) + "\t" + ",".join("1" for _ in lengths)
    chains = parse_complex_a3m(f"#{first}\n{text}")
    assert "".join(chain.sequence for chain in chains) == query
    paired = [chain.paired.sequences for chain in chains if chain.paired]
    found = ["".join(parts) for parts in zip(*paired, strict=True)]
    begin = 0
    for length, chain in zip(lengths, chains, strict=True):
        gaps = "-" * begin, "-" * (width - begin - length)
        found += [gaps[0] + row + gaps[1] for row in chain.alignment.sequences[1:]]
        begin += length
    queries = [query] if len(lengths) > 1 else []
    assert sorted(found) == sorted([*queries, *(row for row in rows[1:] if row.strip("-"))])


def test_the_records_of_a_file_as_one_complex(tmp_path: Path) -> None:
    text = ">one\nMKTA\n>two\nWCY\n>three\nMKTA\n"
    query = read(tmp_path, "my complex.fasta", text, together=True)
    assert query.name == "my_complex"
    assert [(chain.ids, chain.sequence) for chain in query.chains] == [
        (("A", "C"), "MKTA"),
        (("B",), "WCY"),
    ]
    assert len(read_queries([tmp_path / "my complex.fasta"])) == 3


def test_a_file_has_too_many_records_for_one_complex(tmp_path: Path) -> None:
    path = tmp_path / "many.fasta"
    path.write_text("".join(f">{k}\nMKT:MKV\n" for k in range(501)))
    with pytest.raises(InputError, match=r"many\.fasta has 1002 chains: fold at most 1000"):
        read_queries([path], together=True)
    assert len(read_queries([path])) == 501


def test_one_record_of_a_file_keeps_its_name(tmp_path: Path) -> None:
    query = read(tmp_path, "file.fasta", ">pair\nMKTA:WCY\n", together=True)
    assert (query.name, query.num_chains) == ("pair", 2)


def test_a_bad_record_of_a_complex_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="line 4, has an empty chain 2: "):
        read(tmp_path, "q.fasta", ">one\nMKTA\n>two\nWCY:\n", together=True)


@pytest.mark.parametrize(
    ("sequences", "expected"),
    [
        (("MK",), "A1"),
        (("MK", "MK"), "A2"),
        (("MK", "WC"), "A1B1"),
        (("MK", "WC", "WC", "YY"), "A2B1C1"),
    ],
)
def test_stoichiometry(sequences: tuple[str, ...], expected: str) -> None:
    chains = tuple(Chain((str(number),), s) for number, s in enumerate(sequences))
    assert stoichiometry(Query("q", chains)) == expected


@pytest.mark.parametrize("name", ["", "...", "_-_", "/"])
def test_a_name_without_safe_characters_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="cannot name a file"):
        safe_name(name, "q.fasta")


@pytest.mark.parametrize("name", ["-a b-", "._a/b.", "--a:b"])
def test_a_safe_name_begins_and_ends_with_a_letter_or_digit(name: str) -> None:
    assert safe_name(name, "q.fasta") == "a_b"
