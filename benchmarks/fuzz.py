"""Read thousands of damaged files with every reader.

python benchmarks/fuzz.py [READER ...] [--mutations 3000] [--seed 1]

Prints for each reader the numbers of files read and refused, the longest time and the most memory,
and every file that raised an error other than Foldry's own, hung, or took more than 1 GB.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.fuzz.readers import READERS
from tests.fuzz.run import fuzz

from script import run_script


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("readers", nargs="*", default=list(READERS))
    parser.add_argument("--mutations", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if unknown := sorted(set(arguments.readers) - set(READERS)):
        parser.error(f"unknown reader {unknown[0]!r}: choose from {', '.join(READERS)}")
    print("| reader | read | refused | faults | slowest (s) | most memory (MiB) |")
    print("|---|---|---|---|---|---|")
    failed = []
    for name in arguments.readers:
        tally = fuzz(name, arguments.mutations, arguments.seed)
        print(
            f"| {name} | {tally.read} | {tally.refused} | {len(tally.faults)} "
            f"| {tally.seconds:.2f} | {tally.bytes / 2**20:.0f} |",
            flush=True,
        )
        failed += [f"{name} {fault}" for fault in tally.faults]
    print(*failed, sep="\n")
    sys.exit(bool(failed))


if __name__ == "__main__":
    run_script(main)
