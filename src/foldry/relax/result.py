"""What a relaxation did, or why it did nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX_ROUNDS: Final = 3
"""Minimisations at most, where nothing else is asked for; AlphaFold's."""
MAX_SECONDS: Final = 600.0


@dataclass(frozen=True)
class Relaxation:
    """How the relaxation of one model ended; everything after `reason` is None where it failed.

    Attributes:
        relaxed: Whether the model was relaxed; if not, it is the unrelaxed one, atom for atom.
        reason: Why not, or what ended it early, in one sentence; else "".
        platform: OpenMM's platform that computed it: `CPU`, `CUDA` or `Reference`.
        rounds: Minimisations that ran.
        seconds: Time from start to end, a failure's too.
        energy_before, energy_after: Amber's energy, restraints left out, with the atoms and
            hydrogens that the force field needs, kcal/mol. The one before may be very large.
        clashes_before, clashes_after: Pairs of atoms that are not bonded and overlap by more than
            1.5 Å (`foldry.score.stereochemistry`).
        violations_before, violations_after: Residues with a bond, an angle or a clash that is off,
            with a Cα that is not an L-amino acid's, or after a peptide that is neither cis nor
            trans (the same).
        median_move, max_move: Å that the Cα atoms moved, not superposed.
    """

    relaxed: bool
    reason: str = ""
    platform: str | None = None
    rounds: int | None = None
    seconds: float = 0.0
    energy_before: float | None = None
    energy_after: float | None = None
    clashes_before: int | None = None
    clashes_after: int | None = None
    violations_before: int | None = None
    violations_after: int | None = None
    median_move: float | None = None
    max_move: float | None = None
