"""The folder of one query's results: written and read here and nowhere else.

Where AlphaFold's own program has a name for a file, it is that name; docs/outputs.md lists them.
`fold.json` holds the content key of everything behind the files, and the hash of each of them.
"""

from __future__ import annotations

import json
import logging
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
"""Folder for what is not finished."""
WHOLE: Final = ("ranking_confidence", "mean_plddt", "ptm", "iptm", "has_clash")
"""Measures of all chains together in `scores_….json`."""
_NOT_WRITTEN: Final = ""
"""Stands for the hash of a file that a run set out to write."""

logger = logging.getLogger(__name__)

Note = Callable[[Collection[str]], object]
"""Is given the names of files before they are written."""


@dataclass(frozen=True)
class ResultsFolder:
    """Publishes queries as folders of files; what was published before is found finished.

    Attributes:
        out: Where each query gets a folder of its name.
        force: Whether finished queries are computed again.
        keep_work: Whether what a query was made of stays for other settings of relaxation.
        viewer: Where reports find the file of `viewer_js`, seen from a query's folder; None puts
            the viewer into every report.
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
            BusyError: Another process is at work in the query's folder.
            InputError: The folder cannot be written.
            DiskFullError: No space is left.
        """
        folder = self.out / query.name
        check_folder(folder)
        with hold(folder, (WORK,)):
            record = _recorded(folder)
            finished = record.get("key") == key and _is_whole(folder, record)
            if not finished and record.get("key", key) != key:
                logger.warning("Results of other inputs or settings in %s are replaced.", folder)
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
    """Whether a query's folder has been written to before, perhaps not to the end."""
    return (folder / RECORD).is_file()


def _recorded(folder: Path) -> dict[str, Any]:
    """What was noted the last time; nothing where the note is missing or damaged."""
    try:
        record = json.loads((folder / RECORD).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    whole = isinstance(record, dict) and isinstance(record.get("files"), dict)
    return record if whole else {}


def _is_whole(folder: Path, record: dict[str, Any]) -> bool:
    """Whether all noted files are there and unchanged: another run may have replaced them."""
    paths = {folder / Path(name).name: digest for name, digest in record["files"].items()}
    return all(path.is_file() and file_sha256(path) == digest for path, digest in paths.items())


def _begin(folder: Path, names: Collection[str]) -> None:
    """Note files that will be written: what a run leaves that never finishes is then known."""
    record = _recorded(folder)
    files = record.get("files", {}) | dict.fromkeys(names, _NOT_WRITTEN)
    write_json(folder / RECORD, {**record, "files": files})


def _finish(folder: Path, key: str, files: Iterable[Path]) -> None:
    """Note that these are all files of the query, and remove those that earlier runs noted."""
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
    """Write all files of one query, none where the report cannot be made.

    Args:
        predictions: Best first.
        folder: Made where it is missing; files of the same names are replaced.
        note: Is given the names of each prediction's files.
        viewer: As of `ResultsFolder`.

    Returns:
        The files, the report last.
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
        chains: Their names.
        numbers: Measures of `foldry.measures` by key; where each direction has its own number,
            two of them, aligned on the first chain and on the second.
    """

    chains: tuple[str, str]
    numbers: dict[str, float | tuple[float | None, float | None] | None]

    def number(self, key: str) -> float | None:
        """The number that is quoted of both directions."""
        value = self.numbers.get(key)
        if not isinstance(value, tuple):
            return value
        forth, back = value
        if forth is None or back is None:
            return None
        return float(quoted(key, np.array([[np.nan, forth], [back, np.nan]]))[0, 1])


@dataclass(frozen=True, eq=False)
class StoredPrediction(Content):
    """One prediction as its folder has it; what AlphaFold's own program does not write is None.

    Attributes:
        name: Its network and seed, such as `model_1_ptm_pred_0`.
        structure: Its ModelCIF file.
        pae: The file of its predicted aligned errors, or None.
        numbers: Measures of the whole by key; those that it lacks are None.
        chains: Measures of each chain by key, the chains by name; empty for a single chain.
        interfaces: Of every two chains.
        plddt: 0–100, per residue.
        provenance: How it was made.
        relaxation: How its relaxation ended; None where none was asked for.
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
    """The predictions of a query's folder, best first.

    Folders of earlier versions and of AlphaFold's own program are read too.

    Args:
        folder: The query's folder.
        most: How many predictions are read; None reads all.

    Raises:
        InputError: It is no such folder, or a file in it is damaged.

    Example:
        >>> [each.name for each in read_results(Path("out/1adz"))]  # doctest: +SKIP
        ['mini_pred_0']
    """
    try:
        order = json.loads(read_text(folder / RANKING))["order"]
        names = [Path(name).name for name in order if isinstance(order, list)]
    except (ValueError, LookupError, TypeError, RecursionError):
        names = []
    if not names:
        raise InputError(
            "is not a folder of one query's results",
            "give such a folder, or a structure file",
            where=folder,
        )
    return [_stored(folder, name, rank) for rank, name in enumerate(names[:most])]


def _stored(folder: Path, name: str, rank: int) -> StoredPrediction:
    path, pae = folder / f"scores_{name}.json", folder / f"pae_{name}.json"
    try:
        scores = json.loads(read_text(path)) if path.is_file() else {}
        interfaces = [
            StoredInterface(
                tuple(each.pop("chains")),
                {key: tuple(v) if isinstance(v, list) else v for key, v in each.items()},
            )
            for each in scores.get("interfaces", ())
        ]
        relaxation = scores.get("relaxation")
        return StoredPrediction(
            name=name,
            structure=folder / f"ranked_{rank}.cif",
            pae=pae if pae.is_file() else None,
            numbers={key: scores.get(key) for key in WHOLE},
            chains={each.pop("chain"): each for each in scores.get("chains", ())},
            interfaces=tuple(interfaces),
            plddt=np.array(scores["plddt"], np.float64) if scores else None,
            provenance=_provenance(scores["provenance"]) if scores else None,
            relaxation=None if relaxation is None else Relaxation(**relaxation),
        )
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError):
        raise InputError("is damaged", "predict it again", where=path) from None


def _provenance(record: dict[str, Any]) -> Provenance:
    """What this version knows of it; a later one may have written more."""
    return Provenance(
        **{each.name: record[each.name] for each in fields(Provenance) if each.name in record}
    )
