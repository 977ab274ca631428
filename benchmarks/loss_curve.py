"""Losses and lDDT-Cα of the training crops of a run, by samples seen.

    python benchmarks/loss_curve.py RUN [--chunks 20] [--svg FILE]

RUN is a folder of `foldry train`. Its log.jsonl is read without the stage `confidence`, which has
other losses. Each row is a mean over the same number of samples; if a step has several lines, the
last counts.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from chart import Series, svg
from script import run_script

COLUMNS = ("loss", "distogram", "backbone", "lddt")


def read(folder: Path) -> list[dict[str, float]]:
    """Return the lines that count, in order."""
    steps = {}
    for line in (folder / "log.jsonl").read_text("utf-8").splitlines():
        values = json.loads(line)
        if values["stage"] != "confidence":
            steps[values["num_samples"]] = values
    return [steps[samples] for samples in sorted(steps)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--chunks", type=int, default=20)
    parser.add_argument("--svg", type=Path)
    arguments = parser.parse_args()
    lines = read(arguments.run)
    last = lines[-1]["num_samples"]
    print("| samples | stage | " + " | ".join(COLUMNS) + " |")
    print("|---|---" + "|---" * len(COLUMNS) + "|")
    means = []
    for number in range(arguments.chunks):
        low, high = (last * edge / arguments.chunks for edge in (number, number + 1))
        chunk = [line for line in lines if low < line["num_samples"] <= high]
        if not chunk:
            continue
        values = [sum(line.get(name, 0.0) for line in chunk) / len(chunk) for name in COLUMNS]
        means.append((chunk[-1]["num_samples"], values))
        cells = " | ".join(f"{value:.2f}" for value in values)
        print(f"| {means[-1][0]:,} | {chunk[-1]['stage']} | {cells} |")
    minutes = last_of_each_start(lines) / 60
    print(f"{last:,} samples in {minutes:.1f} minutes")
    if arguments.svg:
        drawn = [
            Series(name, [(samples, values[COLUMNS.index(name)]) for samples, values in means])
            for name in ("loss", "distogram", "backbone")
        ]
        title = f"Losses of a training run of mini, {minutes:.0f} minutes"
        arguments.svg.write_text(svg(title, ("samples", "loss"), drawn), "utf-8")


def last_of_each_start(lines: list[dict[str, float]]) -> float:
    """Return the total seconds of a run's stages."""
    seconds: dict[object, float] = {}
    for line in lines:
        seconds[line["stage"]] = max(line["seconds"], seconds.get(line["stage"], 0.0))
    return sum(seconds.values())


if __name__ == "__main__":
    run_script(main)
