"""The official parameters: their files, their names, and where their numbers are in our state.

An official file is a flat mapping `scope//name` → array; blocks of a stack share one array with a
leading axis. Ours are the state of `AlphaFold`. The table between them has one row for each
official array, or part of one, and works both ways without loss.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from foldry.errors import InputError
from foldry.formats.npz import check_headers, read_arrays
from foldry.model.config import MODELS, ModelConfig, StructureConfig
from foldry.model.evoformer import Attention, MSAColumnGlobalAttention, OuterProductMean
from foldry.model.layers import LayerNorm
from foldry.model.structure_module import InvariantPointAttention
from foldry.weights.layout import check_arrays, network, num_blocks, state_shapes
from foldry.weights.names import module_names

T = TypeVar("T")

OFFICIAL: Final = "official_weights"
"""Code of errors that getting the official parameters avoids."""
ROOT: Final = "alphafold/alphafold_iteration"


@dataclass(frozen=True)
class Row:
    """One official array, or a part of it, and where its numbers are in our state.

    Rows of one official array follow one another along its last axis.

    Attributes:
        official: `scope//name` below `alphafold/alphafold_iteration/`.
        ours: Name in our state; `{}` stands for the block's number in a stack.
        shape: The official shape, without the axis of the blocks. Linear maps are (inputs,
            outputs), ours transposed; heads may have an axis of their own.
        num_blocks: Blocks that share the official array, or None outside a stack.
        outputs: Our output channels in the official order, or None where they are all there in
            the same order.
    """

    official: str
    ours: str
    shape: tuple[int, ...]
    num_blocks: int | None = None
    outputs: tuple[int, ...] | None = None


def table(config: ModelConfig) -> list[Row]:
    """The rows of all official arrays of this network."""
    names = module_names(config).items()
    return [row for ours, (scope, _) in names for row in _rows(ours, scope, config)]


def _rows(ours: str, scope: str, config: ModelConfig) -> Iterator[Row]:
    """The rows of one module of ours, or of one parameter."""
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
        inputs = ()  # a single channel has no axis there
    blocks = num_blocks(config, ours)
    yield Row(f"{scope}//{weight}", f"{ours}.weight", inputs + outputs, blocks)
    if module.bias is not None:
        yield Row(f"{scope}//{bias}", f"{ours}.bias", outputs, blocks)


def _num_groups(parent: nn.Module, name: str) -> int | None:
    """Heads, or channels of one factor, that are an axis of their own in the official array."""
    if isinstance(parent, OuterProductMean):
        return parent.left.out_features if name == "output" else None
    if isinstance(parent, Attention):
        return parent.num_heads
    if isinstance(parent, MSAColumnGlobalAttention) and name in ("query", "gate", "output"):
        return parent.num_heads
    return None


def _split_projections(official: str, ours: str, config: StructureConfig) -> Iterator[Row]:
    """The multimers' queries, keys and values, which are arrays of their own there.

    Points are ordered (heads, xyz, points) there and (xyz, heads, points) with us.
    """
    heads = config.num_heads
    scalars = (config.num_scalar_qk, config.num_scalar_v)
    points = (config.num_point_qk, config.num_point_v)
    for letter, module, counts, part in (
        ("q", "query", (scalars[:1], points[:1]), 0),
        ("k", "key_value", (scalars, points), 0),
        ("v", "key_value", (scalars, points), 1),
    ):
        of_scalars, of_points = (slice(sum(each[:part]), sum(each[: part + 1])) for each in counts)
        index = np.arange(heads * sum(counts[0])).reshape(heads, -1)[:, of_scalars]
        channels = tuple(index.ravel().tolist())
        shape = (heads, len(channels) // heads)
        yield Row(
            f"{official}/{letter}_scalar_projection//weights",
            f"{ours}.scalar_{module}.weight",
            (config.c, *shape),
            outputs=channels,
        )
        index = np.arange(3 * heads * sum(counts[1])).reshape(3, heads, -1)[..., of_points]
        channels = tuple(index.swapaxes(0, 1).ravel().tolist())
        shape = (heads, len(channels) // heads)
        scope = f"{official}/{letter}_point_projection/point_projection"
        point = f"{ours}.point_{module}"
        yield Row(f"{scope}//weights", f"{point}.weight", (config.c, *shape), outputs=channels)
        yield Row(f"{scope}//bias", f"{point}.bias", shape, outputs=channels)


def from_official(
    params: Mapping[str, np.ndarray], config: ModelConfig, source: object = "The input"
) -> dict[str, Tensor]:
    """Our state from the official arrays, without loss.

    Args:
        params: The arrays by their official names.
        config: The network that they are of.
        source: The file that they come from; errors begin with it.

    Raises:
        InputError: An array is missing or has another shape than this network's.
    """
    check_arrays(params, official_shapes(config), config.name, source)
    shapes = state_shapes(config)
    state: dict[str, np.ndarray] = {}
    columns_read: Counter[str] = Counter()
    for row in table(config):
        array = np.asarray(params[f"{ROOT}/{row.official}"])
        start = columns_read[row.official]
        for index in range(row.num_blocks or 1):
            block = array if row.num_blocks is None else array[index]
            name = row.ours.format(index)
            ours = state.setdefault(name, np.empty(shapes[name], block.dtype))
            outputs = slice(None) if row.outputs is None else list(row.outputs)
            width = len(ours[outputs])
            num_inputs = math.prod(ours.shape[1:])
            columns = block.reshape(num_inputs, -1)[:, start : start + width]
            ours[outputs] = columns.T.reshape(width, *ours.shape[1:])
        columns_read[row.official] += width
    return {name: torch.from_numpy(array) for name, array in state.items()}


def to_official(state: Mapping[str, Tensor], config: ModelConfig) -> dict[str, np.ndarray]:
    """The official arrays from our state: the inverse of `from_official`, bit for bit."""
    params: dict[str, np.ndarray] = {}
    for row in table(config):
        blocks = [
            _official_block(row, state[row.ours.format(index)].numpy(force=True))
            for index in range(row.num_blocks or 1)
        ]
        array = blocks[0] if row.num_blocks is None else np.stack(blocks)
        name = f"{ROOT}/{row.official}"
        params[name] = np.concatenate([params[name], array], -1) if name in params else array
    return params


def _official_block(row: Row, array: np.ndarray) -> np.ndarray:
    chosen = array if row.outputs is None else array[list(row.outputs)]
    return np.ascontiguousarray(chosen.T).reshape(row.shape)


def official_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """The name and the shape of every official array of this network."""
    shapes: dict[str, tuple[int, ...]] = {}
    for row in table(config):
        *axes, last = row.shape if row.num_blocks is None else (row.num_blocks, *row.shape)
        name = f"{ROOT}/{row.official}"
        earlier = shapes[name][-1] if name in shapes else 0
        shapes[name] = (*axes, earlier + last)
    return shapes


def file_name(model: str) -> str:
    """What the official file of a model is called."""
    return f"params_{model}.npz"


def model_of(path: Path) -> str | None:
    """The model that a file's name says, or None."""
    name = path.stem.removeprefix("params_")
    return name if name in MODELS else None


def read_params(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an official parameter file.

    Raises:
        InputError: The file is damaged, or holds anything but plain arrays of floats.
    """
    params = _whole(read_arrays, path)
    for name, array in params.items():
        if array.dtype.kind != "f" or array.dtype.itemsize > 8:
            raise InputError(f"holds {name!r} as {array.dtype}, not as floats", where=path)
    return params


def check_file(path: Path) -> None:
    """Make sure, by its headers, that an official parameter file is whole.

    Raises:
        InputError: It is cut off, or an array claims more bytes than the file holds.
    """
    _whole(check_headers, path)


def _whole(read: Callable[[Path], T], path: Path) -> T:
    try:
        return read(path)
    except ValueError as error:
        what = f"cannot be read as parameters ({error})"
        raise InputError(what, "get the file again", where=path, code=OFFICIAL) from error
