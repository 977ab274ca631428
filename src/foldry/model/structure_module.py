"""The structure module: from the single and pair representations to atoms (SI 1.8).

The equations are written as in `foldry.model.evoformer`; T_i is the backbone frame of residue i and
T_i ∘ x maps the point x from local to global coordinates. Inside the module one unit of length is
`position_scale` Å; all outputs are in Å.

Axes: B batch, N residues, H heads, P points, L layers, C channels (D channels of the pair or of the
initial single representation).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from foldry.geometry import Rigid, atom14_from_frames, backbone_update, frames_from_torsions
from foldry.kernels.chunks import split_heads
from foldry.kernels.interface import Points
from foldry.model.config import StructureConfig
from foldry.model.inputs import TemplateInputs
from foldry.model.layers import Layer, LayerNorm, Linear
from foldry.model.runtime import Runtime
from foldry.model.template_backbone import toward_templates


@dataclass(frozen=True)
class StructureOutput:
    """The structure after every layer of the structure module, in Å.

    Attributes:
        single: Single representation after the last layer.
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
    """Algorithm 22: invariant point attention (SI 1.8.2).

    For single representation s, pair representation z and backbone frames T::

        q_i^h, k_i^h, v_i^h = Linear(s_i)          scalars, without bias in multimer networks
        q_i^hp, k_i^hp, v_i^hp = Linear(s_i)       points in local coordinates
        b_ij^h = Linear(z_ij)
        w_L = √(1/3);  w_C = √(2 / (9 N_query_points));  γ^h = softplus(learned)
        a_ij^h = softmax_j(w_L (q_i^h · k_j^h / √c + b_ij^h
                                − γ^h w_C / 2 Σ_p ‖T_i ∘ q_i^hp − T_j ∘ k_j^hp‖²)), mask_j = 1
        o_i^h  = Σ_j a_ij^h v_j^h
        o_i^hp = T_i⁻¹ ∘ Σ_j a_ij^h (T_j ∘ v_j^hp)
        õ_i^h  = Σ_j a_ij^h z_ij
        update_i = Linear(concat_h,p(o_i^h, o_i^hp, ‖o_i^hp‖, õ_i^h))

    Shapes: s [B, N, C], z [B, N, N, D], w_L b [B, H, N, N], mask [B, N], T [B, N] → [B, N, C].

    The result does not change when all frames are moved together. w_L and w_C give each of the
    three terms of the logits the same variance at the start of training. As in the official
    implementation, the maps have biases where the supplement has none, and the order of `concat`
    is the official one.
    """

    def __init__(self, config: StructureConfig, c_pair: int, runtime: Runtime) -> None:
        super().__init__()
        self.config = config
        self.runtime = runtime
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

    def bias(self, pair: Float[Tensor, "B N N D"]) -> Float[Tensor, "B H N N"]:
        """Return w_L b_ij^h, which is the same in every layer."""
        return math.sqrt(1 / 3) * self.pair_bias(pair).permute(0, 3, 1, 2)

    def points(self, flat: Tensor, frames: Rigid) -> Float[Tensor, "B N H P 3"]:
        """Return the points of every head in global coordinates.

        The last axis of `flat` is (xyz, heads, points), as in the official parameters.
        """
        shape = (*flat.shape[:-1], 3, self.config.num_heads, -1)
        local = flat.reshape(shape).movedim(-3, -1)
        return frames.unsqueeze(-1).unsqueeze(-1).apply(local)

    def forward(
        self,
        single: Float[Tensor, "B N C"],
        pair: Float[Tensor, "B N N D"],
        bias: Float[Tensor, "B H N N"],
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

        # w_L / √c, and w_L w_C
        scalar_scale = math.sqrt(1 / (3 * config.num_scalar_qk))
        point_scale = math.sqrt(1 / (3 * config.num_point_qk * 9 / 2))
        weights = 0.5 * F.softplus(self.point_weights) * point_scale
        terms = Points(
            *(query * scalar_scale, key, value),
            *(query_points, key_points, value_points, weights, bias),
        )
        kernels, size = self.runtime.now(), self.runtime.chunk_size
        scalars, points, pairs = kernels.point_attention(terms, pair, mask, size)
        points = frames.unsqueeze(-1).unsqueeze(-1).invert_apply(points)
        norms = (points.square().sum(-1) + 1e-8).sqrt()
        x, y, z = (axis.flatten(-2) for axis in points.unbind(-1))
        features = [scalars.flatten(-2), x, y, z, norms.flatten(-2), pairs.flatten(-2)]
        return self.output(torch.cat(features, dim=-1))


def shortened(step: Rigid, most: float) -> Rigid:
    """Return motions whose translation t has a length below `most`: t / √(1 + ‖t‖² / most²)."""
    squared = step.translation.square().sum(-1, keepdim=True)
    return Rigid(step.rotation, step.translation * torch.rsqrt(1 + squared / most**2))


class TorsionAngles(nn.Module):
    """Algorithm 20, lines 11 to 14: torsion angles of each residue (SI 1.8).

    For the single representation s of this layer and the initial one s'::

        a_i = Linear(relu(s_i)) + Linear(relu(s'_i))
        a_i += Linear(relu(Linear(relu(a_i))))     in each of `num_sidechain_blocks` blocks
        α_i = Linear(relu(a_i))                    seven (sin, cos): ω, φ, ψ, χ1 to χ4
        unit α_i = α_i / ‖α_i‖

    Shapes: s [B, N, C], s' [B, N, D] → [B, N, 7, 2] twice. The relu of line 11 is the official
    implementation's; the supplement has none.
    """

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
        """Return unit (sin, cos), and the same before normalisation."""
        x = self.input(torch.relu(single)) + self.input_initial(torch.relu(initial))
        for first, second in zip(self.first, self.second, strict=True):
            x = x + second(torch.relu(first(torch.relu(x))))
        raw = split_heads(self.angles(torch.relu(x)), 7)
        unit = raw / raw.square().sum(-1, keepdim=True).clamp(min=1e-12).sqrt()
        return unit, raw


class StructureModule(nn.Module):
    """Algorithm 20: the structure module (SI 1.8). All layers share their weights.

    For the single representation s and the pair representation z::

        s'_i = LayerNorm(s_i);  z_ij ← LayerNorm(z_ij);  s_i = Linear(s'_i)
        in each of `num_layers` layers:
            s_i ← LayerNorm(dropout(s_i + InvariantPointAttention(s, z, T)_i))
            s_i ← LayerNorm(dropout(s_i + Linear(relu(Linear(relu(Linear(s_i)))))))
            T_i ← T_i ∘ BackboneUpdate(Linear(s_i))       Algorithm 23, `shortened` by `max_step`
            T ← toward_templates(T)                       `mini`, in the last layer
            α_i = TorsionAngles(s_i, s'_i)
            atoms_i = ComputeAllAtomCoordinates(T_i, α_i)  Algorithm 24

    Shapes: s [B, N, C], z [B, N, N, D], aatype [B, N], mask [B, N], T [B, N] → `StructureOutput`.

    In the paper all frames T start at the origin (line 4); the caller passes them, because `mini`
    starts elsewhere (`foldry.model.distance_geometry`); it alone reads the templates here, with
    `template_share` (`foldry.model.template_backbone`), but not in training, where the layer would
    learn less from a chain that its template already places. No gradient flows through the
    rotations from one layer to the next: each layer learns the best orientation for itself, and the
    lever arms of composed rotations do not make training unstable (SI 1.8).
    """

    def __init__(
        self, config: StructureConfig, c_single: int, c_pair: int, runtime: Runtime
    ) -> None:
        super().__init__()
        self.config = config
        c = config.c
        self.norm_single = LayerNorm(c_single)
        self.norm_pair = LayerNorm(c_pair)
        self.input = Linear(c_single, c)
        self.attention = InvariantPointAttention(config, c_pair, runtime)
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
        self, single: Tensor, pair: Tensor, bias: Tensor, mask: Tensor, frames: Rigid
    ) -> Float[Tensor, "B N C"]:
        """Return s after lines 6 to 9: attention and transition, each a residual, then norm."""
        single = single + self.attention(single, pair, bias, mask, frames)
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
        templates: TemplateInputs | None = None,
    ) -> StructureOutput:
        """Return the structure after every layer, starting from backbone frames [B, N] in Å."""
        scale, share = self.config.position_scale, self.config.template_share
        initial = self.norm_single(single)
        pair = self.norm_pair(pair)
        bias = self.attention.bias(pair)
        single = self.input(initial)
        frames = frames.scale(1 / scale)
        backbones, groups, atoms, angles, raw_angles = [], [], [], [], []
        for number in range(self.config.num_layers):
            single = self.layer(single, pair, bias, mask, frames)
            step = backbone_update(self.backbone_update(single))
            if self.config.max_step is not None:
                step = shortened(step, self.config.max_step / scale)
            frames = frames.compose(step)
            unit, raw = self.torsion_angles(single, initial)
            backbones.append(frames.scale(scale))
            is_last = number == self.config.num_layers - 1
            if templates is not None and share and is_last and not self.training:
                backbones[-1] = toward_templates(backbones[-1], templates, mask, share)
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
