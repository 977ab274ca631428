"""List the training chains that resemble an example's protein, so that `mini` never trains on them.

    FOLDRY_DATA=../shared/data python benchmarks/exclude_examples.py

A chain is listed if `mmseqs easy-search -s 7.5` aligns it to a sequence of examples/ at 30 %
identity or more, over half of either sequence or more, with an E-value of at most 1e-3.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from foldry.errors import InputError
from script import run_script

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
LIST = ROOT / "src" / "foldry" / "weights" / "mini_excluded.txt"
MIN_IDENTITY = 0.30
MIN_COVERAGE = 0.50
MAX_EVALUE = "1e-3"
HEADER = f"""\
# Training chains left out because they resemble the protein of an example: at least
# {MIN_IDENTITY:.0%} identity over {MIN_COVERAGE:.0%} of either sequence, E <= {MAX_EVALUE}.
# One chain a line: id, example, identity. Made by benchmarks/exclude_examples.py.
"""


def training_sequences(data: Path) -> dict[str, str]:
    """Return the sequence of every training chain by id."""
    if not data.is_dir():
        raise InputError("does not exist", "set FOLDRY_DATA to the folder of data", where=data)
    sys.path.insert(0, str(data / "structures"))
    from read_structures import load_shard  # noqa: PLC0415  (found only once the folder is known)

    shards = (load_shard(path) for path in sorted((data / "structures").glob("structures-*.npz")))
    known = {name: shard[name]["sequence"] for shard in shards for name in shard.ids}
    wanted = []
    for split in ("train", "train2"):
        rows = (data / "splits" / f"{split}.tsv").read_text().splitlines()[1:]
        wanted += [row.split("\t")[0] for row in rows]
    return {name: known[name] for name in wanted}


def similar_chains(sequences: dict[str, str]) -> dict[str, tuple[str, float]]:
    """Return each chain's nearest example and the identity to it, by chain id."""
    nearest: dict[str, tuple[str, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        queries = [path.read_text() for path in sorted(EXAMPLES.glob("*/*.fasta"))]
        (work / "examples.fasta").write_text("".join(queries))
        records = [f">{chain}\n{sequence}\n" for chain, sequence in sequences.items()]
        (work / "chains.fasta").write_text("".join(records))
        command = ["mmseqs", "easy-search", "examples.fasta", "chains.fasta", "hits.tsv", "tmp"]
        options = ["-s", "7.5", "-e", MAX_EVALUE, "--max-seqs", "100000", "--threads", "1"]
        columns = ["--format-output", "query,target,fident,qcov,tcov"]
        subprocess.run([*command, *options, *columns], check=True, capture_output=True, cwd=work)
        for line in (work / "hits.tsv").read_text().splitlines():
            example, chain, *numbers = line.split("\t")
            identity, *coverages = map(float, numbers)
            if identity < MIN_IDENTITY or max(coverages) < MIN_COVERAGE:
                continue
            if chain not in nearest or identity > nearest[chain][1]:
                nearest[chain] = (example, identity)
    return nearest


def main() -> None:
    """Write the list and print how many chains each example excludes."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    data = Path(os.environ.get("FOLDRY_DATA", ROOT.parent / "shared" / "data"))
    nearest = similar_chains(training_sequences(data))
    rows = [
        f"{chain}\t{example}\t{identity:.3f}\n" for chain, (example, identity) in nearest.items()
    ]
    part = LIST.with_name(f"{LIST.name}.part")
    LIST.parent.mkdir(exist_ok=True)
    part.write_text(HEADER + "".join(sorted(rows)))
    part.replace(LIST)
    for example in sorted({example for example, _ in nearest.values()}):
        print(f"{example}  {sum(name == example for name, _ in nearest.values())} chains")


if __name__ == "__main__":
    run_script(main)
