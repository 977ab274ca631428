"""The modules before the Evoformer: input, recycling, template and extra-MSA embedders.

Axes: B batch, S sequences, E extra sequences, N residues, T templates, C channels (D channels of
the pair representation where both occur), K channels of features or distance bins. The equations
are written as in `foldry.model.evoformer`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from foldry import residues
from foldry.geometry import frames_from_three_points
from foldry.kernels.attention.reference import MASKED_LOGIT
from foldry.kernels.chunks import add_by_rows, by_rows, split_heads
from foldry.model.config import ModelConfig, TemplateConfig
from foldry.model.evoformer import PairBlock, Transition
from foldry.model.inputs import Inputs, MSAInputs, TemplateInputs
from foldry.model.layers import Layer, LayerNorm, Linear, add_to_first_row
from foldry.model.runtime import Runtime


def distance_bins(
    rows: Float[Tensor, "*B M 3"],
    positions: Float[Tensor, "*B N 3"],
    min_bin: float,
    max_bin: float,
    num_bins: int,
) -> Float[Tensor, "*B M N K"]:
    """Return one-hot distances from some positions to all (Algorithm 32, lines 1 and 2).

    A bin holds the distances above its lower edge and below the next one's, as in the official
    implementation; a distance below `min_bin` is in no bin.

    Args:
        rows, positions: Å.
        min_bin, max_bin: Lower edges of the first and the last bin, Å; the last bin is open.
        num_bins: Number of bins; all but the last are equally wide.
    """
    lower = torch.linspace(min_bin, max_bin, num_bins, device=positions.device).square()
    upper = torch.cat([lower[1:], lower.new_tensor([1e8])])
    squared = (rows[..., :, None, :] - positions[..., None, :, :]).square().sum(-1)[..., None]
    return ((squared > lower) & (squared < upper)).to(positions.dtype)


def pseudo_beta(
    atom37: Float[Tensor, "*B N 37 3"], aatype: Int[Tensor, "*B N"]
) -> Float[Tensor, "*B N 3"]:
    """Return the position of Cβ, or of Cα for glycine, in Å."""
    glycine = (aatype == residues.RESTYPE_ORDER["G"])[..., None]
    return torch.where(glycine, atom37[..., residues.CA, :], atom37[..., residues.CB, :])


class InputEmbedder(nn.Module):
    """Algorithms 3, 4 and 5: input embedder with relative positions (SI 1.5).

    For target features t and MSA features f::

        m_si = Linear(t_i) + Linear(f_si)
        z_ij = Linear(t_i) + Linear(t_j) + p_ij
        p_ij = Linear(one_hot(clip(residue_index_i − residue_index_j, −32, 32)))

    Shapes: t [B, N, 22], f [B, S, N, 49] → m [B, S, N, C], z [B, N, N, D].

    For complexes (`max_relative_chain`; Evans 2021, relative positional encoding), one-hot features
    of chains are concatenated before the map::

        p_ij = Linear(concat(d_ij, e_ij, c_ij))
        d_ij = one_hot(clip(residue_index_i − residue_index_j, −32, 32)) within a chain,
               one more class between chains
        e_ij = 1 if entity_i = entity_j, else 0
        c_ij = one_hot(clip(sym_i − sym_j, −2, 2)) within an entity, one more class between entities
    """

    def __init__(self, config: ModelConfig, runtime: Runtime) -> None:
        super().__init__()
        self.chunk_size = runtime.chunk_size
        self.max_relative_position = config.max_relative_position
        self.max_relative_chain = config.max_relative_chain
        self.target_channels = config.target_channels
        self.target_msa = Linear(config.target_channels, config.evoformer.c_msa)
        self.msa = Linear(49, config.evoformer.c_msa)
        self.target_left = Linear(config.target_channels, config.c_pair)
        self.target_right = Linear(config.target_channels, config.c_pair)
        num_classes = 2 * config.max_relative_position + 1
        if config.max_relative_chain is not None:
            # One class for different chains, one for equal entities, and those of the copies.
            num_classes += 2 + 2 * config.max_relative_chain + 2
        self.relative_position = Linear(num_classes, config.c_pair)

    def forward(
        self, inputs: Inputs, msa_feat: Float[Tensor, "B S N 49"]
    ) -> tuple[Float[Tensor, "B S N C"], Float[Tensor, "B N N D"]]:
        target = inputs.target_feat[..., -self.target_channels :].to(msa_feat.dtype)
        per_row = target.shape[1] * self.msa.out_features * len(target)
        msa = by_rows(
            lambda feat: self.msa(feat) + self.target_msa(target)[:, None],
            per_row,
            self.chunk_size,
            msa_feat,
        )
        left, right = self.target_left(target), self.target_right(target)

        def rows(number: Tensor, left: Tensor) -> Tensor:
            return left[:, :, None] + right[:, None] + self.relative_positions(inputs, number[0])

        number = torch.arange(target.shape[1], device=target.device)[None]
        return msa, by_rows(rows, right.numel(), self.chunk_size, number, left)

    def relative_positions(
        self, inputs: Inputs, rows: Int[Tensor, " M"]
    ) -> Float[Tensor, "B M N D"]:
        """Return p_ij for some i: embedded offsets of residues and, for complexes, of chains."""
        # Row k of the table is the linear map of the one-hot of class k.
        table, bias = self.relative_position.weight.T, self.relative_position.bias
        reach = self.max_relative_position
        offset = _offsets(inputs.residue_index, reach, rows)
        if self.max_relative_chain is None:
            return F.embedding(offset, table) + bias
        same_chain, same_entity = _equal(inputs.asym_id, rows), _equal(inputs.entity_id, rows)
        num_offsets, copies = 2 * reach + 2, self.max_relative_chain
        offset = offset.where(same_chain, num_offsets - 1)
        copy = _offsets(inputs.sym_id, copies, rows).where(same_entity, 2 * copies + 1)
        embedded: Tensor = F.embedding(offset, table) + table[num_offsets] * same_entity[..., None]
        return embedded + F.embedding(copy + num_offsets + 1, table) + bias


def _equal(of_residue: Int[Tensor, "B N"], rows: Int[Tensor, " M"]) -> Bool[Tensor, "B M N"]:
    return of_residue[:, rows, None] == of_residue[:, None]


def _offsets(
    of_residue: Int[Tensor, "B N"], reach: int, rows: Int[Tensor, " M"]
) -> Int[Tensor, "B M N"]:
    """Return the differences of i and j, clipped to ±reach, as classes from 0 to 2 · reach."""
    return (of_residue[:, rows, None] - of_residue[:, None]).clamp(-reach, reach) + reach


class AlignmentEmbedder(nn.Module):
    """Foldry's own, not in the paper: statistics of the whole alignment as input (`mini`).

    ::

        m_1i += Linear(profile_i)
        z_ij += Linear(coevolution_ij)

    Shapes: m [B, S, N, C], z [B, N, N, D], profile [B, N, 22], coevolution [B, N, N, 2] → m, z.

    AlphaFold learns which columns vary together from thousands of rows, in its outer product means.
    A small network reads few rows and has few blocks, so `foldry.features.coevolution` computes the
    frequencies of every column and the coupling of every pair of columns from the whole alignment:
    smooth statistics in place of a random draw of rows. Both maps start at zero, so adding them to
    a trained network does not change its output at first.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        if config.features.profile:
            self.profile = Linear(22, config.evoformer.c_msa, init="zero")
        if config.features.coevolution:
            self.coevolution = Linear(2, config.c_pair, init="zero")

    def forward(
        self,
        msa: Float[Tensor, "B S N C"],
        pair: Float[Tensor, "B N N D"],
        inputs: Inputs,
    ) -> tuple[Float[Tensor, "B S N C"], Float[Tensor, "B N N D"]]:
        if inputs.profile is not None:
            msa = add_to_first_row(msa, self.profile(inputs.profile.to(msa.dtype)))
        if inputs.coevolution is not None:
            pair = pair + self.coevolution(inputs.coevolution.to(pair.dtype))
        return msa, pair


