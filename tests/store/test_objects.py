"""Objects named by their hash, in a folder and at URLs: stored, read, damaged and removed."""

from __future__ import annotations

import ctypes
import hashlib
import lzma
import os
import sys
import uuid
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files as resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foldry.errors import DiskFullError, FaultError, InputError, MissingError, OutsideError
from foldry.store import files, objects
from foldry.store.objects import ZLIB, ZSTD, Compressor, Objects, ObjectStore, open_objects
from foldry.store.remote_objects import RemoteObjects
from foldry.store.sections import join_sections, pieces, split_sections

XZ = Compressor(b"\xfd7zXZ", lzma.compress, lambda data, _: lzma.decompress(data))
"""Another compressor than the default."""
MISSING = hashlib.sha256(b"missing").hexdigest()


@pytest.fixture(params=["folder", "file", "memory", "directory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder, and URLs of three kinds; `dir::file` is a remote one that is really on the disk."""
    return {
        "folder": str(tmp_path / "objects"),
        "file": (tmp_path / "objects").as_uri(),
        "memory": f"memory://{uuid.uuid4().hex}",
        "directory": f"local://{tmp_path}/objects",
    }[request.param]


def damage(store: Objects, digest: str, change: Callable[[bytes], bytes]) -> None:
    """Change the stored bytes of an object."""
    if isinstance(store, ObjectStore):
        path = store.folder / digest[:2] / digest[2:]
        path.write_bytes(change(path.read_bytes()))
    else:
        assert isinstance(store, RemoteObjects)
        name = f"{store.root}/{digest[:2]}/{digest[2:]}"
        store.system.pipe_file(name, change(store.system.cat_file(name)))


@settings(max_examples=25)
@given(st.lists(st.binary(max_size=2000), max_size=5))
def test_objects_are_read_back(contents: list[bytes]) -> None:
    store = open_objects(f"memory://{uuid.uuid4().hex}")
    digests = store.put_many(contents)
    assert digests == [hashlib.sha256(data).hexdigest() for data in contents]
    assert [store.get(digest) for digest in digests] == contents
    assert set(store.digests()) == set(digests)


def test_every_place_keeps_objects_alike(place: str) -> None:
    store = open_objects(place)
    assert (list(store.digests()), store.get(MISSING), store.size(MISSING)) == ([], None, None)
    contents = [bytes([number]) * 10_000 for number in range(3)] + [b""]
    digests = store.put_many(contents)
    assert store.put_many([*contents, b"new"])[:4] == digests, "putting again changes nothing"
    assert [open_objects(place).get(digest) for digest in digests] == contents
    assert len(list(store.digests())) == 5
    assert 0 < (store.size(digests[0]) or 0) < 100, "compressed"
    assert store.get(digests[0], max_bytes=9_999) is None
    assert store.remove([digests[0], MISSING]) == store.size(digests[1])
    store.clean()
    assert (store.get(digests[0]), store.get(digests[1])) == (None, contents[1])


@pytest.mark.parametrize("kind", ["cut off", "changed", "empty", "of another hash", "huge"])
def test_a_damaged_object_counts_as_missing_and_is_put_again(place: str, kind: str) -> None:
    store = open_objects(place)
    data = os.urandom(1000)
    digest = store.put(data)
    other = {
        "cut off": lambda packed: packed[:-20],
        "changed": lambda packed: packed[:500] + bytes([packed[500] ^ 1]) + packed[501:],
        "empty": lambda _: b"",
        "of another hash": lambda _: zlib.compress(b"something else"),
        "huge": lambda _: ZSTD.compress(bytes(10**8)),
    }[kind]
    damage(store, digest, other)
    assert store.get(digest, max_bytes=10**6) is None
    assert store.size(digest) is not None
    store.put(data)
    assert store.get(digest) == data


def test_another_compressor_reads_what_the_first_wrote(tmp_path: Path) -> None:
    old, new = ObjectStore(tmp_path, (ZLIB,)), ObjectStore(tmp_path, (XZ, ZLIB))
    first = old.put(b"zlib")
    second = new.put(b"xz")
    assert (new.get(first), new.get(second)) == (b"zlib", b"xz")
    assert old.get(second) is None, "it has no compressor for it"


def test_endless_empty_frames_are_not_unpacked() -> None:
    with pytest.raises(ValueError, match="too large"):
        ZSTD.decompress(ZSTD.compress(b"") * 100_000, 1000)


@pytest.mark.parametrize("compressor", [ZLIB, ZSTD])
def test_a_bomb_is_not_unpacked(compressor: Compressor) -> None:
    packed = compressor.compress(bytes(10_000_000))
    with pytest.raises(ValueError, match="too large"):
        compressor.decompress(packed, 1000)
    assert compressor.decompress(packed, 10_000_000) == bytes(10_000_000)


def test_the_dictionary_of_stored_objects_never_changes() -> None:
    text = resources("foldry").joinpath("store", "typical.json").read_bytes()
    digest = "b3d82830ef168415ce7e526fb3dd87cf3e65c934698f6ea91323c86c6ccb4df5"
    assert hashlib.sha256(text).hexdigest() == digest, "stored objects could not be read any more"
    assert len(ZSTD.compress(text)) < 50


@settings(max_examples=50)
@given(st.lists(st.binary(max_size=100), max_size=10), st.binary(max_size=60))
def test_sections_come_back_and_are_compressed_apart(sections: list[bytes], other: bytes) -> None:
    data = join_sections(sections)
    assert [bytes(each) for each in split_sections(data)] == sections
    assert len(pieces(data)) == 1 + sum(map(bool, sections[1:]))
    for each in (data, other, b"FSEC" + other, data[:-1], data + b"x"):
        assert b"".join(pieces(each)) == each
        assert ZSTD.decompress(ZSTD.compress(each), len(each)) == each
    with pytest.raises(ValueError, match="not sections"):
        split_sections(data + b"x")


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "A" * 64, "ab"])
def test_only_a_hash_names_an_object(place: str, digest: str) -> None:
    store = open_objects(place)
    for use in (store.get, store.size, lambda name: store.remove([name])):
        with pytest.raises(FaultError):
            use(digest)


