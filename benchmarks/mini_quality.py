"""Accuracy of the bundled small model on held-out proteins, as `foldry fold` predicts them.

    python benchmarks/mini_quality.py [--data ../shared/data] [--weights FILE] [--chains N]

The conditions are:

    files       the chain's a3m and the chains of its first four template hits, all written as files
                and given as to `foldry fold QUERY.a3m --templates FILE...`
    self        the same with the chain's own structure as the only template
    hits        the same four templates, aligned as the search for them aligned their profiles
    alignment   no template
    sequence    no template and no alignment
    untrained   the network with random parameters, from the alignment and the best hit
    copy        the Cα atoms of the best hit, where it is aligned
    helix       an ideal helix

Residues that a condition lacks count as wrong. Means are over chains; ± is the standard error of
the mean lDDT-Cα. "far lDDT" counts the pairs of at least 24 residues' distance that are near in the
experiment or in the model, so that a collapsed model gains nothing. "strands" is the share of
residues in strands by the Cα atoms (P-SEA), "contacts" the precision of the L/5 nearest pairs of
pseudo-beta atoms among those of at least 24 residues' distance. "mirror" is the number of
models whose mirror image fits the best hit better than they do. r is the correlation of pLDDT with
lDDT-Cα. The last tables are the calibration by pLDDT.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import math
import os
import platform
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import biotite.structure as biotite
import numpy as np
import torch

from chain_query import query_of, structure_of
from foldry.dataset.packs import KnownChain, Library
from foldry.dataset.samples import TrainingSet
from foldry.features.known_atoms import pseudo_beta
from foldry.features.templates import UnlikeError
from foldry.formats.a3m import to_a3m
from foldry.formats.plain_mmcif import to_mmcif
from foldry.formats.sequence import safe_name
from foldry.model.alphafold import AlphaFold
from foldry.predict.runner import fold
from foldry.predict.stages import MAX_TRIED
from foldry.residues import CA
from foldry.results.prediction import Prediction
from foldry.score.atoms import score_atoms
from foldry.score.compare import compare_ca
from foldry.score.lddt import CUTOFF, THRESHOLDS
from foldry.train.validate import radius_of_gyration
from foldry.weights.networks import find_networks
from foldry.weights.state_file import save
from script import run_script

UNTRAINED = ("untrained", "copy", "helix")
CONDITIONS = ("files", "self", "hits", "alignment", "sequence", *UNTRAINED)
FAR = 24
"""Smallest distance in the sequence of the pairs of far lDDT."""
CONTACT = 8.0
"""Distance in Å below which two pseudo-beta atoms are in contact."""
PLDDT_EDGES = np.arange(11) / 10
COLUMNS = {
    "lddt_ca": "lDDT-Cα", "gdt_ts": "GDT_TS", "tm_score": "TM", "far_lddt": "far lDDT",
    "radius_ratio": "Rg ratio", "strands": "strands", "contacts": "contacts",
    "foldscore": "FoldScore", "plddt": "pLDDT",
}  # fmt: skip


@dataclass(frozen=True)
class Chain:
    """A held-out chain: its experiment, the best hit laid on it, and this hit's identity.

    `identity` is None unless the hit covers half of the chain.
    """

    name: str
    num_homologues: int
    truth: KnownChain
    hit: KnownChain | None
    identity: float | None


GROUPS: Mapping[str, Callable[[Chain], bool]] = {
    "all": lambda chain: True,
    "hit over half": lambda chain: chain.identity is not None,
    "no hit over half": lambda chain: chain.identity is None,
    "best hit < 30 %": lambda chain: (chain.identity or 1) < 0.3,
    "best hit ≥ 30 %": lambda chain: (chain.identity or 0) >= 0.3,
    "0–4 homologues": lambda chain: chain.num_homologues < 5,
    "5–29 homologues": lambda chain: 5 <= chain.num_homologues < 30,
    "≥ 30 homologues": lambda chain: chain.num_homologues >= 30,
    "≥ 100 homologues": lambda chain: chain.num_homologues >= 100,
}


@dataclass(frozen=True)
class Result:
    """Scores of one chain under one condition; NaN without a network.

    `radius_ratio` is the predicted over the true radius of gyration, `plddt` is from 0 to 1.
    `residues` [N, 2] has pLDDT and lDDT-Cα of each residue with a known Cα.
    """

    lddt_ca: float
    gdt_ts: float
    tm_score: float
    far_lddt: float
    radius_ratio: float
    strands: float
    contacts: float
    is_mirrored: bool
    foldscore: float = math.nan
    plddt: float = math.nan
    residues: np.ndarray = field(default_factory=lambda: np.empty((0, 2)), repr=False)


def read_chain(library: Library, name: str) -> Chain:
    """Return a chain of the library."""
    truth, hits = library.chain(name), library.hits(name)
    num_homologues = len(library.alignment(name)[0]) - 1
    if not hits:
        return Chain(name, num_homologues, truth, None, None)
    identity = hits[0].identity if 2 * len(hits[0].pairs) >= len(truth) else None
    return Chain(name, num_homologues, truth, library.lay_hit(name, hits[0]), identity)


def far_lddt(ca: np.ndarray, known: np.ndarray, truth: np.ndarray, there: np.ndarray) -> float:
    """Return the lDDT of far pairs that are near in the truth or the model; NaN without any."""
    model, true = (np.linalg.norm(points[:, None] - points, axis=-1) for points in (ca, truth))
    both, number = known[:, None] & known, np.arange(len(ca))
    judged = there[:, None] & there & (number[:, None] - number >= FAR)
    judged &= (true < CUTOFF) | (both & (model < CUTOFF))
    kept = [(both & (np.abs(model - true) < each))[judged] for each in THRESHOLDS]
    return float(np.mean(kept)) if judged.any() else math.nan


def strand_share(ca: np.ndarray) -> float:
    """Return the share of residues in strands, from Cα atoms in Å (P-SEA)."""
    atoms = biotite.AtomArray(len(ca))
    atoms.coord, atoms.atom_name[:] = ca, "CA"
    atoms.res_name[:], atoms.res_id = "ALA", np.arange(1, len(ca) + 1)
    return float((biotite.annotate_sse(atoms) == "b").mean())


def contact_precision(nearness: np.ndarray, truth: KnownChain) -> float:
    """Return the share of contacts among the L/5 far pairs of the highest nearness [N, N].

    Pairs without known pseudo-beta atoms are left out; NaN without any pair.
    """
    beta, there = pseudo_beta(truth.aatype, truth.positions, truth.mask)
    first, second = np.triu_indices(len(beta), FAR)
    known = (there[first] * there[second]) > 0
    first, second = first[known], second[known]
    best = np.argsort(-nearness[first, second], kind="stable")[: max(len(beta) // 5, 1)]
    apart = np.linalg.norm(beta[first[best]] - beta[second[best]], axis=-1)
    return float((apart < CONTACT).mean()) if len(best) else math.nan


def judge(
    chain: Chain, positions: np.ndarray, mask: np.ndarray, plddt: np.ndarray | None = None
) -> Result:
    """Return the scores of atoms [N, 37, 3] in Å with their mask, or of Cα atoms without pLDDT."""
    ca, known = positions[:, CA], mask[:, CA] > 0
    truth, there = chain.truth.positions[:, CA], chain.truth.mask[:, CA] > 0
    scores, both = compare_ca(ca, truth, known, there), known & there
    is_mirrored = False
    if chain.hit is not None and chain.identity is not None:
        template = chain.hit.positions[:, CA], known, chain.hit.mask[:, CA] > 0
        as_is, turned = (compare_ca(hand * ca, *template) for hand in (1, -1))
        is_mirrored = turned.tm_score > as_is.tm_score
    ratio = radius_of_gyration(ca[both]) / radius_of_gyration(truth[both])
    far = far_lddt(ca, known, truth, there)
    shape = ratio, strand_share(ca[known]), math.nan
    found = Result(scores.lddt_ca, scores.gdt_ts, scores.tm_score, far, *shape, is_mirrored)
    beta, has_beta = pseudo_beta(chain.truth.aatype, positions, mask)
    if (has_beta[there] > 0).all():  # a helix and some templates lack these atoms
        apart = np.linalg.norm(beta[:, None] - beta, axis=-1)
        found = replace(found, contacts=contact_precision(-apart, chain.truth))
    if plddt is None:
        return found
    residues = np.column_stack([plddt, scores.lddt_ca_per_residue])
    residues = residues[np.isfinite(residues).all(axis=1)]
    atoms, names = (positions, mask), np.full(len(ca), "A")
    of_atoms = score_atoms(atoms, atoms, (chain.truth.positions, chain.truth.mask > 0), names)
    return replace(
        found, foldscore=of_atoms.foldscore, plddt=float(plddt.mean()), residues=residues
    )


def without_network(chain: Chain, condition: str) -> Result | None:
    """Return the scores of a copy of the best hit, or of a helix; None without a hit."""
    if condition == "copy":
        return chain.hit and judge(chain, chain.hit.positions, chain.hit.mask)
    number = np.arange(len(chain.truth))
    turn = np.radians(100) * number
    positions = np.zeros((len(number), 37, 3))
    positions[:, CA] = np.stack([2.3 * np.cos(turn), 2.3 * np.sin(turn), 1.5 * number], axis=1)
    return judge(chain, positions, np.eye(37)[[CA]].repeat(len(number), axis=0))


def predict(library: Library, name: str, condition: str, weights: str, scratch: Path) -> Prediction:
    """Return the prediction of a chain under a condition; its files are written into `scratch`."""
    number = {"files": MAX_TRIED, "hits": MAX_TRIED, "untrained": 1}.get(condition, 0)
    query = query_of(library, name, number, alignment=condition != "sequence")
    if condition not in ("files", "self"):
        return fold(query, weights, device="cpu")[0]
    [chain] = query.chains
    known = [hit.known_structure() for hit in chain.templates]
    known = known if condition == "files" else [structure_of(library, name)]
    a3m = scratch / f"{query.name}.a3m"
    a3m.write_text(to_a3m(chain.alignments[0]), "utf-8")
    files = [scratch / f"{safe_name(each.name, name)}.cif" for each in known]
    for path, each in zip(files, known, strict=True):
        path.write_text(to_mmcif(each), "utf-8")
    try:
        return fold(a3m, weights, templates=files, device="cpu")[0]
    except UnlikeError:  # the command refuses to fold if no template can be aligned
        return fold(a3m, weights, device="cpu")[0]


def row(title: str, results: Sequence[Result]) -> str:
    """Return a line of a table: means, mirror images, and the correlation of pLDDT with lDDT."""
    if not results:
        return f"{title:36s} {0:4d}"
    columns = {name: np.array([getattr(each, name) for each in results]) for name in COLUMNS}
    line = f"{title:36s} {len(results):4d}"
    lddt, plddt = columns["lddt_ca"], columns["plddt"]
    line += f" ±{lddt.std(ddof=1) / math.sqrt(len(lddt)):.3f}" if len(lddt) > 1 else f"{'':7s}"
    for values in columns.values():
        line += f" {np.nanmean(values):9.3f}" if np.isfinite(values).any() else f"{'':10s}"
    line += f" {sum(each.is_mirrored for each in results):6d}"
    if len(results) > 2 and np.isfinite(plddt).all() and plddt.std() > 1e-6:
        line += f" {np.corrcoef(plddt, lddt)[0, 1]:5.2f}"
    return line


def calibration(condition: str, results: Sequence[Result]) -> list[str]:
    """Return the number and mean lDDT-Cα of residues by pLDDT."""
    plddt, lddt = np.concatenate([each.residues for each in results]).T
    lines = [f"pLDDT of residues, {condition:17s} residues     pLDDT   lDDT-Cα"]
    for low, high in itertools.pairwise(PLDDT_EDGES):
        chosen = (plddt >= low) & (plddt < high)
        if chosen.any():
            means = f"{plddt[chosen].mean():9.3f} {lddt[chosen].mean():9.3f}"
            lines.append(f"  {low:.1f}–{high:.1f}{'':27s} {chosen.sum():9d} {means}")
    return lines


def tables(chains: Sequence[Chain], results: Mapping[str, Mapping[str, Result]]) -> list[str]:
    """Return all lines: each condition over all chains and over groups of them."""
    titles = "".join(f" {title:>9s}" for title in COLUMNS.values())
    lines = [f"{'':36s} {'n':>4} {'±':>6}{titles} mirror     r"]
    for title, belongs in GROUPS.items():
        names = {chain.name for chain in chains if belongs(chain)}
        for condition, of_chain in results.items():
            chosen = [result for name, result in of_chain.items() if name in names]
            lines.append(row(f"{title}: {condition}", chosen))
    for condition, of_chain in results.items():
        mirrored = [name for name, result in of_chain.items() if result.is_mirrored]
        if mirrored:
            lines.append(f"mirror images of the best hit, {condition}: {', '.join(mirrored)}")
    for condition, of_chain in results.items():
        if condition not in UNTRAINED:
            lines += calibration(condition, list(of_chain.values()))
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--weights", default="mini")
    parser.add_argument("--part", default="val", help="val, or selection: held back from train")
    parser.add_argument("--chains", type=int, help="maximum number of chains")
    parser.add_argument("--conditions", nargs="+", choices=CONDITIONS, default=CONDITIONS)
    parser.add_argument("--json", type=Path, help="write every chain's scores there")
    arguments = parser.parse_args()
    logging.getLogger("foldry").setLevel(logging.ERROR)

    if arguments.part == "val":
        library = Library(arguments.data, ("val",))
        names = sorted(library.alignments.place)
    else:
        training = TrainingSet(arguments.data)
        library, names = training.library, training.parts[arguments.part]
    chains = [read_chain(library, name) for name in names[: arguments.chains]]
    network = find_networks(arguments.weights)[0]
    print(f"{len(chains)} chains of {arguments.part}; {network.path.name}, ", end="")
    print(f"sha256 {network.sha256()[:12]}; {platform.machine()}, ", end="")
    print(f"{torch.get_num_threads()} of {os.cpu_count()} cores", flush=True)
    started = time.monotonic()
    results: dict[str, dict[str, Result]] = {}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        untrained = scratch / "untrained.safetensors"
        torch.manual_seed(0)
        save(untrained, AlphaFold(network.config()).state_dict(), network.config())
        for condition in arguments.conditions:
            weights = str(untrained) if condition == "untrained" else arguments.weights
            results[condition] = {}
            for chain in chains:
                if condition in ("copy", "helix"):
                    found = without_network(chain, condition)
                else:
                    made = predict(library, chain.name, condition, weights, scratch)
                    atoms = made.structure.atom_positions, made.structure.atom_mask
                    found = judge(chain, *atoms, made.plddt / 100)
                if found is not None:
                    results[condition][chain.name] = found
    print("\n".join(tables(chains, results)))
    print(f"{time.monotonic() - started:.0f} s")
    if arguments.json:
        plain = {
            condition: {
                name: {score: getattr(result, score) for score in COLUMNS}
                for name, result in of_chain.items()
            }
            for condition, of_chain in results.items()
        }
        arguments.json.write_text(json.dumps(plain, indent=1) + "\n")


if __name__ == "__main__":
    run_script(main)
