"""The network's configuration: frozen dataclasses, and one function per preset.

Defaults are the values of the official monomer networks; the source of each is in brackets. SI is
the supplement of Jumper 2021 (doi:10.1038/s41586-021-03819-2), Evans 2021 the preprint of
AlphaFold-Multimer (doi:10.1101/2021.10.04.463034). Algorithms give their values as arguments, e.g.
EvoformerStack(N_block = 48, c_s = 384).
"""

from __future__ import annotations

import re
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass, replace
from typing import Any, Final, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

from foldry.errors import quoted
from foldry.features.config import FeatureConfig


@dataclass(frozen=True)
class StackConfig:
    """A stack of Evoformer blocks: the main stack or the extra-MSA stack (SI 1.6, 1.7.2).

    Attributes:
        num_blocks: Number of blocks (Algorithm 6: 48; Algorithm 18: 4).
        c_msa: Channels of the MSA representation (Algorithm 3: 256; Algorithm 2, line 15: 64).
        num_heads_msa: Heads of row and column attention (Algorithms 7, 8 and 19: 8).
        num_heads_pair: Heads of triangle attention (Algorithms 13 and 14: 4).
        c_outer: Channels of each factor of the outer product (Algorithm 10: 32).
        c_triangle: Hidden channels of triangle multiplication (Algorithms 11 and 12: 128).
        transition_factor_msa, transition_factor_pair: Hidden channels of the transitions as a
            multiple of their input channels (Algorithms 9 and 15: 4).
        global_column_attention: Whether column attention has one query per column (Algorithm 19,
            in the extra-MSA stack).
        outer_product_first: Whether the outer product mean is the first module of a block
            (Evans 2021).
        triangle_attention: Whether there is triangle attention; `mini` has none.
        dropout_msa, dropout_pair: Dropout rates in training (Algorithm 6: 0.15 and 0.25).
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
    """The template pair stack and the use of templates (SI 1.7.1).

    Attributes:
        num_blocks: Blocks of the pair stack (Algorithm 16: 2).
        c_template: Channels of a template's pair representation (Algorithm 2, line 9: 64).
        num_heads: Heads of triangle attention (Algorithm 16: 4).
        c_attention: Channels of triangle attention over all heads (Algorithm 16: 64).
        c_triangle: Hidden channels of triangle multiplication (Algorithm 16: 64).
        transition_factor: Hidden channels of the pair transition as a multiple of its input
            channels (Algorithm 16: 2).
        num_heads_pointwise, c_pointwise: Heads of the pointwise attention and their total
            channels (Algorithm 17: 4 and 64).
        num_bins, min_bin, max_bin: Number of distance bins, lower edges of the first and of the
            last bin in Å (SI Table 1, template_distogram: 39, 3.25 and 50.75).
        use_unit_vector: Whether the unit vectors between residues are read; the official monomer
            networks read zeros in their place.
        average: Whether the mean of the templates, each embedded together with the pair
            representation, is added (Evans 2021); otherwise each pair attends to the templates.
        multiplication_first: Whether triangle multiplication comes before triangle attention in a
            block of the pair stack (Evans 2021).
        embed_torsions: Whether torsion angles become rows of the MSA.
        chi_only: Whether these rows have side-chain angles only (multimer networks).
        triangle_attention: Whether there is triangle attention; `mini` has none.
        dropout: Dropout rate in training (Algorithm 16: 0.25).
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
        num_layers: Number of layers, which share their weights (Algorithm 20: 8).
        c: Channels of its single representation (Algorithm 20: 384).
        num_heads, num_scalar_qk, num_scalar_v, num_point_qk, num_point_v: Heads of invariant point
            attention; channels and points of one head (Algorithm 22: 12; 16, 16, 4 and 8).
        scalar_bias: Whether its scalar queries, keys and values have biases; multimer networks
            have none.
        num_transition_layers: Layers of the transition (Algorithm 20, line 8: 3).
        c_sidechain, num_sidechain_blocks: Channels and residual blocks of the torsion-angle network
            (Algorithm 20, lines 11 to 13: 128 and 2).
        position_scale: Length in Å of one unit of its translations (official implementation: 10;
            multimer networks 20).
        initial_frames: Where the backbone frames start: at the `origin` (Algorithm 20, line 4) or
            at the positions that fit the `distogram` (`mini`; `foldry.model.distance_geometry`).
        max_step: Greatest length in Å of a translation in one layer, so that the layers refine the
            initial positions; None for no limit.
        template_weight: Weight of a template's distance in these positions, where that of a
            certain distance of the distogram is 1; with 0, templates have no effect on them.
        template_share: Share of the template's backbone in the final one, where a template covers
            the chain (`foldry.model.template_backbone`); 0 for the official networks.
        dropout: Dropout rate in training (Algorithm 20, lines 7 and 9: 0.1).
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
    max_step: float | None = None
    template_weight: float = 0.0
    template_share: float = 0.0
    dropout: float = 0.1


