"""The rigid motion that lays one set of points on another (Kabsch 1976), and RMSD.

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
    """A rotation and a translation in Å: `x → rotation · x + translation`."""

    rotation: Float[np.ndarray, "*batch 3 3"]
    translation: Float[np.ndarray, "*batch 3"]

    def apply(self, points: Float[np.ndarray, "*batch N 3"]) -> Float[np.ndarray, "*batch N 3"]:
        """The moved points, Å."""
        return np.asarray(points @ self.rotation.mT + self.translation[..., None, :])


def superpose(
    mobile: Float[np.ndarray, "*batch N 3"], target: Float[np.ndarray, "*batch N 3"]
) -> Superposition:
    """The motion of `mobile` with the least RMSD from `target`, never a reflection.

    Where several motions are equally good (points on a line, a single point), one of them.

    Args:
        mobile, target: Å; point n of one belongs to point n of the other.
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
    """Root-mean-square distance of points in Å, without superposing them (`superpose`)."""
    squared = ((np.asarray(model, np.float64) - reference) ** 2).sum(axis=-1)
    return float(np.sqrt(squared.mean()))


def rmsd_95(
    model: Float[np.ndarray, "N 3"], reference: Float[np.ndarray, "N 3"]
) -> tuple[float, Superposition]:
    """RMSD in Å of the 95% of points that fit best, and the motion of the model that gives it.

    Jumper et al. (Nature 2021, 596, 583; "r.m.s.d.95"): superpose the chosen points, at first all,
    and choose the nearest 95%, rounded up; five times.
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
    """The rotation R that maximises tr(Rᵀ A) for each matrix A.

    With A = U diag(s₁, s₂, s₃) Vᵀ, U and V rotations and s₃ signed, R = U Vᵀ. It has a closed form
    in the invariants i₁ = s₁ + s₂ + s₃, i₂ = s₁s₂ + s₂s₃ + s₃s₁ and i₃ = det A:

        R = ((i₁² − i₂) A + i₁ cof A − A Aᵀ A) / (i₁ i₂ − i₃),

    where i₁ is the largest root of Theobald's quartic (Acta Cryst. 2005, A61, 478). The few
    matrices near a singularity of it go through the singular value decomposition.
    """
    # The batch is the last axis in here: NumPy is slow at many small matrices.
    a = np.moveaxis(covariance, (-2, -1), (0, 1)).copy()
    size = np.sqrt((a * a).sum(axis=(0, 1)))
    a /= np.where(size > 0, size, 1)
    one, other = a[[1, 2, 0]], a[[2, 0, 1]]
    cofactor = one[:, [1, 2, 0]] * other[:, [2, 0, 1]] - one[:, [2, 0, 1]] * other[:, [1, 2, 0]]
    det = (a[0] * cofactor[0]).sum(axis=0)
    minors = (cofactor * cofactor).sum(axis=(0, 1))
    i1 = np.sqrt(3.0)
    for _ in range(2):  # i₂² = |cof A|² + 2 i₁ i₃ leads to a start above every root …
        i1 = np.sqrt(1 + 2 * np.sqrt(np.maximum(minors + 2 * i1 * det, 0)))
    for _ in range(_NEWTON_STEPS):  # … whence Newton only descends
        square = i1 * i1
        slope = 4 * i1 * (square - 1) - 8 * det
        value = square * (square - 2) - 8 * det * i1 + (1 - 4 * minors)
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
