"""Score the models of dockq_inputs.py with the DockQ package, in its environment.

    python benchmarks/oracles/dockq_run.py FOLDER SCORES.json

Residues are matched by number. Every interface is scored with the original chain names; the sum of
DockQ of the best chain mapping is recorded as well.
"""

import argparse
import itertools
import json
from importlib.metadata import version
from pathlib import Path

from DockQ.DockQ import run_on_all_native_interfaces
from DockQ.parsers import MMCIFParser

KEYS = ("DockQ", "fnat", "fnonnat", "F1", "iRMSD", "LRMSD", "clashes", "nat_total", "model_total")


def load(path):
    with path.open() as file:
        structure = MMCIFParser(QUIET=True).get_structure(str(path), file)
    structure.id = str(path)  # the package caches what it computes by this name
    return structure


def score(model, native, chains):
    found, total = run_on_all_native_interfaces(
        model, native, chain_map=chains, no_align=True, low_memory=False
    )
    return found, float(total)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    cases = json.loads((arguments.folder / "cases.json").read_text())
    num_scored = 0
    for case in cases:
        native = load(arguments.folder / f"{case['name']}.cif")
        model = load(arguments.folder / f"{case['name']}_{case['seed']}.cif")
        names = sorted(case["chains"])
        found, total = score(model, native, {name: case["chains"][name] for name in names})
        case["interfaces"] = {
            chains: [round(float(values[key]), 6) for key in KEYS]
            for chains, values in found.items()
        }
        case["total"] = round(total, 6)
        ways = [dict(zip(names, way, strict=True)) for way in itertools.permutations(names)]
        case["best_total"] = round(max(score(model, native, way)[1] for way in ways), 6)
        num_scored += len(found)
        print(case["name"], case["kind"], len(found), case["total"], case["best_total"], flush=True)
    made_by = f"DockQ {version('DockQ')}"
    text = json.dumps({"made_by": made_by, "keys": KEYS, "cases": cases}, indent=None)
    arguments.output.write_text(text.replace('{"name"', '\n{"name"') + "\n")
    print(f"{num_scored} interfaces by {made_by}")


if __name__ == "__main__":
    main()
