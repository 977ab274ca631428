"""Seconds of a cold `foldry --help`: median of n new processes.

python benchmarks/startup.py [n]
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

from script import run_script

COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import foldry": [sys.executable, "-c", "import foldry"],
    "foldry --help": [str(Path(sys.executable).with_name("foldry")), "--help"],
    "foldry fold --help": [str(Path(sys.executable).with_name("foldry")), "fold", "--help"],
}


def seconds(command: list[str]) -> float:
    """Return the wall time of one run of a command, in seconds."""
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


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
    print(f"{'command':20s} {'median s':>9s} {'fastest':>9s} {'slowest':>9s}")
    for name, command in COMMANDS.items():
        times = sorted(seconds(command) for _ in range(runs))
        print(f"{name:20s} {statistics.median(times):9.3f} {times[0]:9.3f} {times[-1]:9.3f}")


if __name__ == "__main__":
    run_script(main)
