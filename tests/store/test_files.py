"""Files: line ends, gzip and bounds in reading; no incomplete files in writing."""

from __future__ import annotations

import errno
import gzip
import lzma
import os
import shutil
import stat
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from foldry.errors import DiskFullError, InputError
from foldry.store.files import (
    append_line,
    check_file,
    check_folder,
    keep_log,
    last_line,
    names,
    new_file,
    new_folder,
    new_text_file,
    plain_name,
    read_bytes,
    read_text,
    remove,
    stem,
    write_bytes,
    write_json,
    write_text,
)


def test_line_ends_and_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"\xef\xbb\xbfone\r\ntwo\rthree\n")
    assert read_text(file) == "one\ntwo\nthree\n"


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "xz": lzma.compress,
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
}


@pytest.mark.parametrize("packing", PACKINGS)
def test_packed_files_are_recognised_by_their_content(tmp_path: Path, packing: str) -> None:
    file, pack = tmp_path / "no-suffix", PACKINGS[packing]
    for padding in (b"", bytes(4), bytes(5000)):
        file.write_bytes(pack(b"one" * 10_000) + padding + pack(b"two") + padding)
        assert read_bytes(file) == b"one" * 10_000 + b"two"


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_damaged_packed_file_is_not_read(tmp_path: Path, packing: str) -> None:
    file, whole = tmp_path / "a", PACKINGS[packing](os.urandom(5000))
    for data in (whole[:-1], whole[:3000], whole[:8], whole + b"rest", whole[:-40] + bytes(40)):
        file.write_bytes(data)
        with pytest.raises(InputError, match=f"a is a damaged {packing} file: compress it again"):
            read_bytes(file)


def test_names_without_the_suffix_of_packed_files() -> None:
    for name in ("q.a3m", "q.a3m.gz", "q.a3m.XZ", "q.a3m.zst"):
        assert (plain_name(Path("in", name)), stem(Path("in", name))) == ("q.a3m", "q")


@pytest.mark.parametrize("packing", ["", *PACKINGS])
def test_size_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packing: str) -> None:
    monkeypatch.setattr("foldry.store.files.MAX_BYTES", 1000)
    file = tmp_path / "a"
    for size, fits in ((1000, True), (1001, False)):
        data = b"x" * size
        file.write_bytes(PACKINGS[packing](data) if packing else data)
        if fits:
            assert read_bytes(file) == data
        else:
            with pytest.raises(InputError, match="smaller"):
                read_bytes(file)


@pytest.mark.parametrize("packing", ["", *PACKINGS])
def test_no_more_memory_is_taken_than_the_bound(tmp_path: Path, packing: str) -> None:
    file, size = tmp_path / "a", 512 << 20
    file.write_bytes(PACKINGS[packing](bytes(size)) if packing else bytes(size))
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="smaller"):
            read_bytes(file, 1 << 20)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < size / 8


def with_text_file(path: Path) -> None:
    with new_text_file(path) as file:
        file.write("after")


WRITERS: dict[str, Callable[[Path], object]] = {
    "bytes": lambda path: write_bytes(path, b"after"),
    "bytes on the disk": lambda path: write_bytes(path, b"after", sync=True),
    "text": lambda path: write_text(path, "after"),
    "JSON": lambda path: write_json(path, {"after": 1}),
    "text file": with_text_file,
}


@pytest.mark.parametrize("writer", WRITERS)
def test_every_writer_leaves_the_old_file_until_the_new_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str
) -> None:
    file = tmp_path / "a"
    file.write_text("before")
    with file.open() as reader:
        WRITERS[writer](file)
        assert reader.read() == "before" and "after" in file.read_text()
    file.write_text("before")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(DiskFullError):
        WRITERS[writer](file)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]


def test_a_file_is_on_the_disk_before_it_takes_the_place_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"before")
    seen = []

    def fsync(number: int) -> None:
        if not stat.S_ISDIR(os.fstat(number).st_mode):
            seen.append((os.fstat(number).st_size, file.read_bytes()))
        if len(seen) == 2:
            raise OSError(errno.ENOSPC, "the disk is full")

    monkeypatch.setattr(os, "fsync", fsync)
    write_bytes(file, b"after it", sync=True)
    with pytest.raises(DiskFullError, match="no space is left"):
        write_bytes(file, b"and again", sync=True)
    assert seen == [(8, b"before"), (9, b"after it")]
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"after it"]


