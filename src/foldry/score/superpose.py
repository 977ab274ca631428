"""Least-squares superposition of two sets of points (Kabsch 1976), and RMSD.

Axes: `...` any batch, N points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from jaxtyping import Float

from foldry.store.hashes import Content

_ILL_CONDITIONED: Final = 0.02
_NEWTON_STEPS: Final = 7
_ROUNDS_95: Final = 5


@dataclass(frozen=True, eq=False)
class Superposition(Content):
    """A rotation and a translation (Å): `x → rotation · x + translation`."""

    rotation: Float[np.ndarray, "*batch 3 3"]
    translation: Float[np.ndarray, "*batch 3"]

    def apply(self, points: Float[np.ndarray, "*batch N 3"]) -> Float[np.ndarray, "*batch N 3"]:
        """Return the moved points, Å."""
        return np.asarray(points @ self.rotation.mT + self.translation[..., None, :])


def superpose(
    mobile: Float[np.ndarray, "*batch N 3"], target: Float[np.ndarray, "*batch N 3"]
) -> Superposition:
    """Return the motion of `mobile` with the lowest RMSD to `target`, never a reflection.

    If several motions are equally good (points on a line, a single point), one of them is returned.

    Args:
        mobile, target: Positions in Å; point n of both is the same point.

    Example:
        >>> corner = np.array([[0.0, 0, 0], [1, 0, 0], [0, 2, 0], [0, 0, 3]])
        >>> motion = superpose(corner[:, [1, 2, 0]] + 7, corner)
        >>> np.allclose(motion.apply(corner[:, [1, 2, 0]] + 7), corner)
        True
    """
    mobile, target = np.asarray(mobile, np.float64), np.asarray(target, np.float64)
    weight = 1 / mobile.shape[-2]
    mobile_center = (weight * mobile).sum(axis=-2)
    target_center = (weight * target).sum(axis=-2)
    centered = weight * (target - target_center[..., None, :])
    covariance = centered.mT @ (mobile - mobile_center[..., None, :])
    rotation = nearest_rotation(covariance)
    translation = target_center - (rotation @ mobile_center[..., None])[..., 0]
    return Superposition(rotation, translation)


def rmsd(model: Float[np.ndarray, "N 3"], reference: Float[np.ndarray, "N 3"]) -> float:
    """Return the root-mean-square distance of points in Å, without superposing them.

    Example:
        >>> rmsd(np.array([[0.0, 0, 0], [1, 0, 0]]), np.array([[0.0, 0, 3], [1, 0, 3]]))
        3.0
    """
    squared = ((np.asarray(model, np.float64) - reference) ** 2).sum(axis=-1)
    return float(np.sqrt(squared.mean()))


def rmsd_95(
    model: Float[np.ndarray, "N 3"], reference: Float[np.ndarray, "N 3"]
) -> tuple[float, Superposition]:
    """Return the RMSD in Å of the 95% of points that fit best, and the model's motion.

    As in Jumper et al. (Nature 2021, 596, 583; "r.m.s.d.95"), the selected points, at first all,
    are superposed and the nearest 95%, rounded up, are selected. This is done five times.
    """
    kept = -(-len(reference) * 95 // 100)
    chosen = np.arange(len(reference))
    for _ in range(_ROUNDS_95):
        motion = superpose(model[chosen], reference[chosen])
        laid = motion.apply(np.asarray(model, np.float64))
        squared = ((laid - reference) ** 2).sum(axis=1)
        chosen = np.argsort(squared, kind="stable")[:kept]
    return float(np.sqrt(squared[chosen].mean())), motion


def nearest_rotation(
    covariance: Float[np.ndarray, "*batch 3 3"],
) -> Float[np.ndarray, "*batch 3 3"]:
    """Return the rotation R that maximises tr(Rᵀ A) for each matrix A.

    With A = U diag(s₁, s₂, s₃) Vᵀ, U and V rotations and s₃ signed, R = U Vᵀ. NumPy's singular
    value decomposition of many small matrices is slow, but R has a closed form in the invariants
    i₁ = s₁ + s₂ + s₃, i₂ = s₁s₂ + s₂s₃ + s₃s₁ and i₃ = det A:

        R = ((i₁² − i₂) A + i₁ cof A − A Aᵀ A) / (i₁ i₂ − i₃),

    where i₁ is the largest root of Theobald's quartic (Acta Cryst. 2005, A61, 478). Only the few
    matrices for which the divisor is nearly 0 go through the singular value decomposition.
    """
    # The batch is the last axis here: NumPy is slow for many small matrices.
    a = np.moveaxis(covariance, (-2, -1), (0, 1)).copy()
    size = np.sqrt((a * a).sum(axis=(0, 1)))
    a /= np.where(size > 0, size, 1)
    cyclic = np.concatenate([a, a[:2]])
    cyclic = np.concatenate([cyclic, cyclic[:, :2]], axis=1)
    one, other = cyclic[1:4], cyclic[2:]
    cofactor = one[:, 1:4] * other[:, 2:] - one[:, 2:] * other[:, 1:4]
    det = (a[0] * cofactor[0]).sum(axis=0)
    minors = (cofactor * cofactor).sum(axis=(0, 1))
    i1 = np.sqrt(3.0)
    for _ in range(2):  # i₂² = |cof A|² + 2 i₁ i₃ gives a start above every root,
        i1 = np.sqrt(1 + 2 * np.sqrt(np.maximum(minors + 2 * i1 * det, 0)))
    linear, constant = 8 * det, 1 - 4 * minors
    for _ in range(_NEWTON_STEPS):  # from which Newton's method descends to the largest
        square = i1 * i1
        slope = 4 * i1 * (square - 1) - linear
        value = square * (square - 2) - linear * i1 + constant
        i1 = i1 - value / np.maximum(slope, 1e-12)
    i2 = (i1 * i1 - 1) / 2
    divisor = i1 * i2 - det
    regular = divisor > _ILL_CONDITIONED
    gram = (a[:, None] * a).sum(axis=2)
    cubic = (gram[:, :, None] * a).sum(axis=1)
    closed = ((i1 * i1 - i2) * a + i1 * cofactor - cubic) / np.where(regular, divisor, 1)
    rotation: Float[np.ndarray, "*batch 3 3"] = np.moveaxis(closed, (0, 1), (-2, -1)).copy()
    if not regular.all():
        u, _, vt = np.linalg.svd(covariance[~regular])
        u[..., 2] *= np.sign(np.linalg.det(u @ vt))[..., None]
        rotation[~regular] = u @ vt
    return rotation
