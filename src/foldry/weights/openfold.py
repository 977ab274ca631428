"""Parameters in OpenFold's checkpoints (github.com/aqlaboratory/openfold).

OpenFold's linear maps are laid out as ours, so one table of module names is the whole translation.
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
from foldry.weights.official import state_shapes

Names = dict[str, str]

OUTSIDE: Names = {
    "input.target_msa": "input_embedder.linear_tf_m",
    "input.msa": "input_embedder.linear_msa_m",
    "input.target_left": "input_embedder.linear_tf_z_i",
    "input.target_right": "input_embedder.linear_tf_z_j",
    "input.relative_position": "input_embedder.linear_relpos",
    "recycling.norm_msa": "recycling_embedder.layer_norm_m",
    "recycling.norm_pair": "recycling_embedder.layer_norm_z",
    "recycling.distance": "recycling_embedder.linear",
    "template.input": "template_embedder.template_pair_embedder.linear",
    "template.norm": "template_embedder.template_pair_stack.layer_norm",
    "template_torsions.input": "template_embedder.template_single_embedder.linear_1",
    "template_torsions.output": "template_embedder.template_single_embedder.linear_2",
    "extra_msa.linear": "extra_msa_embedder.linear",
    "single": "evoformer.linear",
    "structure.norm_single": "structure_module.layer_norm_s",
    "structure.norm_pair": "structure_module.layer_norm_z",
    "structure.input": "structure_module.linear_in",
    "structure.norm_attention": "structure_module.layer_norm_ipa",
    "structure.norm_transition": "structure_module.transition.layer_norm",
    "structure.backbone_update": "structure_module.bb_update.linear",
    "structure.torsion_angles.input": "structure_module.angle_resnet.linear_in",
    "structure.torsion_angles.input_initial": "structure_module.angle_resnet.linear_initial",
    "structure.torsion_angles.angles": "structure_module.angle_resnet.linear_out",
    "heads.distogram": "aux_heads.distogram.linear",
    "heads.masked_msa": "aux_heads.masked_msa.linear",
    "heads.resolved": "aux_heads.experimentally_resolved.linear",
    "heads.plddt.norm": "aux_heads.plddt.layer_norm",
    "heads.plddt.first": "aux_heads.plddt.linear_1",
    "heads.plddt.second": "aux_heads.plddt.linear_2",
    "heads.plddt.output": "aux_heads.plddt.linear_3",
    "heads.pae": "aux_heads.tm.linear",
}
POINT_ATTENTION: Names = {
    "scalar_query": "linear_q",
    "scalar_key_value": "linear_kv",
    "point_query": "linear_q_points.linear",
    "point_key_value": "linear_kv_points.linear",
    "pair_bias": "linear_b",
    "output": "linear_out",
}
ATTENTION: Names = {
    "query": "linear_q",
    "key": "linear_k",
    "value": "linear_v",
    "gate": "linear_g",
    "output": "linear_o",
}
TRANSITION: Names = {"norm": "layer_norm", "widen": "linear_1", "narrow": "linear_2"}
OUTER_PRODUCT_MEAN: Names = {
    "norm": "layer_norm",
    "left": "linear_1",
    "right": "linear_2",
    "output": "linear_out",
}
EARLIER = (
    (r"\.core\.(tri_|pair_transition)", r".pair_stack.\1"),
    (r"\.core\.", "."),
    (r"^template_angle_embedder\.", "template_single_embedder."),
    (r"^template_(?!embedder\.)", "template_embedder.template_"),
    (r"\.(linear_(?:q|kv)_points)\.(weight|bias)$", r".\1.linear.\2"),
)
"""What OpenFold 1 called its modules, and what OpenFold 2 does."""


def _inside(ours: str, theirs: str, names: Names) -> Names:
    return {f"{ours}.{a}": f"{theirs}.{b}" for a, b in names.items()}


def _triangle_multiplication(*, outgoing: bool) -> Names:
    # OpenFold keeps the paper's a and b; the official code, and we, swap them in "incoming".
    left, right = ("a", "b") if outgoing else ("b", "a")
    return {
        "norm": "layer_norm_in",
        "left": f"linear_{left}_p",
        "right": f"linear_{right}_p",
        "left_gate": f"linear_{left}_g",
        "right_gate": f"linear_{right}_g",
        "norm_product": "layer_norm_out",
        "output": "linear_z",
        "gate": "linear_g",
    }


def _pair_updates() -> Names:
    attention = {"norm": "layer_norm", "bias": "linear", **_inside("attention", "mha", ATTENTION)}
    outgoing = _triangle_multiplication(outgoing=True)
    incoming = _triangle_multiplication(outgoing=False)
    return {
        **_inside("triangle_multiplication_outgoing", "tri_mul_out", outgoing),
        **_inside("triangle_multiplication_incoming", "tri_mul_in", incoming),
        **_inside("triangle_attention_starting", "tri_att_start", attention),
        **_inside("triangle_attention_ending", "tri_att_end", attention),
        **_inside("pair_transition", "pair_transition", TRANSITION),
    }


def _evoformer_block(*, global_column_attention: bool) -> Names:
    row = {"norm": "layer_norm_m", "norm_pair": "layer_norm_z", "bias": "linear_z"}
    row |= _inside("attention", "mha", ATTENTION)
    if global_column_attention:
        column = {"norm": "layer_norm_m"}
        column |= {a: f"global_attention.{b}" for a, b in ATTENTION.items()}
    else:
        column = {"norm": "_msa_att.layer_norm_m"}
        column |= _inside("attention", "_msa_att.mha", ATTENTION)
    return {
        **_inside("msa_row_attention", "msa_att_row", row),
        **_inside("msa_column_attention", "msa_att_col", column),
        **_inside("msa_transition", "msa_transition", TRANSITION),
        **_inside("outer_product_mean", "outer_product_mean", OUTER_PRODUCT_MEAN),
        **{ours: f"pair_stack.{theirs}" for ours, theirs in _pair_updates().items()},
    }


def _modules(config: ModelConfig) -> Names:
    """Our name and OpenFold's of every module that has parameters."""
    attention = "template_embedder.template_pointwise_att.mha"
    names = OUTSIDE | _inside("template.attention", attention, ATTENTION)
    names |= _inside("structure.attention", "structure_module.ipa", POINT_ATTENTION)
    stacks = [
        (
            "evoformer.blocks",
            "evoformer.blocks",
            config.evoformer.num_blocks,
            _evoformer_block(global_column_attention=config.evoformer.global_column_attention),
        )
    ]
    if config.extra is not None:
        block = _evoformer_block(global_column_attention=config.extra.global_column_attention)
        stacks.append(
            ("extra_stack.blocks", "extra_msa_stack.blocks", config.extra.num_blocks, block)
        )
    if config.template is not None:
        theirs = "template_embedder.template_pair_stack.blocks"
        stacks.append(("template.blocks", theirs, config.template.num_blocks, _pair_updates()))
    for ours, theirs, num_blocks, block in stacks:
        for index in range(num_blocks):
            names |= _inside(f"{ours}.{index}", f"{theirs}.{index}", block)
    for index in range(config.structure.num_transition_layers):
        layer = f"structure_module.transition.layers.0.linear_{index + 1}"
        names[f"structure.transition.{index}"] = layer
    for index in range(config.structure.num_sidechain_blocks):
        layer = f"structure_module.angle_resnet.layers.{index}"
        names[f"structure.torsion_angles.first.{index}"] = f"{layer}.linear_1"
        names[f"structure.torsion_angles.second.{index}"] = f"{layer}.linear_2"
    return names


