"""All single-chain scores of a model against a reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from foldry.errors import InputError
from foldry.score.best_fit import FitSearch
from foldry.score.gdt import gdt
from foldry.score.lddt import lddt
from foldry.score.superpose import Superposition, rmsd, superpose
from foldry.score.tm import search_radius, tm_score


@dataclass(frozen=True)
class CaScores:
    """How well the Cα atoms of a model agree with those of a reference.

    Attributes:
        lddt_ca: 0–1; NaN where no two Cα of the reference are nearer than 15 Å.
        lddt_ca_per_residue: For each residue of the input, NaN where the reference lacks it.
        rmsd_ca: Å, over the matched residues in their best superposition.
        gdt_ts, gdt_ha, tm_score: 0–1, residues without a partner counted as wrong.
        num_matched: Residues that both have.
        num_reference: Residues that the reference has.
        superposition: The motion of the model that gives the TM-score.
    """

    lddt_ca: float
    lddt_ca_per_residue: Float[np.ndarray, " N"]
    rmsd_ca: float
    gdt_ts: float
    gdt_ha: float
    tm_score: float
    num_matched: int
    num_reference: int
    superposition: Superposition


def compare_ca(
    model: Float[np.ndarray, "N 3"],
    reference: Float[np.ndarray, "N 3"],
    model_mask: Bool[np.ndarray, " N"] | None = None,
    reference_mask: Bool[np.ndarray, " N"] | None = None,
) -> CaScores:
    """Scores of Cα positions (Å); residue n of the model is residue n of the reference.

    Args:
        model_mask: Which residues the model has; the others count as wrong.
        reference_mask: Which residues the reference has; the others do not count at all.

    Raises:
        InputError: No residue is in both, or a coordinate is not a finite number.
    """
    everything = np.ones(len(reference), bool)
    there = everything if reference_mask is None else np.asarray(reference_mask, bool)
    known = everything if model_mask is None else np.asarray(model_mask, bool)
    both = there & known
    if not both.any():
        raise InputError(
            "Model and reference have no Cα atom of the same residue: nothing to score."
        )
    for name, points, mask in (("model", model, both), ("reference", reference, there)):
        if not np.isfinite(points[mask]).all():
            bad = int(np.flatnonzero(mask & ~np.isfinite(points).all(axis=1))[0])
            raise InputError(
                f"The Cα position of residue {bad + 1} of the {name} is not a finite number: "
                "mend the coordinates or leave the residue out."
            )
    local = lddt(np.where(known[:, None], model, 0)[there], reference[there], known[there])
    per_residue = np.full(len(reference), np.nan)
    per_residue[there] = local.per_residue
    mobile = np.asarray(model[both], np.float64)
    target = np.asarray(reference[both], np.float64)
    length = int(there.sum())
    search = FitSearch(mobile, target, search_radius(length))
    tm = tm_score(mobile, target, length, search)
    distance = gdt(mobile, target, length, search)
    return CaScores(
        lddt_ca=local.score,
        lddt_ca_per_residue=per_residue,
        rmsd_ca=float(rmsd(superpose(mobile, target).apply(mobile), target)),
        gdt_ts=distance.ts,
        gdt_ha=distance.ha,
        tm_score=tm.score,
        num_matched=int(both.sum()),
        num_reference=length,
        superposition=tm.superposition,
    )
