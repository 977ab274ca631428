"""The lines of JSON that a run adds to its logs; a kill may leave a part of the last one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def append_line(path: Path, line: Mapping[str, object]) -> None:
    """Add a line; the part of one that a killed process left is taken out first."""
    with path.open("ab+") as file:
        file.seek(max(file.tell() - 1, 0))
        if file.read(1) not in (b"", b"\n"):
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
        file.write(json.dumps(line).encode() + b"\n")


def last_line(path: Path) -> dict[str, Any]:
    """The last line that is whole; empty where there is none."""
    lines = path.read_bytes().splitlines() if path.is_file() else []
    for line in reversed(lines):
        try:
            read: dict[str, Any] = json.loads(line)
        except ValueError:
            continue
        return read
    return {}
