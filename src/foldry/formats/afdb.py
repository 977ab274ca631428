"""Confidence and PAE of a prediction as JSON, in the format of the official program."""

from __future__ import annotations

import json

import numpy as np
from jaxtyping import Float

from foldry.errors import InputError


def confidence_category(plddt: float) -> str:
    """Return the category of a pLDDT: D below 50, L below 70, M below 90, H up to 100.

    The letters stand for very low (disordered), low, medium (confident) and high confidence.

    Raises:
        InputError: The value is not between 0 and 100.

    Example:
        >>> confidence_category(70)
        'M'
    """
    if not 0 <= plddt <= 100:
        raise InputError(f"pLDDT {plddt} is not between 0 and 100", "give per-residue pLDDT")
    return "DLMH"[(plddt >= 50) + (plddt >= 70) + (plddt >= 90)]


def confidence_json(plddt: Float[np.ndarray, " N"]) -> str:
    """Return the JSON of pLDDT (0–100, two decimals) and category of each residue, counted from 1.

    Raises:
        InputError: A value is not between 0 and 100.
    """
    values = plddt.tolist()
    return _compact(
        {
            "residueNumber": list(range(1, len(values) + 1)),
            "confidenceScore": [round(value, 2) for value in values],
            "confidenceCategory": [confidence_category(value) for value in values],
        }
    )


def pae_json(pae: Float[np.ndarray, "N N"], max_pae: float) -> str:
    """Return the JSON of the predicted aligned error (Å, one decimal).

    Args:
        pae: Row i is aligned on residue i.
        max_pae: The largest error that the head of the model can express, Å.

    Raises:
        InputError: The matrix is not square.
    """
    if pae.ndim != 2 or pae.shape[0] != pae.shape[1]:
        raise InputError(f"A PAE matrix of shape {pae.shape} is not square", "give N by N errors")
    rows = np.round(pae.astype(np.float64), 1).tolist()
    return _compact([{"predicted_aligned_error": rows, "max_predicted_aligned_error": max_pae}])


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
