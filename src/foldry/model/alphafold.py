"""The whole network: one pass of Algorithm 2, from the features to the heads.

Axes: B batch, S sequences, N residues; C, D and E are the channels of different representations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from foldry.geometry import Rigid, atom37_from_atom14
from foldry.model.config import ModelConfig
from foldry.model.distance_geometry import frames_from_distogram
from foldry.model.embedders import (
    AlignmentEmbedder,
    ExtraMSAEmbedder,
    InputEmbedder,
    RecyclingEmbedder,
    TemplateEmbedder,
    TemplateTorsionEmbedder,
    pseudo_beta,
)
from foldry.model.evoformer import EvoformerStack
from foldry.model.heads import HeadLogits, Heads
from foldry.model.inputs import Inputs, MSAInputs, TemplateInputs
from foldry.model.layers import LayerNorm, Linear
from foldry.model.runtime import Runtime
from foldry.model.structure_module import StructureModule, StructureOutput


@dataclass(frozen=True)
class Recycled:
    """The results of one pass that the next pass reads, without gradients (SI 1.10).

    With `recycle_layout`, all atoms of a residue are where the structure module started.
    """

    msa_first_row: Float[Tensor, "B N C"]
    pair: Float[Tensor, "B N N D"]
    atom37: Float[Tensor, "B N 37 3"]


@dataclass(frozen=True)
class Representations:
    """The representations after the Evoformer; `msa` has no rows of templates."""

    single: Float[Tensor, "B N C"]
    pair: Float[Tensor, "B N N D"]
    msa: Float[Tensor, "B S N E"]
    msa_first_row: Float[Tensor, "B N E"]


@dataclass(frozen=True)
class Pass:
    """One pass of the network: representations, structure, atoms in Å.

    Attributes:
        representations: After the Evoformer.
        structure: After every layer of the structure module.
        atom37: Atoms after its last layer.
        layout: Frames before its first layer; None if the next pass reads the atoms.
    """

    representations: Representations
    structure: StructureOutput
    atom37: Float[Tensor, "B N 37 3"]
    layout: Rigid | None = None

    def recycled(self) -> Recycled:
        """Return what the next pass reads.

        It is detached: gradients reach the last pass only (Algorithm 31), so training keeps the
        arrays of one pass in memory, however many there are.
        """
        atom37 = self.atom37
        if self.layout is not None:
            atom37 = self.layout.translation[..., None, :].expand_as(atom37)
        return Recycled(
            msa_first_row=self.representations.msa_first_row.detach(),
            pair=self.representations.pair.detach(),
            atom37=atom37.detach(),
        )


class AlphaFold(nn.Module):
    """Algorithm 2, lines 3 to 22: one pass of the network.

    From the features and the results m', z', x' of the previous pass (zeros in the first)::

        m, z = InputEmbedder(features)                                  line 5
        m_1, z += RecyclingEmbedder(m'_1, z', x')                       line 6
        z += TemplatePointwiseAttention(TemplatePairStack(templates))   lines 9 to 13
        z = ExtraMsaStack(extra MSA, z)                                 lines 14 to 16
        m = concat_s(m, template torsion angles)                        lines 7 and 8
        m, z = EvoformerStack(m, z);  s = Linear(m_1)                   line 17
        m_1, z, s = means over the draws of the alignment               lines 18 to 20
        x = StructureModule(s, z)                                       line 21

    Shapes: m [B, S, N, C], z [B, N, N, D], s [B, N, E], x [B, N, 37, 3] in Å → `Pass`.

    The torsion angles are appended late, because no other module reads them. `AlignmentEmbedder`,
    Foldry's own, follows line 5. Training and prediction repeat the pass (Algorithms 30 and 31).
    The network draws no random numbers except for dropout: the caller provides one draw of the
    alignment for each member of the ensemble.
    """

    def __init__(self, config: ModelConfig, runtime: Runtime | None = None) -> None:
        super().__init__()
        runtime = runtime or Runtime()
        self.config = config
        self.runtime = runtime
        c_msa, c_pair = config.evoformer.c_msa, config.c_pair
        self.input = InputEmbedder(config, runtime)
        self.alignment = AlignmentEmbedder(config)
        self.recycling = RecyclingEmbedder(config, runtime)
        if config.template is not None:
            self.template = TemplateEmbedder(config.template, c_pair, runtime)
            if config.template.embed_torsions:
                self.template_torsions = TemplateTorsionEmbedder(config.template, c_msa)
        if config.extra is not None:
            self.extra_msa = ExtraMSAEmbedder(config.extra.c_msa, runtime)
            self.extra_stack = EvoformerStack(config.extra, c_pair, runtime)
        self.evoformer = EvoformerStack(config.evoformer, c_pair, runtime)
        self.single = Linear(c_msa, config.c_single)
        self.structure = StructureModule(config.structure, config.c_single, c_pair, runtime)
        self.heads = Heads(config)
        self.to(runtime.device)
        for name, module in self.named_children():
            if name not in ("structure", "heads"):
                module.to(torch.float32 if runtime.autocast else runtime.dtype)
        # These compute in float32, as in the official implementation.
        for module in self.modules():
            if isinstance(module, LayerNorm | ExtraMSAEmbedder):
                module.float()

    def first_recycled(self, inputs: Inputs) -> Recycled:
        """Return zeros, which the first pass reads because there is no previous pass."""
        batch, length = inputs.aatype.shape
        zeros = inputs.target_feat.new_zeros
        return Recycled(
            msa_first_row=zeros(batch, length, self.config.evoformer.c_msa),
            pair=zeros(batch, length, length, self.config.c_pair),
            atom37=zeros(batch, length, 37, 3),
        )

    def represent(self, inputs: Inputs, draw: MSAInputs, recycled: Recycled) -> Representations:
        """Return the representations from one draw of the alignment (lines 5 to 17)."""
        dtype = self.runtime.dtype
        msa_mask, seq_mask = draw.msa_mask.to(dtype), inputs.seq_mask.to(dtype)
        pair_mask = seq_mask[:, :, None] * seq_mask[:, None]
        msa, pair = self.alignment(*self.input(inputs, draw.msa_feat.to(dtype)), inputs)
        num_rows = msa.shape[1]
        beta = pseudo_beta(recycled.atom37, inputs.aatype)
        msa, pair = self.recycling(msa, pair, recycled.msa_first_row, recycled.pair, beta)
        config = self.config.template
        templates = inputs.templates
        if templates is not None and config is not None:
            same_chain = inputs.asym_id[:, :, None] == inputs.asym_id[:, None]
            pair = self.template(pair, pair_mask, templates, same_chain)
        if self.config.extra is not None:
            extra = self.extra_msa(draw).to(dtype)
            extra_mask = draw.extra_msa_mask.to(dtype)
            pair = self.extra_stack(extra, pair, extra_mask, pair_mask)[1]
            del extra
        if templates is not None and config is not None and config.embed_torsions:
            rows, rows_mask = self.template_torsions(templates)
            msa = torch.cat([msa, rows], dim=1)
            msa_mask = torch.cat([msa_mask, rows_mask.to(dtype)], dim=1)
        msa, pair = self.evoformer(msa, pair, msa_mask, pair_mask)
        return Representations(
            single=self.single(msa[:, 0]),
            pair=pair,
            msa=msa[:, :num_rows],
            msa_first_row=msa[:, 0].clone(),  # a view would keep all rows for the next pass
        )

    def forward(self, inputs: Inputs, draws: Sequence[MSAInputs], recycled: Recycled) -> Pass:
        """Return the result of one pass.

        Args:
            inputs: Features that are the same in every pass.
            draws: One draw of the alignment for each member of the ensemble. Representations are
                averaged over the draws, except for `msa`, which is from the first.
            recycled: Results of the previous pass, or `first_recycled`.
        """
        runtime = self.runtime
        with torch.autocast(runtime.device.type, runtime.dtype, enabled=runtime.autocast):
            members = [self.represent(inputs, draw, recycled) for draw in draws]
        representations = members[0] if len(members) == 1 else _average(members)
        start = self.initial_frames(representations.pair, inputs.seq_mask, inputs.templates)
        structure: StructureOutput = self.structure(
            representations.single.float(),
            representations.pair.float(),
            inputs.aatype,
            inputs.seq_mask,
            start,
            inputs.templates,
        )
        atom37 = atom37_from_atom14(structure.atom14[-1], inputs.aatype)
        layout = start if self.config.recycle_layout else None
        return Pass(representations, structure, atom37, layout)

    def initial_frames(
        self,
        pair: Float[Tensor, "B N N D"],
        mask: Float[Tensor, "B N"],
        templates: TemplateInputs | None = None,
    ) -> Rigid:
        """Return the backbone frames from which the structure module starts.

        They are at the origin (Algorithm 20, line 4) or, for `mini`, at positions that fit the
        distogram and the templates.
        """
        if self.config.structure.initial_frames == "origin":
            return Rigid.identity(*mask.shape, like=mask)
        heads = self.config.heads
        return frames_from_distogram(
            self.heads.distogram_logits(pair.detach().float()),
            mask,
            heads.distogram_first_break,
            heads.distogram_last_break,
            templates,
            self.config.structure.template_weight,
        )

    def predict_heads(self, result: Pass) -> HeadLogits:
        """Return the logits of all heads for the result of the last pass, in float32."""
        representations = result.representations
        logits: HeadLogits = self.heads(
            representations.msa.float(),
            representations.pair.float(),
            representations.single.float(),
            result.structure.single,
        )
        return logits


def _average(members: Sequence[Representations]) -> Representations:
    """Return the mean of the representations over an ensemble (SI 1.11.2)."""
    means = {
        name: sum(getattr(member, name) for member in members) / len(members)
        for name in ("single", "pair", "msa_first_row")
    }
    return replace(members[0], **means)
