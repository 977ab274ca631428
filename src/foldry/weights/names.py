"""Names of Foldry's modules in the official parameters and in OpenFold's.

Each line has one of Foldry's modules, its official scope, and OpenFold's module. A scope with `//`
ends with the name of the weight, such as `query_w`, whose bias is then `query_b`. `{}` stands for
the number of a block; in the official parameters the blocks of a stack share one array.
"""

from __future__ import annotations

from typing import Final

from foldry.model.config import ModelConfig, StructureConfig
from foldry.weights.layout import state_shapes

Names = dict[str, tuple[str, str]]


def _inside(ours: str, official: str, openfold: str, parts: Names) -> Names:
    """Return the names of a module's parts, each prefixed with the module's name, if any."""

    def join(separator: str, *names: str) -> str:
        return separator.join(filter(None, names))

    return {
        join(".", ours, part): (join("/", official, scope), join(".", openfold, module))
        for part, (scope, module) in parts.items()
    }


EMBEDDERS: Final[Names] = {
    "input.target_msa": ("preprocess_1d", "input_embedder.linear_tf_m"),
    "input.msa": ("preprocess_msa", "input_embedder.linear_msa_m"),
    "input.target_left": ("left_single", "input_embedder.linear_tf_z_i"),
    "input.target_right": ("right_single", "input_embedder.linear_tf_z_j"),
    # The spelling is official.
    "input.relative_position": ("pair_activiations", "input_embedder.linear_relpos"),
    "recycling.norm_msa": ("prev_msa_first_row_norm", "recycling_embedder.layer_norm_m"),
    "recycling.norm_pair": ("prev_pair_norm", "recycling_embedder.layer_norm_z"),
    "recycling.distance": ("prev_pos_linear", "recycling_embedder.linear"),
}
HEADS: Final[Names] = {
    "distogram": ("distogram_head/half_logits", "distogram.linear"),
    "masked_msa": ("masked_msa_head/logits", "masked_msa.linear"),
    "resolved": ("experimentally_resolved_head/logits", "experimentally_resolved.linear"),
    "plddt.norm": ("predicted_lddt_head/input_layer_norm", "plddt.layer_norm"),
    "plddt.first": ("predicted_lddt_head/act_0", "plddt.linear_1"),
    "plddt.second": ("predicted_lddt_head/act_1", "plddt.linear_2"),
    "plddt.output": ("predicted_lddt_head/logits", "plddt.linear_3"),
    "pae": ("predicted_aligned_error_head/logits", "tm.linear"),
}
ATTENTION: Final[Names] = {
    "query": ("/query_w", "linear_q"),
    "key": ("/key_w", "linear_k"),
    "value": ("/value_w", "linear_v"),
    "gate": ("/gating_w", "linear_g"),
    "output": ("/output_w", "linear_o"),
}
ROW_ATTENTION: Final[Names] = {
    "norm": ("query_norm", "layer_norm_m"),
    "norm_pair": ("feat_2d_norm", "layer_norm_z"),
    "bias": ("/feat_2d_weights", "linear_z"),
    **_inside("attention", "attention", "mha", ATTENTION),
}
COLUMN_ATTENTION: Final[Names] = {
    "norm": ("query_norm", "_msa_att.layer_norm_m"),
    **_inside("attention", "attention", "_msa_att.mha", ATTENTION),
}
GLOBAL_COLUMN_ATTENTION: Final[Names] = {
    "norm": ("query_norm", "layer_norm_m"),
    **_inside("", "attention", "global_attention", ATTENTION),
}
TRANSITION: Final[Names] = {
    "norm": ("input_layer_norm", "layer_norm"),
    "widen": ("transition1", "linear_1"),
    "narrow": ("transition2", "linear_2"),
}
OUTER_PRODUCT_MEAN: Final[Names] = {
    "norm": ("layer_norm_input", "layer_norm"),
    "left": ("left_projection", "linear_1"),
    "right": ("right_projection", "linear_2"),
    "output": ("/output_w", "linear_out"),
}
OUTGOING: Final[Names] = {
    "norm": ("layer_norm_input", "layer_norm_in"),
    "left": ("left_projection", "linear_a_p"),
    "right": ("right_projection", "linear_b_p"),
    "left_gate": ("left_gate", "linear_a_g"),
    "right_gate": ("right_gate", "linear_b_g"),
    "norm_product": ("center_layer_norm", "layer_norm_out"),
    "output": ("output_projection", "linear_z"),
    "gate": ("gating_linear", "linear_g"),
}
# OpenFold keeps the paper's a and b; the official code, like Foldry, swaps them in "incoming".
INCOMING: Final[Names] = OUTGOING | {
    "left": ("left_projection", "linear_b_p"),
    "right": ("right_projection", "linear_a_p"),
    "left_gate": ("left_gate", "linear_b_g"),
    "right_gate": ("right_gate", "linear_a_g"),
}
# Multimer v3: left and right are halves of one array. OpenFold's multimers are not supported.
FUSED: Final[Names] = OUTGOING | {
    "norm": ("left_norm_input", ""),
    "left": ("projection", ""),
    "right": ("projection", ""),
    "left_gate": ("gate", ""),
    "right_gate": ("gate", ""),
    "norm_product": ("center_norm", ""),
}
TRIANGLE_ATTENTION: Final[Names] = {
    "norm": ("query_norm", "layer_norm"),
    "bias": ("/feat_2d_weights", "linear"),
    **_inside("attention", "attention", "mha", ATTENTION),
}
POINT_PROJECTIONS: Final[Names] = {
    "scalar_query": ("q_scalar", "linear_q"),
    "scalar_key_value": ("kv_scalar", "linear_kv"),
    "point_query": ("q_point_local", "linear_q_points.linear"),
    "point_key_value": ("kv_point_local", "linear_kv_points.linear"),
}
POINT_ATTENTION: Final[Names] = {
    "pair_bias": ("attention_2d", "linear_b"),
    "point_weights": ("/trainable_point_weights", "head_weights"),
    "output": ("output_projection", "linear_out"),
}


