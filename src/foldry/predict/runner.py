"""Queries → ranked predictions, published one query after the other: the core of every fold."""

from __future__ import annotations

import inspect
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from foldry.errors import (
    BusyError,
    DiskFullError,
    FaultError,
    FoldryError,
    InputError,
    MemoryShortError,
    as_foldry_error,
    check_type,
    is_memory_error,
    quoted,
)
from foldry.inputs.queries import read_query
from foldry.inputs.structures import read_templates
from foldry.kernels.matmul import fast_matmul
from foldry.model.alphafold import AlphaFold
from foldry.predict import remarks, stages
from foldry.predict.batches import Batch
from foldry.predict.kept import Kept
from foldry.predict.network import load_model, networks_for
from foldry.predict.recycle import Begin
from foldry.predict.settings import Settings, help_lines
from foldry.predict.stages import RawPrediction
from foldry.query import Query, members
from foldry.relax.result import Relaxation
from foldry.results.folder import ResultsFolder
from foldry.results.prediction import Prediction, ranked
from foldry.store.files import named_path
from foldry.store.hashes import content_key
from foldry.structure import Structure
from foldry.weights.networks import NetworkFile

logger = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
"""Called with the current activity, the number of finished predictions and their total."""
Predict = Callable[[Path | None], AbstractContextManager[Sequence[Prediction]]]
"""Returns the predictions of a query, best first. Finished predictions are kept until the context
ends in the given folder, which only the caller uses; None keeps nothing."""


class Publisher(Protocol):
    """Stores the predictions of a query, e.g. as a folder of files."""

    def publish(self, query: Query, key: str, predict: Predict) -> bool:
        """Publish a query.

        Args:
            query: The query.
            key: The content key of the query, its settings and networks: results published under
                this key need not be computed again. Keys that differ only after a dash belong to
                the same predictions with other relaxation settings.
            predict: Computes the predictions.

        Returns:
            Whether anything was published; False if everything was published before.
        """
        ...


@dataclass(frozen=True)
class Outcome:
    """The outcome of one query of a batch.

    Attributes:
        name: Name of the query.
        status: `done`, `already done` (by an earlier run), `busy` (another process predicts it) or
            `failed`.
        mean_plddt: Mean pLDDT of the best prediction; None unless the status is `done`.
        ptm, iptm: pTM and ipTM of the best prediction; None also if its network predicts none.
        error: Why the query failed.
        notice: A warning for all readers of the predictions, or "".
        num_predictions: Number of predictions; 0 unless the status is `done`.
        templates: Names of the templates that the best prediction read; empty as above.
        relaxations: Relaxations of the best predictions, ranked_0 first; empty unless the status
            is `done`.
        seconds: Duration; in a group of queries that may form a batch, their mean.
    """

    name: str
    status: str
    mean_plddt: float | None = None
    ptm: float | None = None
    iptm: float | None = None
    error: FoldryError | None = None
    notice: str = ""
    num_predictions: int = 0
    templates: tuple[str, ...] = ()
    relaxations: tuple[Relaxation, ...] = ()
    seconds: float = 0.0


