"""How far two checkouts of Foldry place the same atoms from each other, with the same weights.

    python benchmarks/distance_change.py BEFORE [AFTER] [--weights mini]

The three examples are folded with both checkouts; of the dimer, one chain alone. The table shows
how much the distances between all Cα atoms change: their root mean square and the largest, in Å.
AFTER is this checkout by default. Both run with this Python and one thread, AFTER with the process
settings that its command line makes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from foldry.formats.coordinates import read_structure
from foldry.residues import CA
from script import run_script

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ("kunitz/1adz.a3m", "trypsin/1trn.a3m", "malate_dehydrogenase/1mld_AB.a3m")


def distances(checkout: Path, out: Path, weights: str) -> dict[str, np.ndarray]:
    """Return the distances between the Cα atoms of every prediction of a checkout."""
    queries = [str(ROOT / "examples" / each) for each in EXAMPLES]
    command = [sys.executable, "-m", "foldry.cli.main", "fold", *queries, "-o", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": "1"}
    options = ["--weights", weights, "--device", "cpu"]
    subprocess.run([*command, *options], check=True, capture_output=True, env=environment)
    found = {}
    for path in sorted(out.glob("*/ranked_0.cif")):
        atoms = read_structure(path).atom_positions[:, CA]
        found[path.parent.name] = np.linalg.norm(atoms[:, None] - atoms[None], axis=-1)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path, nargs="?", default=ROOT)
    parser.add_argument("--weights", default="mini")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        before, after = (
            distances(checkout.resolve(), Path(name) / side, arguments.weights)
            for side, checkout in (("before", arguments.before), ("after", arguments.after))
        )
    print(f"{'protein':<12}{'residues':>9}{'rms change, Å':>15}{'largest, Å':>12}")
    for protein, ours in after.items():
        change = ours - before[protein]
        rms = np.sqrt(np.square(change).mean())
        print(f"{protein:<12}{len(ours):9d}{rms:15.1e}{np.abs(change).max():12.1e}")


if __name__ == "__main__":
    run_script(main)
