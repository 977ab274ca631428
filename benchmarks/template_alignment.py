"""How many residue pairs the alignments of given templates find, by sequence and by profile.

    python benchmarks/template_alignment.py --data ../shared/data [--train 150]

Each template hit of the packs is aligned with its query as `foldry fold --templates` does it: with
the query's sequence alone, and with the profile of its alignment. The first share is of the pairs
of the packs' hits, which MMseqs2 found by profile; the second of the pairs of superposition, which
are within 5 Å after TM-align superposed the two structures. Precision is the share of the found
pairs that are pairs of superposition. These shares are over the pairs of all hits of a range of
identity. `related` is the share of the hits without the warning that they may be unrelated; the
last lines have chains that are no hits.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np

from chain_query import query_of, structure_of
from foldry.dataset.packs import KnownChain, Library
from foldry.features.templates import UnlikeError, align_template, profiles
from foldry.predict.stages import MAX_E_VALUE
from foldry.residues import CA
from foldry.structure import Structure
from script import run_script

NEAR = 5.0
"""Largest distance in Å of the Cα of a pair after superposition; TM-align marks these pairs."""
GROUPS = ((0.0, 0.25), (0.25, 0.9))
WAYS = ("sequence", "profile")
NUM_OTHERS = 20
"""Chains that are no hits with which each chain of val is aligned."""

Pairs = set[tuple[int, int]]


@dataclass(frozen=True)
class Found:
    """Numbers of pairs: of the pack's hit, of superposition, of our alignment, and in both."""

    hit: int
    superposed: int
    aligned: int
    as_hit: int
    as_superposed: int
    is_related: bool


def profile_of(library: Library, name: str, way: str) -> np.ndarray:
    """Return the alignment scores of a chain, of its sequence or of its alignment."""
    [profile] = profiles(query_of(library, name, alignment=way == "profile")).values()
    return profile


def aligned_pairs(profile: np.ndarray, template: Structure) -> tuple[Pairs, bool]:
    """Return the pairs that `foldry fold --templates` uses, and whether it gives no warning."""
    try:
        hit = align_template(profile, template)
    except UnlikeError:
        return set(), False
    return pair_set(hit.pairs), hit.e_value is not None and hit.e_value <= MAX_E_VALUE


def superposed_pairs(query: KnownChain, template: KnownChain) -> Pairs:
    """Return the aligned pairs within `NEAR` after TM-align's superposition."""
    one, other = (each.positions[:, CA].astype(np.float64) for each in (query, template))
    tm_align = import_module("tmtools").tm_align  # not installed with every Python
    found = tm_align(one, other, query.sequence, template.sequence)
    is_here, is_there = (np.array(list(row)) != "-" for row in (found.seqxA, found.seqyA))
    pairs = np.stack([np.cumsum(is_here), np.cumsum(is_there)], axis=1)[is_here & is_there] - 1
    moved = one[pairs[:, 0]] @ found.u.T + found.t
    return pair_set(pairs[np.linalg.norm(moved - other[pairs[:, 1]], axis=1) < NEAR])


def pair_set(pairs: np.ndarray) -> Pairs:
    """Return the rows of an array of pairs."""
    return {(int(here), int(there)) for here, there in pairs}


def alignments(library: Library, name: str) -> Iterator[tuple[float, dict[str, Found]]]:
    """Yield, for each hit of a chain, its identity and what each way to align it found."""
    profile = {way: profile_of(library, name, way) for way in WAYS}
    for hit in library.hits(name):
        template = structure_of(library, hit.name)
        true = superposed_pairs(library.chain(name), library.chain(hit.name))
        wanted, found = pair_set(hit.pairs), {}
        for way in WAYS:
            pairs, is_related = aligned_pairs(profile[way], template)
            numbers = len(pairs), len(pairs & wanted), len(pairs & true)
            found[way] = Found(len(wanted), len(true), *numbers, is_related)
        yield hit.identity or 0.0, found


def table(title: str, hits: Sequence[tuple[float, dict[str, Found]]]) -> Iterator[str]:
    """Yield a line for each range of identity and each way."""
    for low, high in GROUPS:
        for way in WAYS:
            chosen = [found[way] for identity, found in hits if low <= identity < high]
            label = f"{title}, identity {low:.2f}–{high:.2f}, {way}"
            sums = {name: sum(vars(each)[name] for each in chosen) for name in vars(chosen[0])}
            shares = (
                sums["as_hit"] / sums["hit"],
                sums["as_superposed"] / sums["superposed"],
                sums["as_superposed"] / sums["aligned"],
                sums["is_related"] / len(chosen),
            )
            yield f"{label:42s} {len(chosen):6d}" + "".join(f"{share:15.3f}" for share in shares)


def others(library: Library, names: Sequence[str], way: str) -> str:
    """Return a line with the share of chains that are no hits but are taken for related."""
    rng = np.random.default_rng(0)
    of_val = set(library.alignments.place)
    known = [name for name in sorted(library.structures.place) if name not in of_val]
    related = []
    for name in names:
        profile, hits = profile_of(library, name, way), {hit.name for hit in library.hits(name)}
        for other in rng.choice(known, NUM_OTHERS, replace=False):
            if other not in hits:
                template = structure_of(library, str(other))
                related.append(aligned_pairs(profile, template)[1])
    return f"{f'val, no hits, {way}':42s} {len(related):6d}{'':45s}{np.mean(related):15.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--train", type=int, default=150, help="number of chains of train")
    arguments = parser.parse_args()

    libraries = {split: Library(arguments.data, (split,)) for split in ("val", "train")}
    names = {
        split: [name for name in sorted(library.templates.place) if library.hits(name)]
        for split, library in libraries.items()
    }
    sample = np.random.default_rng(0).permutation(names["train"])[: arguments.train]
    names["train"] = [str(name) for name in sample]
    titles = ("MMseqs2", "superposition", "precision", "related")
    print(f"{'':42s} {'hits':>6}" + "".join(f"{title:>15s}" for title in titles))
    for split, library in libraries.items():
        found = [each for name in names[split] for each in alignments(library, name)]
        print("\n".join(table(split, found)), flush=True)
    for way in WAYS:
        print(others(libraries["val"], names["val"], way))


if __name__ == "__main__":
    run_script(main)
