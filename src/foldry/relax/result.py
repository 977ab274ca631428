"""The record of a relaxation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

MAX_ROUNDS: Final = 3
"""Default maximum number of minimisations, as in AlphaFold."""
MAX_SECONDS: Final = 600.0
"""Default time limit, seconds."""
_LARGE: Final = 1e7
_SUPERSCRIPTS: Final = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Relaxation:
    """The outcome of the relaxation of one model; if it failed, numbers except `seconds` are None.

    Attributes:
        relaxed: Whether the model was relaxed; if not, it is unchanged, atom for atom.
        reason: Why it was not relaxed, or what ended it early, in one sentence; otherwise "".
        platform: OpenMM's platform: `CPU`, `CUDA` or `Reference`.
        rounds: Number of minimisations.
        seconds: Duration in seconds, also of a failed relaxation.
        energy_before, energy_after: Amber's energy in kcal/mol of all atoms that the force field
            needs, without restraints. Before relaxation it may be very large.
        clashes_before, clashes_after: Number of pairs of atoms that are not bonded and overlap by
            more than 1.5 Å (`foldry.score.stereochemistry`).
        violations_before, violations_after: Number of residues with a wrong bond or angle, a
            clash, a Cα without the L configuration, or a twisted peptide bond before the residue
            (`foldry.score.stereochemistry`).
        median_move, max_move: Displacement of the Cα atoms without superposition, Å.
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


def number_text(value: float) -> str:
    """Return a number as text, a large one as a power of ten.

    Example:
        >>> number_text(-24512.34), number_text(1.9e17)
        ('-24,512.3', '1.9 × 10¹⁷')
    """
    if not _LARGE <= abs(value) < math.inf:
        return f"{round(value, 1):,}"
    digits, power = f"{value:.1e}".split("e+")
    return f"{digits} × 10{str(int(power)).translate(_SUPERSCRIPTS)}"
