"""Wall time of `foldry fold` with mini, from the shell to the report.

    python benchmarks/fold_mini.py [--length 100] [--repeats 3]

The query is the start of the trypsin example with its alignment. Each run is a separate process, so
start-up is included.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from foldry.formats.a3m import parse_a3m
from foldry.store.files import read_text
from script import run_script

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "trypsin" / "1trn.a3m"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--length", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--weights", default="mini")
    arguments = parser.parse_args()
    alignment = parse_a3m(read_text(EXAMPLE), EXAMPLE.name)
    rows = [row[: arguments.length] for row in alignment.sequences]
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        query = Path(folder) / "query.a3m"
        query.write_text("".join(f">row{number}\n{row}\n" for number, row in enumerate(rows)))
        command = [sys.executable, "-m", "foldry.cli.main", "fold", str(query), "-o"]
        for number in range(arguments.repeats):
            start = time.perf_counter()
            out = str(Path(folder) / f"out{number}")
            options = ["--weights", arguments.weights, "--device", "cpu"]
            subprocess.run([*command, out, *options], check=True, capture_output=True)
            seconds.append(time.perf_counter() - start)
    print(f"{arguments.length} residues, {len(rows)} rows, mini; ", end="")
    print(f"{platform.machine()}, {os.cpu_count()} cores")
    print(f"median {statistics.median(seconds):.1f} s, of {arguments.repeats}: ", end="")
    print(" ".join(f"{each:.1f}" for each in seconds))


if __name__ == "__main__":
    run_script(main)
