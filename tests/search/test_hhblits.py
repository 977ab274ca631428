"""hhblits: AlphaFold's call, and one sentence for whatever may go wrong."""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from foldry.errors import DiskFullError, FoldryError, InputError, MissingError, OutsideError
from foldry.formats.a3m import parse_a3m
from foldry.query import Source
from foldry.search import hhsuite
from foldry.search.databases import Database, inspect
from foldry.search.hhblits import HHblits, HHblitsSettings
from foldry.store import files
from tests.search.hhsuite import build, need_hhsuite

LETTERS = "ARNDCQEGHILKMFPSTWYV"
OFFICIAL = "hhblits -i {query} -cpu 2 -oa3m {out} -o /dev/null -n 3 -e 0.001 -maxseq 1000000"
OFFICIAL += " -realign_max 100000 -maxfilt 100000 -min_prefilter_hits 1000 -d {one} -d {other}"
FAMILIES = 6
SHOWS_VERSION = 'if [ "$2" = "" ]; then echo "HHblits 3.3.0:"; exit; fi\n'


def family(chance: random.Random) -> list[str]:
    """A protein, and relatives with substitutions, deletions and insertions, as rows of an a3m."""
    first = "".join(chance.choices(LETTERS, k=70))
    rows = [first]
    for _ in range(12):
        letters = [
            chance.choice([chance.choice([*LETTERS, "-", f"{each}kv"]), each, each, each])
            for each in first
        ]
        rows.append("".join(letters))
    return rows


@pytest.fixture(scope="module")
def families() -> list[list[str]]:
    chance = random.Random(3)
    return [family(chance) for _ in range(FAMILIES)]


@pytest.fixture(scope="module")
def databases(
    families: list[list[str]], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Database, ...]:
    """Two databases, whose relatives of the first family differ."""
    need_hhsuite()
    folder, shared = tmp_path_factory.mktemp("databases"), families[0]
    found = []
    for name, own, rows in (("bfd", families[1:3], shared[:7]), ("uniref30", families[3:], shared)):
        texts = {
            f"{name}{n}": "".join(f">{name}{n}_{k} of {n}\n{row}\n" for k, row in enumerate(each))
            for n, each in enumerate([rows, *own])
        }
        found.append(inspect(build(folder / name, texts)))
    return tuple(found)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that puts a shell script in the place of hhblits."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def write(script: str) -> None:
        hhsuite.version.cache_clear()
        (folder / "hhblits").write_text(f"#!/bin/sh\n{SHOWS_VERSION}{script}\n")
        (folder / "hhblits").chmod(0o755)

    return write


@pytest.fixture
def pretended(tmp_path: Path) -> Database:
    """A database for tests of what surrounds the search."""
    for part in ("a3m", "cs219"):
        (tmp_path / f"bfd_{part}.ffindex").write_text("a\t0\t4\n")
        (tmp_path / f"bfd_{part}.ffdata").write_text("data")
    return inspect(tmp_path / "bfd")


