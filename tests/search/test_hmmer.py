"""HMMER in this process: the alignments of jackhmmer, whatever the blocks and the packing."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
import zstandard

from foldry.errors import InputError, MissingError
from foldry.formats.stockholm import parse_stockholm
from foldry.query import Alignment
from foldry.search.databases import inspect
from foldry.search.hmmer import Hmmer, blocks

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
        text = out.read_text()
        if "r4" in text:  # a name for two proteins, of which a Stockholm reader makes one
            assert alignment.headers[0] == "query"
        assert rows(alignment) == rows(parse_stockholm(text))


def test_blocks_do_not_change_what_is_found(queries: list[str], database: Path) -> None:
    whole = found(database, queries)
    assert [alignment.query for alignment in whole] == queries
    assert [alignment.num_rows > 10 for alignment in whole] == [True, True, False]
    for block in (1, 7, 100, 433):
        assert [rows(each) for each in found(database, queries, block)] == [
            rows(each) for each in whole
        ]
    source = whole[0].source
    assert source is not None
    assert (source.engine, source.database) == ("jackhmmer", "proteins")


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
                InputError, match=f"{name} is a damaged (gzip|zstd) file: replace it"
            ):
                list(blocks(path))


def test_sequences_that_hmmer_refuses_are_left_out(
    queries: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.fasta"
    longest, longer = queries[0] + "A" * (100_000 - 90), queries[0] + "A" * 100_000
    path.write_text(f">a\n{longer}\n>b\n{longest}\n>c\n\n>d\n{queries[0][5:]}\n")
    [alignment] = found(path, queries[:1])
    assert {name.partition("/")[0] for name in alignment.headers} == {"query", "b", "d"}
    says = f"{path}: sequences of more than 100000 residues are not searched: 1"
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
