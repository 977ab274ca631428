"""HMMER in this process: the alignments of jackhmmer, whatever the blocks and the packing."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import subprocess
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard

from foldry.errors import InputError, MissingError
from foldry.formats.stockholm import parse_stockholm
from foldry.query import Alignment
from foldry.search import hmmer, kept
from foldry.search.databases import inspect
from foldry.search.hmmer import Hmmer, blocks
from foldry.store.cache import Cache

LETTERS = "ARNDCQEGHILKMFPSTWYV"
JACKHMMER = "jackhmmer -o /dev/null -A {out} --noali --F1 0.0005 --F2 5e-05 --F3 5e-07"
JACKHMMER += " --incE 0.0001 -E 0.0001 --cpu 1 -N 1 {query} {database}"


def protein(chance: random.Random, length: int) -> str:
    return "".join(chance.choices(LETTERS, k=length))


def relative(chance: random.Random, sequence: str) -> str:
    """A sequence with substitutions, insertions, deletions and flanks."""
    letters = [
        chance.choice(["", chance.choice(LETTERS), letter + protein(chance, 3), *[letter] * 12])
        for letter in sequence
    ]
    return protein(chance, 20) + "".join(letters) + protein(chance, 9)


@pytest.fixture(scope="module")
def queries() -> list[str]:
    chance = random.Random(1)
    return [protein(chance, length) for length in (90, 130, 60)]


@pytest.fixture(scope="module")
def database(queries: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 unrelated proteins, and relatives of the first two queries among them."""
    chance = random.Random(2)
    names = [(f"other{n}", protein(chance, chance.randint(30, 300))) for n in range(400)]
    names += [(f"r{n} the {n}th", relative(chance, queries[n % 2])) for n in range(30)]
    names += [("r4 again", relative(chance, queries[0])), ("u", queries[1][:40] + "BJOUXZ" * 3)]
    chance.shuffle(names)
    path = tmp_path_factory.mktemp("database") / "proteins.fasta"
    path.write_text("".join(f">{name}\n{sequence}\n" for name, sequence in names))
    return path


def found(path: Path, sequences: Sequence[str], block: int = 20_000) -> list[Alignment]:
    return list(Hmmer(inspect(path), num_threads=2, block=block).query(sequences))


def rows(alignment: Alignment) -> list[tuple[str, str]]:
    return list(zip(alignment.headers, alignment.texts, strict=True))


@pytest.mark.tools
def test_the_rows_are_those_of_jackhmmer(
    queries: list[str], database: Path, tmp_path: Path
) -> None:
    if shutil.which("jackhmmer") is None:
        pytest.skip("needs jackhmmer (Debian: apt install hmmer)")
    for sequence, alignment in zip(queries, found(database, queries, 50), strict=True):
        query, out = tmp_path / "query.fasta", tmp_path / "out.sto"
        query.write_text(f">query\n{sequence}\n")
        command = JACKHMMER.format(out=out, query=query, database=database)
        subprocess.run(command.split(), check=True)
        assert rows(alignment) == rows(parse_stockholm(out.read_text()))


def test_two_proteins_may_have_one_name(queries: list[str], database: Path) -> None:
    engine = Hmmer(inspect(database), described=True)
    [alignment] = engine.query(queries[:1])
    named = [header for header in alignment.headers if header.startswith("r4/")]
    assert {header.partition(" ")[2] for header in named} == {"again", "the 4th"}
    assert alignment.headers[0] == "query"


def test_blocks_do_not_change_what_is_found(queries: list[str], database: Path) -> None:
    whole = found(database, queries)
    assert [alignment.query for alignment in whole] == queries
    assert [alignment.num_rows > 10 for alignment in whole] == [True, True, False]
    for block in (1, 7, 13, 14, 100, 433):  # 1, 7 and 13 make more than 32 blocks
        assert [rows(each) for each in found(database, queries, block)] == [
            rows(each) for each in whole
        ]
    source = whole[0].source
    assert source is not None
    assert (source.engine, source.database) == ("jackhmmer", "proteins")


@pytest.mark.parametrize("block", [20, 20_000])
def test_the_first_rows_are_those_of_the_whole_alignment(
    block: int, queries: list[str], tmp_path: Path
) -> None:
    """Proteins with several domains have several rows, any of which may be the last."""
    chance = random.Random(3)
    path = tmp_path / "domains.fasta"
    with path.open("w") as file:
        for number in range(60):
            copies = [relative(chance, queries[0]) for _ in range(1 + number % 3)]
            file.write(f">d{number} no {number}\n{''.join(copies)}\n")
    engine = Hmmer(inspect(path), block=block, described=True)
    [whole] = engine.query(queries[:1])
    assert len({each.partition("/")[0] for each in whole.headers}) < whole.num_rows - 20
    for most in (1, 2, 3, 10, whole.num_rows - 1, whole.num_rows, whole.num_rows + 1):
        cut = replace(engine, max_rows=most)
        assert cut.identity != engine.identity
        [first] = cut.query(queries[:1])
        assert rows(first) == rows(whole)[:most]


