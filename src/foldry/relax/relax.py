"""Relaxation of a model: minimise, free the violating residues of their restraints, repeat.

A network's prediction is nearly right everywhere, so the atoms are restrained to it and only the
violations should move. Side chains of residues with violations are restrained to a rotamer instead.
If a residue still has violations after a minimisation, its restraints pull it back into them: they
are removed, except on Cα and on chi angles, and stay removed. Every round starts from the previous
one, and the round with the fewest violating residues counts, because a freed residue may collide
with its neighbours. The result is discarded unless it is at least as good as the model in every
number of `_State.numbers`.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool

from foldry.errors import FoldryError, InputError, check_type, is_memory_error, quoted
from foldry.relax.amber import Minimiser
from foldry.relax.atoms import complete
from foldry.relax.platforms import find_platform
from foldry.relax.result import MAX_ROUNDS, MAX_SECONDS, Relaxation, number_text
from foldry.residues import CA
from foldry.score.stereochemistry import Violations, find_violations
from foldry.structure import STRUCTURE_ADVICE, Structure

logger = logging.getLogger(__name__)


class _State(NamedTuple):
    """A structure with its violations and its energy (kcal/mol)."""

    structure: Structure
    found: Violations
    energy: float

    def numbers(self) -> dict[str, float]:
        """Return the numbers that relaxation must not increase."""
        return {
            "violating residues": int(violating_residues(self.found).sum()),
            "clashes": self.found.num_clashes,
            "energy in kcal/mol": self.energy,
        }


def relax_structure(
    structure: Structure,
    platform: str = "auto",
    max_rounds: int = MAX_ROUNDS,
    max_seconds: float = MAX_SECONDS,
) -> tuple[Structure, Relaxation]:
    """Return the relaxed structure and a record of the relaxation (Jumper 2021, SI 1.8.6).

    Relaxation removes steric clashes and corrects distorted bonds and angles. It minimises Amber's
    energy with harmonic restraints on all heavy atoms, the stiffest on Cα, and with restraints of
    chi angles, which replace the harmonic ones on side chains of residues with violations and lead
    their chi1 to the nearest rotamer. Residues that still have violations lose all restraints
    except those on Cα and chi angles, and the minimisation is repeated; the round with the fewest
    violating residues counts. If atoms clash, a soft repulsion first separates them. The result has
    all heavy atoms, also those that were missing, and no hydrogens. If anything fails, the
    structure is returned unchanged.

    Args:
        structure: All chains of one model.
        platform: `auto`, `cuda`, `cpu` or `reference`.
        max_rounds: Maximum number of minimisations.
        max_seconds: Time in seconds after which the relaxation stops with its best result.

    Raises:
        InputError: The platform is unknown, or `max_rounds` or `max_seconds` is not above 0.
        MissingError: OpenMM or PDBFixer is not installed, or the platform is not available.
        MemoryError: There is not enough memory.

    Example:
        >>> from foldry import read_structure
        >>> relaxed, how = relax_structure(read_structure("model.pdb"))  # doctest: +SKIP
        >>> how.clashes_before, how.clashes_after  # doctest: +SKIP
        (12, 0)
    """
    check_type(structure, Structure, "a structure", STRUCTURE_ADVICE)
    if not (isinstance(max_rounds, int) and max_rounds > 0):
        raise InputError(f"`max_rounds` is {quoted(max_rounds)}", "give a whole number above 0")
    if not (isinstance(max_seconds, int | float) and max_seconds > 0):
        raise InputError(f"`max_seconds` is {quoted(max_seconds)}", "give a number above 0")
    found = find_platform(platform)
    start = time.monotonic()
    try:
        relaxed, result = _minimise(structure, found, max_rounds, start + max_seconds)
    except Exception as error:  # any failure leaves the model unchanged
        if is_memory_error(error):
            raise
        logger.debug("%s is not relaxed", structure.name, exc_info=True)
        relaxed, result = structure, Relaxation(False, _explain(error))
    return relaxed, replace(result, seconds=time.monotonic() - start)


def _minimise(
    structure: Structure, platform: Any, max_rounds: int, deadline: float
) -> tuple[Structure, Relaxation]:
    before = find_violations(structure)
    model = complete(structure, platform)
    minimiser = Minimiser(model, platform, violating_residues(before))
    completed = model.to_structure(model.positions)
    best = full = _State(completed, find_violations(completed), minimiser.energy())
    if full.found.num_clashes:
        minimiser.untangle(deadline)
    held = np.isin(np.arange(len(structure)), model.row)
    freed = np.zeros(len(structure), bool)
    fewest = math.inf
    reason, rounds, in_time = "", 0, time.monotonic() < deadline
    while in_time and rounds < max_rounds:
        try:
            in_time = minimiser.minimise(deadline)
        except Exception as error:  # the results of earlier rounds are kept
            if not rounds or is_memory_error(error):
                raise
            reason = f"Round {rounds + 1} failed, so earlier rounds count: {_explain(error)}"
            break
        rounds += 1
        found = model.to_structure(minimiser.positions)
        after = find_violations(found)
        violating = violating_residues(after) & held
        if violating.sum() < fewest:
            fewest = violating.sum()
            best = _State(found, after, minimiser.energy())
        if not violating.any():
            break
        freed |= violating
        minimiser.free(freed)
    if not rounds:
        what = "the time limit was reached before the first minimisation"
        raise InputError(what, "raise `max_seconds`")
    for (what, old), new in zip(full.numbers().items(), best.numbers().values(), strict=True):
        if new > old or not math.isfinite(new):
            raise InputError(
                f"minimisation made it worse ({what}: {number_text(old)} → {number_text(new)})"
            )
    if not in_time:
        reason = "The time limit was reached before the energy converged: raise `max_seconds`."
    move = (best.structure.atom_positions - structure.atom_positions)[held, CA]
    move = np.linalg.norm(move, axis=1)
    return best.structure, Relaxation(
        relaxed=True,
        reason=reason,
        platform=platform.getName(),
        rounds=rounds,
        energy_before=full.energy if math.isfinite(full.energy) else None,
        energy_after=best.energy,
        clashes_before=before.num_clashes,
        clashes_after=best.found.num_clashes,
        violations_before=int(violating_residues(before).sum()),
        violations_after=int(violating_residues(best.found).sum()),
        median_move=float(np.median(move)),
        max_move=float(move.max()),
    )


def violating_residues(found: Violations) -> Bool[np.ndarray, " N"]:
    """Return the residues with a wrong bond, angle, chirality or peptide, or a clash."""
    of_atoms = found.bonds | found.angles | found.clashes
    return np.asarray(of_atoms | found.chirality | found.twisted)


def _explain(error: Exception) -> str:
    """Return one sentence that says why a model is not relaxed."""
    text = " ".join(str(error).split()) or type(error).__name__
    why = text if isinstance(error, FoldryError) else f"{type(error).__name__}: {text}"
    return f"{why[0].upper()}{why[1:].rstrip('.')}."
