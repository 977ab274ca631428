"""Make the substitution matrix of 3Di letters from structural alignments.

    python benchmarks/matrix_3di.py --data ../shared/data [--pairs 6000] [--write]

Pairs of related train chains with less than 40 % identical residues, which the packs of templates
name, are aligned by TM-align; train chains are unrelated to the val chains that tests search. Pairs
with a TM-score above 0.5 by both lengths count, and in them the residues within 5 Å. A score is
2 log2(p(a, b) / p(a) p(b)), rounded. `--write` replaces src/foldry/database/matrix_3di.out.
"""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np

from foldry.database import letters_3di
from foldry.database.letters_3di import ALPHABET, letters
from foldry.structure import Structure
from ramachandran import chain_structure
from script import run_script

TABLE = Path(letters_3di.__file__).with_name(letters_3di.MATRIX)
MAX_IDENTITY = 0.4
MIN_TM = 0.5
NEAR = 5.0
LENGTHS = (40, 400)
PER_QUERY = 2
PSEUDOCOUNT = 1.0
CA = 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pairs", type=int, default=6000, help="pairs of chains to align")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    chains = {each.name: each for each in structures(options.data)}
    codes = {
        name: np.array([ALPHABET.index(letter) for letter in row])
        for name, row in zip(chains, letters(list(chains.values())), strict=True)
    }
    chosen = pairs(options.data, chains)
    chosen = [chosen[k] for k in np.random.default_rng(0).permutation(len(chosen))]
    counts, used = np.zeros((len(ALPHABET), len(ALPHABET))), 0
    for one, other in chosen[: options.pairs]:
        here, there = aligned(chains[one], chains[other])
        used += bool(len(here))
        np.add.at(counts, (codes[one][here], codes[other][there]), 1)
    scores, background = log_odds(counts)
    text = as_text(scores, background, int(counts.sum()), used)
    if options.write:
        TABLE.write_text(text, "utf-8")
    print(f"{used} of {min(len(chosen), options.pairs)} pairs of chains are similar")
    print(f"{int(counts.sum())} pairs of residues")
    is_same = TABLE.is_file() and TABLE.read_text("utf-8") == text
    print(f"the file holds {'the same' if is_same else 'another'} matrix")


def structures(data: Path, which: str = "[!v]*") -> Iterator[Structure]:
    """Yield the chains of some packs, by default of those to train with."""
    reader = module(data / "structures" / "read_structures.py")
    for path in sorted((data / "structures").glob(f"structures-{which}.npz")):
        shard = reader.load_shard(path)
        for chain in (shard[index] for index in range(len(shard))):
            yield chain_structure(chain)


def pairs(data: Path, chains: dict[str, Structure]) -> list[tuple[str, str]]:
    """Return pairs of related chains, at most `PER_QUERY` for each chain."""
    reader = module(data / "templates" / "read_templates.py")
    found = set()
    for path in sorted((data / "templates").glob("templates-train*.npz")):
        pack = reader.TemplateHits(path)
        for name in pack.ids:
            hits = [each["target"] for each in pack[name] if each["identity"] < MAX_IDENTITY]
            fitting = [
                hit
                for hit in hits
                if all(LENGTHS[0] <= len(chains[each]) <= LENGTHS[1] for each in (name, hit))
            ]
            found |= {tuple(sorted((name, hit))) for hit in fitting[-PER_QUERY:]}
    return sorted(found)


def aligned(one: Structure, other: Structure) -> tuple[np.ndarray, np.ndarray]:
    """Return the residues of both chains that TM-align aligns; none if the chains differ."""
    here, there = (each.atom_positions[:, CA].astype(np.float64) for each in (one, other))
    tm_align = import_module("tmtools").tm_align  # not installed with every Python
    found = tm_align(here, there, one.sequence, other.sequence)
    if min(found.tm_norm_chain1, found.tm_norm_chain2) < MIN_TM:
        return np.zeros(0, int), np.zeros(0, int)
    is_here, is_there = (np.array(list(row)) != "-" for row in (found.seqxA, found.seqyA))
    both = np.stack([np.cumsum(is_here), np.cumsum(is_there)])[:, is_here & is_there] - 1
    moved = here[both[0]] @ found.u.T + found.t
    is_near = np.linalg.norm(moved - there[both[1]], axis=1) < NEAR
    return both[0][is_near], both[1][is_near]


def log_odds(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the scores in half-bits and the background frequencies."""
    joint = counts + counts.T + PSEUDOCOUNT
    joint /= joint.sum()
    background = joint.sum(axis=1)
    return np.rint(2 * np.log2(joint / np.outer(background, background))), background


def as_text(scores: np.ndarray, background: np.ndarray, num: int, used: int) -> str:
    """Return the matrix as MMseqs2 reads it; X scores 0."""
    shares = " ".join(f"{share:.6f}" for share in background)
    lines = [
        f"# 3Di in half-bits, made by benchmarks/matrix_3di.py of {num} pairs of residues",
        f"# in {used} pairs of chains of PDB entries (CC0).",
        f"# Background (precomputed optional): {shares} 0.00001",
        f"# Lambda     (precomputed optional): {scale(scores, background):.6f}",
        " " + "".join(f"{letter:>4}" for letter in ALPHABET + "X"),
    ]
    table = np.pad(scores, (0, 1)).astype(int)
    for letter, row in zip(ALPHABET + "X", table, strict=True):
        lines.append(letter + "".join(f"{score:4d}" for score in row))
    return "\n".join(lines) + "\n"


def scale(scores: np.ndarray, background: np.ndarray) -> float:
    """Return lambda, for which the expected exp(lambda score) is 1 (Karlin & Altschul 1990)."""
    expected = np.outer(background, background)
    low, high = 0.05, 2.0
    for _ in range(60):
        middle = (low + high) / 2
        is_above = (expected * np.exp(middle * scores)).sum() > 1
        low, high = (low, middle) if is_above else (middle, high)
    return low


def module(path: Path) -> ModuleType:
    """Return a reader of the packs."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


if __name__ == "__main__":
    run_script(main)
