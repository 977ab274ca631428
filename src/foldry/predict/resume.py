"""What an interrupted or repeated run need not compute again.

A query's folder holds `fold.json`, the hash of all inputs and settings behind its files and of each
file, and until the query is finished `.unranked/`, its predictions and relaxed structures so far as
plain arrays. These stay where any were relaxed: another choice of relaxation then needs no network,
and no model is relaxed twice.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from importlib.metadata import version
from lzma import LZMAError
from pathlib import Path
from typing import Any, Final
from zipfile import BadZipFile

import numpy as np

from foldry.model.weights import sha256
from foldry.predict.networks import NetworkFile
from foldry.predict.prediction import Prediction, Provenance
from foldry.predict.settings import Settings
from foldry.query import Alignment, Query
from foldry.relax.relaxation import Relaxation
from foldry.structure import Structure

ARRAYS = ("plddt", "pae", "chain_ptm", "chain_pair_iptm", "actifptm", "single", "pair")
NUMBERS = ("max_pae", "ptm", "iptm", "ranking_confidence")
RECORD = "fold.json"
_DAMAGED: Final = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    EOFError,
    BadZipFile,
    RuntimeError,  # a member that is marked as encrypted, or as compressed in an unknown way
    zlib.error,
    LZMAError,
)
"""What reading a kept file may raise: it is then computed again."""
_NOT_WRITTEN: Final = ""
"""Stands for the hash of a file that a run set out to write."""


class Store:
    """The finished and the half-finished work of one query in its folder."""

    def __init__(
        self, folder: Path, query: Query, settings: Settings, networks: Sequence[NetworkFile]
    ) -> None:
        self.folder = folder
        self.unranked = folder / ".unranked"
        self.query = query
        self.settings = settings
        hashes = [f"{network.name} {network.sha256()}" for network in networks]
        seeds = settings.seeds or query.seeds or (0,)
        self.inputs = query_hash(query)
        numbers = settings.numbers() | settings.relaxation()
        self.key = _hash([self.inputs, numbers, hashes, seeds, version("foldry")])
        self._paths = {self._path(network, seed) for network in networks for seed in seeds}

    def is_finished(self) -> bool:
        """Whether the folder holds all files of this very query with these settings, unchanged."""
        record = self._recorded()
        return record.get("key") == self.key and all(
            _is(self.folder / Path(name).name, digest) for name, digest in record["files"].items()
        )

    def is_other(self) -> bool:
        """Whether the folder holds a finished query of other inputs or settings."""
        return bool(self._recorded().get("key", self.key) != self.key)

    def _recorded(self) -> dict[str, Any]:
        """What was noted the last time; nothing where the note is missing or damaged."""
        try:
            record = json.loads((self.folder / RECORD).read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        whole = isinstance(record, dict) and isinstance(record.get("files"), dict)
        return record if whole else {}

    def _record(self, record: Mapping[str, Any]) -> None:
        partial = self.folder / f".{RECORD}.partial"
        partial.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
        partial.replace(self.folder / RECORD)

    def begin(self, names: Collection[str]) -> None:
        """Note files that will be written: what a run leaves that never finishes is then known."""
        record = self._recorded()
        files = record.get("files", {}) | dict.fromkeys(names, _NOT_WRITTEN)
        self._record({**record, "files": files})

    def finish(self, files: Iterable[Path]) -> None:
        """Note that these are all files of the query, and remove what other runs left."""
        written = {path.name: sha256(path) for path in sorted(files)}
        for stale in set(self._recorded().get("files", {})) - set(written):
            name = Path(stale).name
            for left in (name, f".{name}.partial"):
                (self.folder / left).unlink(missing_ok=True)
        self._record({"key": self.key, "files": written})
        if self.settings.relax == "none":
            shutil.rmtree(self.unranked, ignore_errors=True)
        elif self.unranked.is_dir():
            for stale in set(self.unranked.iterdir()) - self._paths:
                stale.unlink()

    def _path(self, network: NetworkFile, seed: int) -> Path:
        of_network = [network.name, network.sha256(), seed, version("foldry")]
        key = _hash([self.inputs, self.settings.numbers(), *of_network])
        return self.unranked / f"{key}.npz"

    def save(self, network: NetworkFile, seed: int, prediction: Prediction) -> None:
        """Keep one prediction, at least until the query is finished."""
        arrays = {name: getattr(prediction, name) for name in ARRAYS}
        numbers = {name: getattr(prediction, name) for name in NUMBERS}
        _write(
            self._path(network, seed),
            {**numbers, "provenance": asdict(prediction.provenance)},
            _structure_arrays(prediction.structure)
            | {name: array for name, array in arrays.items() if array is not None},
        )

    def load(self, network: NetworkFile, seed: int) -> Prediction | None:
        """A prediction that an interrupted run kept, or None."""
        try:
            record, kept = _read(self._path(network, seed))
            return Prediction(
                query=self.query,
                structure=_structure(self.query.name, kept),
                provenance=Provenance(**record.pop("provenance")),
                **{name: kept.get(name) for name in ARRAYS},  # type: ignore[arg-type]
                **record,
            )
        except _DAMAGED:
            return None

    def _relaxed_path(self, model: Structure, versions: Mapping[str, str]) -> Path:
        how = self.settings.relaxation()
        del how["relax"]
        arrays = {name: _array(array) for name, array in _structure_arrays(model).items()}
        path = self.unranked / f"{_hash([arrays, how, versions, version('foldry')])}.relaxed.npz"
        self._paths.add(path)
        return path

    def save_relaxed(
        self, model: Structure, versions: Mapping[str, str], relaxed: Structure, how: Relaxation
    ) -> None:
        """Keep what programs of these versions made of a model, at least until the query ends."""
        _write(self._relaxed_path(model, versions), asdict(how), _structure_arrays(relaxed))

    def load_relaxed(
        self, model: Structure, versions: Mapping[str, str]
    ) -> tuple[Structure, Relaxation] | None:
        """What an earlier run made of this model by the same settings and versions, or None."""
        try:
            record, kept = _read(self._relaxed_path(model, versions))
            return _structure(self.query.name, kept), Relaxation(**record)
        except _DAMAGED:
            return None


def _structure_arrays(structure: Structure) -> dict[str, np.ndarray]:
    return {
        f"structure.{field.name}": getattr(structure, field.name)
        for field in fields(Structure)
        if field.name != "name"
    }


def _structure(name: str, kept: Mapping[str, np.ndarray]) -> Structure:
    arrays = {
        key.removeprefix("structure."): array
        for key, array in kept.items()
        if key.startswith("structure.")
    }
    return Structure(name=name, **arrays)


def _write(path: Path, record: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez(file, record=np.array(json.dumps(record)), **arrays)  # type: ignore[arg-type]
    partial.replace(path)


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The record and the arrays of a file; one of `_DAMAGED` is raised where it is none."""
    # NumPy leaves a damaged archive open that it has opened itself.
    with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
        kept = {name: file[name] for name in file.files}
    return json.loads(str(kept.pop("record"))), kept


def query_hash(query: Query) -> str:
    """Hash of everything in a query that a prediction depends on."""
    parts: list[object] = [query.paired_by_row]
    for chain in query.chains:
        parts += [chain.ids, chain.sequence]
        parts += [_alignment(rows) for rows in (chain.alignment, chain.paired)]
        for hit in chain.templates:
            parts += [
                hit.pairs.tolist(),
                hit.structure.sequence,
                _array(hit.structure.atom_positions),
                _array(hit.structure.atom_mask),
            ]
    return _hash(parts)


def _is(path: Path, digest: str) -> bool:
    """Whether the file is there with these contents: another run may have replaced it."""
    return path.is_file() and sha256(path) == digest


def _alignment(rows: Alignment | None) -> object:
    return rows and [_hash(rows.headers), _hash(rows.sequences), _array(rows.deletions)]


def _array(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _hash(parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
