"""The official parameters, and their conversion to and from Foldry's state.

An official file is a flat mapping `scope//name` → array; the blocks of a stack share one array with
a leading axis. Foldry's state is the state of `AlphaFold`. The table between them has one row
for each official array, or part of one, and is used in both directions without loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from foldry.errors import InputError, quoted, reason
from foldry.formats.npz import check_headers, read_arrays
from foldry.model.config import MODELS, ModelConfig, StructureConfig
from foldry.model.embedders import TemplatePointwiseAttention
from foldry.model.evoformer import AttentionMaps, MSAColumnGlobalAttention, OuterProductMean
from foldry.model.layers import LayerNorm
from foldry.model.structure_module import InvariantPointAttention
from foldry.weights.layout import check_shapes, network, num_blocks, state_shapes
from foldry.weights.names import module_names

T = TypeVar("T")

OFFICIAL: Final = "official_weights"
"""Code of errors that downloading the official parameters avoids."""
MAX_BYTES: Final = 768 << 20
"""Maximum size of a file's arrays: the largest official network in float64 takes 717 MiB."""
_AGAIN: Final = "get the file again"
ROOT: Final = "alphafold/alphafold_iteration"


@dataclass(frozen=True)
class Row:
    """One official array, or a part of it, and its place in Foldry's state.

    Attributes:
        official: `scope//name` below `alphafold/alphafold_iteration/`.
        ours: Name in Foldry's state; `{}` stands for the block's number in a stack.
        shape: Official shape, with a leading axis of blocks in a stack. Linear maps are
            (inputs, outputs), the transpose of Foldry's; heads may have a separate axis.
        num_blocks: Number of blocks that share the official array; 1 outside a stack.
        outputs: Foldry's output channels in the official order; None if the order is the same.
    """

    official: str
    ours: str
    shape: tuple[int, ...]
    num_blocks: int = 1
    outputs: tuple[int, ...] | None = None


def table(config: ModelConfig) -> dict[str, list[Row]]:
    """Return the rows of every official array, in their order along its last axis."""
    arrays: dict[str, list[Row]] = {}
    for ours, (scope, _) in module_names(config).items():
        for row in _rows(ours, scope, config):
            arrays.setdefault(f"{ROOT}/{row.official}", []).append(row)
    return arrays


