"""The structure module: from the single and pair representations to atoms (SI 1.8).

Axes: B batch, N residues, H heads, P points, L layers. Frames move in units of
`position_scale` Å inside and are given out in Å.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from foldry.geometry import Rigid, atom14_from_frames, backbone_update, frames_from_torsions
from foldry.model.config import StructureConfig
from foldry.model.layers import Layer, LayerNorm, Linear, by_rows, split_heads

QUERY_ROWS: Final = 64
"""Residues whose distances to all others are held at a time when no gradient is asked for."""


@dataclass(frozen=True)
class StructureOutput:
    """What every layer of the structure module found; positions in Å.

    Attributes:
        single: The last layer's single representation.
        frames: Backbone frames [L, B, N].
        group_frames: Frames [L, B, N, 8] of all rigid groups.
        atom14: Atom positions.
        sin_cos: Unit (sin, cos) of the torsion angles.
        unnormalized_sin_cos: The same before normalisation.
    """

    single: Float[Tensor, "B N C"]
    frames: Rigid
    group_frames: Rigid
    atom14: Float[Tensor, "L B N 14 3"]
    sin_cos: Float[Tensor, "L B N 7 2"]
    unnormalized_sin_cos: Float[Tensor, "L B N 7 2"]


class InvariantPointAttention(Layer):
    """Algorithm 22. Invariant point attention (SI 1.8.2)."""

    def __init__(self, config: StructureConfig, c_pair: int) -> None:
        super().__init__()
        self.config = config
        heads, c = config.num_heads, config.c
        num_key_value, bias = config.num_scalar_qk + config.num_scalar_v, config.scalar_bias
        self.scalar_query = Linear(c, heads * config.num_scalar_qk, bias=bias)
        self.scalar_key_value = Linear(c, heads * num_key_value, bias=bias)
        self.point_query = Linear(c, heads * 3 * config.num_point_qk)
        self.point_key_value = Linear(c, heads * 3 * (config.num_point_qk + config.num_point_v))
        self.pair_bias = Linear(c_pair, heads)
        self.point_weights = nn.Parameter(torch.full((heads,), math.log(math.e - 1)))
        width = config.num_scalar_v + 4 * config.num_point_v + c_pair
        self.output = Linear(heads * width, c, init="zero")

    def points(self, flat: Tensor, frames: Rigid) -> Float[Tensor, "B N H P 3"]:
        """Points of every head in global coordinates; the flat axis is (xyz, heads, points)."""
        shape = (*flat.shape[:-1], 3, self.config.num_heads, -1)
        local = flat.reshape(shape).movedim(-3, -1)
        return frames.unsqueeze(-1).unsqueeze(-1).apply(local)

    def forward(
        self,
        single: Float[Tensor, "B N C"],
        pair: Float[Tensor, "B N N D"],
        mask: Float[Tensor, "B N"],
        frames: Rigid,
    ) -> Float[Tensor, "B N C"]:
        config = self.config
        query = split_heads(self.scalar_query(single), config.num_heads)
        key_value = split_heads(self.scalar_key_value(single), config.num_heads)
        key, value = torch.split(key_value, [config.num_scalar_qk, config.num_scalar_v], dim=-1)
        query_points = self.points(self.point_query(single), frames)
        key_points, value_points = torch.split(
            self.points(self.point_key_value(single), frames),
            [config.num_point_qk, config.num_point_v],
            dim=-2,
        )

        # Each of the three logit terms has unit variance at the start of training.
        scalar_scale = math.sqrt(1 / (3 * config.num_scalar_qk))
        point_scale = math.sqrt(1 / (3 * config.num_point_qk * 9 / 2))
        logits = torch.einsum("bqhc,bkhc->bhqk", query * scalar_scale, key)

        def squared_distances(queries: Tensor) -> Tensor:
            return (queries[:, :, None] - key_points[:, None]).square().sum((-1, -2))

        squared = by_rows(squared_distances, QUERY_ROWS, query_points)
        weights = F.softplus(self.point_weights) * point_scale
        logits = logits - 0.5 * (weights * squared).permute(0, 3, 1, 2)
        logits = logits + math.sqrt(1 / 3) * self.pair_bias(pair).permute(0, 3, 1, 2)
        mask_2d = (mask[:, :, None] * mask[:, None])[:, None]
        attention = (logits - 1e5 * (1 - mask_2d)).softmax(-1)

        scalars = torch.einsum("bhqk,bkhc->bqhc", attention, value)
        points = torch.einsum("bhqk,bkhpx->bqhpx", attention, value_points)
        points = frames.unsqueeze(-1).unsqueeze(-1).invert_apply(points)
        norms = (points.square().sum(-1) + 1e-8).sqrt()
        pairs = torch.einsum("bhqk,bqkd->bqhd", attention, pair)
        x, y, z = (axis.flatten(-2) for axis in points.unbind(-1))
        features = [scalars.flatten(-2), x, y, z, norms.flatten(-2), pairs.flatten(-2)]
        return self.output(torch.cat(features, dim=-1))


class TorsionAngles(nn.Module):
    """Algorithm 20, lines 11 to 14. Torsion angles of each residue (SI 1.8)."""

    def __init__(self, config: StructureConfig, c_single: int) -> None:
        super().__init__()
        c = config.c_sidechain
        self.input = Linear(config.c, c)
        self.input_initial = Linear(c_single, c)
        blocks = range(config.num_sidechain_blocks)
        self.first = nn.ModuleList(Linear(c, c, init="relu") for _ in blocks)
        self.second = nn.ModuleList(Linear(c, c, init="zero") for _ in blocks)
        self.angles = Linear(c, 14)

    def forward(
        self, single: Float[Tensor, "B N C"], initial: Float[Tensor, "B N D"]
    ) -> tuple[Float[Tensor, "B N 7 2"], Float[Tensor, "B N 7 2"]]:
        """Unit (sin, cos) and the same before normalisation."""
        x = self.input(torch.relu(single)) + self.input_initial(torch.relu(initial))
        for first, second in zip(self.first, self.second, strict=True):
            x = x + second(torch.relu(first(torch.relu(x))))
        raw = split_heads(self.angles(torch.relu(x)), 7)
        unit = raw / raw.square().sum(-1, keepdim=True).clamp(min=1e-12).sqrt()
        return unit, raw


class StructureModule(nn.Module):
    """Algorithm 20. The structure module; its layers share their weights."""

    def __init__(self, config: StructureConfig, c_single: int, c_pair: int) -> None:
        super().__init__()
        self.config = config
        c = config.c
        self.norm_single = LayerNorm(c_single)
        self.norm_pair = LayerNorm(c_pair)
        self.input = Linear(c_single, c)
        self.attention = InvariantPointAttention(config, c_pair)
        self.norm_attention = LayerNorm(c)
        last = config.num_transition_layers - 1
        self.transition = nn.ModuleList(
            Linear(c, c, init="zero" if layer == last else "relu") for layer in range(last + 1)
        )
        self.norm_transition = LayerNorm(c)
        self.backbone_update = Linear(c, 6, init="zero")
        self.torsion_angles = TorsionAngles(config, c_single)
        self.dropout = nn.Dropout(config.dropout)

    def layer(
        self, single: Tensor, pair: Tensor, mask: Tensor, frames: Rigid
    ) -> Float[Tensor, "B N C"]:
        """Lines 6 to 9: attention and transition, each with its residual and layer norm."""
        single = single + self.attention(single, pair, mask, frames)
        single = self.norm_attention(self.dropout(single))
        x = single
        for linear in self.transition[:-1]:
            x = torch.relu(linear(x))
        x = self.transition[-1](x)
        return self.norm_transition(self.dropout(single + x))

    def forward(
        self,
        single: Float[Tensor, "B N C"],
        pair: Float[Tensor, "B N N D"],
        aatype: Int[Tensor, "B N"],
        mask: Float[Tensor, "B N"],
        frames: Rigid,
    ) -> StructureOutput:
        """All layers, starting from backbone frames [B, N] in Å."""
        scale = self.config.position_scale
        initial = self.norm_single(single)
        pair = self.norm_pair(pair)
        single = self.input(initial)
        frames = frames.scale(1 / scale)
        backbones, groups, atoms, angles, raw_angles = [], [], [], [], []
        for _ in range(self.config.num_layers):
            single = self.layer(single, pair, mask, frames)
            frames = frames.compose(backbone_update(self.backbone_update(single)))
            unit, raw = self.torsion_angles(single, initial)
            backbones.append(frames.scale(scale))
            groups.append(frames_from_torsions(backbones[-1], unit, aatype))
            atoms.append(atom14_from_frames(groups[-1], aatype))
            angles.append(unit)
            raw_angles.append(raw)
            frames = frames.stop_rotation_gradient()
        return StructureOutput(
            single=single,
            frames=Rigid.stack(backbones),
            group_frames=Rigid.stack(groups),
            atom14=torch.stack(atoms),
            sin_cos=torch.stack(angles),
            unnormalized_sin_cos=torch.stack(raw_angles),
        )
