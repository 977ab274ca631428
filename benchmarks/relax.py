"""Violations and side chains of mini's predictions before and after relaxation.

    python benchmarks/relax.py --data ../shared/data [--num 20] [--seconds 60]

The chains are from val, with 60 to 200 residues, evenly spread over the lengths. Each is predicted
with its alignment and templates and relaxed in a separate process. The table has wall time and, for
busy machines, processor time. The column chi1 is the share of residues whose chi1 is within 40° of
the experiment's.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from chain_query import query_of, structure_of
from foldry.dataset.packs import Library
from foldry.predict.network import load_model
from foldry.predict.runner import predict_one
from foldry.predict.settings import Settings
from foldry.relax.relax import relax_structure
from foldry.relax.result import MAX_ROUNDS, Relaxation
from foldry.score.torsions import structure_torsions, torsion_agreement
from foldry.structure import Structure
from foldry.weights.networks import find_networks
from script import run_script

SHORTEST, LONGEST = 60, 200
COLUMNS = ("residues", "seconds", "CPU s", "rounds", "violate", "clashes", "median Å", "max Å")
"""Columns of the table, apart from the chain and chi1."""


@dataclass(frozen=True)
class Work:
    """One model and its relaxation settings."""

    structure: Structure
    rounds: int
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """The relaxation of one model, its processor seconds, and chi1 agreement before and after."""

    result: Relaxation
    cpu: float
    chi1: tuple[float, float]


def chosen(library: Library, number: int) -> list[str]:
    """Return names of chains, evenly spread over the lengths."""
    lengths = {name: len(library.chain(name)) for name in library.alignments.place}
    names = sorted(name for name, length in lengths.items() if SHORTEST <= length <= LONGEST)
    names.sort(key=lengths.__getitem__)
    return [names[place] for place in np.linspace(0, len(names) - 1, number).round().astype(int)]


def run(work: Work) -> tuple[Structure, Relaxation, float]:
    """Relax one model; return the structure, the result and the processor seconds."""
    relaxed, result = relax_structure(work.structure, "cpu", work.rounds, work.seconds)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return relaxed, result, usage.ru_utime + usage.ru_stime


def chi1_agreement(model: Structure, experiment: Structure) -> float:
    """Return the share of the experiment's residues whose chi1 the model has within 40°."""
    pairs = np.repeat(np.arange(len(model))[:, None], 2, axis=1)
    torsions = (structure_torsions(each) for each in (model, experiment))
    return torsion_agreement(*torsions, pairs, experiment.aatype).chi1


def row(name: str, length: int, outcome: Outcome) -> str:
    """Return one line of the table."""
    result = outcome.result
    start = f"{name:<18} {length:>8} {result.seconds:>8.1f} {outcome.cpu:>8.1f}"
    if not result.relaxed:
        return f"{start}  not relaxed: {result.reason}"
    violate = f"{result.violations_before}→{result.violations_after}"
    clashes = f"{result.clashes_before}→{result.clashes_after}"
    moves = f"{result.median_move:>8.2f} {result.max_move:>8.2f}"
    chi1 = "→".join(f"{each:.3f}" for each in outcome.chi1)
    return f"{start} {result.rounds:>8} {violate:>8} {clashes:>8} {moves} {chi1}  {result.reason}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--num", type=int, default=20, help="predictions")
    parser.add_argument("--rounds", type=int, default=MAX_ROUNDS)
    parser.add_argument("--seconds", type=float, default=60.0, help="maximum time for each chain")
    parser.add_argument("--threads", type=int, default=2, help="threads of OpenMM")
    arguments = parser.parse_args()
    os.environ["OPENMM_CPU_THREADS"] = str(arguments.threads)

    library = Library(arguments.data, ("val",))
    network = find_networks("mini")[0]
    model = load_model(network, Settings(device="cpu"))
    print(f"mini {network.sha256()[:12]}; {platform.machine()}, {os.cpu_count()} cores; ", end="")
    print(f"load {os.getloadavg()[0]:.1f}, {arguments.threads} threads")
    print(f"{'chain':<18} " + " ".join(f"{title:>8}" for title in COLUMNS) + f" {'chi1':>12}")
    outcomes = []
    for name in chosen(library, arguments.num):
        made = predict_one(query_of(library, name, 4), model, network, 0, Settings()).structure
        work = Work(made, arguments.rounds, arguments.seconds)
        with get_context("spawn").Pool(1) as pool:
            relaxed, result, cpu = pool.apply(run, (work,))
        experiment = structure_of(library, name)
        chi1 = (chi1_agreement(made, experiment), chi1_agreement(relaxed, experiment))
        outcomes.append(Outcome(result, cpu, chi1))
        print(row(name, len(made), outcomes[-1]), flush=True)
    print(summary(outcomes))


def summary(outcomes: list[Outcome]) -> str:
    """Return the lines below the table."""
    ended = [each.result for each in outcomes if each.result.relaxed]
    fewer = [
        (each.violations_after or 0) < (each.violations_before or 0)
        and (each.clashes_after or 0) < (each.clashes_before or 0)
        for each in ended
    ]
    lines = [
        f"{len(ended)} of {len(outcomes)} relaxed; fewer violations and clashes in {sum(fewer)}"
    ]
    for what, before, after in (
        ("residues that violate", "violations_before", "violations_after"),
        ("clashes", "clashes_before", "clashes_after"),
    ):
        sums = [sum(getattr(each, name) for each in ended) for name in (before, after)]
        lines.append(f"{what}: {sums[0]} before, {sums[1]} after")
    chi1 = np.array([each.chi1 for each in outcomes if each.result.relaxed])
    before, after = chi1.mean(axis=0)
    change = (chi1[:, 1] - chi1[:, 0]).min()
    lines.append(
        f"chi1 within 40° of the experiment: mean {before:.3f} before, {after:.3f} after, "
        f"largest loss of a chain {max(-change, 0):.3f}"
    )
    moves = [each.median_move for each in ended if each.median_move is not None]
    lines.append(
        f"Cα move, median of the medians {np.median(moves):.2f} Å, largest {max(moves):.2f} Å"
    )
    seconds = [each.result.seconds for each in outcomes]
    cpu = [each.cpu for each in outcomes]
    lines.append(
        f"seconds: median {np.median(seconds):.1f}, maximum {max(seconds):.1f}; "
        f"processor seconds: median {np.median(cpu):.1f}, maximum {max(cpu):.1f}"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    run_script(main)
