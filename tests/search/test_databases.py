"""The registry of databases: what it records, and how it notices that files changed."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from foldry.errors import BusyError, InputError, MissingError
from foldry.search import databases
from foldry.search.databases import FASTA, HHSUITE, MMSEQS, Registry, check_content, inspect

LISTED = {
    "name": "a",
    "kind": "FASTA",
    "path": "/a",
    "size": 1,
    "num_sequences": 1,
    "modified": 1,
    "version": "",
}
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
    for text in (PROTEINS.replace("MKV", "MKA"), PROTEINS * 99):
        write(path, text)
        old, before = before, registry.add(path)
        assert before.version != old.version
    path.unlink()
    with pytest.raises(MissingError, match=r"a\.fasta does not exist"):
        before.check()


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_change_in_the_middle_of_a_large_file(
    pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    path, half = tmp_path / "a.fasta", PROTEINS.encode() * 80_000
    changed = half + PROTEINS.replace("AYI", "AYV").encode() + half
    path.write_bytes(pack(half + PROTEINS.encode() + half))
    whole = inspect(path)
    assert whole.size > 2 * databases._ENDS or pack is gzip.compress
    path.write_bytes(pack(changed))
    assert inspect(path).version != whole.version
    if pack is bytes:
        os.utime(path, ns=(whole.modified, whole.modified))
        whole.check()  # which is quick, and sees the size and the time alone
        with pytest.raises(InputError, match="its content changed"):
            check_content(whole)


def test_a_packed_copy_has_the_same_version(tmp_path: Path) -> None:
    packed = tmp_path / "a.fasta.gz"
    packed.write_bytes(gzip.compress(PROTEINS.encode()))
    assert inspect(packed).version == inspect(write(tmp_path / "b.fa")).version


@pytest.mark.parametrize(("end", "kind"), [(".index", MMSEQS), ("_cs219.ffindex", HHSUITE)])
def test_a_change_in_the_middle_of_a_large_index(end: str, kind: str, tmp_path: Path) -> None:
    lines = [f"{n:09}\t{4 * n}\t4\n" for n in range(120_000)]
    for each in (".index", "_a3m.ffindex", "_cs219.ffindex"):
        write(tmp_path / f"m{each}", "".join(lines))
    for each in ("", "_a3m.ffdata", "_cs219.ffdata"):
        write(tmp_path / f"m{each}", "ABC\0" * len(lines))
    if kind == MMSEQS:
        write(tmp_path / "m.dbtype", "\0")
    whole = inspect(tmp_path / "m")
    path = tmp_path / f"m{end}"
    assert (whole.kind, path.stat().st_size > 2 * databases._ENDS) == (kind, True)
    lines[60_000] = lines[60_000].replace("000060000", "000060001")
    path.write_text("".join(lines))
    assert inspect(tmp_path / "m").version != whole.version


@pytest.mark.parametrize("place", [0, -2])
def test_a_change_at_either_end_of_large_data(place: int, tmp_path: Path) -> None:
    data = bytearray(b"ABC\0" * (databases._ENDS // 2))
    write(tmp_path / "m.index", f"0\t0\t{len(data)}\n")
    write(tmp_path / "m.dbtype", "\0")
    (tmp_path / "m").write_bytes(data)
    whole = inspect(tmp_path / "m")
    data[place] = ord("D")
    (tmp_path / "m").write_bytes(data)
    assert inspect(tmp_path / "m").version != whole.version


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
        ("a.fasta", "\n \n", "has no sequences"),
        ("a.fasta", ">a\nMKT\n>b-5\nMK\nM-T\n", "a.fasta, line 5, has '-' in a sequence: give"),
        ("a.fasta", ">a\nMKT1", "a.fasta, line 2, has '1' in a sequence"),
        ("a.fasta", ">a\nMK\xfc\n", r"line 2, has '\\xc3' in a sequence|has 'Ã' in a sequence"),
        ("a.fna", f">a\n{'ACGTN' * 40}\n>b\nACGT\n", "has sequences of nucleotides: give proteins"),
    ],
)
def test_what_is_no_database(name: str, text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says):
        inspect(write(tmp_path / name, text))
    with pytest.raises(InputError, match="is a folder"):
        inspect(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        inspect(tmp_path / "missing")


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("my proteins.fasta", "my_proteins"),
        ("a.human.fasta.gz", "a.human"),
        ("uniref90.fasta.v2", "uniref90"),
        ("-a.fasta", "a"),
        ("Å.fasta", "database"),
        (f"{'a' * 80}.fasta", "a" * 64),
    ],
)
def test_the_name_of_a_file_is_made_safe(file: str, name: str, tmp_path: Path) -> None:
    path = write(tmp_path / file)
    assert inspect(path).name == name
    assert databases.NAME.fullmatch(name)
    with pytest.raises(InputError, match="'my proteins' cannot be the name of a database"):
        inspect(path, "my proteins")


def test_two_files_of_one_name(registry: Registry, tmp_path: Path) -> None:
    human, mouse = (write(tmp_path / each / "proteins.fasta") for each in ("human", "mouse"))
    known = registry.add(human)
    says = f"would be 'proteins', but .* is registered from {re.escape(str(human))}: give"
    with pytest.raises(InputError, match=says):
        registry.add(mouse)
    assert registry.databases() == {"proteins": known}
    write(human, PROTEINS * 2)
    again = registry.add(human)
    assert registry.databases() == {"proteins": again}
    assert again.num_sequences == 4
    link = tmp_path / "link"
    link.symlink_to(human.parent)
    assert registry.add(link / human.name).name == "proteins", "it is the same file"
    assert registry.add(mouse, "mouse").name == "mouse"
    assert registry.add(mouse, "proteins").path == str(mouse), "as somebody wishes"
    assert sorted(registry.databases()) == ["mouse", "proteins"]


def test_a_clustered_database_whose_disk_is_missing(registry: Registry, tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    for part in ("", "_seq", "_aln"):
        for end in ("", ".index", ".dbtype"):
            write(folder / f"uniref30{part}{end}", "0\t0\t4\n")
    for end in ("_mapping", "_taxonomy"):
        write(folder / f"uniref30{end}", "0\t9606\n")
    registry.add(folder / "uniref30")
    folder.rename(tmp_path / "elsewhere")
    found = registry.databases()["uniref30"]
    assert (found.is_clustered, found.has_taxonomy) == (True, True)
    with pytest.raises(MissingError, match=r"uniref30\.index does not exist"):
        found.check()


def test_a_list_of_before_is_read(registry: Registry, tmp_path: Path) -> None:
    write(tmp_path / "registry" / "databases.json", json.dumps([LISTED]))
    found = registry.databases()["a"]
    assert (found.path, found.is_clustered, found.has_taxonomy) == ("/a", False, False)


@pytest.mark.parametrize(
    "text",
    ["{", "{}", "[1]", '[{"name": "a"}]', "[" * 5000]
    + [
        json.dumps([LISTED | wrong])
        for wrong in (
            {"path": 5},
            {"name": "../../etc"},
            {"name": ""},
            {"kind": "BLAST"},
            {"is_clustered": 1},
            {"other": 1},
        )
    ],
)
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
        lines = text.split("\n")
        strange = [number for number, line in enumerate(lines, 1) if ">" in line[1:].lstrip(" ")]
        strange = [number for number in strange if not lines[number - 1].startswith(">")]
        if strange:
            with pytest.raises(InputError, match=f"line {strange[0]}, has '>' in a sequence"):
                inspect(path)
            return
        assert inspect(path).num_sequences == sum(line.startswith(">") for line in lines)


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
