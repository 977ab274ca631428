"""Fetch the Mol* viewer again: `make vendor`. Needs npm; nothing else in Foldry does."""

from __future__ import annotations

import base64
import gzip
import json
import subprocess
import tarfile
from pathlib import Path

from foldry.store.files import scratch_folder, write_bytes, write_text
from foldry.store.hashes import file_digest, sha256

VERSION = "5.11.0"
INTEGRITY = (
    "Jv2oHkKoCpzrhqLmGlknepm0pfRsoTDebsGRkvXpbUFb6p+JIAkhLyM3uqV2twC6VR83ZbXtdswOtouPhozpuQ=="
)
"""SHA-512 of the package, as stated by its publisher."""


def fetch(folder: Path) -> None:
    """Write the gzipped viewer, its SHA-256 when unpacked, its version and its licence.

    Raises:
        ValueError: The package does not have the SHA-512 stated by its publisher.
    """
    with scratch_folder(folder) as scratch:
        command = ["npm", "pack", "--silent", f"molstar@{VERSION}"]
        subprocess.run(command, cwd=scratch, check=True, stdout=subprocess.DEVNULL)
        package = scratch / f"molstar-{VERSION}.tgz"
        if base64.b64encode(file_digest(package, "sha512")).decode() != INTEGRITY:
            raise ValueError(f"molstar {VERSION} does not have the SHA-512 of its publisher")
        with tarfile.open(package) as archive:
            licence, script, style = (
                _member(archive, f"package/{path}")
                for path in ("LICENSE", "build/viewer/molstar.js", "build/viewer/molstar.css")
            )
    # One file contains everything; components.js extracts the style.
    viewer = b"/*! Mol* %b\n\n%b*/\n%b\nmolstar.style = %b;\n" % (
        VERSION.encode(),
        licence,
        script,
        json.dumps(style.decode()).encode(),
    )
    write_bytes(folder / "viewer.js.gz", gzip.compress(viewer, 9, mtime=0))
    write_text(folder / "SHA256SUMS", f"{sha256(viewer)}  viewer.js\n")
    write_text(folder / "VERSION", f"molstar {VERSION}\n")
    write_bytes(folder / "LICENSE", licence)


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    if file is None:
        raise ValueError(f"molstar {VERSION} has no file {name}")
    return file.read()


if __name__ == "__main__":
    fetch(Path(__file__).parent)
