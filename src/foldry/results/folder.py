"""The folder of one query's results. No other module writes or reads it.

Files have the names that AlphaFold's program uses, if it writes such a file; docs/outputs.md lists
them.

`fold.json` holds the content key of the results and the hash of each file. It is written twice.
Before any file is written, the run notes its name, so that the files of a killed run are known and
can be removed or replaced later. At the end, the run notes the key and all hashes. A folder is
therefore finished only if it has the right key and every file has its noted hash.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float

from foldry.errors import InputError
from foldry.query import Query
from foldry.relax.result import Relaxation
from foldry.results.chain_confidence import chain_confidence
from foldry.results.prediction import Prediction, Provenance
from foldry.results.render import modelcif_text, prediction_files, ranking_json
from foldry.results.report import report_html
from foldry.score.confidence import quoted
from foldry.store.files import check_folder, make_folder, read_text, remove, write_bytes, write_json
from foldry.store.hashes import Content, file_sha256
from foldry.store.locks import hold

RECORD: Final = "fold.json"
RANKING: Final = "ranking_debug.json"
REPORT: Final = "report.html"
WORK: Final = ".unranked"
"""Folder of predictions that are not published yet."""
WHOLE: Final = ("ranking_confidence", "mean_plddt", "ptm", "iptm", "has_clash")
"""Measures of all chains together in `scores_….json`."""
_NOT_WRITTEN: Final = ""
"""The hash of a file that a run has begun to write."""

_MAX_NAMES: Final = 100_000
"""Maximum number of predictions."""
_MAX_NAME: Final = 200
"""Maximum length of a prediction's name: file systems refuse longer ones."""

logger = logging.getLogger(__name__)

Note = Callable[[Collection[str]], object]
"""Called with the names of files before they are written."""


@dataclass(frozen=True)
class ResultsFolder:
    """Publishes each query as a folder of files, unless it was published before.

    Attributes:
        out: Folder in which each query gets a folder of its name.
        force: Whether finished queries are computed again.
        keep_work: Whether unrelaxed predictions are kept for other relaxation settings.
        viewer: Path of the file `viewer_js` relative to a query's folder; None puts the viewer
            into every report.
    """

    out: Path
    force: bool = False
    keep_work: bool = False
    viewer: str | None = None

    def publish(
        self,
        query: Query,
        key: str,
        predict: Callable[[Path | None], AbstractContextManager[Sequence[Prediction]]],
    ) -> bool:
        """Write the files of a query (`foldry.predict.runner.Publisher`).

        Raises:
            BusyError: Another process uses the query's folder.
            InputError: The folder cannot be written.
            DiskFullError: No space is left.
        """
        folder = self.out / query.name
        check_folder(folder)
        with hold(folder, (WORK,)):
            record = _recorded(folder)
            finished = record.get("key") == key and _is_whole(folder, record)
            before = record.get("key", key)
            if str(before).partition("-")[0] != key.partition("-")[0]:
                logger.warning(
                    "Replacing the results in %s, made with other inputs or settings.", folder
                )
            elif before != key:
                again = "" if (folder / WORK).is_dir() else "; all predictions are computed again"
                logger.info(
                    "Results in %s are updated with other relaxation settings%s.", folder, again
                )
            if not finished or self.force:
                with predict(folder / WORK) as predictions:
                    files = write_query(
                        predictions, folder, lambda names: _begin(folder, names), self.viewer
                    )
                    _finish(folder, key, files)
            if not self.keep_work:
                remove(folder / WORK)
        return not finished or self.force


def is_published(folder: Path) -> bool:
    """Return whether a query's folder was written to before, perhaps incompletely."""
    return (folder / RECORD).is_file()


