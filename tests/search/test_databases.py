"""The registry of databases: what it records, and how it notices that files changed."""

from __future__ import annotations

import gzip
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from foldry.errors import BusyError, InputError, MissingError
from foldry.search import databases
from foldry.search.databases import FASTA, HHSUITE, MMSEQS, Registry, inspect

WRONG = """[{"name": "a", "kind": "FASTA", "path": 5, "size": 1, "num_sequences": 1, "modified": 1,
"version": ""}]"""
PROTEINS = ">a one\nMKT\nAYI\n>b > c\nMKV\n"


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path / "registry")


def write(path: Path, text: str = PROTEINS) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_databases_are_listed_checked_and_removed(registry: Registry, tmp_path: Path) -> None:
    assert registry.databases() == {}
    one = registry.add(write(tmp_path / "uniref90.fasta.v2"))
    assert (one.name, one.kind, one.size, one.num_sequences) == (
        "uniref90",
        FASTA,
        len(PROTEINS),
        2,
    )
    other = registry.add(write(tmp_path / "mine.fa", ">a\nMKT\n"), "lab-2")
    assert list(registry.databases().values()) == [one, other]
    one.check()
    registry.remove("uniref90")
    assert Registry(tmp_path / "registry").databases() == {"lab-2": other}
    with pytest.raises(InputError, match="'uniref90' is not a registered database"):
        registry.remove("uniref90")
    assert (tmp_path / "uniref90.fasta.v2").exists()


def test_files_that_change_or_go(registry: Registry, tmp_path: Path) -> None:
    path = write(tmp_path / "a.fasta")
    before = registry.add(path)
    os.utime(path, ns=(1, 1))
    with pytest.raises(InputError, match=r"a\.fasta is not the database .* its files changed"):
        before.check()
    assert registry.add(path).version == before.version, "the content is the same"
    middle = PROTEINS * 50 + PROTEINS.replace("AYI", "AYV") + PROTEINS * 48
    for text in (PROTEINS.replace("MKV", "MKA"), PROTEINS * 99, middle):
        write(path, text)
        old, before = before, registry.add(path)
        assert before.version != old.version
    path.unlink()
    with pytest.raises(MissingError, match=r"a\.fasta does not exist"):
        before.check()


def test_packed_files_count_what_is_in_them(tmp_path: Path) -> None:
    for name, data in {
        "a.fasta.gz": gzip.compress(PROTEINS.encode()),
        "b.fasta.zst": zstandard.compress(PROTEINS.encode()),
    }.items():
        path = tmp_path / name
        path.write_bytes(data)
        found = inspect(path)
        assert (found.name, found.num_sequences, found.size) == (name[0], 2, len(data))
        path.write_bytes(data[:-3])
        with pytest.raises(InputError, match="is a damaged"):
            inspect(path)


def test_databases_of_programs(tmp_path: Path) -> None:
    for end, text in {"": "data", ".index": "0\t0\t4\n1\t4\t3\n2\t7\t1\n", ".dbtype": "\0"}.items():
        write(tmp_path / f"uniref30{end}", text)
    for part in ("a3m", "cs219"):
        write(tmp_path / f"bfd_{part}.ffindex", "a\t0\t4\n")
        write(tmp_path / f"bfd_{part}.ffdata", "data")
    found = [inspect(tmp_path / name) for name in ("uniref30", "bfd")]
    assert [(each.kind, each.num_sequences) for each in found] == [(MMSEQS, 3), (HHSUITE, 1)]
    os.utime(tmp_path / "uniref30.index", ns=(2 * 10**18, 2 * 10**18))
    with pytest.raises(InputError, match="its files changed"):
        found[0].check()
    (tmp_path / "bfd_cs219.ffdata").unlink()
    with pytest.raises(MissingError, match=r"bfd_cs219\.ffdata does not exist"):
        inspect(tmp_path / "bfd")


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.fasta", "", "has no sequences"),
        ("a.fasta", "MKT\n>a\nMKT\n", "is not a FASTA file"),
        ("-a.fasta", PROTEINS, "'-a' cannot be the name of a database"),
    ],
)
def test_what_is_no_database(name: str, text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says):
        inspect(write(tmp_path / name, text))
    with pytest.raises(InputError, match="is a folder"):
        inspect(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        inspect(tmp_path / "missing")


@pytest.mark.parametrize("text", ["{", "{}", "[1]", '[{"name": "a"}]', WRONG, "[" * 5000])
def test_a_damaged_list(text: str, registry: Registry, tmp_path: Path) -> None:
    write(tmp_path / "registry" / "databases.json", text)
    with pytest.raises(InputError, match=r"databases\.json is not a list of databases"):
        registry.databases()


def test_many_processes_add_databases(registry: Registry, tmp_path: Path) -> None:
    paths = [write(tmp_path / f"d{n}.fasta") for n in range(12)]

    def add(path: Path) -> None:
        while True:
            try:
                registry.add(path)
            except BusyError:
                continue
            return

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, paths))
    assert sorted(registry.databases()) == sorted(path.stem for path in paths)


@given(
    records=st.lists(st.text("MK>\n ", max_size=9), min_size=1, max_size=20),
    chunk=st.integers(1, 9),
)
def test_records_are_counted_across_chunks(
    records: list[str], chunk: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = "".join(f">{record}\n" for record in records)
    path = write(tmp_path_factory.mktemp("database") / "a.fasta", text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(databases, "_CHUNK", chunk)
        assert inspect(path).num_sequences == sum(line.startswith(">") for line in text.split("\n"))


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("a3m.ffindex", "a\t0\t4\nb\t4", "bfd_a3m.ffindex is cut off"),
        ("cs219.ffindex", "a\t0\t4\nb\t4\tx\n", "bfd_cs219.ffindex is cut off"),
        ("hhm.ffindex", "\0\0\0\0", "bfd_hhm.ffindex is cut off"),
        ("a3m.ffindex", "a\t0\t4\nb\t4\t5\n", "bfd_a3m.ffdata is cut off: entries of its index"),
        ("cs219.ffindex", "a\t0\t4\n", "bfd_cs219.ffindex lists 1 entries, but bfd_a3m.ffindex"),
        ("hhm.ffdata", None, "bfd_hhm.ffdata does not exist"),
        ("hhm.ffindex", None, ""),
    ],
)
def test_a_cut_off_database_of_hh_suite(
    file: str, content: str | None, says: str, tmp_path: Path
) -> None:
    for part in ("a3m", "cs219", "hhm"):
        write(tmp_path / f"bfd_{part}.ffindex", "a\t0\t4\nb\t4\t4\n")
        write(tmp_path / f"bfd_{part}.ffdata", "ABC\0DEF\0")
    whole = inspect(tmp_path / "bfd")
    path = tmp_path / f"bfd_{file}"
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    if not says:
        assert inspect(tmp_path / "bfd").version != whole.version
        return
    with pytest.raises((InputError, MissingError), match=says):
        inspect(tmp_path / "bfd")