def fold(
    query: Query | str | Path,
    weights: str | Path = "mini",
    *,
    templates: Structure | str | Path | Sequence[Structure | str | Path] = (),
    out: str | Path | None = None,
    **settings: Any,
) -> list[Prediction]:
    """Predict the structure of one query; the best prediction comes first.

    Args:
        query: A `Query`, or the path of a FASTA, a3m, Stockholm or JSON file with one query.
        weights: `mini`, or a file or a folder of parameters.
        templates: One or several known structures, their files (`FILE:A` for a chain) or folders
            of such files; they are aligned to the query.
        out: Folder in which the query gets a folder of files. Files of an earlier call that this
            call does not write are removed. None writes nothing.
        **settings: The settings listed below, e.g. `num_recycles=3`. Predictions that an
            interrupted run kept in `out` are used unless `force` is set; finished results are
            replaced.

    Returns:
        All predictions, best first.

    Raises:
        InputError: The query, a template, the weights or a setting is not usable.
        MissingError: The device, or a package that relaxation needs, is missing.
        BusyError: Another process writes the files of this query.

    Example:
        >>> import foldry
        >>> best = foldry.fold("examples/kunitz/1adz.a3m", num_recycles=1)[0]
        >>> best.structure.atom_positions.shape
        (63, 37, 3)
    """
    names = [each.name for each in fields(Settings)]
    for name in settings.keys() - names:
        near = get_close_matches(name, names)
        hint = f": did you mean {near[0]!r}?" if near else ""
        raise TypeError(f"fold() has no argument {name!r}{hint}")
    chosen = Settings(weights=weights, **settings)  # type: ignore[arg-type]
    check_type(query, (Query, str, Path), "one query", "give a `foldry.Query` or a file")
    if isinstance(query, str) and query.isalpha() and query.isupper() and not Path(query).exists():
        advice = 'fold a sequence as `foldry.Query("name", (foldry.Chain(("A",), sequence),))`'
        raise InputError("is not a file", advice, where=quoted(query))
    asked = query if isinstance(query, Query) else read_query(query)
    known = [
        structure
        for each in members(templates)
        for structure in (
            [each] if isinstance(each, Structure) else read_templates(str(named_path(each)))
        )
    ]
    work = Work(stages.with_templates(asked, known), chosen)
    remarks.warn([work.query], chosen, work.networks)
    with fast_matmul():
        if out is not None:
            folder = ResultsFolder(named_path(out), force=True, keep_work=chosen.relax != "none")
            folder.publish(work.query, work.key, work.predict)
        with work.predict(None) as predictions:
            return list(predictions)


def _spell_out(function: Callable[..., Any]) -> None:
    """Replace `**settings` in the signature by all settings, and list them in the docstring."""
    function.__doc__ = f"{inspect.cleandoc(function.__doc__ or '')}\n\nSettings:\n{help_lines()}"
    signature = inspect.signature(function)
    own = [each for each in signature.parameters.values() if each.kind is not each.VAR_KEYWORD]
    choices = [
        inspect.Parameter(
            each.name, inspect.Parameter.KEYWORD_ONLY, default=each.default, annotation=each.type
        )
        for each in fields(Settings)
        if each.name != "weights"
    ]
    function.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*own, *choices]
    )


_spell_out(fold)


def run(
    queries: Iterable[Query],
    settings: Settings,
    publishers: Sequence[Publisher],
    progress: Progress | None = None,
    batch: Batch | None = None,
) -> Iterator[Outcome]:
    """Predict and publish one query after the other; a failure does not stop the others.

    Args:
        queries: Consumed one by one, which lets their producer, such as a search, run ahead.
        settings: Settings of all queries.
        publishers: Each gets every query; the predictions are computed once.
        progress: Called during the prediction of a query.
        batch: The batch of the queries, if they are to be predicted together.

    Yields:
        The outcome of each query.

    Raises:
        DiskFullError: No space is left for the results.
    """
    for query in queries:
        start = time.monotonic()
        try:
            outcome = _publish(Work(query, settings, progress, batch), publishers)
        except Exception as error:  # no failure of one query may stop the batch
            logger.debug("%s failed", query.name, exc_info=True)
            known = explain(error, query)
            if isinstance(known, DiskFullError):  # no further result could be stored
                raise known from (None if known is error else error)
            status = "busy" if isinstance(known, BusyError) else "failed"
            outcome = Outcome(query.name, status, error=known)
        yield replace(outcome, seconds=time.monotonic() - start)


def _publish(work: Work, publishers: Sequence[Publisher]) -> Outcome:
    query = work.query
    notice = work.networks[0].notice
    published, errors = [], []
    for each in publishers:
        try:
            published.append(each.publish(query, work.key, work.predict))
        except Exception as error:  # the other publishers still get the query
            errors.append(error)
    if errors:
        raise errors[0]
    if not any(published):
        return Outcome(query.name, "already done", notice=notice)
    with work.predict(None) as predictions:
        best = predictions[0]
        return Outcome(
            query.name,
            "done",
            best.mean_plddt,
            best.ptm,
            best.iptm,
            notice=notice,
            num_predictions=len(predictions),
            templates=best.provenance.templates,
            relaxations=tuple(each.relaxation for each in predictions if each.relaxation),
        )


