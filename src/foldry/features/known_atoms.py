"""Torsions, frames, atom14, pseudo-beta and distance bins of known coordinates.

Both templates and training targets use them. All functions accept any axes before the residue
axis N, take coordinates in Å and compute in float32. Codes above 20 are treated as X.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Final

import numpy as np
from jaxtyping import Float, Int, Shaped

from foldry import residues
from foldry.residues import CA, CB, UNKNOWN, C, N, O

_EPSILON: Final = np.float32(1e-8)
_GLYCINE: Final = residues.RESTYPE_ORDER["G"]
_PSI_MIRROR: Final = np.array([1, 1, -1, 1, 1, 1, 1], np.float32)[:, None]
"""Psi is measured on O, which is opposite to the next N."""
_BACKBONE_TURN: Final = np.array([-1, 1, -1], np.float32)
"""The backbone's x-axis points from CA to C."""
_BACKBONE_TORSIONS: Final = np.array(
    [[CA, C, 37 + N, 37 + CA], [C, 37 + N, 37 + CA, 37 + C], [37 + N, 37 + CA, 37 + C, 37 + O]]
)
"""Atoms of pre-omega, phi and psi: atom37 of the residue before, then of the residue itself."""
_GROUP_ATOMS: Final = np.zeros((21, 8, 3), np.int64)
"""Atom37 slots of the atoms on the negative x-axis, at the origin and in the xy-plane."""
_GROUP_ATOMS[:, 0] = C, CA, N
_GROUP_ATOMS[:, 3] = CA, C, O
_GROUP_ATOMS[:, 4:] = residues.CHI_ATOM_INDICES[..., 1:]
_GROUP_EXISTS: Final = np.pad(residues.CHI_MASK, ((0, 0), (4, 0)))
_GROUP_EXISTS[:, [0, 3]] = 1


@dataclass(frozen=True)
class Torsions:
    """The seven torsion angles of each residue: pre-omega, phi, psi, chi1–chi4.

    Attributes:
        sin_cos: (sin, cos), of length 1 where `mask` is 1.
        alt_sin_cos: The same after a 180° turn of symmetric side chains.
        mask: 1 where all four atoms are known.
    """

    sin_cos: Float[np.ndarray, "... N 7 2"]
    alt_sin_cos: Float[np.ndarray, "... N 7 2"]
    mask: Float[np.ndarray, "... N 7"]


@dataclass(frozen=True)
class RigidGroups:
    """Frames of the eight rigid groups: backbone, pre-omega, phi, psi, chi1–chi4.

    Attributes:
        frames: Rotation and, as the last column, translation (Å), from the group to the world.
        alt_frames: The same after a 180° turn of symmetric side chains.
        mask: 1 where the three atoms that define the frame are known; 0 for pre-omega and phi,
            which have no atoms.
    """

    frames: Float[np.ndarray, "... N 8 3 4"]
    alt_frames: Float[np.ndarray, "... N 8 3 4"]
    mask: Float[np.ndarray, "... N 8"]


@dataclass(frozen=True)
class Atom14:
    """Atoms in atom14 order, also with the alternative names of symmetric side chains.

    Attributes:
        positions, alt_positions: Å; zero where the mask is 0.
        mask, alt_mask: 1 where the atom is known.
        ambiguous: 1 where the alternative names give the slot another atom.
    """

    positions: Float[np.ndarray, "... N 14 3"]
    alt_positions: Float[np.ndarray, "... N 14 3"]
    mask: Float[np.ndarray, "... N 14"]
    alt_mask: Float[np.ndarray, "... N 14"]
    ambiguous: Float[np.ndarray, "... N 14"]


def pseudo_beta(
    aatype: Int[np.ndarray, "... N"],
    positions: Float[np.ndarray, "... N 37 3"],
    mask: Shaped[np.ndarray, "... N 37"],
) -> tuple[Float[np.ndarray, "... N 3"], Float[np.ndarray, "... N"]]:
    """Return CB, or CA for glycine, and whether it is known (Jumper 2021, SI 1.2.9)."""
    glycine = aatype == _GLYCINE
    beta = np.where(glycine[..., None], positions[..., CA, :], positions[..., CB, :])
    known = np.where(glycine, mask[..., CA], mask[..., CB])
    return beta.astype(np.float32), known.astype(np.float32)


