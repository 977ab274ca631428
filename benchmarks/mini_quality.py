"""Accuracy of the bundled small model on held-out proteins, beside baselines without training.

    python benchmarks/mini_quality.py --data ../shared/data [--weights FILE] [--part val]

Every chain is predicted with its alignment and template hits, with its alignment alone, and with
its sequence alone. The baselines are the untrained network, an ideal helix, and the Cα atoms of the
best template, with unaligned residues counted as wrong. Means are over chains; ± is the standard
error of the mean lDDT-Cα. The last table is the calibration by pLDDT.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from chain_query import query_of
from foldry.dataset.packs import Library
from foldry.dataset.samples import TrainingSet
from foldry.model.alphafold import AlphaFold
from foldry.predict.network import load_model
from foldry.predict.runner import predict_one
from foldry.predict.settings import Settings
from foldry.residues import CA
from foldry.score.atoms import score_atoms
from foldry.score.compare import compare_ca
from foldry.train.validate import radius_of_gyration
from foldry.weights.networks import NetworkFile, find_networks
from script import run_script

DEPTHS = ((0, 4), (5, 29), (30, 10**9))
PLDDT_EDGES = np.arange(11) / 10
CONDITIONS = ("alignment + templates", "alignment", "sequence", "untrained", "helix", "template")
NO_PLDDT = ("untrained", "helix", "template")
"""Conditions without a trained network."""


@dataclass(frozen=True)
class Chain:
    """A held-out chain with its alignment depth and best template."""

    name: str
    length: int
    num_homologues: int
    best_identity: float | None


@dataclass(frozen=True)
class Result:
    """Scores of one chain under one condition.

    `radius_ratio` is the predicted over the true radius of gyration. `foldscore` needs all atoms
    and `plddt` (0–1) a network; otherwise they are NaN. `residues` [N, 2] has pLDDT and lDDT-Cα of
    each residue with a known Cα.
    """

    lddt_ca: float
    gdt_ts: float
    tm_score: float
    radius_ratio: float
    foldscore: float = math.nan
    plddt: float = math.nan
    residues: np.ndarray = field(default_factory=lambda: np.empty((0, 2)), repr=False)


SCORES = ("lddt_ca", "gdt_ts", "tm_score", "radius_ratio", "foldscore", "plddt")


def helix(length: int) -> np.ndarray:
    """Return the Cα atoms [length, 3] of an ideal α-helix, Å."""
    turn = np.radians(100) * np.arange(length)
    return np.stack([2.3 * np.cos(turn), 2.3 * np.sin(turn), 1.5 * np.arange(length)], axis=1)


def known_chains(library: Library, names: Sequence[str]) -> list[Chain]:
    """Return the chains with alignment depth and identity of the best template.

    A template counts if it covers half of the chain.
    """
    chains = []
    for name in names:
        length = len(library.chain(name))
        covering = [hit for hit in library.hits(name)[:1] if 2 * len(hit.pairs) >= length]
        identity = covering[0].identity if covering else None
        chains.append(Chain(name, length, len(library.alignment(name)[0]) - 1, identity))
    return chains


def judge(
    library: Library,
    name: str,
    ca: np.ndarray,
    known: np.ndarray,
    plddt: np.ndarray | None = None,
) -> Result:
    """Return the scores of a chain's Cα atoms; `known` is False for missing residues."""
    truth = library.chain(name)
    there = truth.mask[:, CA] > 0
    scores = compare_ca(ca, truth.positions[:, CA], known, there)
    both = known & there
    ratio = radius_of_gyration(ca[both]) / radius_of_gyration(truth.positions[both, CA])
    result = Result(scores.lddt_ca, scores.gdt_ts, scores.tm_score, ratio)
    if plddt is None:
        return result
    residues = np.stack([plddt, scores.lddt_ca_per_residue], axis=1)
    residues = residues[np.isfinite(residues).all(axis=1)]
    return replace(result, plddt=float(plddt.mean()), residues=residues)


def predictor(
    library: Library, network: NetworkFile, model: AlphaFold, *, templates: bool, alignment: bool
) -> Callable[[str], Result]:
    """Return a function that predicts and scores one chain with the network."""

    def run(name: str) -> Result:
        query = query_of(library, name, 4 if templates else 0, alignment=alignment)
        made = predict_one(query, model, network, 0, Settings())
        everything = np.ones(len(made.plddt), bool)
        atoms = made.structure.atom_positions, made.structure.atom_mask
        truth = library.chain(name)
        reference = truth.positions, truth.mask > 0
        return replace(
            judge(library, name, atoms[0][:, CA], everything, made.plddt / 100),
            foldscore=score_atoms(atoms, atoms, reference, made.structure.chain_id).foldscore,
        )

    return run


def baselines(library: Library) -> dict[str, Callable[[str], Result | None]]:
    """Return the baselines without a network."""

    def straight(name: str) -> Result:
        length = len(library.chain(name))
        return judge(library, name, helix(length), np.ones(length, bool))

    def template(name: str) -> Result | None:
        hits = library.hits(name)
        if not hits:
            return None
        laid = library.lay_hit(name, hits[0])
        return judge(library, name, laid.positions[:, CA], laid.mask[:, CA] > 0)

    return {"helix": straight, "template": template}


