"""Seconds of a training step of `mini` and its losses, by two checkouts of Foldry.

    python benchmarks/train_change.py BEFORE --data ../shared/data [--steps 8] [--repeats 3]

Both checkouts train from the bundled weights on the same samples at a crop of 128 residues, each in
its own process with one thread, one after the other. The seconds are those of the log, without the
first two steps; CPU seconds are those of the whole command.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

from script import run_script

ROOT = Path(__file__).resolve().parent.parent
WARM_UP = 2
TRAIN = "train --device cpu --dtype float32 --stage main --set crop_size=128 --start"
MINI = "src/foldry/weights/mini.safetensors"


def train(checkout: Path, data: Path, steps: int) -> tuple[float, float, list[float]]:
    """Return seconds per step, CPU seconds, and the loss of every step."""
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": "1"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "foldry.cli.main", *TRAIN.split(), str(ROOT / MINI)]
        command += ["--data", str(data.resolve()), "--steps", str(steps), "-o", out]
        subprocess.run(command, check=True, capture_output=True, env=environment)
        lines = [json.loads(line) for line in Path(out, "log.jsonl").read_text().splitlines()]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    of_steps = [line for line in lines if "seconds" in line and "loss" in line]
    elapsed = [line["seconds"] for line in of_steps[WARM_UP - 1 :]]
    seconds = statistics.median(now - last for last, now in pairwise(elapsed))
    return seconds, cpu, [line["loss"] for line in of_steps]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    sides = {"before": arguments.before.resolve(), "after": ROOT}
    runs = {name: [] for name in sides}
    for _ in range(arguments.repeats):
        for name, checkout in sides.items():
            runs[name].append(train(checkout, arguments.data, arguments.steps))
    print(f"{'':<8}{'s per step':>12}{'CPU-s':>8}  losses")
    for name, found in runs.items():
        seconds, cpu, losses = min(found)
        print(f"{name:<8}{seconds:12.2f}{cpu:8.1f}  {' '.join(f'{each:.5f}' for each in losses)}")


if __name__ == "__main__":
    run_script(main)
