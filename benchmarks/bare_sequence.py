"""The examples from their bare sequences, with what a search of examples/database finds.

    python benchmarks/bare_sequence.py [EXAMPLE...] [--weights mini]

The sequence of an example (trypsin, kunitz, malate_dehydrogenase) is folded with the alignment
alone, and with the alignment and the templates, as `foldry fold 1trn.fasta --search
examples/database` does. The copy has the Cα atoms of the template that the model was made from,
where the search aligned it; what it lacks counts as wrong. All are compared with the experiment.
The exit code is 1 if a model has a lower TM-score or GDT_TS than the copy.
"""

from __future__ import annotations

import argparse
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from foldry.errors import InputError
from foldry.features.templates import template_features
from foldry.formats.coordinates import read_structure
from foldry.inputs.queries import read_queries
from foldry.predict.runner import fold
from foldry.residues import CA
from foldry.results.search import search_query
from foldry.score.compare import CaScores, compare_ca
from foldry.structure import Structure
from script import check_names, run_script

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
FILES = {
    "trypsin": ("1trn.fasta", "1trn.cif"),
    "kunitz": ("1adz.fasta", "1adz.cif"),
    "malate_dehydrogenase": ("1mld_AB.fasta", "1mld_AB.cif.gz"),
}
"""Names of the files with the sequence and the experiment, of which the first chain is folded."""


def shown(
    name: str,
    positions: Float[np.ndarray, "N 37 3"],
    known: Bool[np.ndarray, " N"],
    experiment: Structure,
) -> CaScores:
    """Print how well the Cα atoms of all residues agree with the experiment, and return it."""
    truth, there = experiment.atom_positions[:, CA], experiment.atom_mask[:, CA]
    found = compare_ca(positions[:, CA], truth, known, there)
    print(f"  {name:50s} {found.tm_score:8.3f} {found.gdt_ts:7.3f} {found.lddt_ca:8.3f}")
    return found


def fold_example(name: str, weights: str) -> bool:
    """Print the scores of an example; return whether the model is at least as good as the copy."""
    sequence, structure = (EXAMPLES / name / file for file in FILES[name])
    query = search_query(read_queries([sequence])[0], EXAMPLES / "database")
    [chain] = query.chains
    if not chain.templates or chain.alignment is None:
        raise InputError("has no templates in examples/database", "restore it", where=sequence)
    deposited = read_structure(structure)
    experiment = deposited.chain(deposited.chains[0])
    rows, hits = chain.alignment.num_rows, len(chain.templates)
    print(f"{name}, {len(chain.sequence)} residues: {rows} rows and {hits} templates are found")
    without = replace(query, chains=(replace(chain, templates=(), templates_known=True),))
    models = [fold(each, weights, device="cpu")[0] for each in (without, query)]
    [read] = (models[1].provenance.templates_read or {}).values()
    hit = next(each for each in chain.templates if each.name == read[0])
    told = f"with {hit.name} ({hit.identity:.0%} identical, covers {hit.coverage:.0%})"
    everywhere = np.ones(len(chain.sequence), bool)
    alone, model = (each.structure.atom_positions for each in models)
    shown("with the alignment alone", alone, everywhere, experiment)
    ours = shown(told, model, everywhere, experiment)
    laid = template_features(chain.sequence, [hit], 1)
    copied = laid.atom_mask[0, :, CA] > 0
    copy = shown(f"copy of {hit.name}", laid.atom_positions[0], copied, experiment)
    return ours.gdt_ts >= copy.gdt_ts and ours.tm_score >= copy.tm_score


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("examples", nargs="*", metavar="EXAMPLE", help="Default: all.")
    parser.add_argument("--weights", default="mini")
    arguments = parser.parse_args()
    logging.getLogger("foldry").setLevel(logging.ERROR)
    chosen = arguments.examples or list(FILES)
    check_names(chosen, FILES)
    print(f"{'':52s} {'TM-score':>8s} {'GDT_TS':>7s} {'lDDT-Cα':>8s}")
    better = [fold_example(name, arguments.weights) for name in chosen]
    return 0 if all(better) else 1


if __name__ == "__main__":
    run_script(main)