@dataclass(frozen=True)
class HeadsConfig:
    """The output heads (SI 1.9).

    Attributes:
        num_distogram_bins, distogram_first_break, distogram_last_break: Number of distance bins,
            first and last break in Å (SI 1.9.8: 64 bins from 2 to 22 Å).
        num_masked_msa: Classes of the masked-MSA head (SI 1.9.9: 23; multimer networks 22).
        c_plddt, num_plddt_bins: Hidden channels and bins of the pLDDT head (Algorithm 29: 128, 50).
        pae: Whether there is a predicted-aligned-error head (pTM and multimer networks).
        num_pae_bins, max_pae_break: Its bins and their last break in Å (SI 1.9.7: 64 bins of
            0.5 Å).
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
    """The configuration of one network.

    Attributes:
        name: Name of the preset, e.g. `model_1_ptm`.
        features: How alignments and templates are drawn for it.
        evoformer: The main stack; its `c_msa` is the number of channels of the MSA representation.
        extra: The extra-MSA stack; None for `mini`.
        template: The template modules; None for networks without templates (model_3 to model_5).
        structure, heads: The structure module and the heads.
        c_pair, c_single: Channels of the pair representation (Algorithm 3: 128) and of the single
            representation (Algorithm 6: 384).
        target_channels: Channels of `target_feat` that are read: 22, or 21 without the first one,
            which is always 0 (multimer networks).
        max_relative_position: Offsets of residues are clipped to this (Algorithm 4: 32).
        max_relative_chain: Offsets between copies of a chain are clipped to this (Evans 2021,
            relative positional encoding); None for networks of single chains.
        num_recycles: Passes after the first, in prediction (SI 1.10: N_cycle = 4, i.e. 3).
        recycle_tolerance: Recycling stops when Cα distances change by less, in Å; None never stops
            early.
        recycle_bins, recycle_min_bin, recycle_max_bin: Number of distance bins of the recycled
            positions, lower edges of the first and of the last bin in Å (Algorithm 32).
        recycle_layout: Whether the next pass reads the distances of the structure module's initial
            positions instead of those of its atoms.
        fused_triangles: Whether the official parameters hold left and right projections of
            triangle multiplication in one array (multimer v3). Names differ, results do not.
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
    recycle_layout: bool = False
    fused_triangles: bool = False

    @property
    def of_complexes(self) -> bool:
        """Whether the network distinguishes chains."""
        return self.max_relative_chain is not None

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as plain values, for JSON."""
        return asdict(self)

    @staticmethod
    def from_dict(values: object) -> ModelConfig:
        """Return the configuration from plain values, the inverse of `to_dict`.

        Every type and range is checked, so that a file cannot ask for a network that takes minutes
        to build or fails when it computes.

        Raises:
            ValueError: A value is unknown, missing, of another type or out of range.
        """
        config = build(ModelConfig, values)
        _check_whole(config)
        return config


T = TypeVar("T")
_BOUNDS: Final = (
    (r"num_blocks", 1, 200),
    (r"num_(layers|transition_layers|sidechain_blocks|ensemble)", 1, 1000),
    (r"num_masked_msa", 22, 23),
    (r"num_recycles", 0, 1000),
    (r"num_templates", 0, 100),
    (r"num_extra_msa|cluster_extra_rows|max_relative_\w+", 0, 65_536),
    (r"\w*bins", 3, 65_536),
    (r"target_channels", 21, 22),
    (r"dropout\w*", 0, 0.99),
    (r"\w+_(fraction|probability|share)", 0, 1),
    (r"template_weight", 0, 1000),
    (r"recycle_tolerance", 0, 1000),
    (r"\w*min_bin|\w+_first_break", 0, 1000),
    (r"position_scale|max_step|\w+_(bin|break)", 0.01, 1000),
    (r"\w+", 1, 65_536),
)
"""Lowest and highest value of each number; the first pattern that matches its name counts."""


def build(kind: type[T], values: object, where: str = "") -> T:
    """Return a dataclass from plain values, as in JSON, each checked for its type and range.

    Args:
        kind: A dataclass of numbers, text, choices (`Literal`) and dataclasses, or None.
        values: A dictionary by the names of its fields.
        where: Prefix of the names in messages, such as `evoformer.`.

    Raises:
        ValueError: A value is unknown, missing, of another type or out of range.
    """
    if not isinstance(values, dict):
        named = where.rstrip(".") or "the configuration"
        raise ValueError(f"{named} must be an object with named values, not {quoted(values)}")
    hints = get_type_hints(kind)
    for name in values:
        if name not in hints:
            raise ValueError(f"the configuration has no value {quoted(f'{where}{name}')}")
    for each in fields(kind):  # type: ignore[arg-type]
        if each.name not in values and each.default is MISSING:
            raise ValueError(f"the configuration lacks {where}{each.name}")
    made = {name: _value(hints[name], value, f"{where}{name}") for name, value in values.items()}
    return kind(**made)


def _value(hint: Any, value: object, name: str) -> object:
    """Return a field's value, checked against the field's type and bounds."""
    options = (hint,) if get_origin(hint) is Literal else (*get_args(hint), hint)
    if value is None and type(None) in options:
        return None
    option = options[0]
    if is_dataclass(option):
        return build(option, value, f"{name}.")  # type: ignore[arg-type]
    if get_origin(option) is Literal:
        fits, what = value in get_args(option), f"one of {', '.join(get_args(option))}"
    elif option in (int, float):
        last = name.rpartition(".")[2]
        low, high = next(rest for pattern, *rest in _BOUNDS if re.fullmatch(pattern, last))
        what = f"a {'whole ' * (option is int)}number from {low} to {high}"
        fits = type(value) in (int, option)  # JSON may write 1.0 as 1
        fits = fits and low <= cast(float, value) <= high
    else:
        fits, what = type(value) is option, "true or false" if option is bool else "text"
    if not fits:
        raise ValueError(f"{name} must be {what}, not {quoted(value)}")
    return float(cast(float, value)) if option is float else value


def _check_whole(config: ModelConfig) -> None:
    """Check values that depend on others: widths, distances, probabilities; and the name."""
    if not re.fullmatch(r"\w[\w .+-]{0,99}", config.name, re.ASCII):  # it names files
        what = "name must be 1 to 100 letters, digits, spaces or . + - _"
        raise ValueError(f"{what}, not {quoted(config.name)}")
    divided: list[tuple[str, int, str, int]] = []
    pairs: list[tuple[str, str, object]] = [("recycle_min_bin", "recycle_max_bin", config)]
    pairs.append(("distogram_first_break", "distogram_last_break", config.heads))
    for part in filter(None, (config.evoformer, config.extra)):
        divided.append(("c_msa", part.c_msa, "num_heads_msa", part.num_heads_msa))
        if part.triangle_attention:
            divided.append(("c_pair", config.c_pair, "num_heads_pair", part.num_heads_pair))
    if (template := config.template) is not None:
        pairs.append(("min_bin", "max_bin", template))
        if template.triangle_attention:
            divided.append(("c_attention", template.c_attention, "num_heads", template.num_heads))
        if not template.average:
            heads = template.num_heads_pointwise
            divided.append(("c_pointwise", template.c_pointwise, "num_heads_pointwise", heads))
    for name, width, by, heads in divided:
        if width % heads:
            raise ValueError(f"{name} ({width}) must be a multiple of {by} ({heads})")
    for lowest, highest, holder in pairs:
        if getattr(holder, lowest) >= getattr(holder, highest):
            raise ValueError(f"{highest} must be larger than {lowest}")
    structure, drawn = config.structure, config.features
    if config.of_complexes and (structure.template_weight or structure.template_share):
        what = "template_weight and template_share must be 0 in a network for complexes"
        raise ValueError(f"{what}, whose templates cover one chain each")
    if drawn.uniform_probability + drawn.profile_probability + drawn.same_probability > 1:
        what = "uniform_probability, profile_probability and same_probability must be at most 1"
        raise ValueError(f"{what} together")


OFFICIAL_MODELS = tuple(f"model_{k}{tail}" for tail in ("", "_ptm") for k in range(1, 6))
"""The official monomer networks."""
MULTIMER_MODELS = tuple(
    f"model_{k}_multimer{version}" for version in ("", "_v2", "_v3") for k in range(1, 6)
)
"""The official networks for complexes."""
MODELS = OFFICIAL_MODELS + MULTIMER_MODELS
MODEL_NAMES = "model_1 to model_5, alone or with _ptm, _multimer, _multimer_v2 or _multimer_v3"
"""What messages say of `MODELS`."""


def preset(name: str) -> ModelConfig:
    """Return the full configuration of an official network or of `mini`.

    Raises:
        ValueError: There is no preset of this name.
    """
    if name == "mini":
        return mini()
    if name in MULTIMER_MODELS:
        return multimer(name)
    if name in OFFICIAL_MODELS:
        return official(int(name[6]), ptm=name.endswith("_ptm"))
    raise ValueError(f"no model is called {name!r}: choose mini, or {MODEL_NAMES}")


def official(number: int, *, ptm: bool) -> ModelConfig:
    """Return model_1 … model_5 (SI Table 5), with the pTM head (SI 1.9.7) or without.

    These rows of SI Table 5 are used; the networks differ in the first and the last::

        model                                   model_1  model_2  model_3  model_4  model_5
        name in SI Table 5                      1.1.1    1.1.2    1.2.1    1.2.2    1.2.3
        N_templ (number of templates)           4        4        0        0        0
        N_seq (number of sequences)             512      512      512      512      512
        N_extra_seq (number of extra sequences) 5120     1024     5120     5120     1024

    Templates take rows of the MSA representation, so networks with templates draw 512 − 4 = 508
    clusters. All other values are the same for the five networks: N_block = 48 (Algorithm 6) and
    c_m = 256 (Algorithm 3), N_block = 4 (Algorithm 18) and c_e = 64 (Algorithm 2, line 15) of the
    extra-MSA stack, and the defaults of the dataclasses, which cite their sources.
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
    """Return AlphaFold-Multimer (Evans 2021), model 1 … 5 of version 1, 2 or 3.

    Evans 2021 describes the changes to the architecture; the values are those of `CONFIG_MULTIMER`
    in config.py of the official implementation, version 2.3. It runs all versions of the parameters
    with at most 20 passes after the first and with early stopping. The versions differ in the rows
    that they read::

        versions 1 and 2       252 clusters, 1,152 extra rows
        version 3, models 1-3  508 clusters, 2,048 extra rows (technical note of AlphaFold v2.3.0)
        version 3, models 4-5  508 clusters, 1,152 extra rows

    Version 3 also fuses the projections of triangle multiplication, which changes the names of
    parameters only.
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
    """Return the configuration of the bundled small network, Foldry's own.

    It is trained on few samples, so its architecture differs from the paper's in four ways
    (docs/training-log.md has the measurements):

    - It reads profile and coevolution of the whole alignment in place of the extra MSA
      (`AlignmentEmbedder`).
    - Its structure module starts at positions that fit the distogram, because from the origin it
      hardly learned to use a template (`foldry.model.distance_geometry`).
    - Templates also reach these positions, and the final backbone, directly, because the pair
      representation carries neither distances above 22 Å nor handedness, and blurs the rest.
    - It has no triangle attention and no recycling: the operations saved are spent
      on more blocks and more samples.
    """
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
            template_weight=0.3,
            template_share=0.75,
            dropout=0.0,
        ),
        heads=HeadsConfig(c_plddt=64, pae=True),
        c_pair=64,
        c_single=128,
        num_recycles=0,
    )
