"""Files: line ends, gzip and bounds in reading; no incomplete files in writing."""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import os
import shutil
import stat
import tarfile
import tempfile
import threading
import tracemalloc
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import zstandard

from foldry.errors import DiskFullError, InputError
from foldry.store import flock
from foldry.store.files import (
    append_line,
    check_exist,
    check_file,
    check_folder,
    keep_log,
    last_line,
    link_file,
    named_path,
    names,
    new_file,
    new_folder,
    new_text_file,
    plain_name,
    read_bytes,
    read_text,
    remove,
    scratch_folder,
    stem,
    sweep,
    write_bytes,
    write_json,
    write_text,
)


def test_line_ends_and_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"\xef\xbb\xbfone\r\ntwo\rthree\n")
    assert read_text(file) == "one\ntwo\nthree\n"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_with_a_byte_order_mark(tmp_path: Path, encoding: str) -> None:
    """As PowerShell and Excel write it; also packed, and broken within a letter."""
    file = tmp_path / "a"
    text = "\ufeff>q Å 😀\r\nMKT\r\n".encode(encoding)
    for data in (text, gzip.compress(text)):
        file.write_bytes(data)
        assert read_text(file) == ">q Å 😀\nMKT\n"
    file.write_bytes(text + b"\0")
    assert read_text(file).endswith("MKT\n\ufffd")


def archives() -> dict[str, bytes]:
    """Return what a person may take for text, packed by other programs."""
    zipped, archive = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as file:
        file.writestr("q.a3m", ">q\nMKT\n")
    with tarfile.open(fileobj=archive, mode="w") as folder:
        folder.addfile(tarfile.TarInfo("msas/q.a3m"))
    return {
        "zip": zipped.getvalue(),
        "tar": archive.getvalue(),
        "tar.gz": gzip.compress(archive.getvalue()),
        "bz2": bz2.compress(b">q\nMKT\n" * 100),
        "empty bz2 block": bz2.compress(b">"),
        "7z": b"7z\xbc\xaf\x27\x1c\0\4",
        "lz4": b"\x04\x22\x4d\x18\x64\x40\xa7",
    }


