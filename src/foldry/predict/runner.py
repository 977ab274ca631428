"""Queries → ranked predictions: each network, each seed, one after the other."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from foldry.errors import (
    BusyError,
    DiskFullError,
    FaultError,
    FoldryError,
    InputError,
    MemoryShortError,
    MissingError,
    as_foldry_error,
    is_memory_error,
)
from foldry.features.features import FeatureConfig
from foldry.features.msa import draw_msa
from foldry.features.pipeline import check_chains, make_features
from foldry.features.templates import UnlikeError, align_template
from foldry.formats.coordinates import read_structure
from foldry.inputs.queries import read_queries
from foldry.model.alphafold import AlphaFold
from foldry.model.config import ModelConfig
from foldry.model.inputs import MSAInputs, stack_draws, stack_features
from foldry.model.layers import SharedDropout
from foldry.model.runtime import Runtime
from foldry.predict.confidence import confidence, ranked
from foldry.predict.recycle import recycle
from foldry.predict.relaxed import num_to_relax, relaxed
from foldry.predict.resume import UNRANKED, Store
from foldry.predict.settings import Settings
from foldry.query import Query, TemplateHit
from foldry.relax.platforms import find_platform
from foldry.relax.result import Relaxation
from foldry.residues import ATOM37_MASK
from foldry.results.folder import write_query
from foldry.results.prediction import Prediction, Provenance
from foldry.store.files import check_folder
from foldry.store.locks import hold
from foldry.structure import Structure
from foldry.weights.networks import NetworkFile, find_networks

logger = logging.getLogger(__name__)

MAX_LOADED: Final = 5
"""Networks in memory, AlphaFold's of one kind: each query of a batch or a screen asks for all."""

Progress = Callable[[str, int, int], None]
"""Told what is being done, how many predictions are finished, and of how many."""


@dataclass(frozen=True)
class Outcome:
    """How one query of a batch ended.

    Attributes:
        name: The query's name.
        status: `done`, `resumed` (found finished), `busy` (another process is at it) or `failed`.
        folder: Where its files are.
        mean_plddt: That of the best prediction; None where the query failed or was found finished.
        ptm, iptm: Those of the best prediction; None also where its network has none.
        error: Why it failed.
        notice: What every reader of the predictions must be told, or "".
        relaxations: How those of the best predictions ended, that of ranked_0 first; none where
            the query was found finished.
    """

    name: str
    status: str
    folder: Path
    mean_plddt: float | None = None
    ptm: float | None = None
    iptm: float | None = None
    error: FoldryError | None = None
    notice: str = ""
    relaxations: tuple[Relaxation, ...] = ()


def fold(
    query: Query | str | Path,
    weights: str | Path = "mini",
    *,
    templates: Sequence[Structure | str | Path] = (),
    out: str | Path | None = None,
    **settings: Any,
) -> list[Prediction]:
    """Predict the structure of one query; the best prediction comes first.

    Args:
        query: A `Query`, or the path of a FASTA, a3m or JSON file with one query.
        weights: `mini`, a file of parameters or a folder of them.
        templates: Known structures, or their files, to start from; they are aligned to the query.
        out: Folder for a folder of files, named after the query; None writes nothing.
        settings: Fields of `foldry.predict.settings.Settings`, such as `num_recycles=3`.

    Raises:
        InputError: The query, a template, the weights or a setting is not usable.
        BusyError: Another process writes the files of this query.
    """
    chosen = Settings(weights=str(weights), **settings)
    queries = [query] if isinstance(query, Query) else read_queries([Path(query)])
    if len(queries) != 1:
        raise InputError(f"{query} has {len(queries)} queries", "fold them one by one")
    known = [
        each if isinstance(each, Structure) else read_structure(Path(each)) for each in templates
    ]
    asked = with_templates(queries[0], known)
    networks = networks_for(asked, chosen)
    folder = None if out is None else Path(out) / asked.name
    with nullcontext() if folder is None else hold(folder, (UNRANKED,)):
        predictions = _ranked_and_relaxed(predict(asked, networks, chosen), chosen)
        if folder is not None:
            write_query(predictions, folder)
    return predictions


def run(
    queries: Sequence[Query],
    out: Path,
    settings: Settings,
    templates: Sequence[Structure] = (),
    progress: Progress | None = None,
) -> list[Outcome]:
    """Predict all queries and write their files; a query that fails does not stop the others.

    What an earlier run finished, by the hash of inputs and settings, is not computed again unless
    `settings.force` says so.

    Raises:
        InputError: A template or the weights are not usable, or not for as many chains; nothing has
            been written by then.
        DiskFullError: No space is left for the results.
    """
    queries = [with_templates(query, templates) for query in queries]
    found = [networks_for(query, settings) for query in queries]
    outcomes = []
    for query, networks in zip(queries, found, strict=True):
        folder = out / query.name
        try:
            outcomes.append(_run_one(query, networks, folder, settings, progress))
        except Exception as error:  # one query's failure, whatever it is, must not stop the batch
            logger.debug("%s failed", query.name, exc_info=True)
            known = explain(error, query)
            if isinstance(known, DiskFullError):  # nothing that follows could be kept
                raise known from error
            status = "busy" if isinstance(known, BusyError) else "failed"
            outcomes.append(Outcome(query.name, status, folder, error=known))
    return outcomes