@pytest.mark.tools
def test_the_rows_are_those_of_the_official_call(
    databases: tuple[Database, ...],
    families: list[list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")  # its threads wait for busy cores
    sequences = [families[0][0], families[4][0]]
    found = list(HHblits(databases, scratch=tmp_path).query(sequences))
    for sequence, alignment in zip(sequences, found, strict=True):
        query, out = tmp_path / "query.fasta", tmp_path / "out.a3m"
        query.write_text(f">query\n{sequence}\n")
        one, other = (database.path for database in databases)
        command = OFFICIAL.format(query=query, out=out, one=one, other=other)
        subprocess.run(command.split(), check=True, capture_output=True)
        assert alignment == parse_a3m(out.read_text())
        assert (alignment.query, alignment.headers[0]) == (sequence, "query")
        assert alignment.source is not None
        assert (alignment.source.engine, alignment.source.database) == ("hhblits", "bfd, uniref30")
    names = {header.partition("_")[0] for header in found[0].headers[1:]}
    assert names == {"bfd0", "uniref300"}, "rows of both databases"
    assert found[0].insertions.count.sum() > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.a3m", "query.fasta"]


@pytest.mark.tools
@pytest.mark.parametrize("sequence", ["M", "MK", "X", "X" * 60, "A" * 60])
def test_sequences_without_homologues(sequence: str, databases: tuple[Database, ...]) -> None:
    [found] = HHblits(databases).query([sequence])
    assert (found.headers, found.texts) == (("query",), (sequence,))


@pytest.mark.tools
def test_a_database_that_was_damaged_before_it_was_added(
    databases: tuple[Database, ...], families: list[list[str]], tmp_path: Path
) -> None:
    place = Path(databases[0].path)
    for path in place.parent.glob(f"{place.name}_*.ff*"):
        shutil.copy(path, tmp_path)
    for end in ("ffdata", "ffindex"):  # otherwise the rows of a3m are read late
        (tmp_path / f"{place.name}_hhm.{end}").unlink()
    path = tmp_path / f"{place.name}_a3m.ffdata"
    path.write_bytes(b"\xff" * path.stat().st_size)
    engine = HHblits((inspect(tmp_path / place.name), databases[1]))
    says = (
        rf"^hhblits failed \(.*\): run .* again, check the files of {tmp_path}/bfd, .*/uniref30\.$"
    )
    with pytest.raises(OutsideError, match=says) as failed:
        list(engine.query([families[0][0]]))
    assert "\n" not in str(failed.value)
    assert len(str(failed.value)) < 500


def test_the_key_of_what_is_kept(
    pretended: Database, program: Callable[[str], None], tmp_path: Path
) -> None:
    program("")
    engine = HHblits((pretended,))
    same = HHblits((replace(pretended, path="/elsewhere"),), num_threads=8, scratch=tmp_path)
    assert engine.identity == same.identity
    assert engine.source == Source("hhblits", "bfd")
    others = [
        replace(engine, databases=(replace(pretended, version="new"),)),
        replace(engine, databases=(pretended, pretended)),
        replace(engine, settings=HHblitsSettings(e=0.01)),
    ]
    keys = {engine.identity, *(other.identity for other in others)}
    hhsuite.version.cache_clear()
    path = Path(shutil.which("hhblits") or "")
    path.write_text("#!/bin/sh\necho HHblits 3.4.0:\n")
    assert engine.identity not in keys
    assert len(keys) == 4
    hhsuite.version.cache_clear()
    path.write_text("#!/bin/sh\necho other\n")
    with pytest.raises(OutsideError, match="hhblits does not print its version"):
        _ = engine.identity


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("kill -9 $$", r"^hhblits failed \(exit code 137\): run .* check the files of .*/bfd\.$"),
        ("echo no luck >&2; exit 1", r"^hhblits failed \(no luck\): run the same command again, "),
        ("printf '>query\\nMKV\\n'", "^hhblits returned the alignment of another sequence"),
        ("exit 0", "^The alignment that hhblits found in bfd has no rows"),
        (
            "printf '>query\\nMKT\\n>a\\nMK\\n'",
            "^The alignment that hhblits found in bfd, line 3, ",
        ),
        ("touch -d 2100-01-01 {path}_a3m.ffdata", "bfd is not the database .* its files changed"),
        ("touch -d 2100-01-01 {path}_a3m.ffdata; exit 1", "bfd is not .* its files changed"),
        ("rm {path}_cs219.ffindex; exit 1", r"bfd_cs219\.ffindex does not exist"),
    ],
)
def test_what_the_program_may_do(
    script: str, says: str, pretended: Database, program: Callable[[str], None], tmp_path: Path
) -> None:
    program(script.replace("{path}", pretended.path))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with pytest.raises(FoldryError, match=says) as failed:
        list(HHblits((pretended,), scratch=scratch).query(["MKT"]))
    assert "\n" not in str(failed.value)
    assert list(scratch.iterdir()) == []


def test_the_program_gets_alphafolds_parameters(
    pretended: Database, program: Callable[[str], None], tmp_path: Path
) -> None:
    program(f'echo "$@" > {tmp_path}/arguments; printf ">q\\nMKT\\n"')
    [found] = HHblits((pretended,), num_threads=3).query(["MKT"])
    assert found.query == "MKT"
    given = " ".join((tmp_path / "arguments").read_text().split()[2:])
    assert given == (
        "-oa3m stdout -o /dev/null -n 3 -e 0.001 -maxseq 1000000 -realign_max 100000 "
        f"-maxfilt 100000 -min_prefilter_hits 1000 -cpu 3 -v 1 -d {pretended.path}"
    )


def test_what_a_failed_program_prints_is_shortened(
    pretended: Database, program: Callable[[str], None]
) -> None:
    program("head -c 5000 /dev/zero | tr '\\0' 'x' >&2; exit 3")
    with pytest.raises(OutsideError, match=r"^hhblits failed \(x{150,190}…\): run ") as failed:
        list(HHblits((pretended,)).query(["MKT"]))
    assert len(str(failed.value)) < 500


def test_a_missing_program(pretended: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    says = r"hhblits is not installed: install HH-suite \(Debian: apt install hhsuite\)\.$"
    with pytest.raises(MissingError, match=says):
        list(HHblits((pretended,)).query(["MKT"]))
    with pytest.raises(MissingError, match=says):
        _ = HHblits((pretended,)).identity


def test_a_database_of_another_kind(tmp_path: Path) -> None:
    path = tmp_path / "a.fasta"
    path.write_text(">a\nMKT\n")
    with pytest.raises(InputError, match=r"a\.fasta is a FASTA database, and hhblits reads"):
        list(HHblits((inspect(path),)).query(["MKT"]))


def test_a_full_disk(
    pretended: Database, program: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    program("printf '>query\\nMKT\\n'")
    assert [found.texts for found in HHblits((pretended,)).query(["MKT"])] == [("MKT",)]
    monkeypatch.setattr(files, "_open_partial", full)
    with pytest.raises(DiskFullError, match=r"query\.fasta cannot be written because no space"):
        list(HHblits((pretended,)).query(["MKT"]))