def _recorded(folder: Path) -> dict[str, Any]:
    """Return the last record, or an empty one if it is missing or damaged."""
    try:
        record = json.loads((folder / RECORD).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    whole = isinstance(record, dict) and isinstance(record.get("files"), dict)
    return record if whole else {}


def _is_whole(folder: Path, record: dict[str, Any]) -> bool:
    """Return whether all noted files exist unchanged: another run may have replaced them."""
    paths = {folder / Path(name).name: digest for name, digest in record["files"].items()}
    return all(path.is_file() and file_sha256(path) == digest for path, digest in paths.items())


def _begin(folder: Path, names: Collection[str]) -> None:
    """Note files that will be written, so that those of a killed run are known."""
    record = _recorded(folder)
    files = record.get("files", {}) | dict.fromkeys(names, _NOT_WRITTEN)
    write_json(folder / RECORD, {**record, "files": files})


def _finish(folder: Path, key: str, files: Iterable[Path]) -> None:
    """Note all files of the query and remove other files that earlier runs noted."""
    written = {path.name: file_sha256(path) for path in sorted(files)}
    for stale in set(_recorded(folder).get("files", {})) - set(written):
        remove(folder / Path(stale).name)
    write_json(folder / RECORD, {"key": key, "files": written})


def write_query(
    predictions: Sequence[Prediction],
    folder: Path,
    note: Note | None = None,
    viewer: str | None = None,
) -> list[Path]:
    """Write all files of one query, or none if the report cannot be made.

    Args:
        predictions: Predictions, best first.
        folder: Folder, created if missing; files of the same names are replaced.
        note: Called with the names of each prediction's files.
        viewer: As in `ResultsFolder`.

    Returns:
        The paths of the files, the report last.
    """
    chains = [chain_confidence(prediction) for prediction in predictions]
    models = [modelcif_text(*each) for each in zip(predictions, chains, strict=True)]
    of_query = {
        RANKING: ranking_json(predictions),
        REPORT: report_html(predictions, models, chains, viewer=viewer),
    }
    make_folder(folder)
    written: list[Path] = []
    for rank, each in enumerate(zip(predictions, chains, models, strict=True)):
        files = prediction_files(rank, *each)
        if note is not None:
            note(files)
        written += _write(folder, files)
    return written + _write(folder, of_query)


def _write(folder: Path, files: Mapping[str, str | bytes]) -> list[Path]:
    return [
        write_bytes(folder / name, each.encode() if isinstance(each, str) else each)
        for name, each in files.items()
    ]


@dataclass(frozen=True, eq=False)
class StoredInterface(Content):
    """Two chains of a stored prediction.

    Attributes:
        chains: Names of the two chains.
        numbers: Measures of `foldry.measures` by key; two numbers, aligned on the first chain and
            on the second, if the directions differ.
    """

    chains: tuple[str, str]
    numbers: dict[str, float | tuple[float | None, float | None] | None]

    def number(self, key: str) -> float | None:
        """Return the value of a measure that represents both directions."""
        value = self.numbers.get(key)
        if not isinstance(value, tuple):
            return value
        forth, back = value
        if forth is None or back is None:
            return None
        return float(quoted(key, np.array([[np.nan, forth], [back, np.nan]]))[0, 1])


@dataclass(frozen=True, eq=False)
class StoredPrediction(Content):
    """One prediction in a folder; values that AlphaFold's program does not write are None.

    Attributes:
        name: Network and seed, such as `model_1_ptm_pred_0`.
        structure: The ModelCIF file.
        pae: The file of predicted aligned errors, or None.
        numbers: Measures of the whole prediction by key; None if unknown.
        chains: Measures by key for each chain by name; empty for a single chain.
        interfaces: Measures of each pair of chains.
        plddt: pLDDT per residue, 0–100.
        provenance: How the prediction was made.
        relaxation: The result of its relaxation; None if it was not requested.
    """

    name: str
    structure: Path
    pae: Path | None
    numbers: dict[str, float | None]
    chains: dict[str, dict[str, float | None]]
    interfaces: tuple[StoredInterface, ...]
    plddt: Float[np.ndarray, " N"] | None
    provenance: Provenance | None
    relaxation: Relaxation | None


def read_results(folder: Path, most: int | None = None) -> list[StoredPrediction]:
    """Read the predictions of a query's folder, best first.

    Folders of earlier versions and of AlphaFold's program can be read too.

    Args:
        folder: The query's folder.
        most: Maximum number of predictions to read; None reads all.

    Raises:
        InputError: The folder has no results of a query, or a file in it is damaged.

    Example:
        >>> [each.name for each in read_results(Path("out/1adz"))]  # doctest: +SKIP
        ['mini_pred_0']
    """
    try:
        order = json.loads(read_text(folder / RANKING))["order"]
        names = [Path(name).name for name in order[: _MAX_NAMES + 1] if isinstance(order, list)]
        if len(names) > _MAX_NAMES or max(map(len, names), default=0) > _MAX_NAME:
            names = []
    except (ValueError, LookupError, TypeError, RecursionError):
        names = []
    if not names:
        inner = next(iter(sorted(folder.glob(f"*/{RANKING}"))), None)
        advice = f"give such a folder{f' ({inner.parent})' if inner else ''}, or a structure file"
        raise InputError("is not a folder of one query's results", advice, where=folder)
    return [_stored(folder, name, rank) for rank, name in enumerate(names[:most])]


def _stored(folder: Path, name: str, rank: int) -> StoredPrediction:
    path, pae = folder / f"scores_{name}.json", folder / f"pae_{name}.json"
    try:
        scores = json.loads(read_text(path)) if path.is_file() else {}
        interfaces = [
            StoredInterface(
                tuple(each.pop("chains")),
                {key: _numbers(value) for key, value in each.items()},
            )
            for each in scores.get("interfaces", ())
        ]
        relaxation = scores.get("relaxation")
        return StoredPrediction(
            name=name,
            structure=folder / f"ranked_{rank}.cif",
            pae=pae if pae.is_file() else None,
            numbers={key: _number(scores.get(key)) for key in WHOLE},
            chains={
                str(each.pop("chain")): {key: _number(value) for key, value in each.items()}
                for each in scores.get("chains", ())
            },
            interfaces=tuple(interfaces),
            plddt=_plddt(scores["plddt"]) if scores else None,
            provenance=_provenance(scores["provenance"]) if scores else None,
            relaxation=None if relaxation is None else Relaxation(**relaxation),
        )
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError):
        raise InputError("is damaged", "predict it again", where=path) from None


def _number(value: Any) -> float | None:
    if value is not None and not (isinstance(value, int | float) and math.isfinite(value)):
        raise TypeError("a score is not a number")
    return value


def _plddt(values: Any) -> Float[np.ndarray, " N"]:
    if not isinstance(values, list) or None in values:
        raise TypeError("pLDDT is not a list of numbers")
    return np.array(list(map(_number, values)), float)


def _numbers(value: Any) -> Any:
    return (_number(value[0]), _number(value[1])) if isinstance(value, list) else _number(value)


def _provenance(record: dict[str, Any]) -> Provenance:
    """Return the fields that this version knows; a later version may have written more."""
    known = {each.name: record[each.name] for each in fields(Provenance) if each.name in record}
    if isinstance(known["kernels"], str):  # of a version that chose all of them at once
        known["kernels"] = {"all": known["kernels"]}
    return Provenance(**known)