def row(title: str, results: Sequence[Result]) -> str:
    """Return a line of a table: means and, with pLDDT, its correlation with lDDT."""
    if not results:
        return f"{title:46s} {0:4d}"
    columns = {name: np.array([getattr(each, name) for each in results]) for name in SCORES}
    means = [np.mean(values) for values in columns.values()]
    line = "".join(f" {mean:9.3f}" if np.isfinite(mean) else f"{'':10s}" for mean in means)
    lddt, plddt = columns["lddt_ca"], columns["plddt"]
    error = f"±{lddt.std(ddof=1) / math.sqrt(len(lddt)):.3f}" if len(lddt) > 1 else ""
    line = f" {error:6s}{line}"
    if np.isfinite(plddt).all() and len(results) > 2 and plddt.std() > 1e-6:
        line += f" {np.corrcoef(plddt, lddt)[0, 1]:9.2f}"
    return f"{title:46s} {len(results):4d}{line}".rstrip()


def calibration(condition: str, results: Sequence[Result]) -> list[str]:
    """Return the number and mean lDDT-Cα of residues by pLDDT."""
    plddt, lddt = np.concatenate([each.residues for each in results]).T
    lines = [f"pLDDT of residues, {condition:22s} residues     pLDDT   lDDT-Cα"]
    for low, high in itertools.pairwise(PLDDT_EDGES):
        chosen = (plddt >= low) & (plddt < high)
        if chosen.any():
            means = f"{plddt[chosen].mean():9.3f} {lddt[chosen].mean():9.3f}"
            lines.append(f"  {low:.1f}–{high:.1f}{'':32s} {chosen.sum():9d} {means}")
    return lines


def tables(chains: Sequence[Chain], results: dict[str, dict[str, Result]]) -> list[str]:
    """Return all lines: each condition over all chains, then by alignment depth and by template."""
    titles = ("lDDT-Cα", "GDT_TS", "TM", "Rg ratio", "FoldScore", "pLDDT", "r")
    header = f"{'':46s} {'n':>4} {'±':>6}" + "".join(f" {title:>9s}" for title in titles)
    lines = [header]
    for condition, of_chain in results.items():
        lines.append(row(condition, list(of_chain.values())))
    groups: list[tuple[str, Callable[[Chain], bool]]] = [
        (f"{low}–{high} homologues" if high < 10**9 else f"≥ {low} homologues", depth(low, high))
        for low, high in DEPTHS
    ]
    groups += [
        ("no template over half", lambda chain: chain.best_identity is None),
        ("best template < 30 %", lambda chain: (chain.best_identity or 1) < 0.3),
        ("best template ≥ 30 %", lambda chain: (chain.best_identity or 0) >= 0.3),
    ]
    for title, belongs in groups:
        names = {chain.name for chain in chains if belongs(chain)}
        for condition, of_chain in results.items():
            chosen = [result for name, result in of_chain.items() if name in names]
            lines.append(row(f"  {title}: {condition}", chosen))
    return lines


def depth(low: int, high: int) -> Callable[[Chain], bool]:
    """Return a function: whether a chain's alignment has this number of homologues."""
    return lambda chain: low <= chain.num_homologues <= high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--weights", default="mini")
    parser.add_argument("--part", default="val", help="val, or selection: held back from train")
    parser.add_argument("--limit", type=int, help="maximum number of chains")
    parser.add_argument("--conditions", nargs="+", choices=CONDITIONS, default=CONDITIONS)
    parser.add_argument("--num-recycles", type=int)
    parser.add_argument("--json", type=Path, help="write every chain's scores there")
    arguments = parser.parse_args()

    if arguments.part == "val":
        library = Library(arguments.data, ("val",))
        names = sorted(library.alignments.place)
    else:
        training = TrainingSet(arguments.data)
        library, names = training.library, training.parts[arguments.part]
    chains = known_chains(library, names[: arguments.limit])
    network = find_networks(arguments.weights)[0]
    model = load_model(network, Settings(num_recycles=arguments.num_recycles, device="cpu"))
    torch.manual_seed(0)
    untrained = AlphaFold(model.config).eval()
    runs: dict[str, Callable[[str], Result | None]] = {
        "alignment + templates": predictor(library, network, model, templates=True, alignment=True),
        "alignment": predictor(library, network, model, templates=False, alignment=True),
        "sequence": predictor(library, network, model, templates=False, alignment=False),
        "untrained": predictor(library, network, untrained, templates=True, alignment=True),
        **baselines(library),
    }
    print(f"{len(chains)} chains of {arguments.part}; {network.path.name}, ", end="")
    print(f"sha256 {network.sha256()[:12]}, {model.config.num_recycles} recycles; ", end="")
    print(f"{platform.machine()}, {torch.get_num_threads()} of {os.cpu_count()} cores")
    started = time.monotonic()
    results: dict[str, dict[str, Result]] = {}
    for condition in arguments.conditions:
        made = {chain.name: runs[condition](chain.name) for chain in chains}
        results[condition] = {name: result for name, result in made.items() if result}
    print("\n".join(tables(chains, results)))
    for condition, of_chain in results.items():
        if condition not in NO_PLDDT:
            print("\n".join(calibration(condition, list(of_chain.values()))))
    print(f"{time.monotonic() - started:.0f} s")
    if arguments.json:
        plain = {
            condition: {
                name: {score: getattr(result, score) for score in SCORES}
                for name, result in of_chain.items()
            }
            for condition, of_chain in results.items()
        }
        arguments.json.write_text(json.dumps(plain, indent=1) + "\n")


if __name__ == "__main__":
    run_script(main)
