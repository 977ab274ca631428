"""Data that a page contains; embedded.js reads it."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Final

_LEVEL: Final = 4
"""Level of compression; higher ones take two to three times as long and save 5%."""


def script_json(value: object) -> str:
    """Return JSON that cannot end the script element that contains it."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def packed(data: bytes) -> str:
    """Return bytes as compressed text."""
    return base64_text(gzip.compress(data, _LEVEL, mtime=0))


def base64_text(data: bytes) -> str:
    """Return bytes as text."""
    return base64.b64encode(data).decode()