@pytest.mark.parametrize("kind", archives())
def test_what_is_packed_otherwise_is_refused_for_that_reason(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "a"
    file.write_bytes(archives()[kind])
    with pytest.raises(InputError, match="a is an archive, a spreadsheet or packed by another pro"):
        read_text(file)


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


def test_other_ways_to_pack(tmp_path: Path) -> None:
    """As pzstd, zstd for a stream and for long distances, and xz with its options."""
    text, file = os.urandom(3000) * 20, tmp_path / "a"
    plain = zstandard.ZstdCompressor(write_content_size=False).compress
    long = zstandard.ZstdCompressionParameters.from_level(19, window_log=27, enable_ldm=True)
    skipped = b"\x50\x2a\x4d\x18\4\0\0\0size"
    filters = [{"id": lzma.FILTER_X86}, {"id": lzma.FILTER_LZMA2, "preset": 9}]
    for data in (
        plain(text),
        skipped + plain(text[:100]) + skipped + plain(text[100:]),
        plain(text) + b"\x5e\x2a\x4d\x18\0\0\0\0",
        zstandard.ZstdCompressor(compression_params=long).compress(text),
        lzma.compress(text, check=lzma.CHECK_SHA256),
        lzma.compress(text, filters=filters),
    ):
        file.write_bytes(data)
        assert read_bytes(file) == text


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


def test_a_packed_file_that_grows_too_much_says_by_how_much(tmp_path: Path) -> None:
    file = tmp_path / "a"
    data = bytes(1 << 20) + os.urandom(1 << 15)
    file.write_bytes(gzip.compress(data))
    for ratio, fits in ((32, True), (2, False)):
        if fits:
            assert read_bytes(file, max_unpacked=1000, max_ratio=ratio) == data
        else:
            with pytest.raises(InputError) as caught:
                read_bytes(file, max_unpacked=1000, max_ratio=ratio)
            says = "holds more than 0 MiB after decompression, over 2 times its size"
            assert str(caught.value) == f"{file} {says}: give it uncompressed."


def test_a_large_text_has_only_latin_characters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foldry.store.files.MAX_WIDE", 1 << 20)
    file = tmp_path / "a"
    for letter, fits in (("é", True), ("é½", True), ("Ж", False)):
        text = f"line\n{letter}" + "x" * (1 << 20)
        file.write_text(text, "utf-8")
        if fits:
            assert read_text(file) == text
        else:
            with pytest.raises(InputError) as caught:
                read_text(file)
            what = "but a text of more than 1 MiB can have only ASCII and Latin-1 characters"
            assert f"line 2, has 'Ж', {what}: " in str(caught.value)


@pytest.mark.parametrize("text", [">protéine\nMKT\n", "#=GF AU Müller\r\nMKT\n", "½"])
def test_other_encodings_are_read_as_latin_with_a_warning(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "a"
    file.write_bytes(f"MKT\n{text}".encode("latin-1"))
    assert read_text(file) == f"MKT\n{text}".replace("\r", "")
    assert caplog.messages == [f"{file}, line 2, is not UTF-8: the file is read as Latin-1."]


@pytest.mark.parametrize("name", ["q", " q", Path("in/q")])
def test_a_name_is_a_path(name: str | Path) -> None:
    assert named_path(name) == Path(name)


@pytest.mark.parametrize("name", ["", "  ", None, 3, b"q"])
def test_other_things_are_no_names(name: object) -> None:
    with pytest.raises(InputError, match="is not the name of a file or folder: give its path"):
        named_path(name)


@pytest.mark.parametrize("number", [2, 8, 9, 30])
def test_all_missing_files_are_named_at_once_but_not_too_many(tmp_path: Path, number: int) -> None:
    files = [tmp_path / f"{index:02}" for index in range(number)]
    with pytest.raises(InputError) as caught:
        check_exist([tmp_path, *files])
    shown = ", ".join(map(str, files[:8])) + (f" and {number - 8} more" if number > 8 else "")
    assert str(caught.value) == f"{number} files do not exist: check the paths {shown}."
    check_exist([tmp_path, files[0]])  # its reader says it better


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


def test_a_folder_that_is_swept_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may take it for that of a killed one."""
    locked, seen = flock.locked, list[Path]()

    def swept_first(path: Path, **how: bool) -> AbstractContextManager[bool | None]:
        seen.append(path)
        if len(seen) == 1:
            path.rmdir()
        return locked(path, **how)

    monkeypatch.setattr(flock, "locked", swept_first)
    with scratch_folder(tmp_path) as folder:
        assert folder.is_dir()
        assert [folder] == list(tmp_path.iterdir()) == seen[1:]
    assert list(tmp_path.iterdir()) == []


def test_leftovers_in_the_systems_folder_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = tmp_path / ".scratch.0123abcd.partial"
    left.mkdir()
    (left / "large").touch()
    (tmp_path / "scratch.txt").touch()
    with scratch_folder() as used, scratch_folder() as other:
        assert {*tmp_path.iterdir()} == {used, other, tmp_path / "scratch.txt"}
    assert [path.name for path in tmp_path.iterdir()] == ["scratch.txt"]


@pytest.mark.parametrize("is_brief", [False, True])
@pytest.mark.parametrize("has_links", [False, True])
def test_a_second_name_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_brief: bool, has_links: bool
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    if not has_links:
        monkeypatch.setattr(os, "link", refuse)
        monkeypatch.setattr(Path, "symlink_to", refuse)
    source, second = tmp_path / "source", tmp_path / "second"
    source.write_bytes(b"content")
    link_file(source, second, is_brief=is_brief)
    assert second.read_bytes() == b"content"
    assert second.samefile(source) is has_links
    if not is_brief:
        source.unlink()
        assert second.read_bytes() == b"content"


def test_only_the_user_reads_temporary_files(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with scratch_folder(tmp_path) as folder:
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        with new_folder(tmp_path / "final"):
            pass
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "final").stat().st_mode) == 0o755


def test_a_named_pipe_does_not_hold_up_the_cleaning(tmp_path: Path) -> None:
    """Opening it for reading waits for a writer, in a thread that no exception ends."""
    os.mkfifo(tmp_path / ".scratch.0123abcd.partial")
    cleaning = threading.Thread(target=sweep, args=(tmp_path,), daemon=True)
    cleaning.start()
    cleaning.join(20)
    assert not cleaning.is_alive()
    assert list(tmp_path.iterdir()) == []