class RecyclingEmbedder(nn.Module):
    """Algorithm 32: recycling embedder (SI 1.10).

    With the first MSA row m', the pair representation z' and the Cβ positions x' (Cα for glycine)
    of the previous pass::

        m_1i += LayerNorm(m'_1i)
        z_ij += LayerNorm(z'_ij) + Linear(one_hot(‖x'_i − x'_j‖))

    Shapes: m [B, S, N, C], z [B, N, N, D], m' [B, N, C], z' [B, N, N, D], x' [B, N, 3] in Å → m, z.

    The first pass reads zeros: all distances are 0, below the first bin, so `one_hot` is zero.
    """

    def __init__(self, config: ModelConfig, runtime: Runtime) -> None:
        super().__init__()
        self.chunk_size = runtime.chunk_size
        self.bins = (config.recycle_min_bin, config.recycle_max_bin, config.recycle_bins)
        self.norm_msa = LayerNorm(config.evoformer.c_msa)
        self.norm_pair = LayerNorm(config.c_pair)
        self.distance = Linear(config.recycle_bins, config.c_pair)

    def forward(
        self,
        msa: Float[Tensor, "B S N C"],
        pair: Float[Tensor, "B N N D"],
        previous_row: Float[Tensor, "B N C"],
        previous_pair: Float[Tensor, "B N N D"],
        positions: Float[Tensor, "B N 3"],
    ) -> tuple[Float[Tensor, "B S N C"], Float[Tensor, "B N N D"]]:
        def rows(pair: Tensor, previous: Tensor, beta: Tensor) -> Tensor:
            bins = distance_bins(beta, positions, *self.bins).to(self.distance.weight.dtype)
            return (self.norm_pair(previous.float()) + self.distance(bins)).to(pair.dtype)

        msa = add_to_first_row(msa, self.norm_msa(previous_row.float()).to(msa.dtype))
        per_row = pair[:, 0].numel()
        arrays = previous_pair, positions
        return msa, add_by_rows(rows, per_row, self.chunk_size, pair, *arrays)