def _rows(ours: str, scope: str, config: ModelConfig) -> Iterator[Row]:
    """Yield the rows of one of Foldry's modules or parameters."""
    parent_name, _, name = ours.format(0).rpartition(".")
    parent = network(config).get_submodule(parent_name)
    module = getattr(parent, name)
    if isinstance(module, nn.Parameter):
        yield Row(scope, ours, tuple(module.shape))
        return
    if isinstance(module, InvariantPointAttention):
        yield from _split_projections(scope, ours, config.structure)
        return
    scope, _, weight = scope.partition("//")
    if isinstance(module, LayerNorm):
        weight, bias = "scale", "offset"
    elif weight:
        bias = weight.removesuffix("w") + "b"
    else:
        weight, bias = "weights", "bias"
    outputs, inputs = tuple(module.weight.shape[:1]), tuple(module.weight.shape[1:])
    groups = _num_groups(parent, name)
    if groups and name == "output":
        inputs = (groups, inputs[0] // groups)
    elif groups:
        outputs = (groups, outputs[0] // groups)
    elif inputs == (1,):
        inputs = ()  # the official array has no axis for a single channel
    blocks = num_blocks(config, ours)
    stack = () if blocks is None else (blocks,)
    yield Row(f"{scope}//{weight}", f"{ours}.weight", stack + inputs + outputs, blocks or 1)
    if module.bias is not None:
        yield Row(f"{scope}//{bias}", f"{ours}.bias", stack + outputs, blocks or 1)


def _num_groups(parent: nn.Module, name: str) -> int | None:
    """Return the size of the official array's separate axis of heads or channels, if any."""
    if isinstance(parent, OuterProductMean):
        return parent.left.out_features if name == "output" else None
    if isinstance(parent, MSAColumnGlobalAttention):
        return parent.num_heads if name in ("query", "gate", "output") else None
    if isinstance(parent, AttentionMaps | TemplatePointwiseAttention):
        return parent.num_heads
    return None


def _split_projections(official: str, ours: str, config: StructureConfig) -> Iterator[Row]:
    """Yield the rows of the multimers' queries, keys and values, which are separate arrays.

    Points are ordered (heads, xyz, points) in official arrays and (xyz, heads, points) in Foldry.
    """
    heads = config.num_heads
    for letter, module, place in (("q", "query", 0), ("k", "key_value", 0), ("v", "key_value", 1)):
        for kind, num_axes, *sizes in (
            ("scalar", 1, config.num_scalar_qk, config.num_scalar_v),
            ("point", 3, config.num_point_qk, config.num_point_v),
        ):
            total = sizes[0] if module == "query" else sum(sizes)
            index = np.arange(num_axes * heads * total).reshape(num_axes, heads, total)
            part = np.split(index, sizes[:1], axis=-1)[place]
            channels = tuple(part.swapaxes(0, 1).ravel().tolist())
            shape = (heads, len(channels) // heads)
            scope, layer = f"{official}/{letter}_{kind}_projection", f"{ours}.{kind}_{module}"
            scope += "/point_projection" if kind == "point" else ""
            yield Row(f"{scope}//weights", f"{layer}.weight", (config.c, *shape), outputs=channels)
            if kind == "point":
                yield Row(f"{scope}//bias", f"{layer}.bias", shape, outputs=channels)


def from_official(
    params: Mapping[str, np.ndarray], config: ModelConfig, source: object = "The input"
) -> dict[str, Tensor]:
    """Return Foldry's state from the official arrays, without loss.

    Args:
        params: Arrays by their official names.
        config: The network.
        source: The file to name in errors.

    Raises:
        InputError: An array is missing or has a shape that does not fit the network.
    """
    found = {name: array.shape for name, array in params.items()}
    check_shapes(found, official_shapes(config), config.name, source)
    shapes = state_shapes(config)
    state: dict[str, np.ndarray] = {}
    for official, rows in table(config).items():
        ends = np.cumsum([row.shape[-1] for row in rows])
        parts = np.split(np.asarray(params[official]), ends[:-1], axis=-1)
        for row, part in zip(rows, parts, strict=True):
            inputs = shapes[row.ours.format(0)][1:]
            for index, block in enumerate(part.reshape(row.num_blocks, math.prod(inputs), -1)):
                name = row.ours.format(index)
                dtype = block.dtype.newbyteorder("=")  # PyTorch reads no other byte order
                ours = state.setdefault(name, np.empty(shapes[name], dtype))
                outputs = slice(None) if row.outputs is None else list(row.outputs)
                ours[outputs] = block.T.reshape(-1, *inputs)
    return {name: torch.from_numpy(array) for name, array in state.items()}


def to_official(state: Mapping[str, Tensor], config: ModelConfig) -> dict[str, np.ndarray]:
    """Return the official arrays from Foldry's state, the exact inverse of `from_official`."""
    return {
        official: np.concatenate([_official_part(row, state) for row in rows], axis=-1)
        for official, rows in table(config).items()
    }


def _official_part(row: Row, state: Mapping[str, Tensor]) -> np.ndarray:
    outputs = slice(None) if row.outputs is None else list(row.outputs)
    blocks = (state[row.ours.format(index)].numpy(force=True) for index in range(row.num_blocks))
    return np.stack([block[outputs].T for block in blocks]).reshape(row.shape)


def official_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return the name and shape of every official array of a network."""
    return {
        official: (*rows[0].shape[:-1], sum(row.shape[-1] for row in rows))
        for official, rows in table(config).items()
    }


def file_name(model: str) -> str:
    """Return the name of a model's official file."""
    return f"params_{model}.npz"


def model_of(path: Path) -> str | None:
    """Return the model that a file is named after, or None."""
    name = path.stem.removeprefix("params_")
    return name if name in MODELS else None


def read_params(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an official parameter file.

    Raises:
        InputError: The file is damaged or contains anything but plain arrays of floats.
    """
    params = _whole(read_arrays, path)
    for name, array in params.items():
        if array.dtype.kind != "f" or array.dtype.itemsize > 8:
            what = f"holds {quoted(name, 120)} as {str(array.dtype)[:40]}, not as floats"
            raise InputError(what, _AGAIN, where=path)
    return params


def check_file(path: Path) -> None:
    """Check by its headers that an official parameter file is whole.

    Raises:
        InputError: It is cut off, or an array claims more bytes than the file holds.
    """
    _whole(check_headers, path)


def _whole(read: Callable[[Path, int], T], path: Path) -> T:
    try:
        return read(path, MAX_BYTES)
    except ValueError as error:
        what = f"cannot be read as parameters ({reason(error)})"
        raise InputError(what, _AGAIN, where=path, code=OFFICIAL) from error
