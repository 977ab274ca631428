"""Wall time with one and with two threads, on a quiet and on a busy machine.

    python benchmarks/threads.py [--length 128] [--repeats 5] [--spinning]

Each run is a new process with the settings of the command line. It folds the start of the trypsin
example three times with mini, or computes six times one Evoformer block of model_1_ptm with 128
rows; the time is that of the runs after the first. The runs with one and two threads alternate.
While the machine is busy, another program computes on every core. `--spinning` adds runs in which
the threads of OpenMP spin while they wait. The last column is the median of two threads over that
of one thread.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

from compare_checkouts import columns
from script import run_script
from startup import processor

HERE = Path(__file__).resolve().parent.parent
EXAMPLE = HERE / "examples" / "trypsin" / "1trn.a3m"
ACTIVE = {"OMP_WAIT_POLICY": "ACTIVE"}
FOLD = """
import sys, time
from foldry.processes import tuning
tuning.begin()
import foldry
from foldry.kernels.matmul import tuned_process
with tuned_process():
    foldry.fold(sys.argv[1], device="cpu")
    start = time.perf_counter()
    for _ in range(2):
        foldry.fold(sys.argv[1], device="cpu")
print((time.perf_counter() - start) / 2)
"""
BLOCK = """
import sys, time
from foldry.processes import tuning
tuning.begin()
import torch
from evoformer_block import Programs
from foldry.kernels.matmul import tuned_process
num_threads = torch.get_num_threads()
programs = Programs(int(sys.argv[1]), 128, None)
torch.set_num_threads(num_threads)
with tuned_process(), torch.inference_mode():
    calls = [programs.call("cpu", {})[0] for _ in range(6)]
    calls.pop()()
    start = time.perf_counter()
    for call in calls:
        call()
print((time.perf_counter() - start) / len(calls))
"""


def seconds(program: str, argument: str, threads: int, variables: dict[str, str]) -> float:
    """Return the wall time of a program's computation with a number of threads, in seconds."""
    kept = {name: text for name, text in os.environ.items() if "THREADS" not in name}
    folders = os.pathsep.join(map(str, (HERE / "src", HERE / "benchmarks")))
    found = kept | variables | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": folders}
    command = [sys.executable, "-c", program, argument]
    ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=found)
    return float(ended.stdout)


@contextmanager
def busy(cores: int) -> Iterator[None]:
    """Compute on some cores in other processes."""
    command = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(command) for _ in range(cores)]
    try:
        yield
    finally:
        for each in others:
            each.kill()
            each.wait()


def main() -> None:
    """Print the times of one and two threads."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--spinning", action="store_true", help="also let threads spin")
    arguments = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    print(f"{processor()}; {arguments.length} residues, {arguments.repeats} runs")
    titles = "one: median s", "fastest", "two: median s", "fastest", "ratio"
    print(f"{'':22s}" + "".join(f" {title:>13s}" for title in titles))
    with tempfile.TemporaryDirectory() as folder:
        query = Path(folder) / "query.a3m"
        query.write_text(columns(EXAMPLE.read_text("utf-8"), 0, arguments.length), "utf-8")
        programs = {"mini": (FOLD, str(query)), "block": (BLOCK, str(arguments.length))}
        policies = ({}, ACTIVE) if arguments.spinning else ({},)
        for waiting, load, title in product(policies, (0, cores), programs):
            found: dict[int, list[float]] = {1: [], 2: []}
            with busy(load):
                for _ in range(arguments.repeats):
                    for threads, times in found.items():
                        times.append(seconds(*programs[title], threads, waiting))
            one, two = (statistics.median(times) for times in found.values())
            numbers = one, min(found[1]), two, min(found[2]), two / one
            name = f"{title}, {'busy' if load else 'quiet'}{', spinning' if waiting else ''}"
            print(f"{name:22s}" + "".join(f" {each:13.2f}" for each in numbers))


if __name__ == "__main__":
    run_script(main)
