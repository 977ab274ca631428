"""Wall time and CPU time of `foldry fold` for many short proteins, with mini.

    python benchmarks/short_queries.py [--before CHECKOUT] [--number 50] [--repeats 3] [--cores 2]

The proteins are pieces of 60 to 120 residues of the examples' alignments, with their rows. Every
run is a separate process from the shell to the reports, with a new folder. With CHECKOUT, another
version of Foldry folds the same proteins; the runs of both alternate. The last column is the ratio
of proteins per second, this checkout over the other one, by the medians of the wall time.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import count
from pathlib import Path

from compare_checkouts import check_checkout, columns, environment
from script import run_script
from startup import processor

HERE = Path(__file__).resolve().parent.parent
ALIGNMENTS = ("kunitz/1adz", "trypsin/1trn", "malate_dehydrogenase/1mld_AB")
LENGTHS = range(60, 121)


def write_proteins(folder: Path, number: int) -> int:
    """Write pieces of the alignments, each of another place; return their residues."""
    texts = [(HERE / "examples" / f"{name}.a3m").read_text("utf-8") for name in ALIGNMENTS]
    residues = written = 0
    for turn in count():
        text = texts[turn % len(texts)]
        whole = len(text.split("\n")[1])
        length = min(whole, LENGTHS[turn * 23 % len(LENGTHS)])
        start = turn * 17 % (whole - length + 1)
        path = folder / f"{turn % len(texts)}_{start}_{length}.a3m"
        if path.exists():  # the shortest alignment has few pieces
            continue
        if written == number:
            return residues
        path.write_text(columns(text, start, start + length), "utf-8")
        residues += length
        written += 1
    return residues


def fold(checkout: Path, proteins: Path, out: Path, options: list[str]) -> tuple[float, float]:
    """Fold all proteins; return the wall time and the CPU time of all processes, in seconds."""
    variables = {**os.environ, "PYTHONPATH": environment(checkout)["PYTHONPATH"]}
    command = [sys.executable, "-m", "foldry.cli.main", "fold", str(proteins), "-o", str(out)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run([*command, "--device", "cpu", *options], env=variables, check=True, stdout=-3)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print the times of each version."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", type=Path, help="a checkout of another version")
    parser.add_argument("--number", type=int, default=50, help="number of proteins")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each version")
    parser.add_argument("--cores", type=int, default=2, help="cores that each run may use")
    parser.add_argument("--options", default="", help="options of this checkout's runs")
    arguments = parser.parse_args()
    checkouts = {"this checkout": HERE}
    if arguments.before is not None:
        check_checkout(arguments.before)
        checkouts["before"] = arguments.before
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.cores])
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in checkouts}
    with tempfile.TemporaryDirectory() as folder:
        proteins = Path(folder) / "proteins"
        proteins.mkdir()
        residues = write_proteins(proteins, arguments.number)
        print(f"{processor()}; {arguments.cores} used")
        print(f"{arguments.number} proteins, {residues / arguments.number:.0f} residues on average")
        for number in range(arguments.repeats):
            for name, checkout in checkouts.items():
                options = arguments.options.split() if checkout == HERE else []
                out = Path(folder) / f"{name}{number}"
                times[name].append(fold(checkout, proteins, out, options))
    titles = ("", "median s", "fastest", "per s", "CPU-s each", "ratio")
    print("{:15s} {:>9s} {:>9s} {:>7s} {:>11s} {:>6s}".format(*titles))
    slowest = statistics.median(wall for wall, _ in times[list(checkouts)[-1]])
    for name, measured in times.items():
        walls, cpus = zip(*measured, strict=True)
        wall, cpu = statistics.median(walls), statistics.median(cpus) / arguments.number
        print(f"{name:15s} {wall:9.1f} {min(walls):9.1f} {arguments.number / wall:7.2f} ", end="")
        print(f"{cpu:11.3f} {slowest / wall:6.2f}")


if __name__ == "__main__":
    run_script(main)
