"""Weights files of every kind: read, checked, written as another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from foldry.errors import InputError
from foldry.model.config import MULTIMER_MODELS, OFFICIAL_MODELS, ModelConfig, preset
from foldry.store.files import check_file, check_folder, make_folder, new_file
from foldry.store.hashes import file_sha256
from foldry.store.locks import hold_file
from foldry.weights import openfold
from foldry.weights.official import (
    from_official,
    load,
    official_shapes,
    read_npz,
    save,
    to_official,
)

MODELS = OFFICIAL_MODELS + MULTIMER_MODELS
OPENFOLD = (".pt", ".pth", ".ckpt")


@dataclass(frozen=True)
class Weights:
    """One network's parameters, read from a file and compared with the network.

    Attributes:
        state: Arrays under our names.
        config: The network.
        named: Whether the file or the caller names the network; else it was told by its arrays,
            which model_1 shares with model_2, and model_3 with model_4 and model_5. Multimer v1
            and v2 share theirs, and all five of v3.
        dtypes: As stored in the file.
        unread: Names of arrays in the file that this network does not have.
    """

    state: dict[str, Tensor]
    config: ModelConfig
    named: bool
    dtypes: tuple[str, ...]
    unread: tuple[str, ...]

    @property
    def num_parameters(self) -> int:
        """Numbers in all arrays together."""
        return sum(tensor.numel() for tensor in self.state.values())


def read(path: Path, model: str | None = None) -> Weights:
    """Read an official `.npz`, an OpenFold `.pt` or a `.safetensors` of ours.

    Every array of the network must be there, in its shape and with finite numbers.

    Args:
        path: The file; its ending says its kind.
        model: The network's name, such as `model_1_ptm` or `model_1_multimer_v3`; else the file's
            name or its arrays tell.

    Raises:
        InputError: The file is damaged, of another kind or of another network.
    """
    if not path.is_file():
        raise InputError("is not a file", "give the path of a weights file", where=path)
    if model is not None and model not in MODELS:
        raise InputError(f"no model is called {model!r}", f"choose from {', '.join(MODELS)}")
    if path.suffix == ".npz":
        weights = read_official(path, model)
    elif path.suffix in OPENFOLD:
        weights = _read_openfold(path, model)
    elif path.suffix == ".safetensors":
        weights = _read_ours(path, model)
    else:
        raise InputError(
            f"ends in {path.suffix or 'nothing'}",
            "give an .npz (official), .pt (OpenFold) or .safetensors file (Foldry)",
            where=path,
        )
    return _finite(path, weights)


def _finite(path: Path, weights: Weights) -> Weights:
    for name, tensor in weights.state.items():
        if not torch.isfinite(tensor).all():
            raise InputError(
                f"holds numbers that are not finite, in {name!r}", "get it again", where=path
            )
    return weights


def read_official(path: Path, model: str | None) -> Weights:
    """As `read`, of an official file whatever it is called.

    Raises:
        InputError: The file is damaged, of another kind or of another network.
    """
    params = read_npz(path)
    for name, array in params.items():
        if array.dtype.kind != "f" or array.dtype.itemsize > 8:
            raise InputError(
                f"holds {name!r} as {array.dtype}", "give float parameters", where=path
            )
    stem = path.stem.removeprefix("params_")
    named = model or (stem if stem in MODELS else None)
    if any("/~_relative_encoding/" in name for name in params):
        fused = any(name.endswith("/left_norm_input//scale") for name in params)
        guess = "model_1_multimer_v3" if fused else "model_1_multimer_v2"
    else:
        guess = _model(
            templates=any("/template_embedding/" in name for name in params),
            pae=any("/predicted_aligned_error_head/" in name for name in params),
        )
    config = preset(named or guess)
    weights = Weights(
        state=from_official(params, config, path),
        config=config,
        named=named is not None,
        dtypes=tuple(sorted({str(array.dtype) for array in params.values()})),
        unread=tuple(sorted(set(params) - set(official_shapes(config)))),
    )
    return _finite(path, weights)


def _read_openfold(path: Path, model: str | None) -> Weights:
    if model in MULTIMER_MODELS:
        raise InputError(
            f"cannot be read as {model}, Foldry reads no multimer networks from OpenFold's files",
            "give the official .npz",
            where=path,
        )
    params = openfold.read_checkpoint(path)
    guess = _model(
        templates=any(name.startswith("template_embedder.") for name in params),
        pae=any(name.startswith("aux_heads.tm.") for name in params),
    )
    config = preset(model or guess)
    return Weights(
        state=openfold.from_openfold(params, config, path),
        config=config,
        named=model is not None,
        dtypes=_dtypes(params),
        unread=tuple(sorted(set(params) - set(openfold.table(config).values()))),
    )


def _read_ours(path: Path, model: str | None) -> Weights:
    state, config, _ = load(path)
    if model not in (None, config.name):
        raise InputError(f"is {config.name} and not {model}", "leave `model` out", where=path)
    with safe_open(path, framework="pt") as file:
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return Weights(state, config, named=True, dtypes=_dtypes(stored), unread=())


def _model(*, templates: bool, pae: bool) -> str:
    return f"model_{1 if templates else 3}{'_ptm' if pae else ''}"


def alike(name: str) -> tuple[str, ...]:
    """The official networks with the same arrays: they differ in the features they are fed."""
    config = preset(name)
    return tuple(
        other
        for other in MODELS
        if replace(preset(other), name=name, features=config.features) == config
    )


def _dtypes(tensors: dict[str, Tensor]) -> tuple[str, ...]:
    return tuple(sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()}))


def convert(source: Path, target: Path, model: str | None = None) -> Weights:
    """Write a weights file as another kind: `.safetensors` of ours, or an official `.npz`.

    Args:
        source: Anything `read` reads.
        target: Its ending says its kind; it must not exist.
        model: As in `read`.

    Raises:
        InputError: The source is not usable, or the target cannot be made.
    """
    if target.suffix not in (".safetensors", ".npz"):
        raise InputError("must end in .safetensors (Foldry) or .npz (official)", where=target)
    _check_new(target)
    check_folder(target.parent)
    if target.parent.is_dir():
        check_file(target)
    weights = read(source, model)
    if target.suffix == ".npz" and weights.config.name not in MODELS:
        raise InputError(
            f"cannot hold {weights.config.name}, which is not an official model",
            "name a .safetensors file",
            where=target,
        )
    make_folder(target.parent)
    with hold_file(target):
        _check_new(target)
        _write(target, weights, source)
    return weights


def _check_new(target: Path) -> None:
    if target.exists():
        raise InputError("exists", "delete it first, or choose another name", where=target)


def _write(target: Path, weights: Weights, source: Path) -> None:
    if target.suffix == ".npz":
        with new_file(target) as file:
            np.savez(file, **to_official(weights.state, weights.config))  # type: ignore[arg-type]
    else:
        notes = {"source": source.name, "source_sha256": file_sha256(source)}
        save(target, weights.state, weights.config, notes)