def table(config: ModelConfig) -> Names:
    """Our name and OpenFold's of every array of this network."""
    modules = _modules(config)
    names = {}
    for ours in state_shapes(config):
        module, _, parameter = ours.rpartition(".")
        if ours == "structure.attention.point_weights":
            names[ours] = "structure_module.ipa.head_weights"
        else:
            names[ours] = f"{modules[module]}.{parameter}"
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
        raise InputError(
            f"cannot be read as an OpenFold checkpoint ({_first_line(error)})",
            "give a file that torch.save made of plain tensors",
            where=path,
        ) from error
    params = content.get("ema", content) if isinstance(content, dict) else None
    if isinstance(params, dict) and isinstance(params.get("params"), dict):
        params = params["params"]
    if not isinstance(params, dict) or not params or not all(map(_is_array, params.items())):
        raise InputError(
            "is not an OpenFold checkpoint",
            "give a file with names and tensors, or with these under 'ema' or 'params'",
            where=path,
        )
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
    names = table(config)
    missing = [theirs for theirs in names.values() if theirs not in params]
    if missing:
        raise InputError(
            f"is not an OpenFold checkpoint of {config.name} ({len(missing)} of {len(names)} "
            f"arrays are missing, {missing[0]!r} the first)",
            "give one of this model",
            where=source,
        )
    for ours, shape in state_shapes(config).items():
        found = tuple(params[names[ours]].shape)
        if found != shape:
            raise InputError(
                f"is not an OpenFold checkpoint of {config.name} ({names[ours]!r} has shape "
                f"{found} and not {shape})",
                "give one of this model",
                where=source,
            )
    return {ours: params[theirs].float().clone() for ours, theirs in names.items()}
