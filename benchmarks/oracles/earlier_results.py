"""Results folders as another version of Foldry writes them, for tests/results.

    python benchmarks/oracles/earlier_results.py CHECKOUT [--out tests/golden/results]

Runs `foldry fold` of a peptide, with two seeds, and `foldry screen` of a pair, with random multimer
parameters, with the sources of CHECKOUT. Reports, which embed a large viewer, and PDB files are
left out.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from compare_checkouts import WEIGHTS

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "tests/golden/results"
LEFT_OUT = ("*.html", "*.pdb", "*.js")
TABLE = "id,sequence\nbait,MKTAYIAK\na,MKVLAAGI\n"
WEIGHTS_FILE = "multimer.safetensors"
HOW = "--num-recycles 0 --device cpu"
COMMANDS = (
    f"fold q.fasta --seeds 0,1 -o fold {HOW}",
    f"screen q.csv --all -o screen --weights {WEIGHTS_FILE} {HOW}",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    environment = {**os.environ, "PYTHONPATH": str(arguments.checkout.resolve() / "src")}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / "q.fasta").write_text(">q\nMKVLAAGIVG\n")
        (work / "q.csv").write_text(TABLE)
        subprocess.run([sys.executable, "-c", WEIGHTS, str(work / WEIGHTS_FILE)], check=True)
        for words in COMMANDS:
            command = [sys.executable, "-m", "foldry.cli.main", *words.split()]
            subprocess.run(command, cwd=work, env=environment, check=True)
        for folder in ("fold", "screen"):
            left_out = shutil.ignore_patterns(*LEFT_OUT)
            shutil.rmtree(arguments.out / folder, ignore_errors=True)
            shutil.copytree(work / folder, arguments.out / folder, ignore=left_out)


if __name__ == "__main__":
    main()
