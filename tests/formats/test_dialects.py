"""FASTA, a3m, Stockholm and hhr as different programs write them."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path

import pytest
from Bio import SeqIO
from Bio.Seq import Seq
from Bio.SeqRecord import SeqRecord

from foldry.errors import InputError
from foldry.formats.a3m import parse_a3m, parse_complex_a3m, split_entries
from foldry.formats.fasta import parse_fasta
from foldry.formats.job import parse_jobs
from foldry.formats.lines import read_bounded_text
from foldry.formats.sequence import clean_sequence, safe_name
from foldry.formats.stockholm import (
    deduplicate_stockholm,
    parse_stockholm,
    parse_stockholm_all,
    remove_empty_columns,
    stockholm_to_a3m,
    truncate_stockholm,
)
from foldry.inputs.queries import read_queries
from foldry.store.files import decode

KUNITZ = "RPDFCLEPPYTGPCKARIIRYFYNAKAGLCQTFVYGGCRAKRNNFKSAEDCMRTCGGA"
ALANINE = "RPAFCLEPPYAGPGKARIIRYFYNAAAGAAQAFVYGGVRAKRNNFASAADALAACAAA"


@pytest.mark.parametrize(
    ("case", "headers"),
    [
        ("02-a3m-null-bytes/q", ("101", "h1", "h2")),
        ("09b-a3m-ss-pred-after/q", ("q", "h")),
        ("09e-a3m-hhsuite-full/q", ("1abc_A mol:protein", "1abc_A_consensus", "h")),
        ("09f-a3m-comment-semicolon/q", ("query", "h")),
        ("13-a3m-star-end/q", ("q", "h")),
    ],
)
def test_an_a3m_of_another_program_is_the_query_and_its_rows(
    cases_dir: Path, case: str, headers: tuple[str, ...]
) -> None:
    path = cases_dir / f"{case}.a3m"
    rows = parse_a3m(read_bounded_text(path), str(path))
    assert rows.headers == headers
    assert rows.sequences[:2] == (KUNITZ, ALANINE)
    assert not rows.insertions.letters.size


def test_an_entry_of_colabfolds_server_ends_with_nul(cases_dir: Path) -> None:
    path = cases_dir / "02b-colabfold-api-a3m/uniref.a3m"
    [(line, text)] = split_entries(read_bounded_text(path))
    assert line == 1
    assert parse_a3m(text).sequences == (KUNITZ, ALANINE)


@pytest.mark.parametrize(
    ("case", "lengths"),
    [
        ("02-a3m-null-bytes/q.a3m", [3]),
        ("02b-colabfold-api-a3m/uniref.a3m", [2]),
        ("09b-a3m-ss-pred-after/q.a3m", [2]),
        ("09e-a3m-hhsuite-full/q.a3m", [3]),
        ("09f-a3m-comment-semicolon/q.a3m", [2]),
        ("13-a3m-star-end/q.a3m", [2]),
        ("16-sto-two-alignments/q.sto", [2, 2]),
    ],
)
def test_a_file_of_another_program_gives_its_queries(
    cases_dir: Path, case: str, lengths: list[int]
) -> None:
    chains = [chain for query in read_queries([cases_dir / case]) for chain in query.chains]
    assert [chain.sequence for chain in chains] == [KUNITZ] * len(lengths)
    assert [chain.alignment.num_rows for chain in chains if chain.alignment] == lengths


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("q.fasta", "; a comment\n>a\nMKT\n\0>ss_pred\nCCC\n>b\nMKVV*\n\0"),
        ("q.fa", "\0>a\nMKT\n;\n>b\nMKVV\n"),
        ("q.a3m", "#A3M#\n>a\nMKT\n>r\nM--\n\0;\n>b\nMKVV*\n\0"),
        ("q.sto", "# STOCKHOLM 1.0\na MKT\nr M~~\n//\n\0# STOCKHOLM 1.0\nb MK.VV*\n//\n\0"),
    ],
)
def test_queries_of_one_file(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    found = [(query.name, query.chains[0].sequence) for query in read_queries([tmp_path / name])]
    assert found == [("a", "MKT"), ("b", "MKVV")]


def test_errors_in_a_later_entry_name_the_line_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "q.a3m").write_text(">a\nMKT\n\0>b\nMKV\n>c\nMK\n\0")
    with pytest.raises(InputError, match=r"q\.a3m, alignment 2, line 5, has 2 aligned letters"):
        read_queries([tmp_path / "q.a3m"])


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("MK-", "has gaps"),
        ("M*K", "has a stop codon at residue 2"),
        ("mkv", "has only lower-case letters"),
        ("", "has no sequence"),
        ("ACGT" * 9, "looks like DNA"),
    ],
)
def test_an_error_of_a_later_query_names_its_alignment(tmp_path: Path, row: str, says: str) -> None:
    (tmp_path / "q.a3m").write_text(f">a\nMKT\n\0>b\n{row}\n\0")
    with pytest.raises(InputError, match=rf"q\.a3m, alignment 2, first row, {says}"):
        read_queries([tmp_path / "q.a3m"])
    if row.isupper() and row.isalpha():
        (tmp_path / "q.sto").write_text(
            f"# STOCKHOLM 1.0\na MKT\n//\n# STOCKHOLM 1.0\nb {row}\n//\n"
        )
        with pytest.raises(InputError, match=rf"q\.sto, alignment 2, first row, {says}"):
            read_queries([tmp_path / "q.sto"])


def test_a_stop_before_gaps_is_no_reason_to_refuse_its_letter() -> None:
    assert parse_a3m(">q\nMKT*-\n>h\nMKT*A\n").sequences == ("MKT--", "MKT-A")


# NUL bytes


TWO = b">101\nMKT\n>a\nM-T\n\0\0>102\nWCYY\n>b\nW-YY\n\0\n \0"


def test_each_entry_is_a_query_of_its_own() -> None:
    entries = split_entries(decode(TWO, "pair.a3m"))
    assert entries == [(1, ">101\nMKT\n>a\nM-T\n"), (5, ">102\nWCYY\n>b\nW-YY\n")]
    assert [parse_a3m(text).sequences for _, text in entries] == [("MKT", "M-T"), ("WCYY", "W-YY")]
    with pytest.raises(InputError, match=r"x\.a3m, line 7, has 2 aligned letters"):
        parse_a3m(">q\nWCY\n>b\nWC\n", "x.a3m", first=5)


def test_two_entries_are_not_one_alignment() -> None:
    with pytest.raises(InputError, match=r"x\.a3m, line 5, begins a second alignment"):
        parse_a3m(TWO.decode(), "x.a3m")
    with pytest.raises(InputError, match=r"x\.a3m, line 13, begins a second alignment"):
        parse_a3m(TWO.decode(), "x.a3m", first=9)


def test_nul_ends_a_record_of_fasta() -> None:
    records = parse_fasta(decode(b"\0>q x\nMKT\n\n\0>r\nMK\nV\0>s\nM", "q.fasta"))
    assert [(each.header, each.sequence, each.line) for each in records] == [
        ("q x", "MKT", 1),
        ("r", "MKV", 4),
        ("s", "M", 6),
    ]
    assert records[1].text == "\nMK\nV"
    with pytest.raises(InputError, match=r"q\.fasta, line 3, is not a FASTA header"):
        parse_fasta(">q\nMKT\n\0MKV\n", "q.fasta")


def test_nul_follows_a_stockholm_alignment() -> None:
    text = decode(b"# STOCKHOLM 1.0\nq MKT\n//\n\0# STOCKHOLM 1.0\nr MKV\n//\n\0", "q.sto")
    assert [rows.query for rows in parse_stockholm_all(text)] == ["MKT", "MKV"]


@pytest.mark.parametrize(
    "data",
    [
        b"\x7fELF\0\0>q\nMKT\n",
        b">q\nM\0KT\n",
        ">q\nMKT\n".encode("utf-16-le"),
        b">\0q\0\n\0M\0K\0T\0",
        b'{"name": "q"}\0',
    ],
)
def test_other_files_with_nul_are_binary(data: bytes) -> None:
    with pytest.raises(InputError, match=r"^x is a binary file: give a text file\.$"):
        decode(data, "x")


def test_the_number_of_entries_is_bounded() -> None:
    assert split_entries("\0" * 1_000_000) == []
    with pytest.raises(InputError, match="has more than 100000 chains"):
        split_entries(">\0" * 100_001, "x.a3m")


def test_an_alignment_inside_a_job_ends_with_nul(tmp_path: Path) -> None:
    protein = {"id": "A", "sequence": "MKT", "unpairedMsa": ">q\nMKT\n>r\nM-T\n\0"}
    text = json.dumps({"name": "x", "sequences": [{"protein": protein}]})
    [query] = parse_jobs(text, tmp_path / "x.json")
    assert query.chains[0].alignment is not None
    assert query.chains[0].alignment.sequences == ("MKT", "M-T")


# HH-suite's annotation


@pytest.mark.parametrize("name", ["ss_dssp", "sa_dssp", "ss_pred", "ss_conf", "sa_pred", "aa_dssp"])
@pytest.mark.parametrize("rest", ["", " PSIPRED predicted secondary structure", "|x"])
def test_annotation_is_skipped_in_every_format_of_records(
    name: str, rest: str, caplog: pytest.LogCaptureFixture
) -> None:
    query, row = ">q\nMKT\n", ">r\nM-aT\n"
    annotation = f">{name}{rest}\nC9-\n"
    for text in (annotation + query + row, query + annotation + row, query + row + annotation):
        assert parse_a3m(text) == parse_a3m(query + row)
        assert [each.header for each in parse_fasta(text)] == ["q", "r"]
        [chain] = parse_complex_a3m(f"#3\t1\n{text}")
        assert chain.alignment is not None
        assert chain.alignment.headers == ("q", "r")
    assert parse_stockholm(f"{name} 9C.\nq MKT\n\n{name} 99\nq MK\n").sequences == ("MKTMK",)
    assert not caplog.records
    with pytest.raises(InputError, match="has no rows"):
        parse_a3m(annotation)


@pytest.mark.parametrize("name", ["SS_PRED", "Ss_Dssp x"])
def test_annotation_in_other_letters(tmp_path: Path, name: str) -> None:
    (tmp_path / "p.a3m").write_text(f">{name}\nHEC\n>p\nMKT\n")
    (tmp_path / "q.sto").write_text(f"# STOCKHOLM 1.0\n{name[:7]} HEC\nq MKT\n//\n")
    for path in sorted(tmp_path.iterdir()):
        query = read_queries([path])[0]
        assert (query.name, query.chains[0].sequence) == (path.stem, "MKT")


def test_other_names_that_hh_suite_skips_are_named(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        rows = parse_a3m(">aa_1abc\nMKV\n>q\nMKT\n>ss_stride\nCCC\n>sample\nMKA\n", "x.a3m")
    assert rows.headers == ("q", "sample")
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("x.a3m: the row 'aa_1abc' is skipped: ")
    assert parse_a3m(">aa_1\nMKV\n>aa_2\nMKT\n").headers == ("aa_1", "aa_2")
    assert len(parse_fasta(">aa_1abc\nMKV\n>ss_predicted\nMKV\n")) == 2


# Comments


def test_comments_are_skipped_and_lines_still_counted() -> None:
    text = "; a comment\n;>x\n\n>q\nMK\n; between\nT\n>r\n;\nM-V\n;end"
    records = parse_fasta(text)
    assert [(each.header, each.sequence, each.line) for each in records] == [
        ("q", "MKT", 4),
        ("r", "M-V", 8),
    ]
    assert records[0].text.split("T")[0].count("\n") == 3
    assert parse_a3m(text).sequences == ("MKT", "M-V")


def test_number_sign_begins_a_comment_in_a3m_alone() -> None:
    text = "#A3M#\n# PF00014\n>q\nMKT\n# a comment\n>r\nM-T\n"
    assert parse_a3m(text).sequences == ("MKT", "M-T")
    with pytest.raises(InputError, match=r"x, line 1, is not a FASTA header"):
        parse_fasta(text, "x")


def test_comments_precede_the_lengths_of_a_complex() -> None:
    text = "; from a server\n# comment\n#3,2\t1,1\n>101\t102\nMKTWC\n"
    assert [chain.sequence for chain in parse_complex_a3m(text)] == ["MKT", "WC"]
    with pytest.raises(InputError, match=r"x, line 3, gives lengths of 6"):
        parse_complex_a3m(text.replace("3,2", "3,3"), "x")
    assert parse_complex_a3m(">q\nMKTWC\n#3,2\t1,1\n") == []


# PIR


@pytest.mark.parametrize("title", ["ALPHA CRYSTALLIN B CHAIN (ALPHA(B)-CRYSTALLIN).", "TITLE", ""])
def test_titles_of_pir_are_not_residues(title: str) -> None:
    """Biopython writes and reads the same records."""
    rows = [
        SeqRecord(Seq(each * 3), id=f"a{len(each)}", description=title) for each in (KUNITZ, "MK")
    ]
    for each in rows:
        each.annotations["molecule_type"] = "protein"
    written = io.StringIO()
    SeqIO.write(rows, written, "pir")
    text = written.getvalue().replace(f"\n{rows[0].id} {title}\n", f"\n{title}\n")
    theirs = list(SeqIO.parse(io.StringIO(text), "pir"))
    ours = parse_fasta(text)
    assert [(each.name, each.sequence) for each in ours] == [
        (each.id, str(each.seq)) for each in theirs
    ]


def test_comments_and_lines_of_pir() -> None:
    text = "C; from Modeller\nR; x\n>P1;one\nsequence:one:1 :A:9 :A::: 1.90: 0.19\nMK T\n"
    text += "V/WC*\nC;end\n>F1; two\n\nMK*"
    one, two = parse_fasta(text, "x.pir")
    assert (one.name, one.line, one.text) == ("one", 3, "\n\nMK T\nV/WC")
    assert (two.name, two.line, two.text) == ("two", 8, "\n\nMK")
    with pytest.raises(
        InputError, match=r"x\.pir, line 8, begins a record of PIR without a final '\*'"
    ):
        parse_fasta(text.removesuffix("*"), "x.pir")


def test_an_error_in_pir_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "q.pir").write_text(">P1;q\ntitle: x/y\nMKT\nM7*\n")
    with pytest.raises(InputError, match=r"q\.pir, line 4, has '7' at residue 5"):
        read_queries([tmp_path / "q.pir"])


@pytest.mark.parametrize("header", ["P53;mutant", "P1", "XP1;a", "P1 ;a", "Q9;b", "a;P1;b"])
def test_a_semicolon_alone_makes_no_pir(header: str) -> None:
    [record] = parse_fasta(f">{header}\nMKT\nMKV\n")
    assert (record.sequence, record.name) == ("MKTMKV", header.split(maxsplit=1)[0])


# Stop codons, other gaps and white space


@pytest.mark.parametrize(
    ("query", "row", "expected"),
    [
        ("MKT*", "MRT*", ("MKT", "MRT")),
        ("MKT*", "M--*", ("MKT", "M--")),
        ("MKT*", "MR--", ("MKT", "MR-")),
        ("MKT*", "MRTA", ("MKT", "MRTa")),
        ("MKT*", "MR-A", ("MKT", "MR-a")),
        ("MKT*", "MRTcc*", ("MKT", "MRTcc")),
        ("MKT*", "MRT", ("MKT", "MRT")),
        ("MKT", "MRT*", ("MKT", "MRT")),
        ("MKT", "MR*", ("MKT", "MR-")),
        ("MKT", "M*-", ("MKT", "M--")),
        ("MKT", "M*T", ("MKT", "M-T")),
        ("MKT", "Mcc*T", ("MKT", "Mcc-T")),
        ("MKT", "_R~", ("MKT", "-R-")),
        ("MK T", "M R\tT", ("MKT", "MRT")),
        ("MKT*\n", "MR\nT*\n", ("MKT", "MRT")),
    ],
)
def test_letters_of_a3m(query: str, row: str, expected: tuple[str, str]) -> None:
    assert parse_a3m(f">q *\n{query}\n>r\n{row}\n").texts == expected


@pytest.mark.parametrize("text", ["MK*T", "MKT**"])
def test_a_stop_codon_inside_the_query_is_refused(text: str) -> None:
    says = rf"x, first row, has a stop codon at residue {text.index('*') + 1}: cut the sequence"
    with pytest.raises(InputError, match=says):
        parse_a3m(f">q\n{text}\n", "x")
    with pytest.raises(InputError, match=says):
        parse_stockholm(f"q -{text}\nr -{text}\n", "x")


def test_a_query_in_lower_case_is_refused_in_a3m() -> None:
    with pytest.raises(InputError, match=r"x, first row, has only lower-case letters, which are"):
        parse_a3m(">q\nmkt*\n>r\nmkt*\n", "x")
    assert parse_stockholm("q mkt*\nr mk-*\n").sequences == ("MKT", "MK-")


def test_a_row_with_a_stop_codon_and_too_many_columns_is_refused() -> None:
    with pytest.raises(InputError, match=r"x, line 3, has 4 aligned letters"):
        parse_a3m(">q\nMKT\n>r\nMKTA\n>s\nMK*\n", "x")


# Stockholm


def test_two_slashes_end_an_alignment(cases_dir: Path) -> None:
    path = cases_dir / "16-sto-two-alignments/q.sto"
    text = read_bounded_text(path)
    one, two = parse_stockholm_all(text)
    assert (one.headers, two.headers) == (("q", "h"), ("q2", "h2"))
    assert one.sequences == two.sequences == (KUNITZ, ALANINE)
    for read in (parse_stockholm, deduplicate_stockholm, stockholm_to_a3m):
        with pytest.raises(InputError, match=r"q\.sto, line 6, begins a second alignment"):
            read(text, source="q.sto")
    with pytest.raises(InputError, match="begins a second alignment"):
        truncate_stockholm(text, 1)


@pytest.mark.parametrize("end", ["//\n", "  // \n\n# STOCKHOLM 1.0\n", "# STOCKHOLM 1.0\n"])
def test_alignments_with_equal_names_stay_apart(end: str) -> None:
    text = f"\n# STOCKHOLM 1.0\n#=GF ID one\nq MK\nr M-\n\nq T\nr V\n{end}#=GF ID two\nr WC\nq WY\n"
    one, two = parse_stockholm_all(text)
    assert (one.sequences, two.sequences) == (("MKT", "M-V"), ("WC", "WY"))
    assert (one.headers, two.headers) == (("q", "r"), ("r", "q"))


@pytest.mark.parametrize("empty", ["//\n", "# STOCKHOLM 1.0\n#=GF ID none\n//\n", "\n"])
def test_an_alignment_without_rows_counts_for_nothing(empty: str) -> None:
    text = f"{empty}# STOCKHOLM 1.0\nq MKT\n//\n{empty}"
    assert parse_stockholm(text).sequences == ("MKT",)
    assert len(parse_stockholm_all(text)) == 1
    with pytest.raises(InputError, match="has no rows"):
        parse_stockholm_all(empty)


@pytest.mark.parametrize("name", ["q.sth", "q.stk", "q.pfam", "q.alignment.full", "q", "q.a3m"])
def test_stockholm_is_known_by_its_suffix_or_its_first_line(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("\n# STOCKHOLM 1.0\n#=GF ID x\nseq/1-3 M-KT\nr MAK-\n//\n")
    [query] = read_queries([tmp_path / name])
    assert query.chains[0].alignment is not None
    assert query.chains[0].alignment.texts == ("MKT", "MaK-")


def test_stockholm_without_its_first_line_is_known_by_its_suffix(tmp_path: Path) -> None:
    for name in ("q.sth", "q.pfam"):
        (tmp_path / name).write_text("seq/2-4 M-KT\nr MAK-\n")
        assert read_queries([tmp_path / name])[0].name == "seq_2-4"


@pytest.mark.parametrize(
    ("row", "name"), [("seq/1-3", "seq"), ("query/1-3", "q"), ("a/1-4", "a_1-4")]
)
def test_a_range_of_the_whole_query_is_no_part_of_its_name(
    tmp_path: Path, row: str, name: str
) -> None:
    (tmp_path / "q.sto").write_text(f"# STOCKHOLM 1.0\n{row} M-KT\nr/8-10 MAK-\n//\n")
    assert read_queries([tmp_path / "q.sto"])[0].name == name


def test_a_line_of_stockholm_has_two_words() -> None:
    for row in ("r M K", "r M- K", "r MK #", "r"):
        with pytest.raises(
            InputError, match="x, line 2, is not a name and an aligned sequence: use"
        ):
            parse_stockholm(f"q MK\n{row}\n", "x")
    assert parse_stockholm("q\t MK \nr \tM-\r\n").sequences == ("MK", "M-")
    with pytest.raises(InputError, match="give a file of FASTA or a3m the suffix of its format"):
        parse_stockholm(">q\nMK\n", "x")


def test_a2m_is_read_as_a3m(tmp_path: Path) -> None:
    (tmp_path / "q.a2m").write_text(">q\nMK..T\n>r\nM-aaT\n>s\nMKa.-\n")
    [query] = read_queries([tmp_path / "q.a2m"])
    assert query.chains[0].alignment is not None
    assert query.chains[0].alignment.texts == ("MKT", "M-aaT", "MKa-")


def test_errors_name_the_alignment() -> None:
    with pytest.raises(InputError, match=r"x, alignment 2, has a row 's' of 2 columns"):
        parse_stockholm_all("q MKT\n//\nr MKT\ns MK\n", "x")
    with pytest.raises(InputError, match=r"x, alignment 2, first row, has a stop codon"):
        parse_stockholm_all("q MKT\n//\nr M*T\n", "x")


def test_the_symbols_of_easel() -> None:
    text = "# STOCKHOLM 1.0\n q M.K_T~*\n\tr mAUxOaA\ns ~*BZJ__\n#=GC RF x.x.x..\n//\n"
    rows = parse_stockholm(text)
    assert rows.texts == ("MKT", "MaUxOaa", "-BzJ")
    assert parse_stockholm(deduplicate_stockholm(text)) == rows
    assert parse_stockholm(remove_empty_columns(text)) == rows
    assert parse_a3m(stockholm_to_a3m(text)).texts == rows.texts


def test_rows_of_gaps_are_equal_whatever_the_symbol() -> None:
    text = "q MKT\na M-~\nb M*.\nc M__\n//\n"
    assert parse_stockholm(deduplicate_stockholm(text)).headers == ("q", "a")
    assert parse_stockholm(remove_empty_columns("q M~T\nr M*A\n#=GC RF x-x\n")).query == "MT"


# The query of an alignment


@pytest.mark.parametrize(
    "name", ["Consensus", "prot_consensus", "cons", "P1_cons", "consensus/1-3"]
)
def test_the_query_follows_a_consensus(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "f.a3m").write_text(f">{name}\nMKV\n>q\nMKT\n>r\nM-T\n")
    (tmp_path / "f.sto").write_text(f"# STOCKHOLM 1.0\n{name} MKV\nq MKT\nr M-T\n//\n")
    for path in tmp_path.iterdir():
        [query] = read_queries([path])
        assert (query.name, query.chains[0].sequence) == ("q", "MKT")
        assert "the query is the second row, 'q'" in caplog.records[-1].getMessage()
    (tmp_path / "g.a3m").write_text(">conserved_1\nMKV\n>q\nMKT\n")
    assert read_queries([tmp_path / "g.a3m"])[0].name == "conserved_1"


@pytest.mark.parametrize(
    ("file", "first", "other", "is_named"),
    [
        ("P00974", "tr|A0|X", "sp|P00974|BPT1_BOVIN aprotinin", True),
        ("BPT1_BOVIN", "x", "sp|P00974|BPT1_BOVIN", True),
        ("h1", "x", "h1/1-3", True),
        ("H1", "x", "h1", True),
        ("P00974", "sp|P00974|BPT1_BOVIN", "P00974", False),
        ("P00974", "query", "P00974", False),
        ("P00974", "x", "UniRef90_P00974 n=1", True),
        ("p00974", "x", "UniRef100_P00974/1-3", True),
        ("h1", "x", "h11", False),
        ("h1", "x", "y h1", False),
    ],
)
def test_a_file_named_after_another_row_is_a_reason_to_doubt(
    tmp_path: Path,
    file: str,
    first: str,
    other: str,
    is_named: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / f"{file}.a3m").write_text(f">{first}\nMKV\n>{other}\nMKT\n")
    assert read_queries([tmp_path / f"{file}.a3m"])[0].chains[0].sequence == "MKV"
    assert ("put it first if it is meant" in caplog.text) == is_named


@pytest.mark.parametrize("name", ["101", "Query", "query_2", "Query_10001", "QUERY-1"])
def test_a_generic_name_gives_way_to_that_of_the_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "EGFR.a3m").write_text(f">{name} x\nMKV\n>r\nMKT\n")
    (tmp_path / "CD47.sto").write_text(f"# STOCKHOLM 1.0\n{name} MKT\n//\n")
    for path in sorted(tmp_path.iterdir()):
        assert read_queries([path])[0].name == path.stem
    (tmp_path / "EGFR.fasta").write_text(f">{name}\nMKV\n")
    assert read_queries([tmp_path / "EGFR.fasta"])[0].name.casefold() == name.casefold()


# Names and separators


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("蛋白", "蛋白"),
        ("α-synuclein", "α-synuclein"),
        ("Белок №1", "Белок_No1"),
        ("ａｂ１", "ab1"),
        ("e\u0301lan", "élan"),
        ("a\u202eb\u200b", "a_b"),
        ("T=0.1,", "T_0.1"),
        ("蛋" * 50, "蛋" * 33),
        ("🧬x", "x"),
    ],
)
def test_letters_of_all_scripts_name_files(name: str, safe: str) -> None:
    assert safe_name(name, "q.fasta") == safe


@pytest.mark.parametrize(
    ("letter", "says"),
    [
        ("/", "has '/' at residue 3: give each chain a sequence of its own"),
        (":", "has ':' at residue 3: give each chain a sequence of its own"),
        ("~", "has a gap at residue 3: remove it"),
        ("_", "has a gap at residue 3: remove it"),
        ("*", "has a stop codon at residue 3: cut the sequence there"),
    ],
)
def test_what_is_not_a_residue_is_named(letter: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        clean_sequence(f"MK{letter}TA", "x")


@pytest.mark.parametrize("kind", ["ccd", "smiles", "ligand", "glycan", "rna", "dna"])
def test_headers_name_what_is_no_protein(kind: str) -> None:
    for header in (f"C|{kind}", f"{kind.upper()}|name=C", f"{kind}|C"):
        [record] = parse_fasta(f">{header}\nAC\n")
        assert record.name == "C" and record.molecule and record.is_chain
