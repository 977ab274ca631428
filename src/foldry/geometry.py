"""Rigid frames, and atoms placed by torsion angles: differentiable, in torch.

Torsions, frames and pseudo-beta of *known* coordinates are computed in `features`; superposition is
in `score`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from foldry import residues


@dataclass(frozen=True)
class Rigid:
    """Rotations and translations that map local to global coordinates: R x + t."""

    rotation: Float[Tensor, "*frames 3 3"]
    translation: Float[Tensor, "*frames 3"]

    @staticmethod
    def identity(*shape: int, like: Tensor) -> Rigid:
        """Return identity frames with the dtype and device of `like`."""
        rotation = torch.eye(3, dtype=like.dtype, device=like.device).expand(*shape, 3, 3)
        return Rigid(rotation, like.new_zeros(*shape, 3))

    @staticmethod
    def stack(frames: Sequence[Rigid], axis: int = 0) -> Rigid:
        """Return frames of one shape joined along a new axis, counted as in `unsqueeze`."""
        axis = axis if axis >= 0 else axis + frames[0].translation.dim()
        rotations = [frame.rotation for frame in frames]
        return Rigid(
            torch.stack(rotations, axis), torch.stack([frame.translation for frame in frames], axis)
        )

    def __getitem__(self, index: object) -> Rigid:
        """Index the axes of the frames; `...` may only come before the last index."""
        index = index if isinstance(index, tuple) else (index,)
        if Ellipsis in index:
            return Rigid(self.rotation[*index, :, :], self.translation[*index, :])
        return Rigid(self.rotation[index], self.translation[index])

    def unsqueeze(self, axis: int) -> Rigid:
        """Return frames with a new axis; negative axes count from the last axis of the frames."""
        axis = axis if axis >= 0 else axis + self.translation.dim()
        return Rigid(self.rotation.unsqueeze(axis), self.translation.unsqueeze(axis))

    def apply(self, points: Float[Tensor, "*#frames 3"]) -> Float[Tensor, "*#frames 3"]:
        """Return global points from local points."""
        return rotate(self.rotation, points) + self.translation

    def invert_apply(self, points: Float[Tensor, "*#frames 3"]) -> Float[Tensor, "*#frames 3"]:
        """Return local points from global points."""
        return rotate(self.rotation.transpose(-1, -2), points - self.translation)

    def compose(self, other: Rigid) -> Rigid:
        """Return the frame that applies `other` first, then this one."""
        return Rigid(self.rotation @ other.rotation, self.apply(other.translation))

    def scale(self, factor: float) -> Rigid:
        """Return frames with scaled translations: a change of the unit of length."""
        return Rigid(self.rotation, self.translation * factor)

    def stop_rotation_gradient(self) -> Rigid:
        """Return the same frames; gradients flow only through the translations."""
        return Rigid(self.rotation.detach(), self.translation)


def rotate(
    rotation: Float[Tensor, "*#frames 3 3"], points: Float[Tensor, "*#frames 3"]
) -> Float[Tensor, "*#frames 3"]:
    """Return the rotated points R x, with broadcasting."""
    return (rotation * points.unsqueeze(-2)).sum(-1)


def rotation_from_quaternion(
    quaternion: Float[Tensor, "*frames 4"],
) -> Float[Tensor, "*frames 3 3"]:
    """Return the rotation matrices of unit quaternions (w, x, y, z)."""
    w, x, y, z = quaternion.unbind(-1)
    return _matrix(
        (w * w + x * x - y * y - z * z, 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), w * w - x * x + y * y - z * z, 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), w * w - x * x - y * y + z * z),
    )


def _matrix(*rows: tuple[Tensor, ...]) -> Tensor:
    """Return matrices from their entries, which have one shape."""
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def backbone_update(update: Float[Tensor, "*frames 6"]) -> Rigid:
    """Return the backbone update: unit quaternion along (1, b, c, d), and a translation.

    Algorithm 23.
    """
    quaternion = torch.cat([torch.ones_like(update[..., :1]), update[..., :3]], dim=-1)
    quaternion = quaternion / quaternion.norm(dim=-1, keepdim=True)
    return Rigid(rotation_from_quaternion(quaternion), update[..., 3:])


def frames_from_three_points(
    on_x_axis: Float[Tensor, "*frames 3"],
    origin: Float[Tensor, "*frames 3"],
    in_xy_plane: Float[Tensor, "*frames 3"],
    epsilon: float = 1e-8,
) -> Rigid:
    """Return frames with this x-axis, origin and xy-plane, by Gram–Schmidt (Algorithm 21).

    Collinear or equal points give a finite but meaningless frame, which must be masked.
    """
    x = on_x_axis - origin
    x = x / (x.square().sum(-1, keepdim=True) + epsilon).sqrt()
    y = in_xy_plane - origin
    y = y - x * (x * y).sum(-1, keepdim=True)
    y = y / (y.square().sum(-1, keepdim=True) + epsilon).sqrt()
    z = torch.linalg.cross(x, y, dim=-1)
    return Rigid(torch.stack([x, y, z], dim=-1), origin)


def table(values: object, like: Tensor) -> Tensor:
    """Return a table of `residues` on the device of `like`, with floats in its dtype."""
    tensor = torch.as_tensor(values, device=like.device)
    return tensor.to(like.dtype) if tensor.is_floating_point() else tensor


def frames_from_torsions(
    backbone: Rigid, sin_cos: Float[Tensor, "*B N 7 2"], aatype: Int[Tensor, "*B N"]
) -> Rigid:
    """Return the frames [*B, N, 8] of all rigid groups from torsion angles.

    Algorithm 24, first half.

    Args:
        backbone: Frames [*B, N], Å.
        sin_cos: Unit vectors (sin, cos) of pre-omega, phi, psi and chi1–chi4.
        aatype: Amino-acid codes.
    """
    default = table(residues.DEFAULT_FRAMES, sin_cos)[aatype]
    sin, cos = sin_cos.unbind(-1)
    sin = torch.cat([torch.zeros_like(sin[..., :1]), sin], dim=-1)
    cos = torch.cat([torch.ones_like(cos[..., :1]), cos], dim=-1)
    zero, one = torch.zeros_like(sin), torch.ones_like(sin)
    about_x = _matrix((one, zero, zero), (zero, cos, -sin), (zero, sin, cos))
    to_parent = Rigid(default[..., :3, :3] @ about_x, default[..., :3, 3])
    to_backbone = [to_parent[..., group] for group in range(8)]
    for group in (5, 6, 7):
        to_backbone[group] = to_backbone[group - 1].compose(to_backbone[group])
    return backbone.unsqueeze(-1).compose(Rigid.stack(to_backbone, -1))


def atom14_from_frames(frames: Rigid, aatype: Int[Tensor, "*B N"]) -> Float[Tensor, "*B N 14 3"]:
    """Return ideal atoms (Å) placed in the frames [*B, N, 8] of their rigid groups.

    Algorithm 24, second half.
    """
    like = frames.translation
    group = table(residues.ATOM14_GROUP, like)[aatype]
    position = table(residues.ATOM14_POSITION, like)[aatype]
    mask = table(residues.ATOM14_MASK, like)[aatype]
    index = group[..., None]
    of_atom = Rigid(
        frames.rotation.gather(-3, index[..., None].expand(*group.shape, 3, 3)),
        frames.translation.gather(-2, index.expand(*group.shape, 3)),
    )
    return of_atom.apply(position) * mask[..., None]


def atom37_from_atom14(
    atom14: Float[Tensor, "*B N 14 3"], aatype: Int[Tensor, "*B N"]
) -> Float[Tensor, "*B N 37 3"]:
    """Return atoms in atom37 order, Å; zero for atoms that the residue lacks."""
    index = table(residues.ATOM37_TO_ATOM14, atom14)[aatype]
    mask = table(residues.ATOM37_MASK, atom14)[aatype]
    return atom14.gather(-2, index[..., None].expand(*index.shape, 3)) * mask[..., None]
