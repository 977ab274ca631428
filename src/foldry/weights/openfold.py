"""Parameters in OpenFold's checkpoints (github.com/aqlaboratory/openfold).

OpenFold's linear maps have the same layout as Foldry's; only the names of modules differ.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from foldry.errors import InputError, reason
from foldry.model.config import ModelConfig
from foldry.weights.layout import check_shapes, num_blocks, state_shapes
from foldry.weights.names import module_names

EARLIER = (
    (r"\.core\.(tri_|pair_transition)", r".pair_stack.\1"),
    (r"\.core\.", "."),
    (r"^template_angle_embedder\.", "template_single_embedder."),
    (r"^template_(?!embedder\.)", "template_embedder.template_"),
    (r"\.(linear_(?:q|kv)_points)\.(weight|bias)$", r".\1.linear.\2"),
)
"""Patterns of OpenFold 1's names and their replacements in OpenFold 2."""


def table(config: ModelConfig) -> dict[str, str]:
    """Return OpenFold's name of every array of a network, by Foldry's name."""
    modules = {
        ours.format(block): theirs.format(block)
        for ours, (_, theirs) in module_names(config).items()
        for block in range(num_blocks(config, ours) or 1)
    }
    names = {}
    for ours in state_shapes(config):
        module, _, parameter = ours.rpartition(".")
        names[ours] = modules[ours] if ours in modules else f"{modules[module]}.{parameter}"
    return names


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Return the arrays of an OpenFold checkpoint, under the names of OpenFold 2.

    From a training checkpoint, the moving average of the parameters is read. Nothing in the file
    is executed: only tensors and plain containers are accepted.

    Raises:
        InputError: The file is damaged or contains anything else.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # the reader's errors have no common class
        first_sentence = reason(error).partition(". ")[0]
        what = f"cannot be read as an OpenFold checkpoint ({first_sentence})"
        advice = "give a file that torch.save made of plain tensors"
        raise InputError(what, advice, where=path) from error
    params = content.get("ema", content) if isinstance(content, dict) else None
    if isinstance(params, dict) and isinstance(params.get("params"), dict):
        params = params["params"]
    if not isinstance(params, dict) or not params or not all(map(_is_array, params.items())):
        advice = "give a file with names and tensors, or with these under 'ema' or 'params'"
        raise InputError("is not an OpenFold checkpoint", advice, where=path)
    return {_current_name(name): tensor for name, tensor in params.items()}


def _is_array(item: tuple[Any, Any]) -> bool:
    name, tensor = item
    if not (isinstance(name, str) and isinstance(tensor, Tensor) and tensor.is_floating_point()):
        return False
    plain = tensor.layout == torch.strided and not tensor.is_nested
    return plain and tensor.device.type == "cpu"


def _current_name(name: str) -> str:
    name = re.sub(r"^(module\.)?(model\.)?", "", name)
    for old, new in EARLIER:
        name = re.sub(old, new, name)
    return name


def from_openfold(
    params: Mapping[str, Tensor], config: ModelConfig, source: object = "The input"
) -> dict[str, Tensor]:
    """Return Foldry's state from OpenFold's arrays, without loss.

    Args:
        params: Arrays by OpenFold's names.
        config: The network.
        source: The file to name in errors.

    Raises:
        InputError: An array is missing or has a shape that does not fit the network.
    """
    names, shapes = table(config), state_shapes(config)
    theirs = {names[ours]: shape for ours, shape in shapes.items()}
    found = {name: tensor.shape for name, tensor in params.items()}
    check_shapes(found, theirs, config.name, source)
    return {ours: params[name].float().clone() for ours, name in names.items()}