def networks_for(query: Query, settings: Settings) -> list[NetworkFile]:
    """The networks that will predict this query.

    Raises:
        InputError: There are none such, one is damaged or not made for as many chains, or what is
            asked for after them, relaxation, cannot be done here.
    """
    if settings.relax != "none":
        find_platform(settings.relax_platform)
    several = query.num_chains > 1
    networks = find_networks(settings.weights, settings.models, of_complexes=several)
    for network in networks:
        config = network.config()  # a damaged file is told now, not query by query
        if several:
            check_chains(query, config.features)
    return networks


def _run_one(
    query: Query,
    networks: Sequence[NetworkFile],
    folder: Path,
    settings: Settings,
    progress: Progress | None,
) -> Outcome:
    check_folder(folder)
    store = Store(folder, query, settings, networks)
    with hold(folder, (UNRANKED,)):
        if store.is_finished() and not settings.force:
            store.tidy()
            return Outcome(query.name, "resumed", folder, notice=networks[0].notice)
        if store.is_other():
            logger.warning("Results of other inputs or settings in %s are replaced.", folder)
        if store.holds_earlier_version():
            logger.warning("What an earlier version kept in %s is computed again.", folder)
        predictions = _ranked_and_relaxed(
            predict(query, networks, settings, progress, store), settings, progress, store
        )
        store.finish(write_query(predictions, folder, store.begin))
    best = predictions[0]
    return Outcome(
        query.name,
        "done",
        folder,
        float(best.plddt.mean()),
        best.ptm,
        best.iptm,
        notice=networks[0].notice,
        relaxations=tuple(each.relaxation for each in predictions if each.relaxation),
    )


def _ranked_and_relaxed(
    predictions: Iterator[Prediction],
    settings: Settings,
    progress: Progress | None = None,
    store: Store | None = None,
) -> list[Prediction]:
    """Best first, as many of the best relaxed as the settings ask for."""
    best_first = ranked(list(predictions))
    number = num_to_relax(best_first, settings)
    for rank in range(number):
        if progress is not None:
            progress(f"{best_first[rank].query.name}: relaxing ranked_{rank}", rank, number)
        best_first[rank] = relaxed(best_first[rank], settings, store)
    return best_first


def explain(error: Exception, query: Query) -> FoldryError:
    """What went wrong with a query, for people."""
    if is_memory_error(error):
        return MemoryShortError(
            f"{query.num_residues} residues do not fit into memory",
            "fold a shorter sequence, lower `max_msa`, or use a machine with more memory",
        )
    if isinstance(error, ArithmeticError):
        return FaultError(str(error), "try another network, or `dtype` float32")
    return as_foldry_error(error)


def with_templates(query: Query, templates: Sequence[Structure]) -> Query:
    """The query with these known structures aligned to it, before those it already has.

    Of several chains those get a structure that it can be aligned to; where it is alike and still
    cannot be used, a warning says why.

    Raises:
        InputError: A template cannot be aligned to any chain.
    """
    if not templates:
        return query
    hits: list[list[TemplateHit]] = [[] for _ in query.chains]
    for template in templates:
        refusals: dict[str, InputError] = {}
        for chain, of_chain in zip(query.chains, hits, strict=True):
            try:
                of_chain.append(align_template(chain.sequence, template))
            except InputError as error:
                refusals[chain.ids[0]] = error
        faults = {name: e for name, e in refusals.items() if not isinstance(e, UnlikeError)}
        if len(refusals) == len(query.chains):
            raise next(iter((faults or refusals).values()))
        for name, fault in faults.items():
            logger.warning("Chain %s of %s goes without a template: %s", name, query.name, fault)
    chains = zip(query.chains, hits, strict=True)
    return replace(
        query,
        chains=tuple(replace(each, templates=(*new, *each.templates)) for each, new in chains),
    )


def predict(
    query: Query,
    networks: Sequence[NetworkFile],
    settings: Settings,
    progress: Progress | None = None,
    store: Store | None = None,
) -> Iterator[Prediction]:
    """One prediction for each network and seed, in that order, unranked."""
    seeds = tuple(dict.fromkeys(settings.seeds or query.seeds or (0,)))
    total = len(networks) * len(seeds)
    finished = 0
    for network in networks:
        model: AlphaFold | None = None
        for seed in seeds:
            if progress is not None:
                progress(f"{query.name}: {network.name}, seed {seed}", finished, total)
            prediction = store.load(network, seed) if store and not settings.force else None
            if prediction is None:
                model = model or load_model(network, settings)
                prediction = predict_one(query, model, network, seed, settings)
                if store:
                    store.save(network, seed, prediction)
            finished += 1
            yield prediction
    if progress is not None:
        progress(f"{query.name}: writing", finished, total)


