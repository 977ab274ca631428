"""Text files and their lines, within limits: a few kB of gzip can expand to gigabytes of text."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from foldry.errors import InputError
from foldry.store.files import decode, read_bytes
from foldry.store.packing import open_unpacked

MAX_TEXT: Final = 256 * 1024**2
"""Maximum size of a decompressed text file in bytes; readers need up to four times as much."""
MAX_LINES: Final = 5_000_000
"""Maximum number of lines of a text."""
MAX_LINE: Final = 10_000_000
"""Maximum length of a line."""
_MAX_STREAMED_LINE: Final = 1_000_000
"""Maximum length of a line of a file that is not held in memory."""


def read_bounded_text(path: Path) -> str:
    """Return the content of a text file, as `foldry.store.files.read_text` does.

    Raises:
        InputError: As for `read_text`, or the text has more than `MAX_TEXT` bytes.
    """
    return decode(read_bytes(path, MAX_TEXT), str(path))


def lines(text: str, source: str, first: int = 1) -> Iterator[tuple[int, str]]:
    """Yield the number (from `first`) and the text of each line, without its newline.

    Lines are created one at a time: `text.split` would need gigabytes for a text of newlines.

    Raises:
        InputError: There are more than `MAX_LINES`, or one is longer than `MAX_LINE`.
    """
    if text.count("\n") > MAX_LINES:
        raise InputError(f"has more than {MAX_LINES} lines", "give a smaller file", where=source)
    number, begin = first - 1, 0
    while begin < len(text):
        end = text.find("\n", begin)
        end = len(text) if end < 0 else end
        number += 1
        if end - begin > MAX_LINE:
            what, place = f"has more than {MAX_LINE} characters", f"{source}, line {number}"
            raise InputError(what, "break it into several lines", where=place)
        yield number, text[begin:end]
        begin = end + 1


def stream_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each line of a file of any size, packed or not.

    Only one line is held in memory. Bytes that are not UTF-8 become replacement characters.

    Raises:
        InputError: The file cannot be read, is damaged, or has a line of more than a million bytes.
    """
    try:
        with open_unpacked(path) as unpacked:
            source = io.BufferedReader(unpacked, 1 << 20) if unpacked else path.open("rb")
            with source:
                number = 0
                while line := source.readline(_MAX_STREAMED_LINE):
                    number += 1
                    if len(line) == _MAX_STREAMED_LINE:
                        what, place = "is too long", f"{path}, line {number}"
                        raise InputError(what, "break it into several lines", where=place)
                    yield number, line.decode("utf-8", "replace").rstrip("\r\n")
                if unpacked:
                    unpacked.check()
    except FileNotFoundError:
        raise InputError("does not exist", "check the path", where=path) from None
    except OSError as error:
        reason = error.strerror or "it cannot be opened"
        raise InputError(f"cannot be read ({reason})", "check the file", where=path) from None