def frames_from_points(
    negative_x: Float[np.ndarray, "... 3"],
    origin: Float[np.ndarray, "... 3"],
    xy_plane: Float[np.ndarray, "... 3"],
) -> Float[np.ndarray, "... 3 4"]:
    """Return frames from a point on the −x axis, the origin and a point with y > 0.

    Gram–Schmidt (Jumper 2021, SI Algorithm 21). Coincident points give zero axes, never NaN.
    """
    x = _normalize(origin - negative_x)
    towards = xy_plane - origin
    y = _normalize(towards - _dot(towards, x)[..., None] * x)
    return np.stack([x, y, np.cross(x, y), origin], axis=-1)


def torsion_angles(
    aatype: Int[np.ndarray, "... N"],
    positions: Float[np.ndarray, "... N 37 3"],
    mask: Shaped[np.ndarray, "... N 37"],
    placeholder: bool = False,
) -> Torsions:
    """Return the torsion angles of consecutive residues (Jumper 2021, SI 1.2.1 and Table 2).

    Args:
        aatype: Amino-acid codes.
        positions: Å; zero where `mask` is 0.
        mask: 1 where an atom is known.
        placeholder: Whether undefined angles become (1, 0), as in training targets. Otherwise they
            are rounding noise. The official network reads this noise from templates, which is why
            the order of operations here matters to the last bit.
    """
    codes = np.minimum(aatype, UNKNOWN)
    xyz = positions.astype(np.float32)
    known = mask.astype(np.float32)
    before, known_before = np.roll(xyz, 1, axis=-3), np.roll(known, 1, axis=-2)
    before[..., :1, :, :], known_before[..., :1, :] = 0, 0
    two_xyz = np.concatenate([before, xyz], axis=-2)
    two_known = np.concatenate([known_before, known], axis=-1)
    chi_atoms = residues.CHI_ATOM_INDICES[codes]
    chi_known = residues.CHI_MASK[codes] * _gather(known, chi_atoms, codes.ndim).prod(-1)
    atoms = [two_xyz[..., _BACKBONE_TORSIONS, :], _gather(xyz, chi_atoms, codes.ndim)]
    torsion_mask = np.concatenate([two_known[..., _BACKBONE_TORSIONS].prod(-1), chi_known], axis=-1)

    sin_cos = torsion_sin_cos(np.concatenate(atoms, axis=-3))
    sin_cos *= _PSI_MIRROR
    turn = 1 - 2 * np.pad(residues.CHI_PI_PERIODIC, ((0, 0), (3, 0)))[codes]
    alternative = sin_cos * turn[..., None]
    if placeholder:
        undefined = torsion_mask[..., None] == 0
        one = np.array([1, 0], np.float32)
        sin_cos = np.where(undefined, one, sin_cos)
        alternative = np.where(undefined, one, alternative)
    return Torsions(sin_cos, alternative, torsion_mask)


def torsion_sin_cos(atoms: Float[np.ndarray, "... 4 3"]) -> Float[np.ndarray, "... 2"]:
    """Return (sin, cos) of the torsion angle of four points; (0, 0) for points on a line."""
    first, second, third, fourth = (atoms[..., index, :] for index in range(4))
    axes = frames_from_points(second, third, first)
    # In the frame of the bond, y and z of the fourth atom are proportional to cosine and sine.
    y, z = (_dot(axes[..., axis], fourth) - _dot(axes[..., axis], third) for axis in (1, 2))
    unit: np.ndarray = np.stack([z, y], axis=-1) / np.sqrt(z * z + y * y + _EPSILON)[..., None]
    return unit


