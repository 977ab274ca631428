"""Chai's results: one folder for each query."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from foldry.database.entry import Deposit
from foldry.database.imports.job import Job, Reading, Unit
from foldry.database.imports.model import deposit, read_array, read_model, read_scores

LAYOUT: Final = "chai"
_MODEL: Final = re.compile(r"pred\.(?P<tag>(?:model_idx|rank)_\d{1,4})\.cif")
_OF_JOB: Final = re.compile(r"(pred|scores|pae|pde|plddt)\.(model_idx|rank)_\d+\.\w+")


def find(unit: Unit) -> Iterator[Job]:
    """Yield the query of a folder, if it has one."""
    if any(map(_MODEL.fullmatch, unit.files)):
        yield unit.take(LAYOUT, unit.name, [each for each in unit.files if _OF_JOB.fullmatch(each)])


def read(reading: Reading) -> Deposit:
    """Return the deposit of a query, with all samples by their aggregate score.

    Raises:
        InputError: A file is damaged.
    """
    models = []
    for each in filter(None, map(_MODEL.fullmatch, sorted(reading.job.files))):
        tag = each["tag"]
        scores = reading.find(f"scores.{tag}.npz", f"scores.{tag}.json")
        model = read_model(
            reading,
            each[0],
            pae=reading.find(f"pae.{tag}.npz", f"pae.{tag}.npy"),
            plddt=reading.find(f"plddt.{tag}.npz", f"plddt.{tag}.npy"),
            scores=read_scores(reading, scores),
            name="Chai-1",
        )
        models.append((_score(reading, scores), model))
    models.sort(key=lambda each: -each[0])
    return deposit(reading, "Chai", [model for _, model in models])


def _score(reading: Reading, name: str | None) -> float:
    """Return the score that ranks the samples; 0 if it is unknown, which keeps their order."""
    if name is None or not name.endswith(".npz"):
        return 0.0
    array = read_array(reading, name, "aggregate_score")
    return 0.0 if array is None or not array.size else float(array.ravel()[0])
