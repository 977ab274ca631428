"""What an interrupted or repeated run need not compute again.

A query's folder holds `fold.json`, the hash of all inputs and settings behind its files and of each
file, and until the query is finished `.unranked/`, its predictions and relaxed structures so far,
exact to the last bit. These stay where any were relaxed: another choice of relaxation then needs no
network, and no model is relaxed twice.

Whoever uses a `Store` holds its folder (`foldry.store.locks.hold`).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np

from foldry.formats.compact import decode_pae, decode_structure, encode_pae, encode_structure
from foldry.formats.npz import read_arrays, write_arrays
from foldry.predict.settings import Settings
from foldry.query import Alignment, Query
from foldry.relax.result import Relaxation
from foldry.results.prediction import Prediction, Provenance
from foldry.store.files import make_folder, new_file, remove, write_json
from foldry.store.hashes import content_key, file_sha256, sha256
from foldry.structure import Structure
from foldry.weights.networks import NetworkFile

ARRAYS = ("plddt", "chain_ptm", "chain_pair_iptm", "actifptm", "single", "pair")
NUMBERS = ("max_pae", "ptm", "iptm", "ranking_confidence")
RECORD: Final = "fold.json"
UNRANKED: Final = ".unranked"
KEPT: Final = ".kept"
"""Suffix of a kept prediction or relaxed structure; earlier versions wrote `.npz`."""
_HARDLY_SHRINK: Final = ("single", "pair")
_STRUCTURE: Final = "structure."
_NOT_WRITTEN: Final = ""
"""Stands for the hash of a file that a run set out to write."""


class Store:
    """The finished and the half-finished work of one query in its folder."""

    def __init__(
        self, folder: Path, query: Query, settings: Settings, networks: Sequence[NetworkFile]
    ) -> None:
        self.folder = folder
        self.unranked = folder / UNRANKED
        self.query = query
        self.settings = settings
        hashes = [f"{network.name} {network.sha256()}" for network in networks]
        seeds = settings.seeds or query.seeds or (0,)
        self.inputs = query_hash(query)
        numbers = settings.numbers() | settings.relaxation()
        self.key = content_key([self.inputs, numbers, hashes, seeds, version("foldry")])
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

    def holds_earlier_version(self) -> bool:
        """Whether an earlier version of Foldry kept predictions there, which are not read."""
        return any(self.unranked.glob("*.npz"))

    def _recorded(self) -> dict[str, Any]:
        """What was noted the last time; nothing where the note is missing or damaged."""
        try:
            record = json.loads((self.folder / RECORD).read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        whole = isinstance(record, dict) and isinstance(record.get("files"), dict)
        return record if whole else {}

    def _record(self, record: Mapping[str, Any]) -> None:
        write_json(self.folder / RECORD, record)

    def begin(self, names: Collection[str]) -> None:
        """Note files that will be written: what a run leaves that never finishes is then known."""
        record = self._recorded()
        files = record.get("files", {}) | dict.fromkeys(names, _NOT_WRITTEN)
        self._record({**record, "files": files})

    def finish(self, files: Iterable[Path]) -> None:
        """Note that these are all files of the query, and remove what other runs left."""
        written = {path.name: file_sha256(path) for path in sorted(files)}
        for stale in set(self._recorded().get("files", {})) - set(written):
            remove(self.folder / Path(stale).name)
        self._record({"key": self.key, "files": written})
        self.tidy()
        if self.unranked.is_dir():
            for stale in set(self.unranked.iterdir()) - self._paths:
                remove(stale)

    def tidy(self) -> None:
        """Remove what was kept for a query that is finished, unless another relaxation may ask."""
        if self.settings.relax == "none":
            remove(self.unranked)

    def _path(self, network: NetworkFile, seed: int) -> Path:
        of_network = [network.name, network.sha256(), seed, version("foldry")]
        key = content_key([self.inputs, self.settings.numbers(), *of_network])
        return self.unranked / f"{key}{KEPT}"

    def save(self, network: NetworkFile, seed: int, prediction: Prediction) -> None:
        """Keep one prediction, at least until the query is finished.

        Raises:
            InputError: The folder cannot be written.
            DiskFullError: No space is left.
        """
        arrays = {name: getattr(prediction, name) for name in ARRAYS}
        numbers = {name: getattr(prediction, name) for name in NUMBERS}
        _write(
            self._path(network, seed),
            {**numbers, "provenance": asdict(prediction.provenance)},
            prediction.structure,
            {name: array for name, array in arrays.items() if array is not None}
            | ({} if prediction.pae is None else encode_pae(prediction.pae, None)),
        )

    def load(self, network: NetworkFile, seed: int) -> Prediction | None:
        """A prediction that an interrupted run kept; None where it is missing or damaged."""
        try:
            record, structure, arrays = _read(self._path(network, seed), self.query.name)
            return Prediction(
                query=self.query,
                structure=structure,
                provenance=Provenance(**record.pop("provenance")),
                pae=decode_pae(arrays) if "pae.exact" in arrays else None,
                **{name: arrays.get(name) for name in ARRAYS},  # type: ignore[arg-type]
                **record,
            )
        except (ValueError, KeyError, TypeError):
            return None

    def _relaxed_path(self, model: Structure, versions: Mapping[str, str]) -> Path:
        how = self.settings.relaxation()
        del how["relax"]
        arrays = {name: _array(array) for name, array in encode_structure(model, None).items()}
        key = content_key([arrays, how, versions, version("foldry")])
        path = self.unranked / f"{key}.relaxed{KEPT}"
        self._paths.add(path)
        return path

    def save_relaxed(
        self, model: Structure, versions: Mapping[str, str], relaxed: Structure, how: Relaxation
    ) -> None:
        """Keep what programs of these versions made of a model, at least until the query ends.

        Raises:
            InputError: The folder cannot be written.
            DiskFullError: No space is left.
        """
        _write(self._relaxed_path(model, versions), asdict(how), relaxed, {})

    def load_relaxed(
        self, model: Structure, versions: Mapping[str, str]
    ) -> tuple[Structure, Relaxation] | None:
        """What an earlier run made of this model by the same settings and versions, or None."""
        try:
            record, structure, _ = _read(self._relaxed_path(model, versions), self.query.name)
            return structure, Relaxation(**record)
        except (ValueError, KeyError, TypeError):
            return None


def _write(
    path: Path,
    record: Mapping[str, Any],
    structure: Structure,
    arrays: Mapping[str, np.ndarray],
) -> None:
    # No step: a resumed run must write the same bytes as one that was not interrupted.
    atoms = {f"{_STRUCTURE}{key}": each for key, each in encode_structure(structure, None).items()}
    make_folder(path.parent)
    with new_file(path) as file:
        kept = {"record": np.array(json.dumps(record)), **atoms, **arrays}
        write_arrays(file, kept, uncompressed=_HARDLY_SHRINK)


def _read(path: Path, name: str) -> tuple[dict[str, Any], Structure, dict[str, np.ndarray]]:
    """The record, the structure and the other arrays of a kept file.

    Raises:
        ValueError, KeyError, TypeError: It is missing or damaged.
    """
    arrays = read_arrays(path)
    atoms = {
        key.removeprefix(_STRUCTURE): arrays.pop(key)
        for key in list(arrays)
        if key.startswith(_STRUCTURE)
    }
    return json.loads(str(arrays.pop("record"))), decode_structure(atoms, name), arrays


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
    return content_key(parts)


def _is(path: Path, digest: str) -> bool:
    """Whether the file is there with these contents: another run may have replaced it."""
    return path.is_file() and file_sha256(path) == digest


def _alignment(rows: Alignment | None) -> object:
    return rows and [content_key(rows.headers), content_key(rows.sequences), _array(rows.deletions)]


def _array(array: np.ndarray) -> str:
    return sha256(np.ascontiguousarray(array).tobytes())
