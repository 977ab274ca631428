"""What comes before the Evoformer: input, recycling, template and extra-MSA embedders.

Axes: B batch, S sequences, E extra sequences, N residues, T templates, C channels.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from foldry import residues
from foldry.geometry import frames_from_three_points
from foldry.model.config import ModelConfig, TemplateConfig
from foldry.model.evoformer import Attention, Transition, TriangleAttention, TriangleMultiplication
from foldry.model.inputs import MSAInputs, TemplateInputs
from foldry.model.layers import Linear, SharedDropout, by_rows
from foldry.model.runtime import Runtime


def distance_bins(
    positions: Float[Tensor, "*B N 3"], min_bin: float, max_bin: float, num_bins: int
) -> Float[Tensor, "*B N N K"]:
    """One-hot distances (Algorithm 32, line 1); all zero below the first bin's edge.

    Args:
        positions: Å.
        min_bin, max_bin: Lower edges of the first and the last bin, Å; the last has no upper one.
    """
    lower = torch.linspace(min_bin, max_bin, num_bins, device=positions.device).square()
    upper = torch.cat([lower[1:], lower.new_tensor([1e8])])
    squared = (positions[..., :, None, :] - positions[..., None, :, :]).square().sum(-1)[..., None]
    return ((squared > lower) & (squared < upper)).to(positions.dtype)


def pseudo_beta(
    atom37: Float[Tensor, "*B N 37 3"], aatype: Int[Tensor, "*B N"]
) -> Float[Tensor, "*B N 3"]:
    """CB, or CA for glycine, of predicted atoms, Å."""
    glycine = (aatype == residues.RESTYPE_ORDER["G"])[..., None]
    return torch.where(glycine, atom37[..., residues.CA, :], atom37[..., residues.CB, :])


class InputEmbedder(nn.Module):
    """Algorithms 3 to 5. Target and MSA features, relative positions (SI 1.5)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.max_relative_position = config.max_relative_position
        self.target_msa = Linear(22, config.evoformer.c_msa)
        self.msa = Linear(49, config.evoformer.c_msa)
        self.target_left = Linear(22, config.c_pair)
        self.target_right = Linear(22, config.c_pair)
        self.relative_position = Linear(2 * config.max_relative_position + 1, config.c_pair)

    def forward(
        self,
        target_feat: Float[Tensor, "B N 22"],
        msa_feat: Float[Tensor, "B S N 49"],
        residue_index: Int[Tensor, "B N"],
    ) -> tuple[Float[Tensor, "B S N C"], Float[Tensor, "B N N D"]]:
        msa = self.target_msa(target_feat)[:, None] + self.msa(msa_feat)
        pair = self.target_left(target_feat)[:, :, None] + self.target_right(target_feat)[:, None]
        reach = self.max_relative_position
        offset = (residue_index[:, :, None] - residue_index[:, None]).clamp(-reach, reach) + reach
        # An embedding look-up equals the linear map of a one-hot, without the one-hot.
        weight, bias = self.relative_position.weight, self.relative_position.bias
        return msa, pair + F.embedding(offset, weight.T) + bias


class RecyclingEmbedder(nn.Module):
    """Algorithm 32. What the last pass found, added to the inputs of this one (SI 1.10)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.bins = (config.recycle_min_bin, config.recycle_max_bin, config.recycle_bins)
        self.norm_msa = nn.LayerNorm(config.evoformer.c_msa)
        self.norm_pair = nn.LayerNorm(config.c_pair)
        self.distance = Linear(config.recycle_bins, config.c_pair)

    def forward(
        self,
        msa_first_row: Float[Tensor, "B N C"],
        pair: Float[Tensor, "B N N D"],
        positions: Float[Tensor, "B N 3"],
    ) -> tuple[Float[Tensor, "B N C"], Float[Tensor, "B N N D"]]:
        bins = distance_bins(positions, *self.bins).to(self.distance.weight.dtype)
        return self.norm_msa(msa_first_row), self.norm_pair(pair) + self.distance(bins)


class ExtraMSAEmbedder(nn.Module):
    """Algorithm 2, lines 14 and 15. The extra MSA's letters and deletions (SI 1.7.2)."""

    def __init__(self, c_msa: int) -> None:
        super().__init__()
        self.linear = Linear(25, c_msa)

    def forward(self, draw: MSAInputs) -> Float[Tensor, "B E N C"]:
        deletions = torch.stack([draw.extra_has_deletion, draw.extra_deletion_value], dim=-1)
        letters = F.one_hot(draw.extra_msa, 23).to(deletions.dtype)
        features = torch.cat([letters, deletions], dim=-1)
        embedded: Tensor = self.linear(features.to(self.linear.weight.dtype))
        return embedded