class ExtraMSAEmbedder(Layer):
    """Algorithm 2, lines 14 and 15: embedder of the extra MSA (SI 1.7.2).

    ::

        e_si = Linear(concat(one_hot(extra_msa_si), has_deletion_si, deletion_value_si))

    Shapes: three arrays [B, E, N], of 23 classes, 1 channel and 1 channel → [B, E, N, C].
    """

    def __init__(self, c_msa: int, runtime: Runtime) -> None:
        super().__init__()
        self.linear = Linear(25, c_msa)
        self.chunk_size = runtime.chunk_size

    def forward(self, draw: MSAInputs) -> Float[Tensor, "B E N C"]:
        def rows(letters: Tensor, *deletions: Tensor) -> Tensor:
            one_hot = F.one_hot(letters, 23).to(deletions[0].dtype)
            return self.linear(torch.cat([one_hot, torch.stack(deletions, dim=-1)], dim=-1))

        extra = draw.extra_msa, draw.extra_has_deletion, draw.extra_deletion_value
        per_row = len(draw.extra_msa) * draw.extra_msa.shape[2] * 25
        return by_rows(rows, per_row, self.chunk_size, *extra)


class TemplatePairBlock(PairBlock):
    """Algorithm 16, one block of the template pair stack (SI 1.7.1).

    Every module adds its update to the representation::

        t = TriangleAttention(t, starting)
        t = TriangleAttention(t, ending)
        t = TriangleMultiplication(t, outgoing)
        t = TriangleMultiplication(t, incoming)
        t = Transition(t)

    Shapes: t [B, N, N, C], mask [B, N, N] → t.

    With `multiplication_first` (AlphaFold-Multimer, Evans 2021) the multiplications come before the
    attentions, as in the Evoformer. `mini` has no triangle attention.
    """

    def __init__(self, config: TemplateConfig, runtime: Runtime) -> None:
        super().__init__()
        c, dropout = config.c_template, config.dropout
        self.multiplication_first = config.multiplication_first
        if config.triangle_attention:
            self.add_attentions(c, config.c_attention, config.num_heads, dropout, runtime)
        self.add_multiplications(c, config.c_triangle, dropout, runtime)
        self.pair_transition = Transition(c, config.transition_factor, runtime)

    def forward(
        self, pair: Float[Tensor, "B N N C"], mask: Float[Tensor, "B N N"]
    ) -> Float[Tensor, "B N N C"]:
        if self.multiplication_first:
            pair = self.attend(self.multiply(pair, mask), mask)
        else:
            pair = self.multiply(self.attend(pair, mask), mask)
        return self.pair_transition(pair)


