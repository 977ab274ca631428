"""Complexes stored in few bytes, and models of them, made from a seed."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np

from foldry.structure import Structure
from tests.score.conftest import rotation_about

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
GRID = 64
"""Coordinates are whole numbers of 1/64 Å, so that squared distances are exact in any precision and
no two programs disagree whether 5 Å are under 5 Å."""

KINDS = ("moved", "noisy", "truncated", "swapped", "apart")


def joined(*chains: Structure) -> Structure:
    """One structure of several."""
    arrays = {
        field.name: np.concatenate([getattr(one, field.name) for one in chains])
        for field in fields(Structure)
        if field.name != "name"
    }
    return Structure(name=chains[0].name, **arrays)


def on_grid(points: np.ndarray) -> np.ndarray:
    """The nearest points of the grid, Å."""
    return np.round(points * GRID) / GRID


def pack(complexes: list[Structure]) -> dict[str, np.ndarray]:
    """Arrays that `unpack` reads; coordinates must lie on the grid and within 500 Å."""
    atoms = [np.nonzero(one.atom_mask) for one in complexes]
    points = [
        np.rint(one.atom_positions[at] * GRID).astype(np.int64)
        for one, at in zip(complexes, atoms, strict=True)
    ]
    steps = np.diff(np.concatenate(points), axis=0, prepend=0).astype(np.int16)
    return {
        "names": np.array([one.name for one in complexes]),
        "num_residues": np.array([len(one) for one in complexes], np.int16),
        "aatype": np.concatenate([one.aatype for one in complexes]).astype(np.int8),
        "chain_id": np.concatenate([one.chain_id for one in complexes]).astype("U1"),
        "residue_number": np.concatenate([one.residue_number for one in complexes]).astype(
            np.int16
        ),
        "atom_mask": np.packbits(np.concatenate([one.atom_mask for one in complexes]), axis=1),
        # High and low bytes compress better separately.
        "steps": steps.T.copy().view(np.uint8).reshape(3, -1, 2).transpose(2, 0, 1),
    }


def unpack(path: Path) -> list[Structure]:
    """The complexes of a file of `pack`'s arrays."""
    with np.load(path, allow_pickle=False) as file:
        data = {name: file[name] for name in file.files}
    steps = np.ascontiguousarray(data["steps"].transpose(1, 2, 0)).view(np.int16)[..., 0]
    mask = np.unpackbits(data["atom_mask"], axis=1, count=37).astype(bool)
    positions = np.zeros((*mask.shape, 3))
    positions[mask] = np.cumsum(steps.T.astype(np.int16), axis=0, dtype=np.int16) / GRID
    num = len(mask)
    everything = Structure(
        name="",
        aatype=data["aatype"].astype(np.int64),
        residue_number=data["residue_number"].astype(np.int64),
        insertion_code=np.full(num, "", dtype="<U1"),
        chain_id=data["chain_id"],
        atom_positions=positions,
        atom_mask=mask,
        b_factor=np.zeros((num, 37)),
    )
    parts = np.split(np.arange(num), np.cumsum(data["num_residues"])[:-1])
    return [
        everything.select(part, str(name)) for part, name in zip(parts, data["names"], strict=True)
    ]


def model_of(reference: Structure, kind: str, seed: int) -> tuple[Structure, dict[str, str]]:
    """A model, and which of its chains is which of the reference (by the reference's names)."""
    rng = np.random.default_rng(seed)
    scale = float(np.exp(rng.uniform(np.log(0.1), np.log(3))))
    chains = [_moved(rng, reference.chain(name), scale) for name in reference.chains]
    if kind == "noisy":
        chains = [_blurred(rng, chain, scale) for chain in chains]
    if kind == "truncated":
        chains = [_truncated(rng, chain) for chain in chains]
    if kind == "apart":
        chains = [_shifted(chain, rng.normal(size=3) * 10 * scale) for chain in chains]
    names = dict(zip(reference.chains, reference.chains, strict=True))
    if kind == "swapped":
        names = dict(zip(reference.chains, rng.permutation(reference.chains), strict=True))
        chains = [
            replace(chain, chain_id=np.full(len(chain), names[there]))
            for chain, there in zip(chains, reference.chains, strict=True)
        ]
    model = joined(*chains)
    turn = rotation_about(rng.normal(size=3), rng.uniform(0, np.pi))
    return replace(model, atom_positions=on_grid(model.atom_positions @ turn.T)), {
        there: str(here) for there, here in names.items()
    }


def _moved(rng: np.random.Generator, chain: Structure, scale: float) -> Structure:
    center = chain.atom_positions[chain.atom_mask].mean(axis=0)
    turn = rotation_about(rng.normal(size=3), 0.1 * scale)
    points = (chain.atom_positions - center) @ turn.T + center + scale * rng.normal(size=3)
    return replace(chain, atom_positions=points)


def _blurred(rng: np.random.Generator, chain: Structure, scale: float) -> Structure:
    residues = scale / 2 * rng.normal(size=(len(chain), 1, 3))
    atoms = scale / 4 * rng.normal(size=chain.atom_positions.shape)
    return replace(chain, atom_positions=chain.atom_positions + residues + atoms)


def _truncated(rng: np.random.Generator, chain: Structure) -> Structure:
    keep = rng.random(len(chain)) > 0.05
    keep[: rng.integers(0, len(chain) // 4)] = False
    keep[len(chain) - rng.integers(0, len(chain) // 4) :] = False
    shortened = chain.select(keep)
    # A few residues lack atoms of the backbone.
    mask = shortened.atom_mask & (rng.random(shortened.atom_mask.shape) > 0.02)
    mask[:, 1] = True
    return replace(shortened, atom_mask=mask)


def _shifted(chain: Structure, step: np.ndarray) -> Structure:
    return replace(chain, atom_positions=chain.atom_positions + step)
