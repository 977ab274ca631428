"""Boltz's results: a folder for each query below `predictions`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from foldry.database.entry import Deposit
from foldry.database.imports.job import Job, Reading, Unit
from foldry.database.imports.model import deposit, read_model, read_scores

LAYOUT: Final = "boltz"
_MODEL: Final = re.compile(r"(?P<tag>(?P<job>[^/]+)_model_(?P<rank>\d{1,4}))\.(?:cif|pdb)")


def find(unit: Unit) -> Iterator[Job]:
    """Yield the queries of a folder."""
    jobs = {found["job"] for each in unit.files if (found := _MODEL.fullmatch(each))}
    for name in sorted(jobs, key=len, reverse=True):
        own = [each for each in unit.files if name in each and _is_own(each, name)]
        if any(each.startswith(("confidence_", "plddt_", "pae_")) for each in own):
            yield unit.take(LAYOUT, name, own)


def _is_own(name: str, job: str) -> bool:
    kinds = "(confidence_|pae_|pde_|plddt_|affinity_|pre_affinity_|embeddings_)?"
    return re.fullmatch(rf"{kinds}{re.escape(job)}(_model_\d+)?\.\w+", name) is not None


def read(reading: Reading) -> Deposit:
    """Return the deposit of a query, with all samples, which Boltz numbers by confidence.

    Raises:
        InputError: A file is damaged.
    """
    found = [match for each in reading.job.files if (match := _MODEL.fullmatch(each))]
    models = [
        read_model(
            reading,
            each[0],
            pae=reading.find(f"pae_{each['tag']}.npz"),
            plddt=reading.find(f"plddt_{each['tag']}.npz"),
            scores=read_scores(reading, reading.find(f"confidence_{each['tag']}.json")),
            name="Boltz",
        )
        for each in sorted(found, key=lambda match: int(match["rank"]))
    ]
    return deposit(reading, "Boltz", models)
