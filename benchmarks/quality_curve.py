"""Accuracy of mini on val by samples seen, beside published small networks.

    python benchmarks/quality_curve.py [WEIGHTS …] [--known TABLE] [--svg FILE]

Each file's metadata gives the number of samples. The authors of the published curves measured on
nanoFold's 1,000 validation chains, with deep alignments (about 980 rows) and without templates;
ours use 150 chains with a median of 14 homologues.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from chart import Series, svg
from foldry.weights.state_file import load
from script import run_script

CONDITIONS = ("hits", "alignment")
PUBLISHED = {
    "plain transformer, Cα losses, 5.0 M": ((1e3, 0.385), (4e3, 0.402), (14e3, 0.406)),
    "SimplexFold, 3.2 M": (
        *((8e3, 0.348), (24e3, 0.360), (32e3, 0.374)),
        *((64e3, 0.398), (72e3, 0.433)),
    ),
    "minAlphaFold2, 94 M": ((2e3, 0.074), (4e3, 0.045), (10e3, 0.222), (20e3, 0.176)),
    "OpenFold, 93 M": ((64e3, 0.134), (128e3, 0.243), (256e3, 0.334), (448e3, 0.571)),
}


def measure(weights: Path, data: Path, folder: Path) -> dict[str, dict[str, float]]:
    """Return mean lDDT-Cα and FoldScore under each condition of benchmarks/mini_quality.py."""
    found = folder / f"{weights.stem}.json"
    program = Path(__file__).with_name("mini_quality.py")
    command = [sys.executable, str(program), "--data", str(data), "--weights", str(weights)]
    command += ["--json", str(found), "--conditions", *CONDITIONS]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    results = json.loads(found.read_text("utf-8"))
    return {
        condition: {
            name: float(np.mean([chain[name] for chain in results[condition].values()]))
            for name in ("lddt_ca", "foldscore")
        }
        for condition in CONDITIONS
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path, nargs="*")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--known", type=Path, help="a table of this program; its rows come first")
    parser.add_argument("--svg", type=Path)
    arguments = parser.parse_args()
    print("| samples | lDDT-Cα with templates | FoldScore | alignment alone | FoldScore |")
    print("|---|---|---|---|---|", flush=True)
    curves: tuple[list[tuple[float, float]], ...] = ([], [])
    if arguments.known:
        for line in arguments.known.read_text("utf-8").splitlines():
            cells = [cell.strip() for cell in line.split("|")[1:-1]]
            if cells and cells[0].replace(",", "").isdigit():
                print(line)
                samples = int(cells[0].replace(",", ""))
                for points, cell in zip(curves, (cells[1], cells[3]), strict=True):
                    if cell:
                        points.append((samples, float(cell.strip("*"))))
    with tempfile.TemporaryDirectory() as folder:
        for weights in arguments.weights:
            samples = int(load(weights)[2]["samples"])
            found = measure(weights, arguments.data, Path(folder)).values()
            for points, scores in zip(curves, found, strict=True):
                points.append((samples, scores["lddt_ca"]))
            both, alone = found
            print(
                f"| {samples:,} | {both['lddt_ca']:.3f} | {both['foldscore']:.3f} "
                f"| {alone['lddt_ca']:.3f} | {alone['foldscore']:.3f} |",
                flush=True,
            )
    if arguments.svg:
        names = ("mini, with templates", "mini, alignment alone")
        drawn = [
            *(Series(name, sorted(points)) for name, points in zip(names, curves, strict=True)),
            *(Series(name, points, dashed=True) for name, points in PUBLISHED.items()),
        ]
        title = "lDDT-Cα on validation chains, by training samples"
        arguments.svg.write_text(svg(title, ("samples", "lDDT-Cα"), drawn, log_x=True), "utf-8")


if __name__ == "__main__":
    run_script(main)
