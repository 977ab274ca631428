"""Readers of text formats limit what they create, not only the bytes that they read."""

from __future__ import annotations

import gzip
import json
import time
import tracemalloc
from pathlib import Path

import pytest

from foldry.assess.batch import read_pairs
from foldry.errors import InputError
from foldry.formats import lines as module
from foldry.formats.a3m import parse_a3m
from foldry.formats.coordinates import parse_structure
from foldry.formats.hhr import parse_hhr
from foldry.formats.job import MAX_VALUES
from foldry.formats.lines import MAX_LINES, lines
from foldry.formats.sequence import MAX_FILE_CHAINS, clean_sequence
from foldry.inputs.pairs import read_screen
from foldry.inputs.queries import read_queries
from foldry.query import MAX_INSERTED, MAX_RESIDUES, MAX_ROWS, Alignment, Query

TOO_MANY = f"has more than {MAX_FILE_CHAINS} chains"
# Each is a few kB after compression: the name, the start, the repeated text, the repetitions.
BOMBS = {
    "records": ("q.fasta", ">q\nMKTAYIA\n", ">x\nA\n", 300_000, TOO_MANY),
    "chains": ("q.fasta", "", f">q\n{'A:' * 900}A\n", 300, TOO_MANY),
    "newlines": ("q.fasta", ">q\nMKTAYIA\n", "\n", MAX_LINES + 1, f"than {MAX_LINES} lines"),
    "line ends": ("q.fasta", ">q\nMKTAYIA\n", "\r", MAX_LINES + 1, f"than {MAX_LINES} lines"),
    "row": ("q.fasta", ">q\n", "A", 10_000_001, "line 2, has more than 10000000 characters"),
    "header": ("q.fasta", ">", "A", 10_000_001, "line 1, has more than 10000000 characters"),
    "lines of a row": ("q.fasta", ">q\n", "AAAA\n", 60_000, "line 1, has more than 100000"),
    "rows": ("q.a3m", ">q\nA\n", ">\nA\n", MAX_ROWS, "limit of 1000000 records"),
    "insertions": ("q.a3m", ">q\nA\n>r\nA\n", f"{'a' * 99}\n", 210_000, "20000000 inserted"),
    "first line": ("q.a3m", "#", "1", 10_000, "first row, has no sequence|no rows"),
    "rows of Stockholm": ("q.sto", "", "q A\n", 1000, "line 2, has the name 'q' for the second"),
    "values": ("q.json", "[", "[],", MAX_VALUES // 2 + 1, f"more than {MAX_VALUES} values"),
    "keys": ("q.json", '{"name": {', '"":1,', MAX_VALUES // 2 + 1, "or quotation marks"),
    "copies": (
        "q.json",
        "[",
        '{"name": "x", "sequences": [{"proteinChain": {"sequence": "MK", "count": 1000}}]},',
        201,
        TOO_MANY,
    ),
    "rows in JSON": (
        "q.json",
        '{"name": "x", "sequences": [{"protein": {"id": "A", "sequence": "A", "unpairedMsa": "',
        r">\nA\n",
        MAX_ROWS + 1,
        "sequence 1 unpairedMsa, line 2000001, exceeds the limit of 1000000 records",
    ),
}
ENDS = {"values": "[]]", "copies": "0]", "rows in JSON": '"}}]}'}


def read_bomb(path: Path, start: str, unit: str, times: int, end: str = "") -> list[Query]:
    path.write_bytes(gzip.compress(f"{start}{unit * times}{end}".encode(), 1))
    return read_queries([path])


@pytest.mark.parametrize("case", BOMBS)
def test_a_small_file_does_not_become_a_large_one(case: str, tmp_path: Path) -> None:
    name, start, unit, times, says = BOMBS[case]
    with pytest.raises(InputError, match=says):
        read_bomb(tmp_path / f"{name}.gz", start, unit, times, ENDS.get(case, ""))


@pytest.mark.parametrize("unit", ["\n", "\x0b", ","])
def test_a_table_does_not_become_a_large_one(
    unit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_LINES", 1000)
    monkeypatch.setattr(module, "MAX_LINE", 1000)
    path = tmp_path / "t.csv"
    path.write_text("a,b\n" + unit * 1001)
    with pytest.raises(InputError, match=r"t\.csv.* has more than 1000 (lines|characters)"):
        read_screen([path])


def test_the_size_of_a_text_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_TEXT", 10)
    with pytest.raises(InputError, match=r"q\.fasta\.gz holds more than"):
        read_bomb(tmp_path / "q.fasta.gz", ">q\n", "A", 8)
    assert read_bomb(tmp_path / "q.fasta.gz", ">q\n", "A", 7)


def test_lines_are_made_one_at_a_time() -> None:
    text = "ab\n" * 100_000
    tracemalloc.start()
    assert sum(1 for _ in lines(text, "here")) == 100_000
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()
    assert list(lines("\na\n\nb", "here")) == [(1, ""), (2, "a"), (3, ""), (4, "b")]


def test_input_within_the_bounds_is_read() -> None:
    assert len(clean_sequence("A" * MAX_RESIDUES, "here")) == MAX_RESIDUES
    with pytest.raises(InputError, match=f"here has {MAX_RESIDUES + 1} residues"):
        clean_sequence("A" * (MAX_RESIDUES + 1), "here")
    rows = 100_000
    assert parse_a3m(">q\nMKTA\n" + ">r\nM-aTA\n" * (rows - 1)).num_rows == rows
    alignment = Alignment.of(["", ""], ["A", "A" + "a" * (MAX_INSERTED // 4)])
    assert alignment.insertions.count.tolist() == [MAX_INSERTED // 4]
    with pytest.raises(InputError, match="row 1 of the alignment begins an alignment of 3 rows"):
        Alignment.of([""] * 3, ["A" * 70_000_000] * 3)


def test_lines_and_hits_of_hhr_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"x\.hhr, line 2, has more than 20000 characters"):
        parse_hhr("No 1\n" + "Aligned_cols=1 Identities=1% " * 1000, "x.hhr")
    monkeypatch.setattr("foldry.formats.hhr.MAX_HITS", 3)
    with pytest.raises(InputError, match=r"x\.hhr has more than 3 hits"):
        parse_hhr("No 1\n" * 4, "x.hhr")


def test_a_gzip_file_may_be_compressed_only_as_much_as_real_ones(tmp_path: Path) -> None:
    """Within all other bounds, 870 kB took 1.6 GB."""
    path = tmp_path / "q.a3m.gz"
    path.write_bytes(gzip.compress(f">q\n{'A' * 99_999}\n".encode() * 400, 9))
    with pytest.raises(InputError, match="holds more than 32 MiB after decompression"):
        read_queries([path])
    path.write_text(f">q\n{'A' * 99_999}\n" * 400)
    assert read_queries([path])[0].chains[0].alignments[0].num_rows == 400


@pytest.mark.parametrize("name", ["q.a3m", "q.sto"])
def test_a_query_that_is_too_long_is_refused_before_its_rows_are_copied(
    name: str, tmp_path: Path
) -> None:
    row, num_rows = "A" * (MAX_RESIDUES + 1), 300
    names = (f">r{n}\n" if name == "q.a3m" else f"r{n} " for n in range(num_rows))
    (tmp_path / name).write_text("".join(f"{each}{row}\n" for each in names))
    tracemalloc.start()
    with pytest.raises(InputError, match=r"first row, has more than 100000 residues"):
        read_queries([tmp_path / name])
    assert tracemalloc.get_traced_memory()[1] < 3.5 * num_rows * len(row)
    tracemalloc.stop()


ROW, INSERTED = "MKTAYIAK-R" * 100, "MKTAYaaIAK-R" * 100
A3M = f">q\n{'MKTAYIAKQR' * 100}\n" + f">r\n{ROW}\n>s\n{INSERTED}\n" * 1000
PROTEIN = {"id": "A", "sequence": "MKTAYIAKQR" * 100, "unpairedMsa": A3M}
STOCKHOLM = [f"q {'MKTAYI-KQR' * 100}\n", *(f"r{n} {ROW}\n" for n in range(2000))]
LARGE = {
    "q.a3m": A3M,
    "crlf.a3m": A3M.replace("\n", "\r\n"),
    "comment.a3m": f"# comment\n{A3M}",
    "complex.a3m": f"#400,600\t1,1\n{A3M}",
    "q.sto": "".join(STOCKHOLM),
    "q.json": json.dumps({"name": "q", "sequences": [{"protein": PROTEIN}]}),
    "q.fasta": "".join(f">q{n}\n{'MKTAYIAKQR' * 1000}\n" for n in range(200)),
}


@pytest.mark.parametrize("name", LARGE)
def test_a_reader_takes_few_times_the_memory_of_its_text(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An a3m of 175 MiB took 1.7 GB."""
    monkeypatch.setattr("foldry.query._BLOCK", 1 << 14)
    (tmp_path / name).write_bytes(LARGE[name].encode())
    tracemalloc.start()
    assert read_queries([tmp_path / name])
    assert tracemalloc.get_traced_memory()[1] < 5.5 * len(LARGE[name])
    tracemalloc.stop()


def test_an_alignment_does_not_depend_on_the_blocks_in_which_it_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = ">q\nMKT\n>r\naM-aaTx\n>s\n---\n>t\nMbKT\n"
    whole = parse_a3m(text)
    for block in (1, 5, 10):
        monkeypatch.setattr("foldry.query._BLOCK", block)
        assert parse_a3m(text) == whole
        with pytest.raises(InputError, match="line 9, has 2 aligned letters, but the first row"):
            parse_a3m(f"{text}>u\nMaK\n")


def test_a_large_text_has_no_character_of_several_bytes_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python then takes four bytes for every character of the text: 290 MB took 1.3 GB."""
    monkeypatch.setattr("foldry.store.files.MAX_WIDE", 20)
    monkeypatch.setattr("foldry.formats.job.MAX_WIDE", 20)
    for letter in "α😀":
        (tmp_path / "q.fasta").write_text(f">q\n{'MKTAYIAK' * 3}\n>r {letter}\nMKTAYIAK\n")
        with pytest.raises(InputError, match=f"q.fasta, line 3, has '{letter}', but a text of mor"):
            read_queries([tmp_path / "q.fasta"])
        (tmp_path / "q.json").write_text(json.dumps([letter, "MKTAYIAK" * 3]))
        with pytest.raises(InputError, match=r"q\.json has '.*', but a text of more than"):
            read_queries([tmp_path / "q.json"])
    for text in (">q é\nMKTAYIAKMKTAYIAKMKTAYIAK\n", ">q α\nMKTAYIAK\n"):
        (tmp_path / "q.a3m").write_text(text)
        assert read_queries([tmp_path / "q.a3m"])[0].num_chains == 1


def test_a_file_that_many_chains_name_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "a.a3m").write_text(">q\nMKT\n>r\nMKA\n")
    protein = '{{"protein": {{"id": "A{}", "sequence": "MKT", "unpairedMsaPath": "a.a3m"}}}}'
    chains = ",".join(map(protein.format, range(9)))
    (tmp_path / "q.json").write_text(f'{{"name": "q", "sequences": [{chains}]}}')
    [query] = read_queries([tmp_path / "q.json"])
    assert len({id(chain.alignment) for chain in query.chains}) == 1


def test_many_jobs_take_no_more_time_than_their_number(tmp_path: Path) -> None:
    """The time was quadratic: 536 kB took minutes."""
    job = '{{"name": "n{}", "sequences": [{{"protein": {{"id": "A", "sequence": "M"}}}}]}}'
    path, times = tmp_path / "q.json", []
    for number in (4000, 40_000):
        path.write_text(f"[{','.join(map(job.format, range(number)))}]")
        start = time.process_time()
        assert len(read_queries([path])) == number
        times.append(time.process_time() - start)
    assert times[1] < 25 * times[0]


def test_chains_and_pairs_of_tables_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,sequence\n" + "".join(f"x{n},{'A:' * 999}A\n" for n in range(101)))
    with pytest.raises(InputError, match=f"t.csv {TOO_MANY}"):
        read_screen([path])
    monkeypatch.setattr("foldry.assess.batch.MAX_PAIRS", 2)
    path.write_text("model,reference\n" + "a,b\n" * 2)
    assert len(read_pairs(path)) == 2
    path.write_text("model,reference\n" + "a,b\n" * 3)
    with pytest.raises(InputError, match=r"t\.csv, line 4, is beyond 2 pairs"):
        read_pairs(path)


def test_data_blocks_and_residues_that_gemmi_compares_with_each_other_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both took minutes for files below 1 MB."""
    with pytest.raises(InputError, match="has more than 10000 data blocks"):
        parse_structure("".join(f"data_{n}\n" for n in range(10_001)).encode(), "m.cif")
    tags = ("id", "type_symbol", "label_atom_id", "label_alt_id", "label_comp_id", "label_asym_id")
    tags += ("label_seq_id", "Cartn_x", "Cartn_y", "Cartn_z", "auth_seq_id", "auth_asym_id")
    head = "data_a\nloop_\n" + "".join(f"_atom_site.{tag}\n" for tag in tags)

    def text(num_chains: int, length: int) -> bytes:
        rows = (
            f"1 C CA . ALA {chain} {n} 0 0 {n} {n} {chain}\n"
            for chain in range(num_chains)
            for n in range(length)
        )
        return (head + "".join(rows)).encode()

    with pytest.raises(InputError, match="has too many residues in one chain"):
        parse_structure(text(1, 75_000), "m.cif")
    assert len(parse_structure(text(75, 1000), "m.cif")) == 75_000
    monkeypatch.setattr("foldry.formats.mmcif._MAX_SEARCH", 50)
    assert len(parse_structure(text(2, 5), "m.cif")) == 10
    with pytest.raises(InputError, match="has too many residues in one chain"):
        parse_structure(text(3, 5), "m.cif")


@pytest.mark.parametrize(("cif", "times"), [(False, 11), (True, 15)])
def test_a_structure_takes_few_times_the_memory_of_its_text(cif: bool, times: int) -> None:
    """Without the memory of gemmi; 13 and 19 times before equal texts were one object."""
    columns = "group_PDB id label_atom_id label_comp_id label_asym_id label_seq_id Cartn_x Cartn_y"
    columns += " Cartn_z auth_seq_id auth_asym_id auth_atom_id auth_comp_id label_alt_id"
    places = [
        (name, chain, number)
        for chain in "ABCDEFGH"
        for number in range(1, 301)
        for name in ("N", "CA", "C", "O", "CB")
    ]
    if cif:
        rows = [
            f"ATOM {row} {name} ALA {chain} {number} {row / 100:.3f} 12.345 -12.345"
            f" {number} {chain} {name} ALA ."
            for row, (name, chain, number) in enumerate(places)
        ]
        head = ["data_x", "loop_", *(f"_atom_site.{each}" for each in columns.split())]
        data = "\n".join([*head, *rows, ""]).encode()
    else:
        rows = [
            f"ATOM  {row:>5}  {name:<3} ALA {chain}{number:>4}    {row / 100:>8.3f}  12.345 -12.345"
            "  1.00 50.00           C  "
            for row, (name, chain, number) in enumerate(places)
        ]
        data = "\n".join(rows).encode()
    parse_structure(data[:2000].rpartition(b"\n")[0], "x")  # fills the caches
    tracemalloc.start()
    try:
        assert len(parse_structure(data, "x")) == len(places) // 5
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < times * len(data)
