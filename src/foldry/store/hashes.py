"""Content hashes: SHA-256 of bytes, files and anything that JSON can write."""

from __future__ import annotations

import hashlib
import json
from functools import partial
from pathlib import Path


def sha256(data: bytes | memoryview) -> str:
    """SHA-256 of bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return file_digest(path, "sha256").hex()


def file_digest(path: Path, algorithm: str) -> bytes:
    """Digest of a file as others state it, such as `md5`, which shows damage, not malice."""
    with path.open("rb") as file:
        new = partial(hashlib.new, algorithm, usedforsecurity=False)
        return hashlib.file_digest(file, new).digest()


def content_key(parts: object) -> str:
    """SHA-256 of a value as JSON: equal for equal parts, whatever process makes it."""
    return sha256(json.dumps(parts).encode())
