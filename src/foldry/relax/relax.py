"""Relax a model: minimise, free the residues that violate of their restraints, minimise again."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import replace
from typing import Any, Final

import numpy as np
from jaxtyping import Bool

from foldry.errors import FoldryError, InputError, is_memory_error
from foldry.relax.amber import Minimiser
from foldry.relax.atoms import complete
from foldry.relax.platforms import find_platform
from foldry.relax.result import MAX_ROUNDS, MAX_SECONDS, Relaxation
from foldry.residues import CA
from foldry.score.stereochemistry import Violations, find_violations
from foldry.structure import Structure

logger = logging.getLogger(__name__)

MEASURES: Final = ("residues that violate", "clashes", "energy in kcal/mol")


def relax(
    structure: Structure,
    platform: str = "auto",
    max_rounds: int = MAX_ROUNDS,
    max_seconds: float = MAX_SECONDS,
) -> tuple[Structure, Relaxation]:
    """The model with sound bonds and without clashes, near to what it was (Jumper 2021, SI 1.8.6).

    Amber's energy and harmonic restraints on all heavy atoms, the hardest on Cα, are minimised.
    Residues that violate afterwards are freed of all but Cα's, and it is repeated; the round with
    the fewest such residues counts. Where atoms clash, they are first let slip past each other.
    The result has the heavy atoms alone, missing ones added. It is the model itself where anything
    fails.

    Args:
        structure: All chains of one model.
        platform: `auto`, `cuda`, `cpu` or `reference`.
        max_rounds: Minimisations at most.
        max_seconds: Time after which it ends with what it has.

    Raises:
        InputError: The platform is unknown.
        MissingError: OpenMM or PDBFixer is not installed, or the platform is not there.
        MemoryError: Memory ran out.
    """
    found = find_platform(platform)
    start = time.monotonic()
    try:
        relaxed, result = _relax(structure, found, max_rounds, start + max_seconds)
    except Exception as error:  # whatever fails, the model that was there stays
        if is_memory_error(error):
            raise
        logger.debug("%s is not relaxed", structure.name, exc_info=True)
        relaxed, result = structure, Relaxation(False, _explain(error))
    return relaxed, replace(result, seconds=time.monotonic() - start)


def _relax(
    structure: Structure, platform: Any, max_rounds: int, deadline: float
) -> tuple[Structure, Relaxation]:
    before = find_violations(structure)
    model = complete(structure, platform)
    full = find_violations(model.to_structure(model.positions))
    minimiser = Minimiser(model, platform)
    energy_before = minimiser.energy()
    if full.num_clashes:
        minimiser.untangle(deadline)
    held = np.isin(np.arange(len(structure)), model.row)
    freed = np.zeros(len(structure), bool)
    best = structure, full, energy_before
    fewest = math.inf
    reason, rounds, in_time = "", 0, time.monotonic() < deadline
    while in_time and rounds < max_rounds:
        try:
            in_time = minimiser.minimise(deadline)
        except Exception as error:  # what earlier rounds found is kept
            if not rounds or is_memory_error(error):
                raise
            reason = f"Round {rounds + 1} failed and the one before counts: {_explain(error)}"
            break
        rounds += 1
        found = model.to_structure(minimiser.positions)
        after = find_violations(found)
        violating = violating_residues(after) & held
        if violating.sum() < fewest:
            fewest = violating.sum()
            best = found, after, minimiser.energy()
        if not violating.any():
            break
        freed |= violating
        minimiser.free(freed)
    relaxed, after, energy_after = best
    _check((full, energy_before), (after, energy_after), rounds)
    move = np.linalg.norm(relaxed.atom_positions[:, CA] - structure.atom_positions[:, CA], axis=1)
    move = move[held]
    if not in_time:
        reason = "The bound on time ended it before the minimum was reached."
    return relaxed, Relaxation(
        relaxed=True,
        reason=reason,
        platform=platform.getName(),
        rounds=rounds,
        energy_before=energy_before if math.isfinite(energy_before) else None,
        energy_after=energy_after,
        clashes_before=before.num_clashes,
        clashes_after=after.num_clashes,
        violations_before=int(violating_residues(before).sum()),
        violations_after=int(violating_residues(after).sum()),
        median_move=float(np.median(move)),
        max_move=float(move.max()),
    )


def violating_residues(found: Violations) -> Bool[np.ndarray, " N"]:
    """Residues with a bond, an angle, a clash, a Cα or a peptide that is off."""
    of_atoms = found.bonds | found.angles | found.clashes
    violating: Bool[np.ndarray, " N"] = of_atoms | found.chirality | found.twisted
    return violating


def _check(before: tuple[Violations, float], after: tuple[Violations, float], rounds: int) -> None:
    """Refuses a result that is no better than what it was made of, by violations and energy.

    Raises:
        InputError: It is not.
    """
    if not rounds:
        raise InputError("the bound on time was reached before the first minimisation")
    for what, old, new in zip(MEASURES, _measured(*before), _measured(*after), strict=True):
        if new > old or not math.isfinite(new):
            raise InputError(
                f"minimisation made it worse ({what}: {old:.6g} before, {new:.6g} after)"
            )


def _measured(found: Violations, energy: float) -> tuple[float, float, float]:
    """What `MEASURES` names."""
    return float(violating_residues(found).sum()), found.num_clashes, energy


def _explain(error: Exception) -> str:
    """Why a model is not relaxed, in one sentence."""
    text = " ".join(str(error).split()) or type(error).__name__
    why = text if isinstance(error, FoldryError) else f"{type(error).__name__}: {text}"
    return f"{why[0].upper()}{why[1:].rstrip('.')}."
