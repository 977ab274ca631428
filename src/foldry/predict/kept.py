"""Predictions and relaxed structures that an interrupted or repeated run need not compute again.

Why a run has two phases: ranks, report and relaxation depend on all predictions of a query, and
nothing can be published before the last one. A run therefore first keeps every prediction here, one
file each, exact to the last bit and named by the content key of its stage
(`foldry.predict.stages`). It then ranks, relaxes and publishes them, and `foldry.results.folder`
records the hashes of the published files. An interruption of the first phase loses at most one
prediction; an interruption of the second loses at most one relaxation. Only the process that holds
the query's folder writes here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np

from foldry.formats.compact import decode_pae, decode_structure, encode_pae, encode_structure
from foldry.formats.npz import read_arrays, write_arrays
from foldry.query import Query
from foldry.relax.result import Relaxation
from foldry.results.prediction import Prediction, Provenance
from foldry.store.files import make_folder, new_file, remove
from foldry.store.hashes import content_key
from foldry.structure import Structure

SUFFIX: Final = ".kept"
_ARRAYS: Final = ("plddt", "chain_ptm", "chain_pair_iptm", "actifptm", "single", "pair")
_NUMBERS: Final = ("max_pae", "ptm", "iptm", "ranking_confidence")
_HARDLY_SHRINK: Final = ("single", "pair")
_STRUCTURE: Final = "structure."
_DIGEST: Final = "digest"
"""Hash of all other arrays, which detects a damaged file."""
_DAMAGE: Final = (ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""Errors that reading a missing or damaged file raises."""


class Kept:
    """The results kept in one folder, which is created with the first of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._asked: set[Path] = set()

    def _path(self, key: str) -> Path:
        path = self.folder / f"{key}{SUFFIX}"
        self._asked.add(path)
        return path

    def drop_others(self) -> None:
        """Remove the files of other settings: those neither saved nor loaded by this object."""
        if self.folder.is_dir():
            for stale in set(self.folder.iterdir()) - self._asked:
                remove(stale)

    def save(self, key: str, prediction: Prediction) -> None:
        """Keep a prediction.

        Raises:
            InputError: The folder cannot be written.
            DiskFullError: No space is left.
        """
        record = {name: getattr(prediction, name) for name in _NUMBERS}
        arrays = {name: getattr(prediction, name) for name in _ARRAYS}
        known = {name: array for name, array in arrays.items() if array is not None}
        if prediction.pae is not None:
            known |= encode_pae(prediction.pae, None)
        record["provenance"] = asdict(prediction.provenance)
        _write(self._path(key), record, prediction.structure, known)

    def load(self, key: str, query: Query) -> Prediction | None:
        """Return the prediction of a key, or None if it is missing or damaged."""
        try:
            record, structure, arrays = _read(self._path(key), query.name)
            return Prediction(
                query=query,
                structure=structure,
                provenance=Provenance(**record.pop("provenance")),
                pae=decode_pae(arrays) if "pae.exact" in arrays else None,
                **{name: arrays.get(name) for name in _ARRAYS},  # type: ignore[arg-type]
                **record,
            )
        except _DAMAGE:
            return None

    def save_relaxed(self, key: str, structure: Structure, relaxation: Relaxation) -> None:
        """Keep the result of a relaxation.

        Raises:
            InputError: The folder cannot be written.
            DiskFullError: No space is left.
        """
        _write(self._path(f"{key}.relaxed"), asdict(relaxation), structure, {})

    def load_relaxed(self, key: str, name: str) -> tuple[Structure, Relaxation] | None:
        """Return a kept relaxation, its structure named `name`, or None if missing or damaged."""
        try:
            record, structure, _ = _read(self._path(f"{key}.relaxed"), name)
            return structure, Relaxation(**record)
        except _DAMAGE:
            return None


def _write(
    path: Path, record: Mapping[str, Any], structure: Structure, arrays: Mapping[str, np.ndarray]
) -> None:
    # Without a step: a resumed run must write the same bytes as an uninterrupted one.
    atoms = {f"{_STRUCTURE}{key}": each for key, each in encode_structure(structure, None).items()}
    make_folder(path.parent)
    with new_file(path) as file:
        kept = {"record": np.array(json.dumps(record)), **atoms, **arrays}
        kept[_DIGEST] = np.array(content_key(kept))
        write_arrays(file, kept, uncompressed=_HARDLY_SHRINK)


def _read(path: Path, name: str) -> tuple[dict[str, Any], Structure, dict[str, np.ndarray]]:
    """Return the record, the structure and the other arrays of a kept file.

    Raises:
        One of _DAMAGE: The file is missing or damaged.
    """
    arrays = read_arrays(path)
    digest = str(arrays.pop(_DIGEST))
    try:
        intact = content_key(arrays) == digest
    except Exception as error:  # arrays of foreign types make NumPy raise nearly anything
        raise ValueError(str(error)) from error
    if not intact:
        raise ValueError("it is not what was kept")
    atoms = {
        key.removeprefix(_STRUCTURE): arrays.pop(key)
        for key in list(arrays)
        if key.startswith(_STRUCTURE)
    }
    return json.loads(str(arrays.pop("record"))), decode_structure(atoms, name), arrays
