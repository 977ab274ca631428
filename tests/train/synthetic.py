"""A small folder of packs with invented chains, and the values that readers must return."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from foldry.residues import GAP, RESTYPES

NUM_CHAINS = 110
NEAR = ("c3", "c7")
"""Chains that the split's table marks as near to a held-out chain."""


@dataclass
class World:
    """The invented chains, by name."""

    folder: Path
    lengths: dict[str, int] = field(default_factory=dict)
    aatype: dict[str, np.ndarray] = field(default_factory=dict)
    positions: dict[str, np.ndarray] = field(default_factory=dict)
    mask: dict[str, np.ndarray] = field(default_factory=dict)
    msa: dict[str, np.ndarray] = field(default_factory=dict)
    deletions: dict[str, np.ndarray] = field(default_factory=dict)
    clusters: dict[str, str] = field(default_factory=dict)


def write_world(folder: Path) -> World:
    """Write chains c0, c1, … of 30–120 residues; chain k has template hits on the next three.

    The hits' identities are 0.25, 0.4 and 0.95; each aligns query residues 2–21 to template
    residues 0–19, and 25–27 to 25–27.
    """
    rng = np.random.default_rng(5)
    world = World(folder)
    for name in ("structures", "msas", "templates", "splits"):
        (folder / name).mkdir()
    for number in range(NUM_CHAINS):
        _invent(world, f"c{number}", rng)
        world.clusters[f"c{number}"] = f"c{number - number % 2}" if number < 20 else f"c{number}"
    names = list(world.lengths)
    half = len(names) // 2
    for shard, part in enumerate((names[:half], names[half:])):
        path = folder / "structures" / f"structures-{shard:02d}.npz"
        np.savez(path, **_structures(world, part))
    np.savez(folder / "msas" / "msas-train.npz", **_alignments(world))
    np.savez(folder / "templates" / "templates-train.npz", **_templates(names))
    rows = [f"{name}\t{world.lengths[name]}\t{'heldout' if name in NEAR else ''}" for name in names]
    table = "\n".join(["id\tlength\tnear", *rows]) + "\n"
    (folder / "splits" / "train.tsv").write_text(table, "utf-8")
    rows = [f"{world.clusters[name]}\t{name}" for name in names]
    table = "\n".join(["cluster30\tid", *rows]) + "\n"
    (folder / "splits" / "clusters30_joint.tsv").write_text(table, "utf-8")
    return world


def _invent(world: World, name: str, rng: np.random.Generator) -> None:
    length = int(rng.integers(30, 121))
    steps = rng.normal(size=(length, 3))
    ca = np.cumsum(3.8 * steps / np.linalg.norm(steps, axis=1, keepdims=True), axis=0)
    ca = np.round(ca, 3)
    aatype = rng.integers(0, 20, length)
    mask = np.zeros((length, 37), bool)
    mask[:, :5] = True
    mask[aatype == RESTYPES.index("G"), 3] = False
    mask[rng.random(length) < 0.1, 4] = False
    positions = ca[:, None] + np.round(rng.uniform(-2, 2, (length, 37, 3)) * 200) / 200
    positions[:, 1] = ca
    depth = int(rng.integers(1, 50))
    msa = np.where(rng.random((depth, length)) < 0.2, GAP, rng.integers(0, 21, (depth, length)))
    msa[0] = aatype
    deletions = rng.integers(1, 9, (depth, length)) * (rng.random((depth, length)) < 0.05)
    deletions[0] = 0
    world.lengths[name], world.aatype[name] = length, aatype
    world.positions[name], world.mask[name] = positions * mask[..., None], mask
    world.msa[name], world.deletions[name] = msa, deletions


def _offsets(sizes: list[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def _structures(world: World, names: list[str]) -> dict[str, np.ndarray]:
    coordinates, steps = [], []
    for name in names:
        positions, others = world.positions[name], world.mask[name].copy()
        others[:, 1] = False
        from_ca = (positions - positions[:, 1:2])[others]
        coordinates.append(np.round(from_ca / 0.005).astype(np.int16))
        ca = np.round(positions[:, 1] / 0.001).astype(np.int32)
        steps.append(np.diff(ca, axis=0, prepend=np.zeros((1, 3), np.int32)))
    flat = np.concatenate(coordinates)
    lengths = [world.lengths[name] for name in names]
    return {
        "ids": np.array(names),
        "offsets": _offsets(lengths),
        "atom_offsets": _offsets([len(atoms) for atoms in coordinates]),
        "aatype": np.concatenate([world.aatype[name] for name in names]).astype(np.uint8),
        "residue_index": np.concatenate([np.arange(length) + 5 for length in lengths]),
        "atom_mask": np.packbits(np.concatenate([world.mask[name] for name in names]), axis=1),
        "ca_delta": np.concatenate(steps),
        "atom_coords_low": (flat & 255).astype(np.uint8),
        "atom_coords_high": (flat >> 8).astype(np.int8),
        "resolution": np.full(len(names), np.nan, np.float32),
    }


def _alignments(world: World) -> dict[str, np.ndarray]:
    cells, gaps, counts, sizes = [], [], [], []
    for name, msa in world.msa.items():
        cells.append(msa.T.ravel().astype(np.uint8))
        deletions = np.pad(world.deletions[name], ((0, 0), (0, 1))).ravel()
        places = np.flatnonzero(deletions)
        gaps.append(np.diff(places, prepend=0))
        counts.append(deletions[places])
        sizes.append(len(places))
    return {
        "ids": np.array(list(world.msa)),
        "length": np.array(list(world.lengths.values())),
        "depth": np.array([len(msa) for msa in world.msa.values()]),
        "cell_offsets": _offsets([len(part) for part in cells]),
        "insert_offsets": _offsets(sizes),
        "residues": np.concatenate(cells),
        "insert_gap": np.concatenate(gaps).astype(np.uint32),
        "insert_count": np.concatenate(counts).astype(np.uint16),
    }


def _templates(names: list[str]) -> dict[str, np.ndarray]:
    num_hits = 3 * len(names)
    cigar = b"20M3I5D3M"
    return {
        "ids": np.array(names),
        "hit_offsets": np.arange(len(names) + 1) * 3,
        "target_ids": np.array(names),
        "target": np.array(
            [(query + step) % len(names) for query in range(len(names)) for step in (1, 2, 3)]
        ),
        "identity": np.tile(np.array([0.25, 0.4, 0.95], np.float32), len(names)),
        "query_start": np.full(num_hits, 2, np.int16),
        "target_start": np.zeros(num_hits, np.int16),
        "cigar": np.tile(np.frombuffer(cigar, np.uint8), num_hits),
        "cigar_offsets": np.arange(num_hits + 1) * len(cigar),
    }
