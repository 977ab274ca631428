"""A network's arrays under our names, and the comparison of a file's arrays with them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from foldry.errors import InputError
from foldry.model.alphafold import AlphaFold
from foldry.model.config import ModelConfig
from foldry.model.runtime import Runtime


@lru_cache(maxsize=16)
def network(config: ModelConfig) -> AlphaFold:
    """The network without memory for its parameters, to be read only."""
    with torch.device("meta"):
        return AlphaFold(config, Runtime(device=torch.device("meta")))


def state_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """The name and the shape of every array of our state for this network."""
    return {name: tuple(array.shape) for name, array in network(config).state_dict().items()}


def num_blocks(config: ModelConfig, ours: str) -> int | None:
    """Blocks of the stack that a name with `{}` belongs to, or None outside a stack."""
    if "{}" not in ours:
        return None
    blocks = network(config).get_submodule(ours.partition(".{}")[0])
    assert isinstance(blocks, nn.ModuleList)
    return len(blocks)


def check_arrays(
    arrays: Mapping[str, np.ndarray | Tensor],
    shapes: Mapping[str, tuple[int, ...]],
    model: str,
    source: object,
) -> None:
    """Make sure that a file's arrays are a network's: every one is there, in its shape.

    Raises:
        InputError: They are not.
    """
    missing = [name for name in shapes if name not in arrays]
    found = {name: tuple(arrays[name].shape) for name in shapes if name in arrays}
    wrong = [name for name, shape in found.items() if shape != shapes[name]]
    if missing:
        problem = f"{len(missing)} of {len(shapes)} arrays are missing, {missing[0]!r} the first"
    elif wrong:
        problem = f"{wrong[0]!r} has shape {found[wrong[0]]} and not {shapes[wrong[0]]}"
    else:
        return
    what = f"does not hold the parameters of {model} ({problem})"
    raise InputError(what, "give the file of this model", where=source)