def module_names(config: ModelConfig) -> Names:
    """Return the official scope and OpenFold's name of every module that has parameters.

    Multimers have an additional entry for the whole of invariant point attention, because their
    queries, keys and values are separate arrays in the official parameters.
    """
    position = "~_relative_encoding/position_activations"
    torsions = "template_embedder.template_single_embedder"
    pair = _pair_updates(fused=config.fused_triangles)
    extra = _evoformer_block("msa_column_global_attention", GLOBAL_COLUMN_ATTENTION, pair)
    block = _evoformer_block("msa_column_attention", COLUMN_ATTENTION, pair)
    average = config.template is not None and config.template.average
    template = _template(pair, average=average)
    trunk = {
        **EMBEDDERS,
        **({"input.relative_position": (position, "")} if config.of_complexes else {}),
        **_inside("template", "template_embedding", "template_embedder", template),
        "template_torsions.input": ("template_single_embedding", f"{torsions}.linear_1"),
        "template_torsions.output": ("template_projection", f"{torsions}.linear_2"),
        "extra_msa.linear": ("extra_msa_activations", "extra_msa_embedder.linear"),
        **_inside("extra_stack.blocks.{}", "extra_msa_stack", "extra_msa_stack.blocks.{}", extra),
        **_inside("evoformer.blocks.{}", "evoformer_iteration", "evoformer.blocks.{}", block),
        "single": ("single_activations", "evoformer.linear"),
    }
    structure = _structure(config.structure)
    all_names = {
        **_inside("", "evoformer", "", trunk),
        **_inside("structure", "structure_module", "structure_module", structure),
        **_inside("heads", "", "aux_heads", HEADS),
    }
    parameters = state_shapes(config).keys()
    known = parameters | {name.rpartition(".")[0] for name in parameters}
    return {ours: theirs for ours, theirs in all_names.items() if ours.format(0) in known}


