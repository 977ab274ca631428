"""Coordinates of predicted models as small integers, on a grid of 0.001 Å.

`foldry.formats.compact` stores the difference of each atom to the atom it is bonded to. Where Cβ
and O are follows from the backbone, up to the flexibility of bond angles: here their expected
places are subtracted first, from O that of O, and from all atoms of a side chain that of Cβ. The
places are computed from whole numbers by single additions, multiplications, divisions and square
roots, which every machine rounds alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

import numpy as np
from jaxtyping import Bool, Float

from foldry.formats.compact import decode_atoms, encode_atoms
from foldry.residues import ATOM37, ATOM37_ORDER, CA, C, N

DECIMALS: Final = 3
_UNIT: Final = 10.0**DECIMALS
_O: Final = ATOM37_ORDER["O"]
_SIDE_CHAIN: Final = [
    place for place, name in enumerate(ATOM37) if name not in ("N", "CA", "C", "O", "OXT")
]
_LONGEST: Final = 2 * _UNIT
"""Maximum length of a bond of the backbone."""
_CB_FACTORS: Final = (-0.58273431 / _UNIT, 0.56802827, -0.54067466)
"""Cβ − Cα by (Cα − N) × (C − Cα), Cα − N and C − Cα: ideal geometry of an L-amino acid."""
_O_FACTORS: Final = (-1.1593 * _UNIT, -1.1897 * _UNIT)
"""O − C by the directions from C to Cα and to the next N: 1.231 Å at 120.4° and 122.8°."""

_Vector: TypeAlias = Float[np.ndarray, "3 N"]


def encode_positions(
    positions: Float[np.ndarray, "N 37 3"], mask: Bool[np.ndarray, "N 37"]
) -> dict[str, np.ndarray]:
    """Return coordinates (Å) as the planes `anchors` and `others` of `foldry.formats.compact`.

    Raises:
        ValueError: A coordinate is not finite or is more than `MAX_STEPS` steps from the origin.
    """
    points = np.rint(np.where(mask[..., None], positions, 0.0) * _UNIT)
    if not np.isfinite(points).all():
        raise ValueError("a value is not finite or is out of range")
    encoded = encode_atoms(points - _expected(points, mask), mask, 1.0)
    return {name: encoded[name] for name in ("anchors", "others")}


def decode_positions(
    planes: Mapping[str, np.ndarray], mask: Bool[np.ndarray, "N 37"]
) -> Float[np.ndarray, "N 37 3"]:
    """Return coordinates from `encode_positions`: the numbers nearest to three decimals.

    Raises:
        ValueError: The planes do not encode atoms with this mask.
    """
    points = decode_atoms({"step": np.array(1.0), **planes}, mask)
    points += _expected(points, mask)
    points[~mask] = 0.0
    points /= _UNIT
    return points


def decode_ca(anchors: np.ndarray, mask: Bool[np.ndarray, "N 37"]) -> Float[np.ndarray, "N 3"]:
    """Return the coordinates of Cα alone from the plane `anchors`; NaN if absent.

    Raises:
        ValueError: The plane does not encode atoms with this mask.
    """
    alone = np.zeros_like(mask)
    alone[:, CA] = mask.any(axis=1)  # the anchor of a residue is its Cα, if it has one
    planes = {"step": np.array(1.0), "anchors": anchors, "others": np.zeros((1, 3, 0), np.int8)}
    ca: np.ndarray = decode_atoms(planes, alone)[:, CA] / _UNIT
    ca[~mask[:, CA]] = np.nan
    return ca


def _expected(
    points: Float[np.ndarray, "N 37 3"], mask: Bool[np.ndarray, "N 37"]
) -> Float[np.ndarray, "N 37 3"]:
    """Return what is subtracted from each atom; it depends on N, Cα and C alone."""
    n, ca, c = (points[:, atom].T for atom in (N, CA, C))
    first, second = ca - n, c - ca
    back, on = -second, np.roll(n, -1, axis=1) - c
    has_backbone = mask[:, [N, CA, C]].all(axis=1) & _is_bond(first) & _is_bond(second)
    has_next = np.roll(mask[:, N], -1) & has_backbone & _is_bond(on)
    (ax, ay, az), (bx, by, bz) = first, second
    cross = np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx])
    side = _CB_FACTORS[0] * cross + _CB_FACTORS[1] * first + _CB_FACTORS[2] * second
    oxygen = _O_FACTORS[0] * _direction(back) + _O_FACTORS[1] * _direction(on)
    expected = np.zeros_like(points)
    expected[:, _SIDE_CHAIN] = np.where(has_backbone, np.rint(side), 0.0).T[:, None]
    expected[:, _O] = np.where(has_next, np.rint(oxygen), 0.0).T
    return expected


def _is_bond(vector: _Vector) -> Bool[np.ndarray, " N"]:
    x, y, z = abs(vector)
    is_bond: np.ndarray = np.maximum(np.maximum(x, y), z) <= _LONGEST
    return is_bond


def _direction(vector: _Vector) -> _Vector:
    x, y, z = vector
    direction: np.ndarray = vector / np.maximum(np.sqrt(x * x + y * y + z * z), 1.0)
    return direction
