"""The networks that predict, found in a file or folder, or the bundled `mini`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from foldry.errors import InputError
from foldry.model.config import ModelConfig, preset
from foldry.store.hashes import file_sha256
from foldry.weights.bundled import MINI, MINI_NOTICE
from foldry.weights.official import OFFICIAL, check_file, model_of
from foldry.weights.read import load_weights
from foldry.weights.state_file import load, load_config

OWN_NOTICE = (
    "Made with a network of mini's shape that does not come with Foldry: its accuracy, and the "
    "meaning of its confidence, are unknown."
)

_NAMES = "params_model_1.npz, params_model_1_ptm.npz, params_model_1_multimer_v3.npz and the like"


@dataclass(frozen=True)
class NetworkFile:
    """The parameters of one network on disk, not yet read.

    Attributes:
        name: The official model's name, or `mini`.
        path: An official `.npz` file, or a `.safetensors` file of Foldry.
        notice: A warning for all readers of its predictions, or "".
        licence: Licence of the parameters; "" for CC BY 4.0, that of AlphaFold's and mini's.
    """

    name: str
    path: Path
    notice: str = ""
    licence: str = ""

    def read(self) -> tuple[dict[str, Tensor], ModelConfig]:
        """Return the state and the configuration.

        Raises:
            InputError: The file is damaged or belongs to another network.
        """
        weights = load_weights(self.path, self.name if self.path.suffix == ".npz" else None)
        return weights.state, weights.config

    def config(self) -> ModelConfig:
        """Return the configuration, without reading the parameters.

        Raises:
            InputError: The file is damaged.
        """
        if self.path.suffix == ".npz":
            check_file(self.path)
            return preset(self.name)
        return load_config(self.path)[0]

    def sha256(self) -> str:
        """Return the SHA-256 of the file, computed again only if the file changes."""
        status = self.path.stat()
        return _sha256(self.path, status.st_size, status.st_mtime_ns)


@lru_cache
def _sha256(path: Path, _size: int, _changed: int) -> str:
    return file_sha256(path)


@lru_cache
def _is_bundled(path: Path, sha256: str) -> bool:
    """Return whether a file is `mini` or has its parameters and configuration, as a copy has."""
    if sha256 == NetworkFile("mini", MINI).sha256():
        return True
    (state, config, _), (mini, bundled, _) = load(path), load(MINI)
    return config == bundled and all(torch.equal(state[name], mini[name]) for name in mini)


def find_networks(
    weights: str, models: Sequence[str] | None = None, *, of_complexes: bool = False
) -> list[NetworkFile]:
    """Return the networks that will predict, in the order in which they run.

    Args:
        weights: `mini`, a file, or a folder of files such as `params_model_1_ptm.npz`.
        models: Names such as `model_1_ptm`, or numbers. A number selects a network of the first
            kind that is found: for complexes multimer v3, v2, then v1; for single chains pTM, then
            without pTM, then these. None selects all networks of the first kind found, otherwise
            all networks.
        of_complexes: Whether queries have several chains.

    Raises:
        InputError: The file, the folder or a model does not exist.

    Example:
        >>> [network.name for network in find_networks("mini")]
        ['mini']
    """
    if weights == "mini":
        if models not in (None, ("mini",)):
            what = f"mini has no model {', '.join(models or ())}"
            advice = "leave `models` out, or set `weights` to a folder of AlphaFold's parameters"
            raise InputError(what, advice, code=OFFICIAL)
        return [NetworkFile("mini", MINI, MINI_NOTICE)]
    path = Path(weights)
    if not (path.is_file() or path.is_dir()):
        advice = "set `weights` to mini, a file, or a folder of AlphaFold's parameters"
        raise InputError("is not a file or folder", advice, where=weights, code=OFFICIAL)
    networks = networks_in(path) if path.is_dir() else [_network(path)]
    found = {network.name: network for network in networks}
    if not found:
        advice = f"give a folder with {_NAMES}, or with .safetensors files of Foldry"
        raise InputError("holds no parameters that Foldry reads", advice, where=weights)
    multimer = ("_multimer_v3", "_multimer_v2", "_multimer")
    kinds = multimer if of_complexes else ("_ptm", "", *multimer)
    if models is not None:
        return [_pick(found, model, kinds, weights) for model in models]
    names = sorted(found)
    for kind in kinds:
        alike = [n for n in names if n.endswith(kind) and ("multimer" in n) == ("multimer" in kind)]
        if alike:
            return [found[name] for name in alike]
    return [found[name] for name in names]


def networks_in(folder: Path) -> list[NetworkFile]:
    """Return the networks in a folder, ignoring other files; empty if there is no folder."""
    networks = []
    for path in sorted(folder.glob("*.npz")) + sorted(folder.glob("*.safetensors")):
        with suppress(InputError):
            networks.append(_network(path))
    return networks


def _pick(
    found: dict[str, NetworkFile], model: str, kinds: Sequence[str], weights: str
) -> NetworkFile:
    names = [f"model_{model}{kind}" for kind in kinds] if model.isdigit() else [model]
    for name in names:
        if name in found:
            return found[name]
    raise InputError(f"has no {names[0]}", f"choose from {', '.join(sorted(found))}", where=weights)


def _network(path: Path) -> NetworkFile:
    if path.suffix == ".safetensors":
        config, notes = load_config(path)
        network = NetworkFile(config.name, path, licence=_licence(notes))
        if network.name != "mini":
            return network
        if _is_bundled(path, network.sha256()):
            return replace(network, notice=MINI_NOTICE, licence="")
        return replace(network, notice=OWN_NOTICE)
    name = model_of(path)
    if path.suffix != ".npz" or name is None:
        what, advice = "is not named as a file of parameters", f"give {_NAMES}, or .safetensors"
        raise InputError(what, advice, where=path, code="foreign_weights")
    return NetworkFile(name, path)


def _licence(notes: Mapping[str, str]) -> str:
    """Return the licence that the notes of a file state, or that of the converted file."""
    source = notes.get("source", "")
    if "licence" in notes or not source:
        return notes.get("licence", "not stated")
    return "" if model_of(Path(source)) else f"that of {source}"
