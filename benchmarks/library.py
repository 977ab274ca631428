"""Seconds and memory to make, check and update a library of many structures.

    python benchmarks/library.py [--files 10000] [--changed 100]

The files are copies of the proteins in examples/, each with another title: a Kunitz domain and a
trypsin as mmCIF, a dimer as packed mmCIF, and the trypsin in the PDB's format, one of 300 damaged.
`foldry search db add --structures` adds them, adds them again unchanged, and again after some
changed. Memory is that of the largest process. It needs Linux.
"""

from __future__ import annotations

import argparse
import gzip
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from foldry.errors import InputError
from foldry.formats.coordinates import read_structure, to_pdb
from script import run_script
from startup import processor

ROOT: Final = Path(__file__).resolve().parent.parent
EXAMPLES: Final = ROOT / "examples"
DAMAGED: Final = 300


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--files", type=int, default=10_000, help="number of files")
    parser.add_argument("--changed", type=int, default=100, help="files that change")
    arguments = parser.parse_args()
    if not 0 <= arguments.changed <= arguments.files or arguments.files < 1:
        raise InputError("The numbers of files do not fit", "change at most all files")
    with tempfile.TemporaryDirectory() as scratch:
        folder, databases = Path(scratch, "library"), Path(scratch, "databases")
        sources = texts()
        write(folder, sources, range(arguments.files), "first")
        size = sum(each.stat().st_size for each in folder.rglob("*.*")) / 1e6
        print(processor())
        print(f"{arguments.files:,} files, {size:,.0f} MB\n")
        print(f"{'run':<12}{'seconds':>9}{'CPU-s':>9}{'files/s':>9}{'memory, MB':>12}")
        for run in ("first", "unchanged", "changed"):
            if run == "changed":
                write(folder, sources, range(arguments.changed), "second")
            seconds, cpu, memory = add(folder, databases)
            rate = arguments.files / seconds
            print(f"{run:<12}{seconds:>9.1f}{cpu:>9.1f}{rate:>9.0f}{memory:>12.0f}", flush=True)
        [index] = databases.glob("structures/*")
        sizes = {each.name: each.stat().st_size / 1e6 for each in index.iterdir()}
        print(f"\nindex: {', '.join(f'{name} {mb:.1f} MB' for name, mb in sorted(sizes.items()))}")
    return 0


def texts() -> list[tuple[str, str]]:
    """Return texts of structures with the suffixes of their files."""
    kunitz = (EXAMPLES / "kunitz" / "1adz.cif").read_text()
    trypsin = (EXAMPLES / "trypsin" / "1trn.cif").read_text()
    dimer = gzip.decompress((EXAMPLES / "malate_dehydrogenase" / "1mld_AB.cif.gz").read_bytes())
    pdb = to_pdb(read_structure(EXAMPLES / "trypsin" / "1trn.cif"))
    return [(".cif", kunitz), (".cif", trypsin), (".cif.gz", dimer.decode()), (".pdb", pdb)]


def write(folder: Path, sources: list[tuple[str, str]], numbers: range, title: str) -> None:
    """Write files in folders as the PDB has them; their titles make them differ."""
    for number in numbers:
        suffix, text = sources[number % len(sources)]
        name = f"{number:06}"
        path = folder / name[-3:-1] / f"{name}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        is_pdb = suffix == ".pdb"
        text = f"TITLE     {title} {number}\n{text}" if is_pdb else f"{text}# {title} {number}\n"
        data = (text[: len(text) // 2] if number % DAMAGED == 0 else text).encode()
        path.write_bytes(gzip.compress(data, 1) if suffix.endswith(".gz") else data)


def add(folder: Path, databases: Path) -> tuple[float, float, float]:
    """Add a library, and return seconds, CPU-seconds and the memory of a process in MB."""
    command = [sys.executable, "-m", "foldry", "search", "db", "add", "--structures", str(folder)]
    paths = os.pathsep.join([str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "FOLDRY_DATABASES": str(databases), "PYTHONPATH": paths}
    begun = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3


if __name__ == "__main__":
    run_script(main)
