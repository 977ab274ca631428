"""Which networks predict: from `mini`, a file or a folder to parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from torch import Tensor

from foldry.errors import InputError
from foldry.model.config import MULTIMER_MODELS, OFFICIAL_MODELS, ModelConfig, preset
from foldry.store.hashes import file_sha256
from foldry.weights.bundled import MINI, MINI_NOTICE
from foldry.weights.official import OFFICIAL, check_npz, from_official, load, load_config, read_npz

OWN_NOTICE = (
    "Made with a network of mini's shape, trained by whoever made this: how accurate it is, and "
    "what its confidence means, is not known."
)


@dataclass(frozen=True)
class NetworkFile:
    """One network's parameters on disk, not yet read.

    Attributes:
        name: The official model's name, or `mini`.
        path: An official `.npz` or a `.safetensors` of ours.
        notice: What every reader of its predictions must be told, or "".
    """

    name: str
    path: Path
    notice: str = ""

    def read(self) -> tuple[dict[str, Tensor], ModelConfig]:
        """The state and the configuration.

        Raises:
            InputError: The file is damaged or of another network.
        """
        if self.path.suffix == ".npz":
            config = preset(self.name)
            return from_official(read_npz(self.path), config, self.path), config
        state, config, _ = load(self.path)
        return state, config

    def config(self) -> ModelConfig:
        """The configuration, without reading the parameters.

        Raises:
            InputError: The file is damaged.
        """
        if self.path.suffix == ".npz":
            check_npz(self.path)
            return preset(self.name)
        return load_config(self.path)[0]

    def sha256(self) -> str:
        """Hash of the file, computed once while it stays what it is."""
        status = self.path.stat()
        return _sha256(self.path, status.st_size, status.st_mtime_ns)


@lru_cache
def _sha256(path: Path, _size: int, _changed: int) -> str:
    return file_sha256(path)


def find_networks(
    weights: str, models: Sequence[str] | None = None, *, of_complexes: bool = False
) -> list[NetworkFile]:
    """The networks that will predict, in the order in which they run.

    Args:
        weights: `mini`, a file, or a folder of files such as `params_model_1_ptm.npz`.
        models: Names such as `model_1_ptm`, or numbers, which mean the first kind of network that
            the folder has: for chains pTM, then others; for complexes multimer v3, v2, v1. None
            takes all networks of that kind, or all that there are where there is no such kind.
        of_complexes: Whether queries have several chains.

    Raises:
        InputError: There is no such file, or not the models asked for.
    """
    if weights == "mini":
        if models not in (None, ("mini",)):
            raise InputError(
                f"mini has no model {', '.join(models or ())}",
                "leave `models` out, or set `weights` to a folder of AlphaFold's parameters",
                code=OFFICIAL,
            )
        return [NetworkFile("mini", MINI, MINI_NOTICE)]
    path = Path(weights)
    if path.is_file():
        found = {network.name: network for network in [_network(path)]}
    elif path.is_dir():
        known = sorted(path.glob("*.npz")) + sorted(path.glob("*.safetensors"))
        found = {network.name: network for network in map(_network_or_none, known) if network}
    else:
        raise InputError(
            "is not a file or folder",
            "set `weights` to mini, a file, or a folder of AlphaFold's parameters",
            where=weights,
            code=OFFICIAL,
        )
    if not found:
        raise InputError(
            "holds no parameters that Foldry reads",
            "it looks for params_model_1.npz, params_model_1_ptm.npz, "
            "params_model_1_multimer_v3.npz and the like, and for .safetensors files of its own",
            where=weights,
        )
    kinds = ("_multimer_v3", "_multimer_v2", "_multimer") if of_complexes else ("_ptm", "")
    if models is not None:
        return [_pick(found, model, kinds, weights) for model in models]
    for kind in kinds:
        alike = [name for name in sorted(found) if ("multimer" in name) == of_complexes]
        names = [name for name in alike if name.endswith(kind)]
        if names:
            return [found[name] for name in names]
    return [found[name] for name in sorted(found)]


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
        config, _ = load_config(path)
        if config.name != "mini":
            return NetworkFile(config.name, path)
        bundled = NetworkFile("mini", MINI)
        own = NetworkFile("mini", path)
        notice = MINI_NOTICE if own.sha256() == bundled.sha256() else OWN_NOTICE
        return NetworkFile("mini", path, notice)
    name = path.stem.removeprefix("params_")
    if path.suffix != ".npz" or name not in OFFICIAL_MODELS + MULTIMER_MODELS:
        raise InputError(
            "is not named as a file of parameters",
            "give params_model_1.npz, params_model_1_ptm.npz, params_model_1_multimer_v3.npz and "
            "the like, or .safetensors",
            where=path,
            code="foreign_weights",
        )
    return NetworkFile(name, path)


def _network_or_none(path: Path) -> NetworkFile | None:
    try:
        return _network(path)
    except InputError:
        return None
