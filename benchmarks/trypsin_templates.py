"""Trypsin from one distant template at a time, beside a plain copy of the template.

    python benchmarks/trypsin_templates.py TEMPLATE... [--weights mini]

Each TEMPLATE is a PDB or mmCIF file. The alignment of examples/trypsin is folded with it, as
`foldry fold 1trn.a3m --templates TEMPLATE` does. The copy has the template's Cα atoms where it is
aligned; what it lacks counts as wrong. Both are compared with the experiment. Debian's package
theseus-examples has trypsins of 36–39 % identity in /usr/share/doc/theseus/examples/trypsins:
1EQ9_A, 1AU8_A, 1FJS_A, 1AZZ_A and 1FIW_A.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import numpy as np

from foldry.features.templates import template_features
from foldry.formats.coordinates import read_structure
from foldry.inputs.queries import read_queries
from foldry.predict.runner import fold
from foldry.predict.stages import with_templates
from foldry.residues import CA
from foldry.score.compare import compare_ca
from script import run_script

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "trypsin"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("templates", nargs="+", type=Path)
    parser.add_argument("--weights", default="mini")
    arguments = parser.parse_args()
    logging.getLogger("foldry").setLevel(logging.ERROR)
    [query] = read_queries([EXAMPLE / "1trn.a3m"])
    experiment = read_structure(EXAMPLE / "1trn.cif").chain("A")
    truth, there = experiment.atom_positions[:, CA], experiment.atom_mask[:, CA]
    print(f"{'':12s} {'identity':>8s} {'covered':>8s} {'GDT_TS':>7s} {'copy':>7s}", end="")
    print(f" {'TM':>7s} {'copy':>7s} {'lDDT-Cα':>8s} {'copy':>7s}")
    rows = []
    for path in arguments.templates:
        [chain] = with_templates(query, [read_structure(path)]).chains
        laid = template_features(chain.sequence, chain.templates, 1)
        copied = laid.atom_mask[0, :, CA] > 0
        equal = laid.aatype[0] == experiment.aatype
        made = fold(EXAMPLE / "1trn.a3m", arguments.weights, templates=[path], device="cpu")[0]
        ours = made.structure.atom_positions[:, CA], made.structure.atom_mask[:, CA]
        theirs = laid.atom_positions[0, :, CA], copied
        scores = [compare_ca(ca, truth, known, there) for ca, known in (ours, theirs)]
        pairs = [(each.gdt_ts, each.tm_score, each.lddt_ca) for each in scores]
        rows.append(np.transpose(pairs).ravel())
        print(f"{path.name[:12]:12s} {equal[copied].mean():8.3f} {copied.mean():8.3f}", end="")
        print("".join(f" {each:7.3f}" for each in rows[-1]))
    print(f"{'mean':30s}" + "".join(f" {each:7.3f}" for each in np.mean(rows, axis=0)))


if __name__ == "__main__":
    run_script(main)
