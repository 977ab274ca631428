"""Small predictions to publish."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from foldry.database.entry import Deposit, StoredModel
from foldry.formats.model_record import ModelChain, ModelRecord, Step
from foldry.residues import ATOM37_MASK, encode_sequence
from foldry.structure import Structure

SEQUENCE = "MKTAYIAKQRQISFVKSHFSRQ"


def stored_model(
    chains: Sequence[tuple[str, int]] = ((SEQUENCE, 1),),
    *,
    seed: int = 0,
    name: str = "example",
    has_pae: bool = True,
    **record: Any,
) -> StoredModel:
    """Return a model with random atoms on the grid of a record.

    Args:
        chains: Sequences and the number of their copies.
        seed: Seed of coordinates and confidence.
        name: Name of the model.
        has_pae: Whether it has predicted aligned errors.
        **record: Further fields of the record.
    """
    random = np.random.default_rng(seed)
    names = iter("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    kept = tuple(ModelChain(tuple(next(names) for _ in range(n)), s) for s, n in chains)
    letters = "".join(chain.sequence * len(chain.ids) for chain in kept)
    size = len(letters)
    aatype = encode_sequence(letters)
    mask = ATOM37_MASK[aatype].astype(bool)
    trace = np.cumsum(random.normal(0, 2, (size, 1, 3)), axis=0)
    positions = np.round(trace + random.normal(0, 1, (size, 37, 3)), 3)
    plddt = np.round(random.uniform(30, 98, size), 2)
    structure = Structure(
        name=name,
        aatype=aatype,
        residue_number=np.concatenate(
            [np.arange(1, len(c.sequence) + 1) for c in kept for _ in c.ids]
        ),
        insertion_code=np.full(size, ""),
        chain_id=np.concatenate([np.full(len(c.sequence), i) for c in kept for i in c.ids]),
        atom_positions=np.where(mask[..., None], positions, 0.0),
        atom_mask=mask,
        b_factor=np.where(mask, plddt[:, None], 0.0),
    )
    pae = np.round(random.uniform(0, 31, (size, size))) if has_pae else None
    fields: dict[str, Any] = {
        "entry_id": name,
        "title": name,
        "model_name": "mini",
        "created": "2026-11-30T12:00:00Z",
        "licence": "CC BY 4.0",
        "scores": {"ptm": 0.5},
        "prediction": Step({"Foldry": "1.0"}, {"seed": seed}),
        **record,
    }
    made = ModelRecord(structure=structure, chains=kept, plddt=plddt, **fields)
    return StoredModel(record=made, pae=pae, max_pae=31.75 if has_pae else None)


def deposit(
    chains: Sequence[tuple[str, int]] | str = SEQUENCE, *, seed: int = 0, **fields: Any
) -> Deposit:
    """Return a deposit of a model with random atoms; equal arguments give equal deposits."""
    pairs = ((chains, 1),) if isinstance(chains, str) else tuple(chains)
    values: dict[str, Any] = {
        "tool": "Foldry",
        "name": "example",
        "content_key": f"key of seed {seed}",
        **fields,
    }
    return Deposit(model=values.pop("model", None) or stored_model(pairs, seed=seed), **values)


def sequence(seed: int, length: int = 60) -> str:
    """Return a random sequence."""
    letters = np.random.default_rng(seed).choice(list("ACDEFGHIKLMNPQRSTVWY"), length)
    return "".join(letters)