def test_an_object_that_is_too_large_is_refused(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "MAX_BYTES", 10)
    store = open_objects(place)
    with pytest.raises(InputError, match="of 11 bytes: split it"):
        store.put_many([b"small", bytes(11)])
    assert list(store.digests()) == []


def test_what_killed_processes_left_is_removed(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path)
    named = store.put(b"named")
    left = tmp_path / named[:2] / f".{named[2:]}.0123abcd.partial"
    left.touch()
    store.clean()
    assert (left.exists(), store.get(named)) == (False, b"named")


def test_a_batch_is_on_the_disk_before_its_names_are_returned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there: list[int] = []
    store = ObjectStore(tmp_path / "objects")
    monkeypatch.setattr(
        objects, "sync_file_system", lambda _: there.append(len(list(store.digests())))
    )
    contents = [b"one", b"two", b"three"]
    store.put_many(contents)
    store.put_many(contents)
    store.put_many([])
    assert there == [3, 3], "one sync for a batch, also if a killed process wrote its files"


def test_waiting_for_the_disk_reports_its_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        @staticmethod
        def syncfs(handle: int) -> int:
            ctypes.set_errno(28)
            return -1

    files.sync_file_system(tmp_path)
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: Full)
    with pytest.raises(DiskFullError, match="no space is left"):
        files.sync_file_system(tmp_path)
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())
    files.sync_file_system(tmp_path)


def test_many_put_and_get_at_the_same_time(tmp_path: Path) -> None:
    store = ObjectStore(tmp_path)
    contents = [str(number).encode() * 50 for number in range(40)]

    def work(number: int) -> int:
        batch = [contents[(number + each) % 40] for each in range(3)]
        return int([store.get(digest) for digest in store.put_many(batch)] == batch)

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(200))) == 200


@pytest.mark.parametrize(
    ("place", "error", "sentence"),
    [
        ("nowhere://a", InputError, "'nowhere://a' is not a place for objects"),
        ("https2://u:secret@h/a", InputError, "'https2://h/a' is not a place for objects"),
        ("", InputError, "is not the name of a file or folder"),
    ],
)
def test_a_place_that_cannot_be_is_refused(
    place: str, error: type[Exception], sentence: str
) -> None:
    with pytest.raises(error, match=sentence) as raised:
        open_objects(place)
    assert "secret" not in str(raised.value)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec: Any = pytest.importorskip("fsspec")

    def url_to_fs(url: str) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec.core, "url_to_fs", url_to_fs)
    with pytest.raises(MissingError, match="Install s3fs to access S3"):
        open_objects("s3://bucket/objects")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingError, match="needs fsspec, which is not installed"):
        open_objects("s3://bucket/objects")


def test_errors_of_a_server_and_of_a_disk_are_reported(tmp_path: Path) -> None:
    class Broken:
        def __getattr__(self, name: str) -> Callable[..., Any]:
            def fail(*_: object, **__: object) -> None:
                raise RuntimeError("connection reset")

            return fail

    remote = RemoteObjects("'x://y'", Broken(), "y")
    uses: list[Callable[[], object]] = [
        lambda: remote.put(b""),
        lambda: remote.get(MISSING),
        lambda: remote.size(MISSING),
        lambda: list(remote.digests()),
    ]
    for use in uses:
        with pytest.raises(OutsideError, match=r"'x://y' cannot be \w+ \(connection reset\)"):
            use()
    store = ObjectStore(tmp_path)
    (tmp_path / MISSING[:2] / MISSING[2:]).mkdir(parents=True)
    with pytest.raises(OutsideError, match="cannot be read"):
        store.get(MISSING)
