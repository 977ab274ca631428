"""Objects named by their hash: stored, read, damaged, and removed when unreferenced."""

from __future__ import annotations

import hashlib
import lzma
import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foldry.errors import FaultError
from foldry.store.objects import ZLIB, Compressor, ObjectStore

XZ = Compressor(b"\xfd7zXZ", lzma.compress, lambda data, _: lzma.decompress(data))
"""Another compressor than the default."""


def only_file(store: ObjectStore) -> Path:
    [path] = [path for path in store.folder.rglob("*") if path.is_file()]
    return path


@settings(max_examples=25)
@given(st.lists(st.binary(max_size=2000), max_size=5))
def test_objects_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, contents: list[bytes]
) -> None:
    store = ObjectStore(tmp_path_factory.mktemp("objects"))
    digests = [store.put(data) for data in contents]
    assert digests == [hashlib.sha256(data).hexdigest() for data in contents]
    assert [store.get(digest) for digest in digests] == contents
    assert set(store.digests()) == set(digests)


def test_an_object_is_kept_once_and_compressed(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path)
    assert store.put(b"A" * 10_000) == store.put(b"A" * 10_000)
    assert only_file(store).stat().st_size < 100


def test_another_compressor_reads_what_the_first_wrote(tmp_path: Path) -> None:
    old, new = ObjectStore(tmp_path), ObjectStore(tmp_path, (XZ, ZLIB))
    first = old.put(b"zlib")
    second = new.put(b"xz")
    assert (new.get(first), new.get(second)) == (b"zlib", b"xz")
    assert old.get(second) is None, "it has no compressor for it"


@pytest.mark.parametrize("damage", ["cut off", "changed", "empty", "of another hash"])
def test_a_damaged_object_counts_as_absent_and_is_put_again(tmp_path: Path, damage: str) -> None:
    store = ObjectStore(tmp_path)
    data = os.urandom(1000)
    digest = store.put(data)
    path = only_file(store)
    packed = bytearray(path.read_bytes())
    if damage == "cut off":
        packed = packed[:-20]
    elif damage == "changed":
        packed[500] ^= 1
    elif damage == "empty":
        packed = bytearray()
    else:
        packed = bytearray(zlib.compress(b"something else"))
    path.write_bytes(packed)
    assert store.get(digest) is None
    store.put(data)
    assert store.get(digest) == data


def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path)
    digest = store.put(bytes(10_000_000))
    assert store.get(digest, max_bytes=1000) is None
    with pytest.raises(ValueError, match="too large"):
        ZLIB.decompress(only_file(store).read_bytes(), 1000)


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "A" * 64, "ab"])
def test_only_a_hash_names_a_file(tmp_path: Path, digest: str) -> None:
    with pytest.raises(FaultError):
        ObjectStore(tmp_path).get(digest)


def test_gc_removes_unreferenced_objects_except_the_youngest(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path)
    named, old, young = (store.put(data) for data in (b"named", b"old", b"young"))
    for digest in (named, old):
        os.utime(store.folder / digest[:2] / digest[2:], (0, 0))
    assert store.gc({named}) == 1
    assert set(store.digests()) == {named, young}
    (store.folder / named[:2] / f".{named[2:]}.0123abcd.partial").touch()  # of a killed put
    store.put(b"named")
    assert store.gc(set(), grace=60.0) == 0, "putting it again made it young"
    assert store.gc(set(), grace=-60.0) == 2
    assert [path for path in store.folder.rglob("*") if path.is_file()] == []


def test_many_put_and_get_while_objects_are_removed(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path)
    contents = [str(number).encode() * 50 for number in range(40)]

    def work(number: int) -> int:
        if number % 10 == 0:
            store.gc(set())
        data = contents[number % 40]
        return int(store.get(store.put(data)) == data)

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(400))) == 400