class Work:
    """One query and its networks; predictions are computed when the first publisher needs them.

    Raises:
        InputError: The networks are not usable, or not for this number of chains.
    """

    def __init__(
        self,
        query: Query,
        settings: Settings,
        progress: Progress | None = None,
        batch: Batch | None = None,
    ) -> None:
        self.query = query
        self.settings = settings
        self.networks = networks_for(query, settings)
        self.seeds = stages.seeds_of(query, settings)
        self.progress = progress or (lambda *_: None)
        self._batch = batch or Batch([query], settings)
        self._predictions: list[Prediction] | None = None

    @property
    def key(self) -> str:
        """The content key of all predictions, with a dash before the key of their relaxation."""
        keys = [self._key(network, seed) for network in self.networks for seed in self.seeds]
        relaxation = self.settings.relaxation()
        key = content_key(["ranked", keys, {}])
        return f"{key}-{content_key(relaxation)}" if relaxation else key

    def _key(self, network: NetworkFile, seed: int) -> str:
        features = stages.features_key(self.query, network, seed, self.settings)
        return stages.prediction_key(features, self.settings)

    @contextmanager
    def predict(self, folder: Path | None) -> Iterator[Sequence[Prediction]]:
        """Return the predictions, best first (see `Predict`)."""
        if self._predictions is not None:
            yield self._predictions
            return
        kept = None if folder is None else Kept(folder)
        self._predictions = self._compute(kept)
        yield self._predictions
        if kept is not None:
            kept.drop_others()

    def _compute(self, kept: Kept | None) -> list[Prediction]:
        predictions = ranked(list(self._unranked(kept)))
        number = {"none": 0, "best": 1, "all": len(predictions)}[self.settings.relax]
        for rank in range(number):
            self.progress(f"{self.query.name}: relaxing ranked_{rank}", rank, number)
            predictions[rank] = self._relaxed(predictions[rank], kept)
        self.progress(f"{self.query.name}: writing", 1, 1)
        return predictions

    def _unranked(self, kept: Kept | None) -> Iterator[Prediction]:
        """Yield one prediction for each network and seed, in this order."""
        total = len(self.networks) * len(self.seeds)
        for number, network in enumerate(self.networks):
            model: AlphaFold | None = None
            for seed in self.seeds:
                finished = number * len(self.seeds) + self.seeds.index(seed)
                show = partial(self._show, f"{network.name}, seed {seed}", finished, total)
                show()
                key = self._key(network, seed)
                known = kept.load(key, self.query) if kept and not self.settings.force else None
                if known is None:
                    model = model or load_model(network, self.settings)
                    raw = self._batch.take(self.query, model, network, seed, show)
                    known = predict_one(self.query, model, network, seed, self.settings, show, raw)
                    if kept:
                        kept.save(key, known)
                yield known

    def _show(self, what: str, finished: int, total: int, number: int = 0, most: int = 0) -> None:
        """Show the progress of a prediction: number `number` of at most `most` passes."""
        passes = f", pass {number} of {most}" if number else ""
        self.progress(f"{self.query.name}: {what}{passes}", finished, total)

    def _relaxed(self, prediction: Prediction, kept: Kept | None) -> Prediction:
        key = stages.relaxed_key(prediction, self.settings)
        if kept and not self.settings.force and (known := kept.load_relaxed(key, self.query.name)):
            return stages.relaxed(prediction, *known, self.settings)
        relaxed = stages.relax(prediction, self.settings)
        if kept and relaxed.unrelaxed and relaxed.relaxation:  # a failure is tried again
            kept.save_relaxed(key, relaxed.structure, relaxed.relaxation)
        return relaxed


def predict_one(
    query: Query,
    model: AlphaFold,
    network: NetworkFile,
    seed: int,
    settings: Settings,
    begin: Begin = lambda number, most: None,
    raw: RawPrediction | None = None,
) -> Prediction:
    """Return one network's prediction with one seed; `begin` is as in `recycle`.

    `raw` is the output of the network for the query itself, if it is known.
    """
    read = stages.tried_queries(query, model.config)[0]
    if raw is None:
        read, raw = stages.infer_best(query, model, seed, settings, begin)
    made = stages.provenance(read, network, model, seed, raw, settings)
    return stages.assemble(query, raw, made)


def explain(error: Exception, query: Query) -> FoldryError:
    """Return the error of a query in terms that a user can act on."""
    if is_memory_error(error):
        return MemoryShortError(
            f"{query.num_residues} residues do not fit into memory",
            "fold a shorter sequence, lower `max_msa`, or use a machine with more memory",
        )
    if isinstance(error, ArithmeticError):
        return FaultError(str(error), "try another network, or `dtype` float32")
    return as_foldry_error(error)
