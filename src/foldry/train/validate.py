"""Scores of the averaged weights on the validation chains during training."""

from __future__ import annotations

import logging
import math
from typing import Final

import numpy as np
import torch
from jaxtyping import Float

from foldry.dataset.samples import TrainingSet
from foldry.errors import InputError
from foldry.features.known_atoms import torsion_sin_cos
from foldry.model.alphafold import AlphaFold
from foldry.residues import CA
from foldry.score.compare import compare_ca
from foldry.train.config import StageConfig
from foldry.train.data import collate
from foldry.train.distributed import Workers

PART: Final = "selection"
SCORES: Final = ("lddt_ca", "gdt_ts", "tm_score", "radius_ratio", "right_handed")
HELIX_TURN: Final = (30.0, 75.0)
"""Degrees: range of the dihedral of four consecutive Cα; 50 in an ideal right-handed helix."""
HELIX_RISE: Final = (4.0, 6.5)
"""Å: range of the distance from the first to the last; 5.0 in an ideal helix, 10 in a strand."""

logger = logging.getLogger(__name__)


def validate(
    model: AlphaFold,
    data: TrainingSet,
    stage: StageConfig,
    num_chains: int,
    workers: Workers,
) -> dict[str, object]:
    """Predict crops of the validation chains, always the same ones, and score them.

    The network sees each crop as in a prediction, not as drawn in training: with the whole
    alignment and, unless the stage's `template_fraction` is 0, the best templates. It runs with
    the stage's maximum number of passes.

    Validation does not change training: every micro-batch of training sets torch's seed.

    Args:
        model: The network with the averaged weights.
        data: The data, whose part `selection` is predicted, or `data.validation` if it is empty.
        stage: The size of the crops, the rows and the passes.
        num_chains: Maximum number of chains.
        workers: The processes that share the work; all must call this and get the same numbers.

    Returns:
        `num_chains`, the number of predicted chains, and means over them: `lddt_ca`, `gdt_ts`,
        `tm_score`, `radius_ratio` (predicted over true radius of gyration) and `right_handed`,
        the share of the true helices' turns that are right-handed in the prediction, or None if
        no chain has a helix. A prediction that is not finite scores 0 and is left out of the last
        two means.
    """
    model.eval()
    names = (data.parts[PART] or data.validation)[:num_chains]
    table = np.full((len(names), len(SCORES)), np.nan, np.float32)
    for row in range(workers.rank, len(names), workers.size):
        try:
            table[row] = _judge(model, data, stage, names[row], row)
        except (InputError, LookupError, ValueError) as error:
            logger.warning("%s is left out of validation: %s", names[row], error)
    numbers = torch.from_numpy(np.stack([np.nan_to_num(table), np.isfinite(table)]))
    values, counts = workers.sum_(numbers.to(model.runtime.device)).sum(1).tolist()
    means = {
        name: round(value / count, 5) if count else None
        for name, value, count in zip(SCORES, values, counts, strict=True)
    }
    return {"num_chains": round(counts[0]), **means}


@torch.no_grad()
def _judge(
    model: AlphaFold, data: TrainingSet, stage: StageConfig, name: str, number: int
) -> tuple[float, ...]:
    sample = data.whole_sample(name, stage, number)
    batch = collate([sample], stage, model.config.heads).to(model.runtime.device)
    recycled = model.first_recycled(batch.inputs)
    for draw in batch.draws:
        result = model(batch.inputs, [draw], recycled)
        recycled = result.recycled()
    ca = result.atom37[0, : len(sample.truth), CA].float().cpu().numpy()
    if not np.isfinite(ca).all():
        return 0.0, 0.0, 0.0, math.nan, math.nan
    known = sample.truth.mask[:, CA] > 0
    true_ca = sample.truth.positions[:, CA]
    scores = compare_ca(ca, true_ca, reference_mask=known)
    ratio = radius_of_gyration(ca[known]) / radius_of_gyration(true_ca[known])
    handed = right_handed(ca[known], true_ca[known])
    return scores.lddt_ca, scores.gdt_ts, scores.tm_score, ratio, handed


def radius_of_gyration(points: Float[np.ndarray, "N 3"]) -> float:
    """Return the root mean square distance of points from their centroid."""
    return float(np.sqrt(((points - points.mean(0)) ** 2).sum(1).mean()))


def right_handed(ca: Float[np.ndarray, "N 3"], true_ca: Float[np.ndarray, "N 3"]) -> float:
    """Return the share of the true helices' turns that are right-handed in the prediction.

    Four consecutive Cα are a turn if their true dihedral and distance are as in a helix. A
    mirrored fold has 0 and a chain without order about 0.5.

    Args:
        ca: Predicted Cα atoms, Å.
        true_ca: True Cα atoms, Å.

    Returns:
        A share from 0 to 1; NaN without a helix.
    """
    if len(ca) < 4:
        return float("nan")
    rise = np.linalg.norm(true_ca[3:] - true_ca[:-3], axis=1)
    turn = _dihedrals(true_ca)
    helical = (turn > HELIX_TURN[0]) & (turn < HELIX_TURN[1])
    helical &= (rise > HELIX_RISE[0]) & (rise < HELIX_RISE[1])
    return float((_dihedrals(ca)[helical] > 0).mean()) if helical.any() else float("nan")


def _dihedrals(ca: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, " M"]:
    fours = np.stack([ca[start : len(ca) - 3 + start] for start in range(4)], axis=1)
    sin, cos = torsion_sin_cos(fours.astype(np.float64)).T
    degrees: Float[np.ndarray, " M"] = np.degrees(np.arctan2(sin, cos))
    return degrees
