"""HH-suite databases of a few alignments, made by HH-suite's own programs."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

# Debian keeps a build for each instruction set; `plain` runs on every processor.
BUILDS = Path("/usr/libexec/hhsuite")
CSTRANSLATE = (BUILDS / "cstranslate-plain", BUILDS / "cstranslate")
LIBRARIES = (Path("/usr/lib/hhsuite/data"), Path("/usr/share/hhsuite/data"))
PROGRAMS = ("hhblits", "hhmake", "ffindex_build")


def need_hhsuite() -> None:
    """Skip the test if a program or a file of HH-suite is missing."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    missing += [] if cstranslate() else ["cstranslate"]
    missing += [] if libraries() else ["cs219.lib"]
    if missing:
        pytest.skip(f"needs {', '.join(missing)} (Debian: apt install hhsuite)")


def cstranslate() -> str:
    """Return the path of cstranslate; "" if it is missing."""
    found = next((str(path) for path in CSTRANSLATE if path.is_file()), None)
    return found or shutil.which("cstranslate") or ""


def libraries() -> Path | None:
    """Return the folder of the libraries of cstranslate; None if it is missing."""
    places = [*LIBRARIES]
    if program := cstranslate():
        places.append(Path(program).resolve().parent.parent / "data")
    return next((place for place in places if (place / "cs219.lib").is_file()), None)


def build(path: Path, alignments: Mapping[str, str]) -> Path:
    """Make a database from a3m texts by their names, and return what its files' names share.

    An entry has the same name in all files, as in the published databases: hhblits then reads the
    models of hhmake.
    """
    folder, data = path.with_name(f"{path.name}_texts"), libraries()
    assert data is not None
    for kind in ("a3m", "hhm"):
        (folder / kind).mkdir(parents=True)
    for name, text in alignments.items():
        (folder / "a3m" / name).write_text(text)
        run("hhmake", "-i", folder / "a3m" / name, "-o", folder / "hhm" / name, "-v", "0")
    for kind in ("a3m", "hhm"):
        files = (f"{path}_{kind}.{end}" for end in ("ffdata", "ffindex"))
        run("ffindex_build", "-s", *files, folder / kind)
    contexts = ("-A", data / "cs219.lib", "-D", data / "context_data.lib")
    files = ("-i", f"{path}_a3m", "-o", f"{path}_cs219")
    run(cstranslate(), *contexts, "-x", "0.3", "-c", "4", "-f", *files, "-I", "a3m", "-b")
    return path


def run(*command: object) -> None:
    """Run a program, whose output is shown only if it fails."""
    done = subprocess.run([str(word) for word in command], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
