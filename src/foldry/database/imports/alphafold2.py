"""Results folders of AlphaFold 2's program and of Foldry, which has the same names of files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from foldry.database.entry import Deposit
from foldry.database.imports.alignments import searched
from foldry.database.imports.job import STRUCTURES, Job, Reading, Unit
from foldry.database.imports.model import deposit, read_model, read_scores
from foldry.errors import InputError
from foldry.results.folder import RANKING, RECORD

FOLDRY: Final = "foldry"
ALPHAFOLD: Final = "alphafold2"
_OWN: Final = re.compile(
    r"(ranked|relaxed|unrelaxed|confidence|pae|scores|result|timings|features|fold|ranking|"
    r"representations|report|relax_metrics)[_.].*|msas/.*"
)
_ADVICE: Final = "give the folder as it was written"


def find(unit: Unit) -> Iterator[Job]:
    """Yield the prediction of a folder that has a ranking."""
    if RANKING not in unit.files:
        return
    layout = FOLDRY if RECORD in unit.files else ALPHAFOLD
    yield unit.take(layout, unit.name, [each for each in unit.files if _OWN.fullmatch(each)])


def read(reading: Reading) -> Deposit:
    """Return the deposit of a folder, with all models.

    Raises:
        InputError: A file is missing or damaged, or was changed after Foldry had written it.
    """
    is_own = reading.job.layout == FOLDRY
    names = reading.json(RANKING).get("order")
    if not isinstance(names, list) or not names or not all(isinstance(each, str) for each in names):
        raise InputError("has no order of models", _ADVICE, where=reading.where(RANKING))
    models = []
    for rank, name in enumerate(names):
        structure = reading.find(*(f"ranked_{rank}{suffix}" for suffix in STRUCTURES))
        if structure is None:
            where = reading.job.where
            raise InputError(f"has no structure of rank {rank}", _ADVICE, where=where)
        model = read_model(
            reading,
            structure,
            pae=reading.find(f"pae_{name}.json"),
            plddt=reading.find(f"confidence_{name}.json"),
            scores=read_scores(reading, reading.find(f"scores_{name}.json")),
            name=name,
        )
        models.append(model)
    if models[0].pae is None and any(each.endswith(".pkl") for each in reading.job.files):
        where = reading.job.where
        reading.notes.append(f"{where}: the PAE is only in pickle files, which are not opened.")
    tool = "Foldry" if is_own else "AlphaFold"
    key = _key(reading) if is_own else None
    return deposit(reading, tool, models, key=key, alignments=searched(reading))


def _key(reading: Reading) -> str:
    """Return the content key of results whose files are as they were written."""
    record: dict[str, Any] = reading.json(RECORD)
    key, files = record.get("key"), record.get("files")
    if not isinstance(key, str) or not isinstance(files, dict):
        what = "is of a run that has not ended"
        raise InputError(what, "run it again, which completes it", where=reading.where(RECORD))
    for name, digest in files.items():
        if reading.digest(name) not in (None, digest):
            what = "was changed after it had been written"
            raise InputError(what, "predict it again", where=reading.where(name))
    return key
