"""Single structure files, perhaps with a file of predicted aligned errors of the same name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final

from foldry.database.entry import Deposit
from foldry.database.imports.job import STRUCTURES, Job, Reading, Unit
from foldry.database.imports.model import deposit, named_program, read_model, tool_of

LAYOUT: Final = "plain"
_PAE: Final = ("{}_pae.json", "{}.pae.json", "pae_{}.json", "pae_{}.npz", "pae_{}.npy", "{}.npy")
UNKNOWN: Final = "unknown"


def find(unit: Unit) -> Iterator[Job]:
    """Yield each structure file of a folder itself."""
    for name in sorted(unit.files):
        if name.lower().endswith(STRUCTURES) and "/" not in name:
            stem = PurePosixPath(name).stem
            pae = [file for each in _PAE if (file := each.format(stem)) in unit.files]
            yield unit.take(LAYOUT, stem, [name, *pae[:1]])


def read(reading: Reading) -> Deposit:
    """Return the deposit of a file.

    Raises:
        InputError: It is damaged, or is not a prediction.
    """
    [structure] = [each for each in reading.job.files if each.lower().endswith(STRUCTURES)]
    pae = next((each for each in reading.job.files if each != structure), None)
    model = read_model(reading, structure, pae=pae)
    program = named_program(reading.data(structure)) or UNKNOWN
    return deposit(reading, tool_of(model.record, program), [model])
