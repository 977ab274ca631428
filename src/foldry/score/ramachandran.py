"""The Ramachandran plot: favoured and allowed backbone angles, and outliers.

The regions are read from ramachandran.txt. `benchmarks/ramachandran.py` makes this file from chains
of crystal structures at 2.0 Å or better and compares it with MolProbity's regions (Lovell et al.,
Proteins 2003, 50, 437; Williams et al., Protein Sci. 2018, 27, 293), which also provide the method
and the six classes of residues. Squares of 10° are precise enough for counting, not for refinement.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final

import numpy as np
from jaxtyping import Float, Int

from foldry.residues import RESTYPE_ORDER
from foldry.score.torsions import TorsionAngles

UNKNOWN, OUTLIER, ALLOWED, FAVOURED = range(-1, 3)
CLASSES: Final = ("general", "ile-val", "glycine", "pre-proline", "trans-proline", "cis-proline")
STEP: Final = 10
"""Width of a square, degrees."""
SYMBOLS: Final = ".-#"
"""Symbols of outlier, allowed and favoured in the file, whose lines go from psi 180° to −180°."""

_GLYCINE, _PROLINE, _ISOLEUCINE, _VALINE = (RESTYPE_ORDER[letter] for letter in "GPIV")


def ramachandran(torsions: TorsionAngles, aatype: Int[np.ndarray, " N"]) -> Int[np.ndarray, " N"]:
    """Return `FAVOURED`, `ALLOWED` or `OUTLIER` for each residue, `UNKNOWN` without phi or psi.

    Args:
        torsions: Torsion angles of the residues, in the order of the chain.
        aatype: Amino-acid codes.
    """
    known = np.isfinite(torsions.phi) & np.isfinite(torsions.psi)
    phi, psi = torsions.phi[known], torsions.psi[known]
    regions = np.full(len(aatype), UNKNOWN)
    regions[known] = _REGIONS[residue_class(torsions, aatype)[known], cell(phi), cell(psi)]
    return regions


def residue_class(torsions: TorsionAngles, aatype: Int[np.ndarray, " N"]) -> Int[np.ndarray, " N"]:
    """Return the class of each residue, as an index of `CLASSES`."""
    proline = aatype == _PROLINE
    before_proline = np.append(proline[1:], False) & np.isfinite(torsions.psi)
    conditions = (
        proline & (np.abs(torsions.omega) < 90),
        proline,
        aatype == _GLYCINE,
        before_proline,
        (aatype == _ISOLEUCINE) | (aatype == _VALINE),
    )
    return np.select(conditions, (5, 4, 2, 3, 1), 0)


def cell(angle: Float[np.ndarray, " N"]) -> Int[np.ndarray, " N"]:
    """Return the cell of an angle (degrees) along an axis of the plot; 180° is −180°."""
    return np.floor((angle + 180) / STEP).astype(np.int64) % (360 // STEP)


def _read() -> Int[np.ndarray, "6 36 36"]:
    text = files("foldry.score").joinpath("ramachandran.txt").read_text("utf-8")
    lines = [line for line in text.splitlines() if line and line[0] in SYMBOLS]
    rows = np.array([[SYMBOLS.index(symbol) for symbol in line] for line in lines], np.int8)
    plots = rows.reshape(len(CLASSES), 360 // STEP, 360 // STEP)
    return plots[:, ::-1].transpose(0, 2, 1)


_REGIONS: Final = _read()
