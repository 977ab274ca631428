"""The network's configuration: frozen dataclasses, and one function per preset."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass, replace
from typing import Any, Literal, TypeVar, get_type_hints

from foldry.features.config import FeatureConfig


@dataclass(frozen=True)
class StackConfig:
    """A stack of Evoformer blocks: the main one, or that of the extra MSA (SI 1.6, 1.7.2).

    Attributes:
        num_blocks: Blocks in the stack.
        c_msa: Width of the MSA stream.
        num_heads_msa: Heads of row and column attention.
        num_heads_pair: Heads of triangle attention.
        c_outer: Width of the outer product's two factors.
        c_triangle: Hidden width of triangle multiplication.
        transition_factor_msa, transition_factor_pair: Widening of the transitions.
        global_column_attention: Column attention with one query per column (extra MSA).
        outer_product_first: The outer product mean opens the block (multimer).
        triangle_attention: False leaves both triangle attentions out (`mini`).
        dropout_msa, dropout_pair: Rates while training.
    """

    num_blocks: int
    c_msa: int
    num_heads_msa: int = 8
    num_heads_pair: int = 4
    c_outer: int = 32
    c_triangle: int = 128
    transition_factor_msa: int = 4
    transition_factor_pair: int = 4
    global_column_attention: bool = False
    outer_product_first: bool = False
    triangle_attention: bool = True
    dropout_msa: float = 0.15
    dropout_pair: float = 0.25


@dataclass(frozen=True)
class TemplateConfig:
    """The template pair stack and how templates enter (SI 1.7.1).

    Attributes:
        num_blocks: Blocks of the pair stack.
        c_template: Width of the template's pair representation.
        num_heads: Heads of triangle attention in the stack.
        c_attention: Width of triangle attention over all heads.
        c_triangle: Hidden width of triangle multiplication.
        transition_factor: Widening of the pair transition.
        num_heads_pointwise, c_pointwise: Heads and total width of the pointwise attention.
        num_bins, min_bin, max_bin: Distance bins, Å.
        use_unit_vector: Whether the unit vectors between residues are read (False in the official
            monomer presets, which feed zeros).
        average: Whether each template is embedded in sight of the pair representation and their
            mean enters it (multimer); else each pair attends to the templates.
        multiplication_first: Triangle multiplication opens the block of the pair stack (multimer).
        embed_torsions: Whether torsion angles become rows of the MSA.
        chi_only: Whether these rows have the side chain's angles alone (multimer).
        triangle_attention: False leaves both triangle attentions out (`mini`).
        dropout: Rate while training.
    """

    num_blocks: int = 2
    c_template: int = 64
    num_heads: int = 4
    c_attention: int = 64
    c_triangle: int = 64
    transition_factor: int = 2
    num_heads_pointwise: int = 4
    c_pointwise: int = 64
    num_bins: int = 39
    min_bin: float = 3.25
    max_bin: float = 50.75
    use_unit_vector: bool = False
    average: bool = False
    multiplication_first: bool = False
    embed_torsions: bool = True
    chi_only: bool = False
    triangle_attention: bool = True
    dropout: float = 0.25


@dataclass(frozen=True)
class StructureConfig:
    """The structure module (SI 1.8).

    Attributes:
        num_layers: Times the shared layer runs.
        c: Width of its single representation.
        num_heads, num_scalar_qk, num_scalar_v, num_point_qk, num_point_v: Of invariant point
            attention, per head.
        scalar_bias: Whether its scalar queries, keys and values have biases (not in multimers).
        num_transition_layers: Layers of the transition.
        c_sidechain, num_sidechain_blocks: The torsion-angle network.
        position_scale: Å in one unit of its translations.
        initial_frames: Where all frames start: the `origin`, or where the `distogram` puts them
            (`mini`; see `foldry.model.distance_geometry`).
        dropout: Rate while training.
    """

    num_layers: int = 8
    c: int = 384
    num_heads: int = 12
    num_scalar_qk: int = 16
    num_scalar_v: int = 16
    num_point_qk: int = 4
    num_point_v: int = 8
    scalar_bias: bool = True
    num_transition_layers: int = 3
    c_sidechain: int = 128
    num_sidechain_blocks: int = 2
    position_scale: float = 10.0
    initial_frames: Literal["origin", "distogram"] = "origin"
    dropout: float = 0.1


@dataclass(frozen=True)
class HeadsConfig:
    """The output heads (SI 1.9).

    Attributes:
        num_distogram_bins, distogram_first_break, distogram_last_break: Distance bins, Å.
        num_masked_msa: Classes of the masked-MSA head.
        c_plddt, num_plddt_bins: The pLDDT head.
        pae: Whether there is a predicted-aligned-error head (the pTM models).
        num_pae_bins, max_pae_break: Its bins; the last break, Å.
    """

    num_distogram_bins: int = 64
    distogram_first_break: float = 2.3125
    distogram_last_break: float = 21.6875
    num_masked_msa: int = 23
    c_plddt: int = 128
    num_plddt_bins: int = 50
    pae: bool = False
    num_pae_bins: int = 64
    max_pae_break: float = 31.0


@dataclass(frozen=True)
class ModelConfig:
    """One network.

    Attributes:
        name: The preset's name, such as `model_1_ptm`.
        features: How alignments and templates are drawn for it.
        evoformer: The main stack; its `c_msa` is the width of the MSA representation.
        extra: The extra-MSA stack, or None (`mini`).
        template: Or None for a network without templates (model_3, model_4, model_5).
        structure, heads: The structure module and the heads.
        c_pair, c_single: Widths of the pair and the single representation.
        target_channels: Channels of the target's letters that are read: 22, or 21 without the
            leading one, which is always 0 (multimer).
        max_relative_position: Residue offsets are clipped to this (SI Algorithm 4).
        max_relative_chain: Offsets between copies of a chain are clipped to this (Evans 2021,
            section 2.1), or None for a network of single chains.
        num_recycles: Recycles when predicting.
        recycle_tolerance: Å; recycling stops when Cα distances change by less. None never does.
        recycle_bins, recycle_min_bin, recycle_max_bin: Distance bins of recycled atoms, Å.
        fused_triangles: Whether the official parameters hold left and right projections of
            triangle multiplication in one array (multimer v3); it changes names, not numbers.
    """

    name: str
    features: FeatureConfig
    evoformer: StackConfig
    extra: StackConfig | None
    template: TemplateConfig | None
    structure: StructureConfig
    heads: HeadsConfig
    c_pair: int = 128
    c_single: int = 384
    target_channels: int = 22
    max_relative_position: int = 32
    max_relative_chain: int | None = None
    num_recycles: int = 3
    recycle_tolerance: float | None = None
    recycle_bins: int = 15
    recycle_min_bin: float = 3.25
    recycle_max_bin: float = 20.75
    fused_triangles: bool = False

    @property
    def of_complexes(self) -> bool:
        """Whether this network knows chains apart."""
        return self.max_relative_chain is not None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> ModelConfig:
        """The inverse of `to_dict`.

        Raises:
            ValueError: A key is unknown or missing.
        """
        return _build(ModelConfig, values)


T = TypeVar("T")


def _build(kind: type[T], values: Mapping[str, Any]) -> T:
    """A config dataclass from plain values, nested ones included."""
    hints = get_type_hints(kind)
    made: dict[str, Any] = {}
    for name, value in values.items():
        if name not in hints:
            raise ValueError(f"{kind.__name__} has no field {name!r}")
        options = (hints[name], *getattr(hints[name], "__args__", ()))
        nested = [option for option in options if isinstance(option, type) and is_dataclass(option)]
        made[name] = _build(nested[0], value) if nested and value is not None else value
    try:
        return kind(**made)
    except TypeError as error:
        raise ValueError(f"{kind.__name__}: {error}") from None


OFFICIAL_MODELS = tuple(f"model_{k}{tail}" for tail in ("", "_ptm") for k in range(1, 6))
"""The official monomer networks."""
MULTIMER_MODELS = tuple(
    f"model_{k}_multimer{version}" for version in ("", "_v2", "_v3") for k in range(1, 6)
)
"""The official networks for complexes."""
MODELS = OFFICIAL_MODELS + MULTIMER_MODELS


def preset(name: str) -> ModelConfig:
    """The full configuration of an official network or of `mini`.

    Raises:
        ValueError: There is no such preset.
    """
    if name == "mini":
        return mini()
    if name in MULTIMER_MODELS:
        return multimer(name)
    if name in OFFICIAL_MODELS:
        return official(int(name[6]), ptm=name.endswith("_ptm"))
    raise ValueError(f"no model is called {name!r}: choose mini or one of {', '.join(MODELS)}")


def official(number: int, *, ptm: bool) -> ModelConfig:
    """model_1 … model_5 (SI Table 5), with the pTM head (SI 1.9.7) or without.

    Models 1 and 2 read templates; models 1, 3 and 4 read 5,120 extra rows, 2 and 5 read 1,024.
    """
    templates = number in (1, 2)
    return ModelConfig(
        name=f"model_{number}{'_ptm' if ptm else ''}",
        features=FeatureConfig(
            num_msa=508 if templates else 512,
            num_extra_msa=5120 if number in (1, 3, 4) else 1024,
            num_templates=4 if templates else 0,
        ),
        evoformer=StackConfig(num_blocks=48, c_msa=256),
        extra=StackConfig(num_blocks=4, c_msa=64, global_column_attention=True),
        template=TemplateConfig() if templates else None,
        structure=StructureConfig(),
        heads=HeadsConfig(pae=ptm),
    )


def multimer(name: str) -> ModelConfig:
    """AlphaFold-Multimer (Evans 2021, section 2), model 1 … 5 of version 1, 2 or 3.

    Versions 1 and 2 read 252 clusters and 1,152 extra rows. Version 3 reads 508 and 2,048, its
    models 4 and 5 also 1,152, and names parameters otherwise.
    """
    latest = name.endswith("_v3")
    base = official(1, ptm=True)
    assert base.extra is not None
    return replace(
        base,
        name=name,
        features=FeatureConfig(
            num_msa=508 if latest else 252,
            num_extra_msa=2048 if latest and name[6] in "123" else 1152,
            num_templates=4,
            share_rows=True,
            pad_templates=True,
        ),
        evoformer=replace(base.evoformer, outer_product_first=True),
        extra=replace(base.extra, outer_product_first=True),
        template=TemplateConfig(
            use_unit_vector=True, average=True, multiplication_first=True, chi_only=True
        ),
        structure=StructureConfig(scalar_bias=False, position_scale=20.0),
        heads=HeadsConfig(num_masked_msa=22, pae=True),
        target_channels=21,
        max_relative_chain=2,
        num_recycles=20,
        recycle_tolerance=0.5,
        fused_triangles=latest,
    )


def mini() -> ModelConfig:
    """The bundled small network: no extra MSA, no triangle attention (Foldry's own)."""
    return ModelConfig(
        name="mini",
        features=FeatureConfig(
            num_msa=32,
            num_extra_msa=0,
            num_templates=1,
            cluster_extra_rows=1024,
            profile=True,
            coevolution=True,
        ),
        evoformer=StackConfig(
            num_blocks=6,
            c_msa=64,
            num_heads_msa=4,
            c_outer=12,
            c_triangle=32,
            transition_factor_pair=2,
            triangle_attention=False,
            dropout_msa=0.05,
            dropout_pair=0.05,
        ),
        extra=None,
        template=TemplateConfig(
            num_blocks=1,
            c_template=32,
            c_triangle=32,
            num_heads_pointwise=2,
            c_pointwise=32,
            use_unit_vector=True,
            triangle_attention=False,
            dropout=0.05,
        ),
        structure=StructureConfig(
            num_layers=4,
            c=128,
            num_heads=8,
            c_sidechain=64,
            initial_frames="distogram",
            dropout=0.0,
        ),
        heads=HeadsConfig(c_plddt=64, pae=True),
        c_pair=64,
        c_single=128,
        num_recycles=0,
    )
