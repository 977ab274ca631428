"""Reading files: line ends, gzip, bounds."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from foldry.errors import InputError
from foldry.formats.files import read_bytes, read_text


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
    monkeypatch.setattr("foldry.formats.files.MAX_BYTES", 1000)
    file = tmp_path / "a"
    for size, fits in ((1000, True), (1001, False)):
        data = b"x" * size
        file.write_bytes(gzip.compress(data) if packed else data)
        if fits:
            assert read_bytes(file) == data
        else:
            with pytest.raises(InputError, match="smaller"):
                read_bytes(file)
