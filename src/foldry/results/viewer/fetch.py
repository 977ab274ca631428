"""Fetch the Mol* viewer again: `make vendor`. Needs npm; nothing else in Foldry does."""

from __future__ import annotations

import base64
import gzip
import subprocess
import tarfile
from pathlib import Path

from foldry.store.files import scratch_folder, write_bytes, write_text
from foldry.store.hashes import file_digest, sha256

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
    with scratch_folder() as scratch:
        command = ["npm", "pack", "--silent", f"molstar@{VERSION}"]
        subprocess.run(command, cwd=scratch, check=True, stdout=subprocess.DEVNULL)
        package = scratch / f"molstar-{VERSION}.tgz"
        if base64.b64encode(file_digest(package, "sha512")).decode() != INTEGRITY:
            raise ValueError(f"molstar {VERSION} does not have the SHA-512 of its publisher")
        with tarfile.open(package) as archive:
            assets = {name: _member(archive, path) for name, path in ASSETS.items()}
            licence = _member(archive, LICENSE)
    for name, data in assets.items():
        write_bytes(folder / f"{name}.gz", gzip.compress(data, 9, mtime=0))
    write_bytes(folder / "LICENSE", licence)
    write_text(folder / "VERSION", f"molstar {VERSION}\n")
    sums = "".join(f"{sha256(data)}  {name}\n" for name, data in assets.items())
    write_text(folder / "SHA256SUMS", sums)


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    if file is None:
        raise ValueError(f"molstar {VERSION} has no file {name}")
    return file.read()


if __name__ == "__main__":
    fetch(Path(__file__).parent)