def load_model(network: NetworkFile, settings: Settings) -> AlphaFold:
    """A network with its parameters, ready to predict; the last `MAX_LOADED` are kept.

    Raises:
        InputError: The parameters are not usable.
        MissingError: There is no such device here.
    """
    return _load_model(network, network.sha256(), runtime(settings))


@lru_cache(maxsize=MAX_LOADED)
def _load_model(network: NetworkFile, _sha256: str, runtime: Runtime) -> AlphaFold:
    """One copy of the parameters for all settings that leave them alone."""
    state, config = network.read()
    model = AlphaFold(config, runtime)
    model.load_state_dict(state)
    return model.eval()


def _set_dropout(model: AlphaFold, on: bool) -> None:
    for module in model.modules():
        if isinstance(module, SharedDropout | nn.Dropout):
            module.train(on)


def runtime(settings: Settings) -> Runtime:
    """The device and dtype that the settings ask for.

    Raises:
        MissingError: There is no such device here.
    """
    name = settings.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise MissingError(f"There is no CUDA device {name!r} here", "set `device` to cpu")
    # Few large pieces keep a GPU busy; small ones stay in a processor's cache.
    chunk_size = 256 if device.type == "cuda" else 64
    return Runtime(device=device, dtype=getattr(torch, settings.dtype), chunk_size=chunk_size)


def with_settings(config: ModelConfig, settings: Settings) -> ModelConfig:
    """A network's configuration with what the settings change in it."""
    features: FeatureConfig = config.features
    if settings.max_msa is not None:
        features = replace(features, num_msa=settings.max_msa[0], num_extra_msa=settings.max_msa[1])
    if settings.num_ensemble is not None:
        features = replace(features, num_ensemble=settings.num_ensemble)
    config = replace(config, features=features)
    if settings.num_recycles is not None:
        config = replace(config, num_recycles=settings.num_recycles)
    if settings.recycle_tolerance is not None:
        config = replace(config, recycle_tolerance=settings.recycle_tolerance)
    return config


def predict_one(
    query: Query, model: AlphaFold, network: NetworkFile, seed: int, settings: Settings
) -> Prediction:
    """One network's prediction with one seed."""
    config, device = with_settings(model.config, settings), model.runtime.device
    features = make_features(query, config.features, seed, settings.pairing)
    inputs = stack_features([features], device)

    def draw(cycle: int) -> list[MSAInputs]:
        members = range(config.features.num_ensemble)
        return [stack_draws([draw_msa(features, cycle, member)], device) for member in members]

    _set_dropout(model, settings.dropout)
    torch.manual_seed(seed)
    with torch.inference_mode():
        result, num_recycles = recycle(
            model, inputs, draw, config.num_recycles, config.recycle_tolerance
        )
        sure = confidence(model.predict_heads(result), features.asym_id, config)
        atoms = result.atom37[0].double().cpu().numpy()
    if not np.isfinite(atoms).all() or not np.isfinite(sure.plddt).all():
        raise ArithmeticError("The network gave numbers that are not finite")
    representations: dict[str, Any] = {}
    if settings.save_representations:
        final = result.representations
        representations = {
            "single": final.single[0].float().cpu().numpy(),
            "pair": final.pair[0].float().cpu().numpy(),
        }
    return Prediction(
        query=query,
        structure=_structure(query, features.aatype, atoms, sure.plddt),
        **vars(sure),
        provenance=_provenance(network, config, model.runtime, seed, num_recycles, settings),
        **representations,
    )


def _structure(
    query: Query, aatype: np.ndarray, atoms: np.ndarray, confidence: np.ndarray
) -> Structure:
    copies = [(chain_id, len(chain.sequence)) for chain in query.chains for chain_id in chain.ids]
    mask = ATOM37_MASK[aatype] > 0
    return Structure(
        name=query.name,
        aatype=aatype,
        residue_number=np.concatenate([np.arange(1, length + 1) for _, length in copies]),
        insertion_code=np.full(len(aatype), ""),
        chain_id=np.concatenate([np.full(length, name) for name, length in copies]),
        atom_positions=atoms * mask[..., None],
        atom_mask=mask,
        b_factor=confidence[:, None] * mask,
    )


def _provenance(
    network: NetworkFile,
    config: ModelConfig,
    runtime: Runtime,
    seed: int,
    num_recycles: int,
    settings: Settings,
) -> Provenance:
    packages = ("foldry", "torch", "numpy")
    return Provenance(
        model_name=network.name,
        weights=network.path.name,
        weights_sha256=network.sha256(),
        seed=seed,
        num_recycles=num_recycles,
        config=config.to_dict(),
        settings=settings.numbers(),
        kernels=runtime.kernels,
        device=str(runtime.device),
        dtype=str(runtime.dtype).removeprefix("torch."),
        versions={package: version(package) for package in packages},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        notice=network.notice,
    )
