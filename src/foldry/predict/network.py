"""Networks ready to predict: found, configured by the settings, read once for all queries."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

import torch
from torch import nn

from foldry.errors import MissingError
from foldry.features.pipeline import check_chains
from foldry.model.alphafold import AlphaFold
from foldry.model.config import ModelConfig
from foldry.model.layers import SharedDropout
from foldry.model.runtime import Runtime
from foldry.predict.settings import Settings
from foldry.query import Query
from foldry.relax.platforms import find_platform
from foldry.weights.networks import NetworkFile, find_networks

MAX_LOADED: Final = 5
"""Networks in memory, AlphaFold's of one kind: each query of a batch or a screen asks for all."""


def networks_for(query: Query, settings: Settings) -> list[NetworkFile]:
    """The networks that will predict this query.

    Raises:
        InputError: There are none such, or one is damaged or was made for fewer chains.
        MissingError: Relaxation is asked for and cannot run here.
    """
    if settings.relax != "none":
        find_platform(settings.relax_platform)
    several = query.num_chains > 1
    networks = find_networks(settings.weights, settings.models, of_complexes=several)
    for network in networks:
        config = network.config()  # a damaged file is refused now, not query by query
        if several:
            check_chains(query, config.features)
    return networks


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
    with torch.random.fork_rng([]):  # new parameters are drawn, and the caller's state stays
        model = AlphaFold(config, runtime)
    model.load_state_dict(state)
    return model.eval()


def set_dropout(model: AlphaFold, on: bool) -> None:
    """Switch the dropout of a network that predicts."""
    for module in model.modules():
        if isinstance(module, SharedDropout | nn.Dropout):
            module.train(on)


def configured(config: ModelConfig, settings: Settings) -> ModelConfig:
    """A network's configuration with what the settings change in it."""
    num_msa, num_extra = settings.max_msa or (None, None)
    features = _with(
        config.features,
        num_msa=num_msa,
        num_extra_msa=num_extra,
        num_ensemble=settings.num_ensemble,
    )
    changed: ModelConfig = _with(
        config,
        features=features,
        num_recycles=settings.num_recycles,
        recycle_tolerance=settings.recycle_tolerance,
    )
    return changed


def _with(config: Any, **values: object) -> Any:
    """The configuration with those values that are not None."""
    chosen = {name: value for name, value in values.items() if value is not None}
    return replace(config, **chosen)