class TemplatePairBlock(nn.Module):
    """Algorithm 16, one block (SI 1.7.1)."""

    def __init__(self, config: TemplateConfig, runtime: Runtime) -> None:
        super().__init__()
        c, heads = config.c_template, config.num_heads
        self.triangle_attention = config.triangle_attention
        if config.triangle_attention:
            self.triangle_attention_starting = TriangleAttention(
                c, config.c_attention, heads, runtime, starting=True
            )
            self.triangle_attention_ending = TriangleAttention(
                c, config.c_attention, heads, runtime, starting=False
            )
        self.triangle_multiplication_outgoing = TriangleMultiplication(
            c, config.c_triangle, runtime, outgoing=True
        )
        self.triangle_multiplication_incoming = TriangleMultiplication(
            c, config.c_triangle, runtime, outgoing=False
        )
        self.pair_transition = Transition(c, config.transition_factor, runtime)
        self.dropout_rows = SharedDropout(config.dropout, axis=1)
        self.dropout_columns = SharedDropout(config.dropout, axis=2)

    def forward(
        self, pair: Float[Tensor, "B N N C"], mask: Float[Tensor, "B N N"]
    ) -> Float[Tensor, "B N N C"]:
        if self.triangle_attention:
            pair = pair + self.dropout_rows(self.triangle_attention_starting(pair, mask))
            pair = pair + self.dropout_columns(self.triangle_attention_ending(pair, mask))
        pair = pair + self.dropout_rows(self.triangle_multiplication_outgoing(pair, mask))
        pair = pair + self.dropout_rows(self.triangle_multiplication_incoming(pair, mask))
        update: Tensor = self.pair_transition(pair)
        return pair + update


class TemplateEmbedder(nn.Module):
    """Algorithms 16 and 17. Templates into the pair representation (SI 1.7.1)."""

    def __init__(self, config: TemplateConfig, c_pair: int, runtime: Runtime) -> None:
        super().__init__()
        self.config = config
        self.input = Linear(config.num_bins + 49, config.c_template, init="relu")
        self.blocks = nn.ModuleList(
            TemplatePairBlock(config, runtime) for _ in range(config.num_blocks)
        )
        self.norm = nn.LayerNorm(config.c_template)
        self.attention = Attention(
            c_pair,
            config.c_template,
            config.c_pointwise,
            config.num_heads_pointwise,
            c_pair,
            runtime,
            gating=False,
        )
        self.chunk_size = runtime.chunk_size

    def pair_features(self, templates: TemplateInputs, index: int) -> Float[Tensor, "B N N K"]:
        """Distances, amino acids and, where the config says so, unit vectors (SI Table 1)."""
        config = self.config
        beta_mask = templates.pseudo_beta_mask[:, index]
        backbone = [residues.N, residues.CA, residues.C]
        backbone_mask = templates.atom_mask[:, index][..., backbone].prod(-1)
        mask_2d = backbone_mask[:, :, None] * backbone_mask[:, None]
        bins = distance_bins(
            templates.pseudo_beta[:, index], config.min_bin, config.max_bin, config.num_bins
        )
        letters = F.one_hot(templates.aatype[:, index], 22).to(bins.dtype)
        num_residues = letters.shape[1]
        vectors = bins.new_zeros(*bins.shape[:3], 3)
        if config.use_unit_vector:
            n, ca, c = templates.atom_positions[:, index][..., backbone, :].unbind(-2)
            local = frames_from_three_points(c, ca, n).unsqueeze(-1).invert_apply(ca[:, None])
            vectors = local * torch.rsqrt(1e-6 + local.square().sum(-1, keepdim=True))
            vectors = vectors * mask_2d[..., None]
        features = torch.cat(
            [
                bins,
                (beta_mask[:, :, None] * beta_mask[:, None])[..., None],
                letters[:, None].expand(-1, num_residues, -1, -1),
                letters[:, :, None].expand(-1, -1, num_residues, -1),
                vectors,
                mask_2d[..., None],
            ],
            dim=-1,
        )
        return features * mask_2d[..., None]

    def embed(self, features: Tensor, pair_mask: Tensor) -> Float[Tensor, "B N N C"]:
        """One template's pair representation."""
        pair = self.input(features.to(self.input.weight.dtype))
        for block in self.blocks:
            pair = block(pair, pair_mask)
        normed: Tensor = self.norm(pair)
        return normed

    def forward(
        self,
        pair: Float[Tensor, "B N N D"],
        pair_mask: Float[Tensor, "B N N"],
        templates: TemplateInputs,
    ) -> Float[Tensor, "B N N D"]:
        num_templates = templates.mask.shape[1]
        embedded = torch.stack(
            [
                self.embed(self.pair_features(templates, index), pair_mask)
                for index in range(num_templates)
            ],
            dim=-2,
        )
        any_template = (templates.mask.sum(-1) > 0).to(pair.dtype)[:, None, None, None]
        mask = templates.mask[:, None].to(pair.dtype)

        def rows(pair: Tensor, embedded: Tensor) -> Tensor:
            query = pair.flatten(1, 2)[:, :, None]
            keys = embedded.flatten(1, 2)
            update = self.attention(query, keys, mask.expand(-1, keys.shape[1], -1))
            return update.reshape(pair.shape)  # type: ignore[no-any-return]

        update = by_rows(rows, self.chunk_size, 1, pair, embedded)
        return update * any_template


class TemplateTorsionEmbedder(nn.Module):
    """Algorithm 2, lines 7 and 8. Template torsion angles as rows of the MSA (SI 1.7.1)."""

    def __init__(self, c_msa: int) -> None:
        super().__init__()
        self.input = Linear(57, c_msa, init="relu")
        self.output = Linear(c_msa, c_msa)

    def forward(self, templates: TemplateInputs) -> Float[Tensor, "B T N C"]:
        angles = templates.torsion_sin_cos
        features = torch.cat(
            [
                F.one_hot(templates.aatype, 22).to(angles.dtype),
                angles.flatten(-2),
                templates.torsion_alt_sin_cos.flatten(-2),
                templates.torsion_mask,
            ],
            dim=-1,
        ).to(self.input.weight.dtype)
        rows: Tensor = self.output(torch.relu(self.input(features)))
        return rows