def rigid_groups(
    aatype: Int[np.ndarray, "... N"],
    positions: Float[np.ndarray, "... N 37 3"],
    mask: Shaped[np.ndarray, "... N 37"],
) -> RigidGroups:
    """Return the frames of each residue's rigid groups (Jumper 2021, SI 1.8.1 and Table 2)."""
    codes = np.minimum(aatype, UNKNOWN)
    atoms = _GROUP_ATOMS[codes]
    points = _gather(positions.astype(np.float32), atoms, codes.ndim)
    frames = frames_from_points(points[..., 0, :], points[..., 1, :], points[..., 2, :])
    frames[..., 0, :, :3] *= _BACKBONE_TURN
    alternative = frames.copy()
    alternative[..., 4:, :, 1:3] *= 1 - 2 * residues.CHI_PI_PERIODIC[codes][..., None, None]
    known = _gather(mask.astype(np.float32), atoms, codes.ndim).min(-1)
    return RigidGroups(frames, alternative, known * _GROUP_EXISTS[codes])


def backbone_frames(
    positions: Float[np.ndarray, "... N 37 3"], mask: Shaped[np.ndarray, "... N 37"]
) -> tuple[Float[np.ndarray, "... N 3 4"], Float[np.ndarray, "... N"]]:
    """Return the backbone frames of `rigid_groups`, and 1 where N, CA and C are known."""
    xyz = positions.astype(np.float32)
    frames = frames_from_points(xyz[..., C, :], xyz[..., CA, :], xyz[..., N, :])
    frames[..., :3] *= _BACKBONE_TURN
    return frames, mask[..., [N, CA, C]].prod(-1).astype(np.float32)


def atom14(
    aatype: Int[np.ndarray, "... N"],
    positions: Float[np.ndarray, "... N 37 3"],
    mask: Shaped[np.ndarray, "... N 37"],
) -> Atom14:
    """Return the known atoms in atom14 order, in both namings (Jumper 2021, SI 1.8.5, Table 3)."""
    codes = np.minimum(aatype, UNKNOWN)
    slots = residues.ATOM14_TO_ATOM37[codes]
    known = _gather(mask.astype(np.float32), slots, codes.ndim) * residues.ATOM14_MASK[codes]
    packed = _gather(positions.astype(np.float32), slots, codes.ndim) * known[..., None]
    swap = residues.ATOM14_SWAP[codes]
    return Atom14(
        positions=packed,
        alt_positions=_gather(packed, swap, codes.ndim),
        mask=known,
        alt_mask=_gather(known, swap, codes.ndim),
        ambiguous=residues.ATOM14_AMBIGUOUS[codes],
    )


def distogram_bins(
    points: Float[np.ndarray, "... N 3"], first_break: float, last_break: float, num_bins: int
) -> Int[np.ndarray, "... N N"]:
    """Return the bin of each distance, 0 … num_bins − 1, between evenly spaced breaks (Å).

    Bin k holds distances above break k − 1 and up to break k (Jumper 2021, SI 1.9.8).
    """
    breaks = np.linspace(first_break, last_break, num_bins - 1, dtype=np.float32)
    delta = (points[..., :, None, :] - points[..., None, :, :]).astype(np.float32)
    return np.searchsorted(np.square(breaks), _dot(delta, delta)).astype(np.int64)


def _dot(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Inner products, with terms added in the order x, y, z."""
    product = left * right
    total: np.ndarray = product[..., 0] + product[..., 1] + product[..., 2]
    return total


def _normalize(vector: np.ndarray) -> np.ndarray:
    unit: np.ndarray = vector / np.sqrt(_dot(vector, vector) + _EPSILON)[..., None]
    return unit


def _gather(values: np.ndarray, indices: np.ndarray, num_axes: int) -> np.ndarray:
    """Pick the atoms of each residue; axis `num_axes` − 1 is the residue axis."""
    lead, rest = indices.shape[:num_axes], values.shape[num_axes + 1 :]
    flat = indices.reshape(*lead, prod(indices.shape[num_axes:]), *(1,) * len(rest))
    return np.take_along_axis(values, flat, axis=num_axes).reshape(*indices.shape, *rest)
