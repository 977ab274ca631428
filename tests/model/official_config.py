"""Foldry's configuration of a network from the official program's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from foldry.features.config import FeatureConfig
from foldry.model.config import HeadsConfig, ModelConfig, StackConfig, TemplateConfig, preset


def config_from_official(
    name: str, model: Mapping[str, Any], features: FeatureConfig | None = None
) -> ModelConfig:
    """Return the configuration of a network from the official program's.

    Args:
        name: Name of the official network.
        model: The `model` half of the official configuration.
        features: How its features are drawn; None reads it from `model`, for multimer networks.

    Raises:
        ValueError: The official configuration needs something that Foldry does not have.
    """
    base = preset(name)
    trunk, heads = model["embeddings_and_evoformer"], model["heads"]
    if not trunk.get("use_chain_relative", True):
        raise ValueError("relative positions without chains are not supported")
    stack, fold = _stack(trunk["evoformer"]), heads["structure_module"]
    reach = "max_relative_idx" if base.of_complexes else "max_relative_feature"
    tolerance = model.get("recycle_early_stop_tolerance", -1.0)
    return replace(
        base,
        features=features or _features(base.features, model),
        evoformer=replace(
            stack, num_blocks=trunk["evoformer_num_block"], c_msa=trunk["msa_channel"]
        ),
        extra=replace(
            stack,
            num_blocks=trunk["extra_msa_stack_num_block"],
            c_msa=trunk["extra_msa_channel"],
            global_column_attention=True,
        ),
        template=_template(base.template, trunk["template"]),
        structure=replace(
            base.structure,
            num_layers=fold["num_layer"],
            c=fold["num_channel"],
            num_heads=fold["num_head"],
            num_scalar_qk=fold["num_scalar_qk"],
            num_scalar_v=fold["num_scalar_v"],
            num_point_qk=fold["num_point_qk"],
            num_point_v=fold["num_point_v"],
            num_transition_layers=fold["num_layer_in_transition"],
            c_sidechain=fold["sidechain"]["num_channel"],
            num_sidechain_blocks=fold["sidechain"]["num_residual_block"],
            position_scale=fold["position_scale"],
            dropout=fold["dropout"],
        ),
        heads=_heads(base.heads, heads),
        c_pair=trunk["pair_channel"],
        c_single=trunk["seq_channel"],
        max_relative_position=trunk[reach],
        max_relative_chain=trunk.get("max_relative_chain"),
        num_recycles=model["num_recycle"],
        recycle_tolerance=tolerance if tolerance >= 0 else None,
        recycle_bins=trunk["prev_pos"]["num_bins"],
        recycle_min_bin=trunk["prev_pos"]["min_bin"],
        recycle_max_bin=trunk["prev_pos"]["max_bin"],
        fused_triangles=trunk["evoformer"]["triangle_multiplication_outgoing"].get(
            "fuse_projection_weights", False
        ),
    )


def _features(base: FeatureConfig, model: Mapping[str, Any]) -> FeatureConfig:
    trunk = model["embeddings_and_evoformer"]
    if "num_msa" not in trunk:
        raise ValueError("the official configuration has no features: pass `features`")
    masking = trunk["masked_msa"]
    return replace(
        base,
        num_msa=trunk["num_msa"],
        num_extra_msa=trunk["num_extra_msa"],
        num_templates=trunk["template"]["max_templates"],
        num_ensemble=model["num_ensemble_eval"],
        resample_msa=model["resample_msa_in_recycling"],
        masked_fraction=masking["replace_fraction"],
        uniform_probability=masking["uniform_prob"],
        profile_probability=masking["profile_prob"],
        same_probability=masking["same_prob"],
    )


def _stack(block: Mapping[str, Any]) -> StackConfig:
    if (
        block["msa_column_attention"]["num_head"]
        != block["msa_row_attention_with_pair_bias"]["num_head"]
    ):
        raise ValueError("row and column attention must have the same number of heads")
    return StackConfig(
        num_blocks=0,
        c_msa=0,
        num_heads_msa=block["msa_row_attention_with_pair_bias"]["num_head"],
        num_heads_pair=block["triangle_attention_starting_node"]["num_head"],
        c_outer=block["outer_product_mean"]["num_outer_channel"],
        c_triangle=block["triangle_multiplication_outgoing"]["num_intermediate_channel"],
        transition_factor_msa=block["msa_transition"]["num_intermediate_factor"],
        transition_factor_pair=block["pair_transition"]["num_intermediate_factor"],
        outer_product_first=block["outer_product_mean"]["first"],
        dropout_msa=block["msa_row_attention_with_pair_bias"]["dropout_rate"],
        dropout_pair=block["triangle_multiplication_outgoing"]["dropout_rate"],
    )


def _template(base: TemplateConfig | None, template: Mapping[str, Any]) -> TemplateConfig | None:
    if not template["enabled"]:
        return None
    base = base or TemplateConfig()
    stack = template["template_pair_stack"]
    attention = stack["triangle_attention_starting_node"]
    # The configuration of multimer networks has one number of channels for all.
    c_template = template.get("num_channels")
    base = replace(
        base,
        num_blocks=stack["num_block"],
        num_heads=attention["num_head"],
        c_template=c_template or stack["triangle_attention_ending_node"]["value_dim"],
        c_attention=c_template or attention["key_dim"],
        c_triangle=stack["triangle_multiplication_outgoing"]["num_intermediate_channel"],
        transition_factor=stack["pair_transition"]["num_intermediate_factor"],
        num_bins=template["dgram_features"]["num_bins"],
        min_bin=template["dgram_features"]["min_bin"],
        max_bin=template["dgram_features"]["max_bin"],
        dropout=attention["dropout_rate"],
    )
    if base.average:
        return base
    return replace(
        base,
        num_heads_pointwise=template["attention"]["num_head"],
        c_pointwise=template["attention"]["key_dim"],
        use_unit_vector=template["use_template_unit_vector"],
        embed_torsions=template["embed_torsion_angles"],
    )


def _heads(base: HeadsConfig, heads: Mapping[str, Any]) -> HeadsConfig:
    # The official program has no heads of weight 0.
    pae = heads.get("predicted_aligned_error")
    pae = pae if pae is not None and pae["weight"] > 0 else None
    config = replace(
        base,
        num_distogram_bins=heads["distogram"]["num_bins"],
        distogram_first_break=heads["distogram"]["first_break"],
        distogram_last_break=heads["distogram"]["last_break"],
        num_masked_msa=heads["masked_msa"].get("num_output", base.num_masked_msa),
        c_plddt=heads["predicted_lddt"]["num_channels"],
        num_plddt_bins=heads["predicted_lddt"]["num_bins"],
        pae=pae is not None,
    )
    if pae is None:
        return config
    return replace(config, num_pae_bins=pae["num_bins"], max_pae_break=pae["max_error_bin"])