def test_the_identity_follows_the_version_of_pyhmmer(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Hmmer(inspect(database))
    before = engine.identity
    monkeypatch.setattr(hmmer, "version", lambda _: "0.0.1")
    assert engine.identity != before


def test_headers_are_those_that_are_kept(queries: list[str], tmp_path: Path) -> None:
    path = tmp_path / "a.fasta"
    blanks = ("one  two \t", "a\x0bb\x1c", "\x85 a\u2028b\u2028", "\x1ca", "", "OS=Homo sapiens")
    names = [f"p{number} {text}" for number, text in enumerate(blanks)] + ["\x1cp6", "p\u20287\x85"]
    text = "".join(f">{name}\n{queries[0]}\n" for name in names)
    path.write_bytes(text.encode())
    engine = Hmmer(inspect(path), described=True)
    cache = Cache(tmp_path / "cache")
    [fresh] = engine.query(queries[:1])
    assert fresh.num_rows == len(names) + 1
    for _ in range(2):
        [(kept_rows, _)] = kept.search(engine, queries[:1], cache)
        assert rows(kept_rows) == rows(fresh)
    assert {header.partition(" ")[2] for header in fresh.headers} >= {
        "one two",
        "a b",
        "OS=Homo sapiens",
    }


def test_an_interrupted_search_searches_no_further(
    queries: list[str], database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched, is_closed = list[int](), threading.Event()

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            is_closed.set()
            super().shutdown(wait=wait)

    def search(*_: object) -> None:
        searched.append(1)
        if len(searched) == 1:
            raise KeyboardInterrupt
        is_closed.wait()

    monkeypatch.setattr(hmmer, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(hmmer, "_search", search)
    with pytest.raises(KeyboardInterrupt):
        list(Hmmer(inspect(database), block=10).query(queries * 4))
    assert len(searched) <= 2


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_headers_in_latin_1(
    pack: Callable[[bytes], bytes], queries: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "a.fasta"
    text = "".join(f">{name}\n{queries[0]}\n" for name in ("a OS=Å b", "bÅ", "c Ä OX=9606"))
    path.write_bytes(pack(text.encode("latin-1")))
    [alignment] = Hmmer(inspect(path), described=True).query(queries[:1])
    assert {*alignment.headers[1:]} == {
        "a/1-90 OS=\ufffd b",
        "b\ufffd/1-90",
        "c/1-90 \ufffd OX=9606",
    }
    assert {*alignment.texts} == {queries[0]}


def test_compressed_files(queries: list[str], database: Path, tmp_path: Path) -> None:
    expected = rows(found(database, queries[:1])[0])
    for name, data in {
        "a.fasta.gz": gzip.compress(database.read_bytes()),
        "a.fasta.zst": zstandard.compress(database.read_bytes()),
    }.items():
        path = tmp_path / name
        path.write_bytes(data)
        assert rows(found(path, queries[:1])[0]) == expected
        for size in (20, len(data) // 2, len(data) - 1):
            path.write_bytes(data[:size])
            with pytest.raises(
                InputError, match=f"^/[^ ]*{name} is a damaged (gzip|zstd) file: replace it"
            ):
                list(blocks(path))


def test_sequences_that_hmmer_refuses_are_left_out(
    queries: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.fasta"
    longest, longer = queries[0] + "A" * (100_000 - 90), queries[0] + "A" * 100_000
    text = f">a\n{longer}\n>b\n{longest}\n>c\n\n>d\n{queries[0][5:]}\n>e\n{longer}\n"
    path.write_text(text)
    [alignment] = found(path, queries[:1], 1)
    assert {name.partition("/")[0] for name in alignment.headers} == {"query", "b", "d"}
    says = f"{path}: sequences of more than 100000 residues are skipped: 2"
    assert caplog.messages == [says]


@pytest.mark.parametrize("text", ["", "no FASTA\n", ">a\nMK1T\n", ">a\nMKT\n\0\0\n"])
def test_what_is_not_fasta(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.fasta"
    path.write_text(text)
    with pytest.raises(InputError, match=r"a\.fasta cannot be read as FASTA"):
        list(blocks(path))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"a\.fasta does not exist"):
        list(blocks(tmp_path / "a.fasta"))


def test_a_file_that_changes_while_it_is_searched(database: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.fasta"
    shutil.copy(database, path)
    with pytest.raises(InputError, match=r"a\.fasta changed while it was searched"):
        for _ in blocks(path, 10):
            os.utime(path, ns=(1, 1))
