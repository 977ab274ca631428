"""Content hashes: SHA-256 of bytes, files and anything that JSON can write."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path


def sha256(data: bytes | memoryview) -> str:
    """SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_md5_base64(path: Path) -> str:
    """MD5 of a file in base64, as some servers state it; it shows damage, not malice."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).digest()
    return base64.b64encode(digest).decode()


def content_key(parts: object) -> str:
    """SHA-256 of a value as JSON: equal for equal parts, whatever process makes it."""
    return sha256(json.dumps(parts).encode())