class SummedLinear(Layer):
    """A linear map of concatenated groups of channels: y = Σ_g (W_g x_g + b_g).

    Shapes: [..., C] → [..., D], C the sum of the groups' channels.

    AlphaFold-Multimer's parameters hold one map for each template feature; here they are applied in
    one matrix product. Each group is initialised by its own number of channels.
    """

    def __init__(self, groups: Sequence[int], c_out: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList(Linear(group, c_out, init="relu") for group in groups)

    def forward(self, x: Float[Tensor, "*B C"]) -> Float[Tensor, "*B D"]:
        weights, biases = zip(*((part.weight, part.bias) for part in self.parts), strict=True)
        return F.linear(x, torch.cat(weights, dim=1), torch.stack(biases).sum(0))


def template_groups(config: TemplateConfig, c_pair: int) -> tuple[int, ...]:
    """Return the channels of each group: distance bins, whether they are known, amino acids of
    j and of i, the unit vector's x, y and z, whether it is known, the pair representation.
    """
    return (config.num_bins, 1, 22, 22, 1, 1, 1, 1, c_pair)


class TemplatePointwiseAttention(Layer):
    """Algorithm 17: each pair of residues attends to the templates at that pair (SI 1.7.1).

    ::

        q_ij^h = LinearNoBias(z_ij);  k_τij^h, v_τij^h = LinearNoBias(t_τij)
        a_τij^h = softmax_τ(q_ij^h · k_τij^h / √c)
        z_ij + Linear(concat_h(Σ_τ a_τij^h v_τij^h)), or z_ij without templates

    Shapes: z [B, N, N, D], T arrays [B, N, N, C], template_mask [B, T] → z [B, N, N, D].
    """

    def __init__(self, config: TemplateConfig, c_pair: int, runtime: Runtime) -> None:
        super().__init__()
        c, width = config.c_template, config.c_pointwise
        self.num_heads = config.num_heads_pointwise
        self.query = Linear(c_pair, width, bias=False, init="glorot")
        self.key = Linear(c, width, bias=False, init="glorot")
        self.value = Linear(c, width, bias=False, init="glorot")
        self.output = Linear(width, c_pair, init="zero")
        self.chunk_size = runtime.chunk_size

    def forward(
        self,
        pair: Float[Tensor, "B N N D"],
        embedded: Sequence[Float[Tensor, "B N N C"]],
        template_mask: Float[Tensor, "B T"],
    ) -> Float[Tensor, "B N N D"]:
        any_template = (template_mask.sum(-1) > 0).to(pair.dtype)[:, None, None, None]
        absent = (template_mask == 0)[:, None, None, :, None]

        def rows(pair: Tensor, *embedded: Tensor) -> Tensor:
            templates = torch.stack(embedded, dim=-2)
            query = split_heads(self.query(pair), self.num_heads)[..., None, :, :]
            key, value = (
                split_heads(maps(templates), self.num_heads) for maps in (self.key, self.value)
            )
            # An element-wise product: as matrices the few templates of a pair are too small.
            logits = (query * key).sum(-1).float() * query.shape[-1] ** -0.5
            shares = logits.masked_fill(absent, MASKED_LOGIT).softmax(-2).to(value.dtype)
            return self.output((shares[..., None] * value).sum(-3).flatten(-2)) * any_template

        per_row = len(pair) * pair.shape[2] * len(embedded) * len(self.key.weight)
        return add_by_rows(rows, per_row, self.chunk_size, pair, *embedded)


class TemplateEmbedder(Layer):
    """Algorithms 16 and 17: template pair stack and template pointwise attention (SI 1.7.1).

    For features f_τij of template τ, in monomer networks (Algorithm 2, lines 9 to 13)::

        t_τij = LayerNorm(TemplatePairStack(Linear(f_τij)))
        z = TemplatePointwiseAttention(z, t)

    With `average` (AlphaFold-Multimer, Evans 2021) there is no attention::

        t_τij = LayerNorm(TemplatePairStack(Linear(concat(f_τij, LayerNorm(z_ij)))))
        z_ij + Linear(relu(mean_τ t_τij))

    Shapes: z [B, N, N, D], pair_mask [B, N, N], T templates → z [B, N, N, D].

    The mean counts templates without atoms, as the official implementation does. Memory: the
    features are made for a few residues i of one template at a time.
    """

    def __init__(self, config: TemplateConfig, c_pair: int, runtime: Runtime) -> None:
        super().__init__()
        self.config = config
        c = config.c_template
        self.input: nn.Module
        if config.average:
            self.norm_pair = LayerNorm(c_pair)
            self.input = SummedLinear(template_groups(config, c_pair), c)
            self.output = Linear(c, c_pair, init="relu")
        else:
            self.input = Linear(config.num_bins + 49, c, init="relu")
            self.attention = TemplatePointwiseAttention(config, c_pair, runtime)
        blocks = (TemplatePairBlock(config, runtime) for _ in range(config.num_blocks))
        self.blocks = nn.ModuleList(blocks)
        self.norm = LayerNorm(c)
        self.chunk_size = runtime.chunk_size

    def pair_features(
        self,
        templates: TemplateInputs,
        index: int,
        same_chain: Bool[Tensor, "B N N"],
        rows: Int[Tensor, " M"],
    ) -> Float[Tensor, "B M N K"]:
        """Return distances, amino acids and, with `use_unit_vector`, unit vectors (SI Table 1).

        They are those of some residues i and all residues j in template `index`. The unit vector is
        the direction of residue j's Cα in residue i's frame. A template covers one chain, so pairs
        of residues of different chains have no geometry.
        """
        config = self.config
        same_chain = same_chain[:, rows]
        beta_mask, beta = templates.pseudo_beta_mask[:, index], templates.pseudo_beta[:, index]
        beta_mask_2d = beta_mask[:, rows, None] * beta_mask[:, None] * same_chain
        backbone = [residues.N, residues.CA, residues.C]
        backbone_mask = templates.atom_mask[:, index][..., backbone].prod(-1)
        mask_2d = backbone_mask[:, rows, None] * backbone_mask[:, None] * same_chain
        bins = distance_bins(beta[:, rows], beta, config.min_bin, config.max_bin, config.num_bins)
        letters = F.one_hot(templates.aatype[:, index], 22).to(bins.dtype)
        vectors = bins.new_zeros(*bins.shape[:3], 3)
        if config.use_unit_vector:
            n, ca, c = templates.atom_positions[:, index][..., backbone, :].unbind(-2)
            frames = frames_from_three_points(c[:, rows], ca[:, rows], n[:, rows])
            local = frames.unsqueeze(-1).invert_apply(ca[:, None])
            vectors = local * torch.rsqrt(1e-6 + local.square().sum(-1, keepdim=True))
            vectors = vectors * mask_2d[..., None]
        features = torch.cat(
            [
                bins * beta_mask_2d[..., None] if config.average else bins,
                beta_mask_2d[..., None],
                letters[:, None].expand(-1, len(rows), -1, -1),
                letters[:, rows, None].expand(-1, -1, letters.shape[1], -1),
                vectors,
                mask_2d[..., None],
            ],
            dim=-1,
        )
        return features if config.average else features * mask_2d[..., None]

    def embed(
        self,
        pair: Float[Tensor, "B N N D"],
        pair_mask: Float[Tensor, "B N N"],
        features: Callable[[Int[Tensor, " M"]], Float[Tensor, "B M N K"]],
    ) -> Float[Tensor, "B N N C"]:
        """Return the pair representation t of one template; `features` returns those of rows."""

        def rows(number: Tensor, pair: Tensor) -> Tensor:
            seen = [self.norm_pair(pair)] if self.config.average else []
            made: Tensor = self.input(
                torch.cat([features(number[0]).to(pair.dtype), *seen], dim=-1)
            )
            return made

        number = torch.arange(pair.shape[1], device=pair.device)[None]
        channels = self.config.num_bins + 49 + pair.shape[-1]
        per_row = len(pair) * pair.shape[2] * channels
        template = by_rows(rows, per_row, self.chunk_size, number, pair)
        for block in self.blocks:
            template = block(template, pair_mask)
        return self.norm(template)

    def forward(
        self,
        pair: Float[Tensor, "B N N D"],
        pair_mask: Float[Tensor, "B N N"],
        templates: TemplateInputs,
        same_chain: Bool[Tensor, "B N N"],
    ) -> Float[Tensor, "B N N D"]:
        num_templates = templates.mask.shape[1]
        embedded = (
            self.embed(pair, pair_mask, partial(self.pair_features, templates, index, same_chain))
            for index in range(num_templates)
        )
        if not self.config.average:
            return self.attention(pair, list(embedded), templates.mask)
        total = pair.new_zeros(())
        for each in embedded:
            total = total + each

        def rows(pair: Tensor, total: Tensor) -> Tensor:
            return self.output(torch.relu(total / num_templates))

        return add_by_rows(rows, pair[:, 0].numel(), self.chunk_size, pair, total)


class TemplateTorsionEmbedder(nn.Module):
    """Algorithm 2, lines 7 and 8: template torsion angles as rows of the MSA (SI 1.7.1).

    ::

        f_τi = concat(one_hot(aatype_τi), angles_τi, alternative angles_τi, mask_τi)
        row_τi = Linear(relu(Linear(f_τi)))

    Shapes: templates [B, T, N, ...] → rows [B, T, N, C], mask [B, T, N].

    Each of the seven angles enters as sine and cosine. With `chi_only` (AlphaFold-Multimer), f has
    only the four side-chain angles, without alternatives.
    """

    def __init__(self, config: TemplateConfig, c_msa: int) -> None:
        super().__init__()
        self.chi_only = config.chi_only
        self.input = Linear(22 + (3 * 4 if config.chi_only else 5 * 7), c_msa, init="relu")
        self.output = Linear(c_msa, c_msa)

    def forward(
        self, templates: TemplateInputs
    ) -> tuple[Float[Tensor, "B T N C"], Float[Tensor, "B T N"]]:
        """Return the rows and their mask.

        A residue is masked where its psi angle is unknown; with `chi_only`, its chi1.
        """
        mask = templates.torsion_mask
        if self.chi_only:
            mask = mask[..., 3:]
            sin, cos = (templates.torsion_sin_cos[..., 3:, :] * mask[..., None]).unbind(-1)
            angles, takes_part = [sin, cos, mask], mask[..., 0]
        else:
            unit, other = templates.torsion_sin_cos, templates.torsion_alt_sin_cos
            angles, takes_part = [unit.flatten(-2), other.flatten(-2), mask], mask[..., 2]
        letters = F.one_hot(templates.aatype, 22).to(mask.dtype)
        features = torch.cat([letters, *angles], dim=-1).to(self.input.weight.dtype)
        return self.output(torch.relu(self.input(features))), takes_part
