"""Weights files of every format, read and compared with their networks."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from foldry.errors import InputError, quoted
from foldry.model.config import MODEL_NAMES, MODELS, MULTIMER_MODELS, ModelConfig, preset
from foldry.store.files import named_path
from foldry.weights import official, openfold
from foldry.weights.bundled import MINI
from foldry.weights.layout import state_shapes
from foldry.weights.state_file import load_stored

OPENFOLD = (".pt", ".pth", ".ckpt")


@dataclass(frozen=True, eq=False)  # tensors do not compare as a whole
class Weights:
    """The parameters of one network, read from a file and compared with the network.

    Attributes:
        state: Arrays by Foldry's names.
        config: The network.
        named: Whether the file or the caller names the network. Otherwise it is recognised by its
            arrays, which are the same in model_1 and model_2; in model_3, model_4 and model_5; in
            all multimers of v1 and v2; and in all multimers of v3.
        dtypes: Types of the arrays in the file.
        unread: Names of arrays in the file that the network does not have.
    """

    state: dict[str, Tensor]
    config: ModelConfig
    named: bool
    dtypes: tuple[str, ...]
    unread: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Weights({self.config.name!r}, {self.num_parameters:,} parameters)"

    @property
    def num_parameters(self) -> int:
        """The number of parameters."""
        return sum(tensor.numel() for tensor in self.state.values())


def load_weights(path: str | Path = "mini", model: str | None = None) -> Weights:
    """Return the parameters of the bundled `mini` or of a weights file.

    Every array of the network must be in the file, in its shape and with finite numbers.

    Args:
        path: `mini`, or an official `.npz`, OpenFold `.pt` or Foldry `.safetensors` file.
        model: The network's name, such as `model_1_ptm` or `model_1_multimer_v3`. By default the
            file's name or its arrays decide.

    Raises:
        InputError: The file is damaged, of an unknown format, or belongs to another network.

    Example:
        >>> load_weights("mini").config.name
        'mini'
    """
    path = MINI if path == "mini" else named_path(path)
    if not path.is_file():
        raise InputError("is not a file", "give the path of a weights file", where=path)
    if model is not None and model not in MODELS:
        raise InputError(f"no model is called {quoted(model)}", f"choose {MODEL_NAMES}")
    if path.suffix == ".npz":
        return read_official(path, model)
    if path.suffix in OPENFOLD:
        return _read_openfold(path, model)
    if path.suffix == ".safetensors":
        return _read_ours(path, model)
    advice = "give an .npz (official), .pt (OpenFold) or .safetensors file (Foldry)"
    raise InputError(f"ends in {path.suffix or 'nothing'}", advice, where=path)


def read_official(path: Path, model: str | None = None) -> Weights:
    """Return the parameters of an official file, whatever its suffix is.

    Raises:
        InputError: The file is damaged, of another format, or belongs to another network.
    """
    params = official.read_params(path)
    named = model or official.model_of(path)
    if any("/~_relative_encoding/" in name for name in params):
        fused = any(name.endswith("/left_norm_input//scale") for name in params)
        guess = "model_1_multimer_v3" if fused else "model_1_multimer_v2"
    else:
        guess = _monomer(
            templates=any("/template_embedding/" in name for name in params),
            pae=any("/predicted_aligned_error_head/" in name for name in params),
        )
    config = preset(named or guess)
    state = official.from_official(params, config, path)
    known = official.official_shapes(config)
    return _weights(path, state, config, params, known, named=named is not None)


def _read_openfold(path: Path, model: str | None) -> Weights:
    if model in MULTIMER_MODELS:
        what = f"cannot be read as {model} because OpenFold's multimers are not supported"
        raise InputError(what, "give the official .npz", where=path)
    params = openfold.read_checkpoint(path)
    guess = _monomer(
        templates=any(name.startswith("template_embedder.") for name in params),
        pae=any(name.startswith("aux_heads.tm.") for name in params),
    )
    config = preset(model or guess)
    state = openfold.from_openfold(params, config, path)
    known = openfold.table(config).values()
    return _weights(path, state, config, params, known, named=model is not None)


def _read_ours(path: Path, model: str | None) -> Weights:
    stored, config, _ = load_stored(path)
    if model not in (None, config.name):
        raise InputError(f"is {config.name} and not {model}", "leave `model` out", where=path)
    known = state_shapes(config)
    state = {name: stored[name].float() for name in known}
    return _weights(path, state, config, stored, known, named=True)


def _monomer(*, templates: bool, pae: bool) -> str:
    """Return the first official model that has such arrays."""
    return f"model_{1 if templates else 3}{'_ptm' if pae else ''}"


def _weights(
    path: Path,
    state: dict[str, Tensor],
    config: ModelConfig,
    stored: Mapping[str, Tensor] | Mapping[str, np.ndarray],
    known: Collection[str],
    *,
    named: bool,
) -> Weights:
    """Return the weights of a file with the arrays `stored`; the network has those in `known`.

    Raises:
        InputError: A number is not finite.
    """
    for name, tensor in state.items():
        if not torch.isfinite(tensor).all():
            what = f"holds numbers that are not finite, in {quoted(name)}"
            raise InputError(what, "get the file again", where=path)
    dtypes = {str(array.dtype).removeprefix("torch.") for array in stored.values()}
    unread = sorted(set(stored).difference(known))
    return Weights(state, config, named, tuple(sorted(dtypes)), tuple(unread))


def alike(name: str) -> tuple[str, ...]:
    """Return the official networks with the same arrays, which differ only in their features."""
    config = preset(name)
    return tuple(
        other
        for other in MODELS
        if replace(preset(other), name=name, features=config.features) == config
    )
