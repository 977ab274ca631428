"""Text files and their lines, within limits: a few kB of gzip can expand to gigabytes of text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from foldry.errors import InputError
from foldry.store.files import decode, read_bytes

MAX_TEXT: Final = 256 * 1024**2
"""Maximum size of a decompressed text file in bytes; readers need up to four times as much."""
MAX_LINES: Final = 5_000_000
"""Maximum number of lines of a text."""
MAX_LINE: Final = 10_000_000
"""Maximum length of a line."""


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
