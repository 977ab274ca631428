"""Networks for prediction: found, configured by the settings, and loaded once for all queries."""

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
from foldry.model.runtime import Runtime, fastest, find_device
from foldry.predict.settings import Settings
from foldry.processes import tuning
from foldry.query import Query
from foldry.relax.platforms import find_platform
from foldry.weights.networks import NetworkFile, find_networks

MAX_LOADED: Final = 5
"""Networks kept in memory: the five of AlphaFold, which every query of a batch or screen uses."""


def networks_for(query: Query, settings: Settings) -> list[NetworkFile]:
    """Return the networks that predict a query.

    Raises:
        InputError: No network fits, or one is damaged or cannot read this number of chains.
        MissingError: Relaxation is requested but cannot run here.
    """
    if settings.relax != "none":
        find_platform(settings.relax_platform)
    several = query.num_chains > 1
    networks = find_networks(settings.weights, settings.models, of_complexes=several)
    for network in networks:
        config = config_of(network)  # refuses a damaged file
        if several:
            check_chains(query, config.features)
    return networks


def config_of(network: NetworkFile) -> ModelConfig:
    """Return the configuration of a network, whose file is read once for all queries.

    Raises:
        InputError: The file is damaged.
    """
    return _config(network, network.sha256())


@lru_cache
def _config(network: NetworkFile, _sha256: str) -> ModelConfig:
    return network.config()


def runtime(settings: Settings) -> Runtime:
    """Return the device and data type of the settings.

    Raises:
        MissingError: This machine has no such device, or its processor cannot multiply bfloat16.
    """
    device = find_device(settings.device)
    if settings.dtype == "bfloat16" and device.type == "cpu" and not tuning.has_bfloat16():
        what = "This processor imitates bfloat16, which is slower and less exact than float32"
        raise MissingError(what, "set `dtype` to float32, or `device` to a GPU")
    return fastest(device, dtype=getattr(torch, settings.dtype))


def load_model(network: NetworkFile, settings: Settings) -> AlphaFold:
    """Return a network with its parameters; the last `MAX_LOADED` networks stay in memory.

    Raises:
        InputError: The parameters are not usable.
        MissingError: This machine has no such device.
    """
    return _load_model(network, network.sha256(), runtime(settings))


@lru_cache(maxsize=MAX_LOADED)
def _load_model(network: NetworkFile, _sha256: str, runtime: Runtime) -> AlphaFold:
    """Load one copy of the parameters for all settings that do not change them."""
    state, config = network.read()
    with torch.random.fork_rng([]):  # new parameters are random; the caller's state must not change
        model = AlphaFold(config, runtime)
    model.load_state_dict(state)
    return model.eval()


def set_dropout(model: AlphaFold, on: bool) -> None:
    """Switch dropout on or off in a network."""
    for module in model.modules():
        if isinstance(module, SharedDropout | nn.Dropout):
            module.train(on)


def configured(config: ModelConfig, settings: Settings) -> ModelConfig:
    """Return a network's configuration with the changes of the settings."""
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
    """Return the configuration with all given values that are not None."""
    chosen = {name: value for name, value in values.items() if value is not None}
    return replace(config, **chosen)