def _pair_updates(*, fused: bool) -> Names:
    outgoing, incoming = "triangle_multiplication_outgoing", "triangle_multiplication_incoming"
    starting, ending = "triangle_attention_starting", "triangle_attention_ending"
    return {
        **_inside(outgoing, outgoing, "tri_mul_out", FUSED if fused else OUTGOING),
        **_inside(incoming, incoming, "tri_mul_in", FUSED if fused else INCOMING),
        **_inside(starting, f"{starting}_node", "tri_att_start", TRIANGLE_ATTENTION),
        **_inside(ending, f"{ending}_node", "tri_att_end", TRIANGLE_ATTENTION),
        **_inside("pair_transition", "pair_transition", "pair_transition", TRANSITION),
    }


def _evoformer_block(column_scope: str, column: Names, pair_updates: Names) -> Names:
    row, outer = "msa_row_attention_with_pair_bias", "outer_product_mean"
    return {
        **_inside("msa_row_attention", row, "msa_att_row", ROW_ATTENTION),
        **_inside("msa_column_attention", column_scope, "msa_att_col", column),
        **_inside("msa_transition", "msa_transition", "msa_transition", TRANSITION),
        **_inside(outer, outer, outer, OUTER_PRODUCT_MEAN),
        **_inside("", "", "pair_stack", pair_updates),
    }


def _template(pair_updates: Names, *, average: bool) -> Names:
    single = "single_template_embedding"
    blocks = f"{single}/template_pair_stack/__layer_stack_no_state"
    if average:
        blocks = f"{single}/template_embedding_iteration"
    return {
        # Only networks that average templates have these parts …
        "norm_pair": (f"{single}/query_embedding_norm", ""),
        **{f"input.parts.{k}": (f"{single}/template_pair_embedding_{k}", "") for k in range(9)},
        "output": ("output_linear", ""),
        # … and only networks that attend to templates have these.
        "input": (f"{single}/embedding2d", "template_pair_embedder.linear"),
        **_inside("attention", "attention", "template_pointwise_att.mha", ATTENTION),
        **_inside("blocks.{}", blocks, "template_pair_stack.blocks.{}", pair_updates),
        "norm": (f"{single}/output_layer_norm", "template_pair_stack.layer_norm"),
    }


def _structure(config: StructureConfig) -> Names:
    attention, update, whole = POINT_PROJECTIONS | POINT_ATTENTION, "affine_update", {}
    if not config.scalar_bias:
        attention, update = POINT_ATTENTION, "quat_rigid/rigid"
        whole = {"attention": ("invariant_point_attention", "")}
    transition = {
        f"transition.{k}": (_numbered("transition", k), f"transition.layers.0.linear_{k + 1}")
        for k in range(config.num_transition_layers)
    }
    angles = {
        "input": ("input_projection", "linear_in"),
        "input_initial": ("input_projection_1", "linear_initial"),
    }
    for k in range(config.num_sidechain_blocks):
        angles[f"first.{k}"] = (_numbered("resblock1", k), f"layers.{k}.linear_1")
        angles[f"second.{k}"] = (_numbered("resblock2", k), f"layers.{k}.linear_2")
    angles["angles"] = ("unnormalized_angles", "linear_out")
    fold = {
        **whole,
        **_inside("attention", "invariant_point_attention", "ipa", attention),
        "norm_attention": ("attention_layer_norm", "layer_norm_ipa"),
        **transition,
        "norm_transition": ("transition_layer_norm", "transition.layer_norm"),
        "backbone_update": (update, "bb_update.linear"),
        **_inside("torsion_angles", "rigid_sidechain", "angle_resnet", angles),
    }
    return {
        "norm_single": ("single_layer_norm", "layer_norm_s"),
        "norm_pair": ("pair_layer_norm", "layer_norm_z"),
        "input": ("initial_projection", "linear_in"),
        **_inside("", "fold_iteration", "", fold),
    }


def _numbered(name: str, index: int) -> str:
    """Return the official name of a repeated layer: `transition`, `transition_1`, …"""
    return f"{name}_{index}" if index else name
