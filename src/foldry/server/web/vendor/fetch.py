"""Fetch the Mol* viewer again: `make vendor`. Needs npm; nothing else in Foldry does."""

from __future__ import annotations

import base64
import gzip
import hashlib
import subprocess
import tarfile
import tempfile
from pathlib import Path

VERSION = "5.11.0"
INTEGRITY = (
    "Jv2oHkKoCpzrhqLmGlknepm0pfRsoTDebsGRkvXpbUFb6p+JIAkhLyM3uqV2twC6VR83ZbXtdswOtouPhozpuQ=="
)
"""SHA-512 of the package, as its publisher states it."""
ASSETS = {
    "molstar.js": "package/build/viewer/molstar.js",
    "molstar.css": "package/build/viewer/molstar.css",
}
LICENSE = "package/LICENSE"


def fetch(folder: Path) -> None:
    """Write the gzipped viewer, its licence and the SHA-256 of each unpacked file.

    Raises:
        ValueError: The package is not the one its publisher stated.
    """
    with tempfile.TemporaryDirectory() as scratch:
        command = ["npm", "pack", "--silent", f"molstar@{VERSION}"]
        subprocess.run(command, cwd=scratch, check=True, stdout=subprocess.DEVNULL)
        package = Path(scratch) / f"molstar-{VERSION}.tgz"
        digest = hashlib.sha512(package.read_bytes()).digest()
        if base64.b64encode(digest).decode() != INTEGRITY:
            raise ValueError(f"molstar {VERSION} does not have the SHA-512 of its publisher")
        with tarfile.open(package) as archive:
            assets = {name: _member(archive, path) for name, path in ASSETS.items()}
            licence = _member(archive, LICENSE)
    for name, data in assets.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(data, 9, mtime=0))
    (folder / "LICENSE").write_bytes(licence)
    (folder / "VERSION").write_text(f"molstar {VERSION}\n", "utf-8")
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in assets.items())
    (folder / "SHA256SUMS").write_text(sums, "utf-8")


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    if file is None:
        raise ValueError(f"molstar {VERSION} has no file {name}")
    return file.read()


if __name__ == "__main__":
    fetch(Path(__file__).parent)
