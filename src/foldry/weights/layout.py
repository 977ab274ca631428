"""The names and shapes of a network's arrays, and their comparison with those of a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import torch
from torch import nn

from foldry.errors import InputError, quoted
from foldry.model.alphafold import AlphaFold
from foldry.model.config import ModelConfig
from foldry.model.runtime import Runtime


@lru_cache(maxsize=16)
def network(config: ModelConfig) -> AlphaFold:
    """Return a network whose parameters take no memory. It is shared: do not change it."""
    with torch.device("meta"):
        return AlphaFold(config, Runtime(device=torch.device("meta")))


def state_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return the name and shape of every array in this network's state."""
    return {name: tuple(array.shape) for name, array in network(config).state_dict().items()}


def num_blocks(config: ModelConfig, ours: str) -> int | None:
    """Return the number of blocks of the stack that a name with `{}` is in, or None."""
    if "{}" not in ours:
        return None
    blocks = network(config).get_submodule(ours.partition(".{}")[0])
    assert isinstance(blocks, nn.ModuleList)
    return len(blocks)


def check_shapes(
    found: Mapping[str, Sequence[int]],
    shapes: Mapping[str, tuple[int, ...]],
    model: str,
    source: object,
) -> None:
    """Check that a file has every array of a network, in its shape.

    Args:
        found: The shapes of the file's arrays by name.
        shapes: The shapes of the network's arrays.
        model: The network's name.
        source: The file to name in errors.

    Raises:
        InputError: An array is missing or has another shape.
    """
    missing = [name for name in shapes if name not in found]
    wrong = [name for name in shapes if name in found and tuple(found[name]) != shapes[name]]
    if missing:
        problem = f"missing arrays: {len(missing)} of {len(shapes)}, the first is {missing[0]!r}"
    elif wrong:
        name = wrong[0]
        problem = f"{name!r} has shape {quoted(tuple(found[name]))} and not {shapes[name]}"
    else:
        return
    what = f"does not hold the parameters of {model} ({problem})"
    raise InputError(what, "give the file of this model", where=source)
