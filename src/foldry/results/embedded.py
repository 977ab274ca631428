"""Data that a page contains; embedded.js reads it."""

from __future__ import annotations

import base64
import gzip
import json


def script_json(value: object) -> str:
    """Return JSON that cannot end the script element that contains it."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def packed(data: bytes) -> str:
    """Return bytes as compressed text."""
    return base64_text(gzip.compress(data, mtime=0))


def base64_text(data: bytes) -> str:
    """Return bytes as text."""
    return base64.b64encode(data).decode()
