"""Conversion of weights files between formats."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foldry.errors import InputError
from foldry.model.config import MODELS, preset
from foldry.store.files import check_file, check_folder, make_folder, new_file
from foldry.store.hashes import file_sha256
from foldry.store.locks import hold_file
from foldry.weights.official import to_official
from foldry.weights.read import Weights, load_weights
from foldry.weights.state_file import load_config, save


def convert(source: Path, target: Path, model: str | None = None) -> Weights:
    """Convert a weights file, without loss, and return the parameters.

    Args:
        source: Any file that `load_weights` reads.
        target: A new file: `.safetensors` (Foldry) or `.npz` (official).
        model: The network's name, as in `load_weights`.

    Raises:
        InputError: The source is not usable, or the target exists or cannot be written.
    """
    if target.suffix not in (".safetensors", ".npz"):
        raise InputError("must end in .safetensors (Foldry) or .npz (official)", where=target)
    _check_new(target)
    check_folder(target.parent)
    if target.parent.is_dir():
        check_file(target)
    weights = load_weights(source, model)
    name = weights.config.name
    if target.suffix == ".npz" and not (name in MODELS and weights.config == preset(name)):
        what = f"cannot hold this {name}, which is not an official model"
        raise InputError(what, "name a .safetensors file", where=target)
    make_folder(target.parent)
    with hold_file(target):
        _check_new(target)
        if target.suffix == ".npz":
            with new_file(target) as file:
                np.savez(file, **to_official(weights.state, weights.config))  # type: ignore[arg-type]
        else:
            notes = {"source": source.name, "source_sha256": file_sha256(source)}
            if source.suffix == ".safetensors":
                notes |= load_config(source)[1]  # with the licence, and the first source
            save(target, weights.state, weights.config, notes)
    return weights


def _check_new(target: Path) -> None:
    if target.exists():
        raise InputError("exists", "delete it first, or choose another name", where=target)