def test_a_failed_write_leaves_the_file_unchanged(tmp_path: Path) -> None:
    file = tmp_path / "a"
    write_text(file, "before")

    def interrupted() -> None:
        with new_file(file) as new:
            new.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]


def test_a_link_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a").touch()
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "real" / "a")
    write_text(link, "text")
    assert link.is_symlink()
    assert (tmp_path / "real" / "a").read_text() == "text"


def test_reserved_space_is_given_back(tmp_path: Path) -> None:
    with new_file(tmp_path / "a", reserve=100_000) as file:
        assert os.fstat(file.fileno()).st_size == 100_000
        file.write(b"short")
    assert (tmp_path / "a").read_bytes() == b"short"


def test_an_error_of_another_file_keeps_its_name(tmp_path: Path) -> None:
    def reads_another() -> None:
        with new_file(tmp_path / "a"):
            (tmp_path / "missing").read_bytes()

    with pytest.raises(FileNotFoundError):
        reads_another()


@pytest.mark.parametrize("name", ["a" * 255, "é" * 120, "a b\n"])
def test_every_valid_file_name_can_be_written(tmp_path: Path, name: str) -> None:
    assert write_text(tmp_path / name, "text").read_text() == "text"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_appears_when_it_is_complete(tmp_path: Path) -> None:
    def broken_off() -> None:
        with new_folder(tmp_path / "a") as folder:
            (folder / "file").touch()
            raise ValueError("broken off")

    with pytest.raises(ValueError, match="broken off"):
        broken_off()
    assert list(tmp_path.iterdir()) == []
    with new_folder(tmp_path / "a") as folder:
        (folder / "file").touch()
        assert not (tmp_path / "a").exists()
    assert names(tmp_path / "a") == ["file"]


def test_an_incomplete_line_is_removed_from_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    append_line(log, {"step": 1})
    with log.open("a") as file:
        file.write('{"step": 2')
    assert last_line(log) == {"step": 1}
    append_line(log, {"step": 2})
    assert log.read_text() == '{"step": 1}\n{"step": 2}\n'
    assert last_line(tmp_path / "none") == {}


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("file", "is a file"),
        ("file/inner", "is a file"),
        ("dangling", "which does not exist"),
        ("dangling/inner", "which does not exist"),
    ],
)
def test_a_folder_that_cannot_be_made(tmp_path: Path, place: str, says: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "none" / "none")
    with pytest.raises(InputError, match=says):
        check_folder(tmp_path / place)
    check_folder(tmp_path / "new" / "inner")


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("folder", "is a folder"),
        ("none/a", "the folder .*none does not exist: create it first"),
        ("dangling", "which does not exist"),
        ("/dev/null", "is not a regular file"),
        ("/dev/stdout", "is not a regular file"),
    ],
)
def test_a_file_that_cannot_be_written(tmp_path: Path, place: str, says: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "dangling").symlink_to(tmp_path / "none" / "none")
    with pytest.raises(InputError, match=says):
        check_file(tmp_path / place)
    check_file(tmp_path / "new")


@pytest.mark.parametrize("options", [{}, {"sync": True}], ids=str)
def test_a_file_and_then_its_name_are_on_the_disk_only_if_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, bool]
) -> None:
    folders: list[tuple[bool, list[str]]] = []

    def fsync(number: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(number).st_mode)
        folders.append((is_folder, [each for each in ("a", "b") if (tmp_path / each).exists()]))

    monkeypatch.setattr(os, "fsync", fsync)
    write_bytes(tmp_path / "a", b"text", **options)
    with new_file(tmp_path / "b", **options) as file:
        file.write(b"text")
    expected = [(False, []), (True, ["a"]), (False, ["a"]), (True, ["a", "b"])]
    assert folders == (expected if options else [])


def test_a_folder_is_removed_as_far_as_possible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a"
    folder.mkdir()

    def busy(path: object, **_: object) -> None:
        raise OSError(errno.EBUSY, "busy", str(path))

    monkeypatch.setattr(shutil.os, "rmdir", busy)
    remove(folder)
    assert folder.exists()


def test_a_log_is_a_new_file_that_only_this_user_can_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    paths = [keep_log("Traceback"), keep_log("Traceback")]
    assert sorted(paths) == sorted(tmp_path.glob("foldry-*.log"))
    assert [path.read_text() for path in paths] == ["Traceback", "Traceback"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in paths} == {0o600}
