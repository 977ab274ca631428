"""Parameters in OpenFold's checkpoints (github.com/aqlaboratory/openfold).

OpenFold's linear maps are laid out as ours, so the names of modules are the whole translation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from foldry.errors import InputError
from foldry.model.config import ModelConfig
from foldry.weights.layout import check_arrays, num_blocks, state_shapes
from foldry.weights.names import module_names

EARLIER = (
    (r"\.core\.(tri_|pair_transition)", r".pair_stack.\1"),
    (r"\.core\.", "."),
    (r"^template_angle_embedder\.", "template_single_embedder."),
    (r"^template_(?!embedder\.)", "template_embedder.template_"),
    (r"\.(linear_(?:q|kv)_points)\.(weight|bias)$", r".\1.linear.\2"),
)
"""Patterns of OpenFold 1's names, and what OpenFold 2 has in their place."""


def table(config: ModelConfig) -> dict[str, str]:
    """Our name and OpenFold's of every array of this network."""
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
    """The arrays of an OpenFold checkpoint, under the names of OpenFold 2.

    Plain parameter files and training checkpoints are read; of the latter the moving average.
    Nothing in the file is executed: only tensors and plain containers are accepted.

    Raises:
        InputError: The file is damaged, or holds anything else.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # the reader's errors have no common class
        what = f"cannot be read as an OpenFold checkpoint ({_first_line(error)})"
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
    return isinstance(name, str) and isinstance(tensor, Tensor) and tensor.layout == torch.strided


def _first_line(error: Exception) -> str:
    return re.split(r"[\n.]", str(error).strip())[0] or type(error).__name__


def _current_name(name: str) -> str:
    name = re.sub(r"^(module\.)?(model\.)?", "", name)
    for old, new in EARLIER:
        name = re.sub(old, new, name)
    return name


def from_openfold(
    params: Mapping[str, Tensor], config: ModelConfig, source: object = "The input"
) -> dict[str, Tensor]:
    """Our state from OpenFold's arrays, without loss.

    Args:
        params: The arrays by OpenFold's names.
        config: The network that they are of.
        source: The file that they come from; errors begin with it.

    Raises:
        InputError: An array is missing or has another shape than this network's.
    """
    names, shapes = table(config), state_shapes(config)
    theirs = {names[ours]: shape for ours, shape in shapes.items()}
    check_arrays(params, theirs, config.name, source)
    return {ours: params[name].float().clone() for ours, name in names.items()}
