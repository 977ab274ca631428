"""Parameters under their official names and under ours, and our own files.

The official parameters are a flat mapping `scope//name` → array; blocks of a stack share one array
with a leading axis. Ours are the state of `AlphaFold`. The table between them has one row for each
official array, or part of one, and works both ways without loss.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors
from torch import Tensor

from foldry.errors import InputError
from foldry.formats.npz import check_headers, read_arrays
from foldry.model.alphafold import AlphaFold
from foldry.model.config import ModelConfig, StackConfig, StructureConfig, TemplateConfig
from foldry.model.embedders import template_groups
from foldry.model.runtime import Runtime
from foldry.store.files import write_bytes

ROOT = "alphafold/alphafold_iteration"
STACK = "__layer_stack_no_state"
OFFICIAL = "official_weights"
"""Code of errors that getting the official parameters avoids."""


@dataclass(frozen=True)
class Row:
    """One official array, or a part of it, and where its numbers are in our state.

    Rows of one official array follow one another along its last axis.

    Attributes:
        official: `scope//name` below `alphafold/alphafold_iteration/`.
        ours: Name in our state; `{}` stands for the block's number in a stack.
        num_blocks: Blocks that share the official array, or None outside a stack.
        linear: Whether this is a linear map's matrix, which the official arrays hold transposed.
        scalar_input: Whether it is one of a single channel, which has no official axis.
        split_inputs, split_outputs: Size of the first of two official axes (heads, channels) that
            are one axis with us, or None where there is just one.
        outputs: Our output channels in the official order, or None where they are all there in
            the same order.
    """

    official: str
    ours: str
    num_blocks: int | None = None
    linear: bool = False
    scalar_input: bool = False
    split_inputs: int | None = None
    split_outputs: int | None = None
    outputs: tuple[int, ...] | None = None


def _linear(official: str, ours: str, bias: bool = True) -> Iterator[Row]:
    yield Row(f"{official}//weights", f"{ours}.weight", linear=True)
    if bias:
        yield Row(f"{official}//bias", f"{ours}.bias")


def _norm(official: str, ours: str) -> Iterator[Row]:
    yield Row(f"{official}//scale", f"{ours}.weight")
    yield Row(f"{official}//offset", f"{ours}.bias")


def _attention(
    official: str, ours: str, num_heads: int, *, gating: bool = True, shared_key_value: bool = False
) -> Iterator[Row]:
    def matrix(letter: str, name: str, heads: int | None) -> Row:
        return Row(
            f"{official}//{letter}_w", f"{ours}.{name}.weight", linear=True, split_outputs=heads
        )

    yield matrix("query", "query", num_heads)
    yield matrix("key", "key", None if shared_key_value else num_heads)
    yield matrix("value", "value", None if shared_key_value else num_heads)
    if gating:
        yield matrix("gating", "gate", num_heads)
        yield Row(f"{official}//gating_b", f"{ours}.gate.bias", split_outputs=num_heads)
    yield Row(f"{official}//output_w", f"{ours}.output.weight", linear=True, split_inputs=num_heads)
    yield Row(f"{official}//output_b", f"{ours}.output.bias")


def _transition(official: str, ours: str) -> Iterator[Row]:
    yield from _norm(f"{official}/input_layer_norm", f"{ours}.norm")
    yield from _linear(f"{official}/transition1", f"{ours}.widen")
    yield from _linear(f"{official}/transition2", f"{ours}.narrow")


def _triangle_multiplication(official: str, ours: str, *, fused: bool) -> Iterator[Row]:
    both = ("projection", "projection") if fused else ("left_projection", "right_projection")
    gates = ("gate", "gate") if fused else ("left_gate", "right_gate")
    first, center = (
        ("left_norm_input", "center_norm") if fused else ("layer_norm_input", "center_layer_norm")
    )
    yield from _norm(f"{official}/{first}", f"{ours}.norm")
    for name, module in zip(
        both + gates, ("left", "right", "left_gate", "right_gate"), strict=True
    ):
        yield from _linear(f"{official}/{name}", f"{ours}.{module}")
    yield from _norm(f"{official}/{center}", f"{ours}.norm_product")
    yield from _linear(f"{official}/output_projection", f"{ours}.output")
    yield from _linear(f"{official}/gating_linear", f"{ours}.gate")


def _triangle_attention(official: str, ours: str, num_heads: int) -> Iterator[Row]:
    yield from _norm(f"{official}/query_norm", f"{ours}.norm")
    yield Row(f"{official}//feat_2d_weights", f"{ours}.bias.weight", linear=True)
    yield from _attention(f"{official}/attention", f"{ours}.attention", num_heads)


def _pair_updates(
    official: str, ours: str, num_heads: int, *, triangle_attention: bool, fused: bool
) -> Iterator[Row]:
    for direction in ("outgoing", "incoming"):
        name = f"triangle_multiplication_{direction}"
        yield from _triangle_multiplication(f"{official}/{name}", f"{ours}.{name}", fused=fused)
    if triangle_attention:
        for node in ("starting", "ending"):
            name = f"triangle_attention_{node}"
            yield from _triangle_attention(f"{official}/{name}_node", f"{ours}.{name}", num_heads)
    yield from _transition(f"{official}/pair_transition", f"{ours}.pair_transition")


def _evoformer_block(
    official: str, ours: str, config: StackConfig, *, fused: bool
) -> Iterator[Row]:
    row = f"{official}/msa_row_attention_with_pair_bias"
    yield from _norm(f"{row}/query_norm", f"{ours}.msa_row_attention.norm")
    yield from _norm(f"{row}/feat_2d_norm", f"{ours}.msa_row_attention.norm_pair")
    yield Row(f"{row}//feat_2d_weights", f"{ours}.msa_row_attention.bias.weight", linear=True)
    heads = config.num_heads_msa
    yield from _attention(f"{row}/attention", f"{ours}.msa_row_attention.attention", heads)
    column = f"{ours}.msa_column_attention"
    if config.global_column_attention:
        scope = f"{official}/msa_column_global_attention"
        yield from _norm(f"{scope}/query_norm", f"{column}.norm")
        yield from _attention(f"{scope}/attention", column, heads, shared_key_value=True)
    else:
        scope = f"{official}/msa_column_attention"
        yield from _norm(f"{scope}/query_norm", f"{column}.norm")
        yield from _attention(f"{scope}/attention", f"{column}.attention", heads)
    yield from _transition(f"{official}/msa_transition", f"{ours}.msa_transition")
    outer = f"{official}/outer_product_mean"
    yield from _norm(f"{outer}/layer_norm_input", f"{ours}.outer_product_mean.norm")
    yield from _linear(f"{outer}/left_projection", f"{ours}.outer_product_mean.left")
    yield from _linear(f"{outer}/right_projection", f"{ours}.outer_product_mean.right")
    yield Row(
        f"{outer}//output_w",
        f"{ours}.outer_product_mean.output.weight",
        linear=True,
        split_inputs=config.c_outer,
    )
    yield Row(f"{outer}//output_b", f"{ours}.outer_product_mean.output.bias")
    yield from _pair_updates(
        official,
        ours,
        config.num_heads_pair,
        triangle_attention=config.triangle_attention,
        fused=fused,
    )


def _stacked(rows: Iterator[Row], num_blocks: int) -> Iterator[Row]:
    for row in rows:
        yield replace(row, num_blocks=num_blocks)


def _embedders(config: ModelConfig) -> Iterator[Row]:
    scope = "evoformer"
    yield from _linear(f"{scope}/preprocess_1d", "input.target_msa")
    yield from _linear(f"{scope}/preprocess_msa", "input.msa")
    yield from _linear(f"{scope}/left_single", "input.target_left")
    yield from _linear(f"{scope}/right_single", "input.target_right")
    # The official scopes are spelt so.
    chains = "~_relative_encoding/position_activations"
    position = chains if config.of_complexes else "pair_activiations"
    yield from _linear(f"{scope}/{position}", "input.relative_position")
    yield from _norm(f"{scope}/prev_msa_first_row_norm", "recycling.norm_msa")
    yield from _norm(f"{scope}/prev_pair_norm", "recycling.norm_pair")
    yield from _linear(f"{scope}/prev_pos_linear", "recycling.distance")
    if config.template is not None:
        yield from _template(f"{scope}/template_embedding", config.template, config.fused_triangles)
        if config.template.embed_torsions:
            yield from _linear(f"{scope}/template_single_embedding", "template_torsions.input")
            yield from _linear(f"{scope}/template_projection", "template_torsions.output")
    if config.extra is not None:
        yield from _linear(f"{scope}/extra_msa_activations", "extra_msa.linear")


def _template(official: str, config: TemplateConfig, fused: bool) -> Iterator[Row]:
    single = f"{official}/single_template_embedding"
    blocks = f"{single}/template_pair_stack/{STACK}"
    if config.average:
        blocks = f"{single}/template_embedding_iteration"
        yield from _norm(f"{single}/query_embedding_norm", "template.norm_pair")
        for index, width in enumerate(template_groups(config, 0)):
            scope, part = (
                f"{single}/template_pair_embedding_{index}",
                f"template.input.parts.{index}",
            )
            for row in _linear(scope, part):
                yield replace(row, scalar_input=row.linear and width == 1)
        yield from _linear(f"{official}/output_linear", "template.output")
    else:
        yield from _linear(f"{single}/embedding2d", "template.input")
        heads = config.num_heads_pointwise
        yield from _attention(f"{official}/attention", "template.attention", heads, gating=False)
    rows = _pair_updates(
        blocks,
        "template.blocks.{}",
        config.num_heads,
        triangle_attention=config.triangle_attention,
        fused=fused,
    )
    yield from _stacked(rows, config.num_blocks)
    yield from _norm(f"{single}/output_layer_norm", "template.norm")


def _point_attention(official: str, ours: str, config: StructureConfig) -> Iterator[Row]:
    if config.scalar_bias:
        yield from _linear(f"{official}/q_scalar", f"{ours}.scalar_query")
        yield from _linear(f"{official}/kv_scalar", f"{ours}.scalar_key_value")
        yield from _linear(f"{official}/q_point_local", f"{ours}.point_query")
        yield from _linear(f"{official}/kv_point_local", f"{ours}.point_key_value")
    else:
        yield from _split_projections(official, ours, config)
    yield from _linear(f"{official}/attention_2d", f"{ours}.pair_bias")
    yield Row(f"{official}//trainable_point_weights", f"{ours}.point_weights")
    yield from _linear(f"{official}/output_projection", f"{ours}.output")


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
        yield Row(
            f"{official}/{letter}_scalar_projection//weights",
            f"{ours}.scalar_{module}.weight",
            linear=True,
            split_outputs=heads,
            outputs=tuple(index.ravel().tolist()),
        )
        index = np.arange(3 * heads * sum(counts[1])).reshape(3, heads, -1)[..., of_points]
        scope = f"{official}/{letter}_point_projection/point_projection"
        for row in _linear(scope, f"{ours}.point_{module}"):
            outputs = tuple(index.swapaxes(0, 1).ravel().tolist())
            yield replace(row, split_outputs=heads, outputs=outputs)


def _structure_module(config: StructureConfig) -> Iterator[Row]:
    scope, ours = "structure_module", "structure"
    fold = f"{scope}/fold_iteration"
    yield from _norm(f"{scope}/single_layer_norm", f"{ours}.norm_single")
    yield from _norm(f"{scope}/pair_layer_norm", f"{ours}.norm_pair")
    yield from _linear(f"{scope}/initial_projection", f"{ours}.input")
    yield from _point_attention(f"{fold}/invariant_point_attention", f"{ours}.attention", config)
    yield from _norm(f"{fold}/attention_layer_norm", f"{ours}.norm_attention")
    for index in range(config.num_transition_layers):
        yield from _linear(f"{fold}/{_numbered('transition', index)}", f"{ours}.transition.{index}")
    yield from _norm(f"{fold}/transition_layer_norm", f"{ours}.norm_transition")
    update = "affine_update" if config.scalar_bias else "quat_rigid/rigid"
    yield from _linear(f"{fold}/{update}", f"{ours}.backbone_update")
    chain, angles = f"{fold}/rigid_sidechain", f"{ours}.torsion_angles"
    yield from _linear(f"{chain}/input_projection", f"{angles}.input")
    yield from _linear(f"{chain}/input_projection_1", f"{angles}.input_initial")
    for index in range(config.num_sidechain_blocks):
        yield from _linear(f"{chain}/{_numbered('resblock1', index)}", f"{angles}.first.{index}")
        yield from _linear(f"{chain}/{_numbered('resblock2', index)}", f"{angles}.second.{index}")
    yield from _linear(f"{chain}/unnormalized_angles", f"{angles}.angles")


def _numbered(name: str, index: int) -> str:
    """The official names of repeated layers: `transition`, `transition_1`, …"""
    return f"{name}_{index}" if index else name


def _heads(config: ModelConfig) -> Iterator[Row]:
    yield from _linear("distogram_head/half_logits", "heads.distogram")
    yield from _linear("masked_msa_head/logits", "heads.masked_msa")
    yield from _linear("experimentally_resolved_head/logits", "heads.resolved")
    yield from _norm("predicted_lddt_head/input_layer_norm", "heads.plddt.norm")
    yield from _linear("predicted_lddt_head/act_0", "heads.plddt.first")
    yield from _linear("predicted_lddt_head/act_1", "heads.plddt.second")
    yield from _linear("predicted_lddt_head/logits", "heads.plddt.output")
    if config.heads.pae:
        yield from _linear("predicted_aligned_error_head/logits", "heads.pae")


def table(config: ModelConfig) -> list[Row]:
    """The rows of all official arrays of this network."""
    rows, fused = list(_embedders(config)), config.fused_triangles
    for official, ours, stack in (
        ("extra_msa_stack", "extra_stack", config.extra),
        ("evoformer_iteration", "evoformer", config.evoformer),
    ):
        if stack is not None:
            name = f"{ours}.blocks.{{}}"
            block = _evoformer_block(f"evoformer/{official}", name, stack, fused=fused)
            rows += _stacked(block, stack.num_blocks)
    rows += _linear("evoformer/single_activations", "single")
    return [*rows, *_structure_module(config.structure), *_heads(config)]


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
    _check(params, official_shapes(config), config.name, source)
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
            if row.linear:
                num_outputs = math.prod(block.shape[-2:] if row.split_outputs else block.shape[-1:])
                ours[outputs] = block.reshape(-1, num_outputs)[:, start : start + width].T
            else:
                ours[outputs] = block.reshape(-1)[start : start + width]
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
    return np.ascontiguousarray(chosen.T).reshape(_official_shape(row, array.shape))


def _official_shape(row: Row, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The official shape, without the axis of the blocks, of one of our arrays."""
    inputs, outputs = (shape[1:], shape[:1]) if row.linear else ((), shape)
    if row.outputs is not None:
        outputs = (len(row.outputs),)
    if row.scalar_input:
        inputs = ()
    if row.split_inputs:
        inputs = (row.split_inputs, inputs[0] // row.split_inputs)
    if row.split_outputs:
        outputs = (row.split_outputs, outputs[0] // row.split_outputs)
    return (*inputs, *outputs)


def official_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """The name and the shape of every official array of this network."""
    shapes: dict[str, tuple[int, ...]] = {}
    state = state_shapes(config)
    for row in table(config):
        blocks = () if row.num_blocks is None else (row.num_blocks,)
        *axes, last = blocks + _official_shape(row, state[row.ours.format(0)])
        name = f"{ROOT}/{row.official}"
        earlier = shapes[name][-1] if name in shapes else 0
        shapes[name] = (*axes, earlier + last)
    return shapes


@lru_cache(maxsize=16)
def state_shapes(config: ModelConfig) -> Mapping[str, tuple[int, ...]]:
    """The name and the shape of every array of our state for this network."""
    with torch.device("meta"):
        state = AlphaFold(config, Runtime(device=torch.device("meta"))).state_dict()
    return MappingProxyType({name: tuple(tensor.shape) for name, tensor in state.items()})


def _check(
    arrays: Mapping[str, np.ndarray | Tensor],
    shapes: Mapping[str, tuple[int, ...]],
    name: str,
    source: object,
) -> None:
    """That the arrays are those of the network: every one, and in its shape."""
    missing = [key for key in shapes if key not in arrays]
    if missing:
        raise InputError(
            f"does not hold the parameters of {name} ({len(missing)} of {len(shapes)} arrays are "
            f"missing, {missing[0]!r} the first)",
            "give the file of this model",
            where=source,
        )
    for key, shape in shapes.items():
        if tuple(arrays[key].shape) != shape:
            raise InputError(
                f"does not hold the parameters of {name} ({key!r} has shape "
                f"{tuple(arrays[key].shape)} and not {shape})",
                "give the file of this model",
                where=source,
            )


def save(
    path: Path,
    state: Mapping[str, Tensor],
    config: ModelConfig,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a state with its configuration inside, as safetensors.

    Args:
        path: The file is whole or the one before, even after a power cut.
        state: The network's state, in any floating dtype.
        config: Kept as JSON in the file's metadata, with `metadata`.
        metadata: Further notes, such as the licence.
    """
    notes = {**(metadata or {}), "config": json.dumps(config.to_dict())}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    write_bytes(path, safetensors_bytes(tensors, notes), sync=True)


def safetensors_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """A safetensors file whose bytes follow from its content alone.

    The safetensors package writes the notes in an order that differs from process to process, so
    that hashes of equal files would differ.
    """
    data = save_tensors(dict(tensors), metadata=dict(metadata))
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    notes = dict(sorted(header.pop("__metadata__").items()))
    text = json.dumps({"__metadata__": notes, **header}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format aligns the numbers to 8 bytes
    return b"".join([len(text).to_bytes(8, "little"), text, memoryview(data)[end:]])


def load(path: Path) -> tuple[dict[str, Tensor], ModelConfig, dict[str, str]]:
    """Read what `save` wrote: the state in float32, the configuration, the other notes.

    Raises:
        InputError: The file is no such file, or not that of its configuration's network.
    """
    config, notes = load_config(path)
    try:
        with safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"is damaged ({error})", "get or make the file again", where=path
        ) from error
    _check(state, state_shapes(config), config.name, path)
    return state, config, notes


def load_config(path: Path) -> tuple[ModelConfig, dict[str, str]]:
    """The configuration and the notes of what `save` wrote, without reading the parameters.

    Raises:
        InputError: The file is no such file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            notes = dict(file.metadata() or {})
        return ModelConfig.from_dict(json.loads(notes.pop("config"))), notes
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise InputError(
            f"is not a weights file of Foldry ({error})",
            "give another",
            where=path,
            code="foreign_weights",
        ) from error


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an official parameter file.

    Raises:
        InputError: The file is damaged, or holds anything but plain arrays.
    """
    try:
        return read_arrays(path)
    except ValueError as error:
        raise _damaged(path, error) from error


def check_npz(path: Path) -> None:
    """Make sure, by its headers, that an official parameter file is whole.

    Raises:
        InputError: It is cut off, or an array claims more bytes than the file holds.
    """
    try:
        check_headers(path)
    except ValueError as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: ValueError) -> InputError:
    what = f"cannot be read as parameters ({error})"
    return InputError(what, "get the file again", where=path, code=OFFICIAL)
