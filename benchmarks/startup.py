"""Seconds of a cold `foldry --help` and of the imports of a fold: median of n new processes.

python benchmarks/startup.py [n]
"""

from __future__ import annotations

import argparse
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from script import run_script

_IMPORTS = """
from foldry.processes.tuning import begin, quick_imports
begin()
with quick_imports():
    import foldry.predict.runner
"""
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import foldry": [sys.executable, "-c", "import foldry"],
    "foldry --help": [str(Path(sys.executable).with_name("foldry")), "--help"],
    "foldry fold --help": [str(Path(sys.executable).with_name("foldry")), "fold", "--help"],
    "import torch": [sys.executable, "-c", "import torch"],
    "import a fold": [sys.executable, "-c", _IMPORTS],
}


def seconds(
    command: Sequence[str], environment: Mapping[str, str] | None = None
) -> tuple[float, float]:
    """Return the wall time and the CPU time of one run of a command, in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=environment)
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def processor() -> str:
    """Return the processor's name."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]}, {len(names)} cores" if names else platform.processor()


def main() -> None:
    """Print the median and the range of n runs of each command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("n", type=int, nargs="?", default=10, help="runs of each command")
    runs = parser.parse_args().n
    print(f"{processor()}; Python {platform.python_version()}; {runs} runs")
    print(f"{'command':20s} {'median s':>9s} {'fastest':>9s} {'slowest':>9s} {'CPU-s':>9s}")
    for name, command in COMMANDS.items():
        walls, cpus = zip(*sorted(seconds(command) for _ in range(runs)), strict=True)
        print(
            f"{name:20s} {statistics.median(walls):9.3f} {walls[0]:9.3f} {walls[-1]:9.3f}", end=""
        )
        print(f" {statistics.median(cpus):9.3f}")


if __name__ == "__main__":
    run_script(main)
