"""Reading files: line ends, gzip, bounds."""

from __future__ import annotations

import errno
import gzip
import os
import stat
from pathlib import Path

import pytest

from foldry.errors import DiskFullError, InputError
from foldry.store.files import read_bytes, read_text, write_bytes


def test_line_ends_and_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"\xef\xbb\xbfone\r\ntwo\rthree\n")
    assert read_text(file) == "one\ntwo\nthree\n"


def test_gzip_is_known_by_its_content(tmp_path: Path) -> None:
    file = tmp_path / "no-suffix"
    file.write_bytes(gzip.compress(b"one") + gzip.compress(b"two"))
    assert read_bytes(file) == b"onetwo"


@pytest.mark.parametrize("packed", [False, True])
def test_size_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool) -> None:
    monkeypatch.setattr("foldry.store.files.MAX_BYTES", 1000)
    file = tmp_path / "a"
    for size, fits in ((1000, True), (1001, False)):
        data = b"x" * size
        file.write_bytes(gzip.compress(data) if packed else data)
        if fits:
            assert read_bytes(file) == data
        else:
            with pytest.raises(InputError, match="smaller"):
                read_bytes(file)


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
